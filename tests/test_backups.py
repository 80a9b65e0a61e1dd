"""Backups of the registry, and what becomes of a damaged, empty or vanished one."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from autokaggle_tui.bench import open_bench
from autokaggle_tui.groundwork import check_unused
from autokaggle_tui.keeper import Keeper
from autokaggle_tui.loading import load_rounds
from autokaggle_tui.restoring import RESTORED_TO, ready_registry
from autokaggle_tui.trying import try_experiment
from autokaggle_tui.workspace import Workspace
from experiments.backups import KEPT, back_up, damage, find_backups
from experiments.errors import DataError, RegistryError, WorkspaceError
from experiments.folds import Folds
from experiments.registry import Registry
from experiments.schema import MIGRATIONS, open_facts, open_viewer

from .campaigns import make_campaign

KILLED = """
import os, signal, sys
from pathlib import Path
from autokaggle_tui.restoring import ready_registry
from autokaggle_tui.workspace import Workspace
from experiments.backups import back_up
import experiments.schema, sqlite3

STEPS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.chmod", "sqlite3.connect", "shutil.copyfile"}
workspace, wanted, seen = Workspace(Path(sys.argv[1])), int(sys.argv[2]), 0

def step(event, arguments):
    global seen
    if event in STEPS:
        seen += 1
        if seen == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
if sys.argv[3] == "restore":
    ready_registry(workspace)
else:
    back_up(workspace.facts, workspace.backups, kept=1)
"""


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def add_events(path: Path, count: int) -> None:
    registry = Registry(path)
    for number in range(count):
        registry.event("note", text=f"note {number}")
    registry.close()


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 3)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"rubbish!" * 2048)


def headless(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"rubbish!" * 20)


def vanished(path: Path) -> None:
    path.unlink()


DAMAGE = [truncated, emptied, overwritten, headless, vanished]


@pytest.fixture
def played(tmp_path: Path) -> Workspace:
    """A campaign of five rounds with a backup, and two rounds' worth of events since."""
    workspace = make_campaign(tmp_path / "w", 5)
    back_up(workspace.facts, workspace.backups)
    add_events(workspace.facts, 3)
    return workspace


def test_a_backup_is_a_whole_registry_and_the_oldest_go(tmp_path: Path):
    path, folder = tmp_path / "autokaggle.db", tmp_path / "backups"
    registry = Registry(path)
    assert back_up(path, folder) is None, "nothing has happened yet"
    for number in range(KEPT + 2):
        registry.event("note", text=str(number))
        made = back_up(path, folder)
        assert made is not None and made.event == number + 1
        assert dump(made.path) == dump(path)
    assert back_up(path, folder) is None, "nothing is new"
    assert [backup.event for backup in find_backups(folder)] == [KEPT + 2 - n for n in range(KEPT)]
    assert {item.name for item in folder.iterdir()} == {backup.path.name for backup in find_backups(folder)}
    registry.close()


def test_a_backup_waits_for_no_writer_and_holds_what_is_committed(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    registry = Registry(path)
    registry.event("note", text="committed")
    with registry.transaction():
        registry.event("note", text="open")
        made = back_up(path, tmp_path / "backups")
    assert made is not None and made.event == 1 and damage(made.path) == ""
    with closing(open_viewer(made.path)) as viewer:
        assert viewer.execute("SELECT count(*) FROM events").fetchone()[0] == 1
    registry.close()


@pytest.mark.parametrize("harm", [truncated, overwritten])
def test_a_damaged_registry_never_becomes_a_backup(played: Workspace, harm):
    before = find_backups(played.backups)
    harm(played.facts)
    with pytest.raises((RegistryError, sqlite3.DatabaseError)):
        back_up(played.facts, played.backups)
    assert find_backups(played.backups) == before
    assert not list(played.backups.glob(".tmp-*"))


@pytest.mark.parametrize("harm", DAMAGE)
def test_the_last_good_backup_takes_the_place_of_a_damaged_registry(played: Workspace, harm):
    harm(played.facts)
    remains = played.facts.read_bytes() if played.facts.exists() else None
    backup = find_backups(played.backups)[0]
    row = ready_registry(played, clock=lambda: 1_800_000_000.0)
    assert row is not None and row["kind"] == "warning" and "after round 5" in row["data"]["text"]
    added = set(dump(played.facts)) - set(dump(backup.path))
    assert len(added) == 3, "the news, the fact, and the next event's number"
    registry = Registry(played.facts)
    assert registry.rows("SELECT * FROM events ORDER BY id DESC LIMIT 1") == [row]
    assert float(registry.fact(RESTORED_TO) or 0) == registry.value(
        "SELECT max(at) FROM events WHERE id != ?", [row["id"]]
    )
    registry.close()
    aside = played.backups / "damaged-20270115-080000"
    assert str(aside.relative_to(played.root)) in row["data"]["text"]
    assert remains is None or (aside / "autokaggle.db").read_bytes() == remains
    assert ready_registry(played) is None


def test_a_journal_of_the_damaged_file_is_not_rolled_into_the_backup(played: Workspace):
    journal = Path(f"{played.facts}-journal")
    killed = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 1')\n"
        "c.execute('BEGIN')\n"
        'c.execute("UPDATE events SET data = \'{\\"text\\": \\"torn\\"}\'")\n'
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", killed, str(played.facts)], check=True)
    assert journal.stat().st_size > 0
    vanished(played.facts)
    backup = find_backups(played.backups)[0]
    assert ready_registry(played) is not None
    assert not journal.exists() or journal.stat().st_size == 0
    assert damage(played.facts) == ""
    with closing(open_viewer(played.facts)) as now, closing(open_viewer(backup.path)) as then:
        events = "SELECT * FROM events WHERE id <= ? ORDER BY id"
        assert [tuple(row) for row in now.execute(events, [backup.event])] == [
            tuple(row) for row in then.execute(events, [backup.event])
        ]


def test_a_damaged_backup_is_passed_over_and_set_aside(played: Workspace):
    second = back_up(played.facts, played.backups)
    assert second is not None
    truncated(second.path)
    truncated(played.facts)
    assert ready_registry(played) is not None
    assert damage(played.facts) == ""
    assert len(find_backups(played.backups)) == 1
    assert len(list(played.backups.glob("damaged-*/autokaggle-*.db"))) == 1


@pytest.mark.parametrize("harm", DAMAGE)
def test_without_a_good_backup_nothing_is_touched(played: Workspace, harm):
    for backup in find_backups(played.backups):
        truncated(backup.path)
    harm(played.facts)
    before = {path: path.read_bytes() for path in played.root.rglob("*") if path.is_file()}
    with pytest.raises(RegistryError, match=r"no backup in .* is good"):
        ready_registry(played)
    shutil.rmtree(played.backups)
    with pytest.raises(RegistryError, match="there is no backup"):
        ready_registry(played)
    for path, content in before.items():
        assert path.is_relative_to(played.backups) or path.read_bytes() == content


def test_an_engine_does_not_begin_a_new_campaign_over_published_files(played: Workspace):
    shutil.rmtree(played.backups)
    vanished(played.facts)
    done = subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", "hint", "x", "-w", str(played.root)], capture_output=True, text=True
    )
    assert done.returncode == 1 and not played.facts.exists()
    with pytest.raises(RegistryError, match="is gone"):
        ready_registry(played)


def test_an_empty_file_that_a_killed_first_start_left_is_no_damage(tmp_path: Path):
    workspace = Workspace(tmp_path)
    assert ready_registry(workspace) is None
    workspace.facts.touch()
    assert ready_registry(workspace) is None
    assert not workspace.backups.exists()


def test_a_viewer_of_a_vanished_registry_is_told_of_the_backups(played: Workspace):
    vanished(played.facts)
    with pytest.raises(RegistryError, match="there are backups"):
        open_viewer(played.facts)


def test_a_backup_of_a_newer_version_is_not_passed_over(played: Workspace):
    backup = find_backups(played.backups)[0]
    backup.path.rename(backup.path.with_name(f"autokaggle-9999999999-v{len(MIGRATIONS) + 1}.db"))
    truncated(played.facts)
    with pytest.raises(RegistryError, match="newer"):
        ready_registry(played)


def test_a_registry_is_backed_up_before_it_is_migrated(tmp_path: Path):
    workspace = Workspace(tmp_path)
    with closing(sqlite3.connect(workspace.facts, isolation_level=None)) as old:
        old.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        old.execute("INSERT INTO events (at, kind, data) VALUES (1.0, 'note', '{\"text\": \"old\"}')")
    assert ready_registry(workspace) is None
    open_facts(workspace.facts).close()
    assert [backup.version for backup in find_backups(workspace.backups)] == [1]
    truncated(workspace.facts)
    assert ready_registry(workspace) is not None
    registry = Registry(workspace.facts)
    assert registry.value("SELECT data FROM events WHERE id = 1") == '{"text": "old"}'
    registry.close()


def kill_at_every_step(folder: Path, what: str, check) -> int:
    """Run in a process that dies one step later each time, until it lives; returns how often it was killed."""
    for step in range(1, 400):
        place = Workspace(folder.with_name(f"{folder.name}-{what}-{step}"))
        shutil.copytree(folder, place.root)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(place.root), str(step), what], capture_output=True, text=True
        )
        check(place)
        shutil.rmtree(place.root)
        if done.returncode == 0:
            return step - 1
        assert done.returncode == -signal.SIGKILL, done.stderr
    raise AssertionError("it never ends")


def test_killed_at_every_step_of_a_restore(played: Workspace):
    truncated(played.facts)
    remains = played.facts.read_bytes()
    wanted = [line for line in dump(find_backups(played.backups)[0].path) if "sqlite_sequence" not in line]

    def check(place: Workspace) -> None:
        ready_registry(place)
        place.sweep()
        assert damage(place.facts) == ""
        now = dump(place.facts)
        assert not [line for line in wanted if line not in now]
        assert len([line for line in now if "is damaged" in line or "is gone" in line]) == 1, "told once"
        assert remains in [path.read_bytes() for path in place.backups.glob("damaged-*/autokaggle.db")]
        assert not list(place.root.rglob(".tmp-*"))
        assert find_backups(place.backups)

    assert kill_at_every_step(played.root, "restore", check) > 10


def test_killed_at_every_step_of_a_backup(played: Workspace):
    wanted = dump(played.facts)

    def check(place: Workspace) -> None:
        assert all(damage(backup.path) == "" for backup in find_backups(place.backups))
        place.sweep()
        assert not list(place.root.rglob(".tmp-*"))
        assert dump(place.facts) == wanted
        truncated(place.facts)
        assert ready_registry(place) is not None

    assert kill_at_every_step(played.root, "backup", check) > 5


async def test_no_more_backups_than_one_in_ten_minutes(tmp_path: Path):
    now = 0.0
    registry = Registry(tmp_path / "autokaggle.db")
    keeper = Keeper(registry, tmp_path / "backups", interval=600.0, clock=lambda: now)
    registry.on_event = keeper.hear
    made: list[int] = []
    for number, seconds in enumerate([0.0, 300.0, 599.0, 600.0]):
        now = seconds
        registry.event("round_done", round=number)
        if keeper._working is not None:
            await keeper._working
        made.append(len(find_backups(keeper.folder)))
    assert made == [1, 1, 1, 2]
    registry.event("note", text="the end")
    await keeper.close()
    assert find_backups(keeper.folder)[0].event == 5
    registry.close()


def test_init_does_not_begin_a_campaign_beside_the_backups_of_another(played: Workspace):
    """The engine would put one of them in the place of the registry that is not there yet."""
    for path in (played.config, played.facts):
        path.unlink()
    shutil.rmtree(played.rounds)
    with pytest.raises(WorkspaceError, match="holds backups"):
        check_unused(played)


async def test_lost_folds_are_made_again_if_they_come_out_the_same(workspace: Workspace):
    made = workspace.root / "folds.npz"
    async with open_bench(workspace, lambda row: None) as bench:
        digest = bench.campaign.folds.digest
    for harm in (truncated, vanished):
        harm(made)
        async with open_bench(workspace, lambda row: None) as bench:
            assert bench.campaign.folds.digest == digest == Folds.load(made).digest
    registry = Registry(workspace.facts)
    registry.set_fact("folds", "of another day")
    registry.close()
    truncated(made)
    before = made.read_bytes()
    with pytest.raises(DataError, match="cannot be read"):
        async with open_bench(workspace, lambda row: None):
            pass
    assert made.read_bytes() == before


async def test_a_try_does_not_write_over_files_that_a_restored_registry_does_not_know(
    workspace: Workspace, tmp_path: Path
):
    mine = tmp_path / "mine.py"
    mine.write_text("def fit_predict(train, valid, test, ctx):\n    raise ValueError\n")
    workspace.rounds.mkdir()
    registry = Registry(workspace.facts)
    registry.set_fact(RESTORED_TO, "1.0")
    registry.close()
    (workspace.rounds / "T01_experiment.py").write_text("# from before\n")
    await try_experiment(workspace, mine, lambda row: None)
    assert (workspace.rounds / "T01_experiment.py").read_text() == "# from before\n"
    assert [row["id"] for row in load_rounds(workspace)] == ["T02"]
