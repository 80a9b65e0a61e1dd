"""What ``status`` says of models: who plays a role, how fast, how full the context is, at what price."""

import functools
import json
import sqlite3
from pathlib import Path

import pytest

from autokaggle_tui.loading import load_state
from autokaggle_tui.printing import print_status
from autokaggle_tui.reducing import reduce
from autokaggle_tui.state import Call, Spent, State
from autokaggle_tui.status import load_status
from autokaggle_tui.workspace import Workspace
from experiments.schema import MIGRATIONS, decode, open_facts, open_viewer

from .campaigns import make_campaign

ROLES = ["researcher", "builder", "reviewer"]
OLD = {"phase": "code", "role": "builder", "model": "openai/gpt-5", "input_tokens": 900, "output_tokens": 120}
OLD |= {"cost": None, "estimated": 1, "seconds": 2.0, "outcome": "ok"}
NEW = OLD | {"asked": "anthropic/claude", "cached_tokens": 400, "retries": 3, "context": 12_300, "window": 200_000}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_campaign(tmp_path / "made", rounds=6, playing=True)


def told(capsys: pytest.CaptureFixture[str], workspace: Workspace) -> str:
    print_status(load_status(workspace))
    return capsys.readouterr().out


def state_of(path: Path) -> tuple[State, State]:
    """As read from the rows, and as reduced from the events."""
    connection = open_viewer(path)
    events = [decode(row) for row in connection.execute("SELECT * FROM events ORDER BY id")]
    read = load_state(connection)
    connection.close()
    return read, functools.reduce(reduce, events, State())


def make_calls(path: Path, *calls: dict) -> None:
    """Calls as rows and as events."""
    connection = open_facts(path)
    for call in calls:
        row = {"run": "r", "round": 1, "at": 5.0, **call}
        columns = ", ".join(row)
        connection.execute(f"INSERT INTO calls ({columns}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        values = (5.0, "r", 1, "call", json.dumps(call))
        connection.execute("INSERT INTO events (at, run, round, kind, data) VALUES (?, ?, ?, ?, ?)", values)
    connection.close()


def test_each_role_tells_its_model_its_use_and_its_last_call(workspace: Workspace):
    found = load_status(workspace)
    assert list(found["models"]) == ROLES
    builder = found["models"]["builder"]
    assert builder["model"] == "openai/gpt-5-codex"
    assert builder["calls"] > 6 and builder["cached_tokens"] > 0 and builder["retries"] > 0
    assert builder["last"]["window"] == 400_000 and builder["last"]["tokens_per_second"] > 0
    assert sum(row["usd"] for row in found["models"].values()) == pytest.approx(found["spent"]["usd"])
    assert found["budget"] == {"usd": 500.0, "tokens": None}


def test_a_person_reads_it_in_a_line_for_each_role(workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    lines = told(capsys, workspace).splitlines()
    builder = next(line for line in lines if line.startswith("builder"))
    for part in ("openai/gpt-5-codex", " t/s", "context ", "/400k ", "$", "3 retries"):
        assert part in builder
    spent = next(line for line in lines if line.startswith("spent"))
    assert " of $500.00, " in spent and " tokens, " in spent and " calls" in spent


def test_a_fallback_and_guessed_counts_are_told(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    priced = NEW | {"cost": 0.25}
    make_calls(path, priced, priced)
    read, reduced = state_of(path)
    assert read == reduced
    assert read.by_role["builder"] == Spent(2, 1_800, 240, 0.5, 6, 2, 800, estimated=True)
    last = read.calls["builder"]
    assert (last.asked, last.model) == ("anthropic/claude", "openai/gpt-5")
    assert last.pace == 60.0 and last.filled == pytest.approx(0.0615)


def test_calls_of_older_versions_say_less_and_are_read(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for number, script in enumerate(MIGRATIONS[:3], 1):
        connection.executescript(f"{script}; PRAGMA user_version = {number};")
    connection.close()
    make_calls(path, OLD)
    read, reduced = state_of(path)
    assert read == reduced
    assert read.calls["builder"] == Call("openai/gpt-5", "", 120, 2.0)
    assert read.by_role["builder"] == Spent(1, 900, 120, None, estimated=True)


def test_the_playbook_in_all_roles_is_one_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    connection = sqlite3.connect(workspace.facts, isolation_level=None)
    connection.execute("DELETE FROM calls")
    models = json.dumps(dict.fromkeys(ROLES, "playbook"))
    changed = "UPDATE events SET data = json_set(data, '$.models', json(?)) WHERE kind = 'run_started'"
    connection.execute(changed, [models])
    connection.close()
    said = told(capsys, workspace)
    assert "models   playbook in all roles: offline, free" in said
    assert "spent" not in said


def test_an_unknown_price_is_unknown(workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    make_calls(workspace.facts, NEW)
    said = told(capsys, workspace)
    assert "$? of $500.00" in said
    assert "last anthropic/claude -> openai/gpt-5" in said
    assert "context 12.3k/200k 6%" in said
