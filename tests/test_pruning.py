"""Pruning predictions: what stays whatever happens, what goes, and what is said of it; and what a workspace takes."""

import functools
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autokaggle_tui.bench import open_bench
from autokaggle_tui.commander import Refused
from autokaggle_tui.loading import load_prunable, load_round, load_state
from autokaggle_tui.pruning import TOO_MUCH, mark, oldest, prunable, prune_above, remove
from autokaggle_tui.reducing import reduce
from autokaggle_tui.standin import obey_now
from autokaggle_tui.state import State
from autokaggle_tui.status import load_status
from autokaggle_tui.usage import KINDS, disk_usage
from autokaggle_tui.workspace import Workspace
from experiments.registry import Registry
from experiments.schema import MIGRATIONS, decode, open_facts, open_viewer

from .campaigns import make_campaign
from .conftest import change_config, kinds, play
from .test_cli import cli

SIZE = 1000


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """Forty rounds, several of them blends, all their prediction files on disk."""
    workspace = make_campaign(tmp_path / "made", rounds=40)
    with closing(Registry(workspace.facts)) as registry:
        for row in registry.rows("SELECT oof, test FROM predictions"):
            for name in (row["oof"], row["test"]):
                (workspace.rounds / name).write_bytes(bytes(SIZE))
    return workspace


def files(workspace: Workspace) -> set[str]:
    return {path.name for path in workspace.rounds.glob("*.npy")}


def names(workspace: Workspace) -> set[str]:
    return {item.experiment for item in load_prunable(workspace)}


def experiments(workspace: Workspace, where: str) -> set[str]:
    with closing(open_viewer(workspace.facts)) as viewer:
        return {row[0] for row in viewer.execute(f"SELECT id FROM experiments WHERE {where}")}


def test_overtaken_blends_go_and_what_may_matter_stays(made: Workspace):
    gone = names(made)
    blends = experiments(made, "kind = 'blend' AND in_pool")
    assert gone and gone < blends
    with closing(Registry(made.facts)) as registry:
        best = registry.value("SELECT id FROM experiments WHERE kind = 'blend' AND in_pool ORDER BY score DESC LIMIT 1")
        champion = registry.champion()
        members = {name for row in registry.rows("SELECT members FROM experiments") for name, _ in row["members"]}
        kept = {row["id"] for row in registry.pool()} | members | {best, champion and champion["id"]}
        kept |= {row["experiment"] for row in registry.rows("SELECT experiment FROM submissions")}
    assert not gone & kept
    assert blends - gone <= kept, "nothing else is kept either"


def test_each_reason_to_keep_a_blend_is_enough(made: Workspace):
    first = min(names(made))
    with closing(Registry(made.facts)) as registry:
        row = {"competition": "c", "experiment": first, "file": "f", "sha256": "s", "at": 1.0}
        for state in ("intent", "accepted", "refused", "unknown"):
            number = registry.insert("submissions", token=state, state=state, **row)
            assert first not in names(made), state
            registry.execute("DELETE FROM submissions WHERE id = ?", [number])
        assert first in names(made)
        round = registry.value("SELECT round FROM experiments WHERE id = ?", [first])
        registry.update("rounds", round, status="open")
        assert first not in names(made)
        registry.update("rounds", round, status="done")
        other = registry.value("SELECT id FROM experiments WHERE kind = 'blend' AND id != ?", [first])
        registry.update("experiments", other, members=[[first, 1.0]])
        assert first not in names(made)


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({}, False),
        ({"in_pool": 0}, True),
        ({"in_pool": 0, "status": "running"}, False),
        ({"in_pool": 0, "source": "imported"}, False),
        ({"in_pool": 0, "status": "timeout"}, True),
    ],
)
def test_a_model_goes_only_once_it_left_the_pool(made: Workspace, changes: dict, goes: bool):
    with closing(Registry(made.facts)) as registry:
        used = {name for row in registry.rows("SELECT members FROM experiments") for name, _ in row["members"]}
        used |= {row["experiment"] for row in registry.rows("SELECT experiment FROM submissions")}
        champion = registry.champion()
        used |= {champion["id"]} if champion else set()
        name = next(row["id"] for row in registry.pool() if row["id"] not in used and row["source"] == "round")
        if changes:
            registry.update("experiments", name, **changes)
        assert (name in names(made)) == goes
        if changes.get("status") == "timeout":
            registry.execute("DELETE FROM champions")
            assert name not in names(made), "as long as nothing is complete, a part may be submitted"


def test_files_that_no_experiment_claims_are_left_alone(made: Workspace):
    before = names(made)
    for name in ("holiday_oof.npy", "R01_oof.npy.bak"):
        (made.rounds / name).write_bytes(b"mine")
    (made.rounds / f"{min(before)}_oof.npy").unlink()
    (made.rounds / f"{min(before)}_oof.npy").symlink_to(made.config)
    (found,) = (item for item in load_prunable(made) if item.experiment == min(before))
    assert found.files == (f"{min(before)}_test.npy",), "a link is no prediction"


def test_pruned_is_said_before_anything_is_removed(made: Workspace):
    """Killed between the two, the next time finds the files again."""
    gone, before = names(made), files(made)
    with closing(Registry(made.facts)) as registry:
        mark(registry, prunable(registry.rows, made.rounds), "command")
        assert files(made) == before
        again = prunable(registry.rows, made.rounds)
        assert {item.experiment for item in again} == gone and all(item.settled for item in again)
        remove(again, made.rounds)
        assert prunable(registry.rows, made.rounds) == []
    assert before - files(made) == {f"{name}_{part}.npy" for name in gone for part in ("oof", "test")}


def test_the_state_says_so_however_it_is_read(made: Workspace):
    gone = names(made)
    with closing(Registry(made.facts)) as registry:
        mark(registry, prunable(registry.rows, made.rounds), "command")
    with closing(open_viewer(made.facts)) as viewer:
        read = load_state(viewer)
        reduced = functools.reduce(reduce, map(decode, viewer.execute("SELECT * FROM events ORDER BY id")), State())
    assert {name: row.in_pool for name, row in read.results.items()} == {
        name: row.in_pool for name, row in reduced.results.items()
    }
    assert gone and not any(read.results[name].in_pool for name in gone)
    assert all(load_round(made, name)["predictions"]["pruned_at"] for name in gone)


def test_the_command_works_without_an_engine_and_only_looks_when_told_so(made: Workspace):
    before, gone = files(made), names(made)
    looked = json.loads(cli("prune", "--dry-run", "--json", "-w", str(made.root)).stdout)
    assert looked["pruned"] is False and {item["experiment"] for item in looked["experiments"]} == gone
    assert looked["bytes"] == 2 * SIZE * len(gone) and files(made) == before
    said = cli("prune", "-w", str(made.root))
    assert said.returncode == 0 and f"predictions of {len(gone)} experiments pruned" in said.stdout
    assert len(files(made)) == len(before) - 2 * len(gone)
    assert "nothing may be pruned" in cli("prune", "-w", str(made.root)).stdout
    assert "predictions were pruned on" in cli("show", min(gone), "-w", str(made.root)).stdout


def test_the_oldest_go_until_it_is_enough(made: Workspace):
    found = load_prunable(made)
    assert oldest(found, 0) == [] and oldest(found, 1) == found[:1]
    assert oldest(found, 2 * SIZE + 1) == found[:2] and oldest(found, 10**12) == found
    total = disk_usage(made)["predictions"]
    with closing(Registry(made.facts)) as registry:
        prune_above(registry, made.rounds, total)
        assert load_prunable(made) == found
        prune_above(registry, made.rounds, total - 1)
        assert load_prunable(made) == found[1:]
        for _ in range(2):
            prune_above(registry, made.rounds, 0)
        events = registry.rows("SELECT kind, data FROM events ORDER BY id")
        assert registry.fact(TOO_MUCH) == "0"
    assert [data["experiments"] for data in kinds(events, "pruned")] == [
        [found[0].experiment],
        [item.experiment for item in found[1:]],
    ]
    assert sum("keep_predictions" in data["text"] for data in kinds(events, "warning")) == 1, "told once"


def test_a_run_under_the_rule_keeps_its_pool_and_ends_well(workspace: Workspace):
    change_config(workspace, resources={"keep_predictions": "0"})
    code, events = play(workspace, 2)
    assert code == 0 and kinds(events, "submission")
    with closing(Registry(workspace.facts)) as registry:
        assert {f"{row['id']}_oof.npy" for row in registry.pool()} <= files(workspace)


async def test_a_pruned_prediction_is_not_submitted(workspace: Workspace):
    async with open_bench(workspace, lambda row: None) as bench:
        registry = bench.campaign.registry
        registry.insert(
            "experiments", id="R01", source="round", kind="blend", family="blend", seed=1, status="discard",
            score=0.9, started_at=1.0, ended_at=2.0,
        )  # fmt: skip
        registry.insert(
            "predictions", experiment="R01", oof="R01_oof.npy", test="R01_test.npy", oof_sha="", test_sha="", at=2.0,
            pruned_at=3.0,
        )  # fmt: skip
        with pytest.raises(Refused, match="were pruned"):
            bench.commander._to_submit("R01")


def test_a_registry_from_before_is_brought_up(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    with closing(sqlite3.connect(path)) as old:
        for number, script in enumerate(MIGRATIONS[:2], start=1):
            old.executescript(f"{script}; PRAGMA user_version = {number};")
        old.execute(
            "INSERT INTO experiments (id, source, kind, family, seed, status, started_at) "
            "VALUES ('R01', 'round', 'model', 'linear', 1, 'keep', 1)"
        )
        old.execute("INSERT INTO predictions VALUES ('R01', 'a', 'b', '', '', 1)")
        old.commit()
    with closing(open_facts(path)) as now:
        assert now.execute("SELECT oof, pruned_at FROM predictions").fetchone()[:] == ("a", None)


def test_what_a_workspace_takes_adds_up(made: Workspace):
    (made.cache / "folds").mkdir(parents=True)
    (made.cache / "folds" / "a.npz").write_bytes(bytes(300))
    (made.root / "backups").mkdir()
    (made.root / "backups" / "autokaggle-1.db").write_bytes(bytes(500))
    (made.root / "data").mkdir(exist_ok=True)
    (made.root / "data" / "train.csv").write_bytes(bytes(7000))
    (made.root / "live.db-wal").write_bytes(bytes(40))
    taken = load_status(made)["storage"]
    assert set(taken) == {*KINDS, "total", "prunable", "free"}
    assert (taken["cache"], taken["backups"]) == (300, 500)
    assert taken["registry"] == made.facts.stat().st_size and taken["live"] == made.live.stat().st_size + 40
    assert taken["predictions"] == SIZE * len(files(made))
    assert taken["code"] == sum(path.stat().st_size for path in made.rounds.glob("*_experiment.py"))
    mine = [path for path in made.root.rglob("*") if path.is_file() and path.parent.name != "data"]
    assert taken["total"] == sum(path.stat().st_size for path in mine)
    assert taken["prunable"] == 2 * SIZE * len(names(made)) and taken["free"] > 0
    assert "may be pruned" in cli("status", "-w", str(made.root)).stdout


def test_obeying_without_an_engine_sweeps_after_the_registry_has_it(made: Workspace):
    before = len(files(made))
    with closing(Registry(made.facts)) as registry:
        registry.insert("commands", uuid="u", verb="prune", args={}, at=1.0)
    obey_now(made)
    assert len(files(made)) < before and names(made) == set()
