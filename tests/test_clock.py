"""A clock that jumps: what happened keeps its order, durations stay true, quota and deadline go by the clock."""

import json
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autokaggle_tui.commander import last_command
from autokaggle_tui.memory import recall
from autokaggle_tui.workspace import Workspace
from experiments.registry import Registry
from experiments.schema import Row

from .conftest import change_config, kinds, play

DAY, YEAR = 86_400.0, 365 * 86_400.0
PLAN = "---\nkind: model\nfamily: own{number}\nhypothesis: it is worth a try\n---\n\n# Plan\n"
CODE = (
    "def fit_predict(train, valid, test, ctx):\n"
    "    return [1 - 1 / (1 + part['{column}'].to_numpy()) for part in (valid, test)]\n"
)
COLUMNS = ("mean_radius", "worst_area", "worst_perimeter", "mean_concavity")


class Jumping:
    """A clock that is set by hand while it runs."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def own(number: int) -> dict:
    code = CODE.format(column=COLUMNS[number - 1])
    return {(number, "plan"): PLAN.format(number=number), (number, "code"): code}


def sent(home: Path) -> list[str]:
    """UTC days of what the platform took."""
    connection = sqlite3.connect(next(home.rglob("ledger.db")))
    try:
        return [row[0][:10] for row in connection.execute("SELECT submitted_at FROM submissions ORDER BY ref")]
    finally:
        connection.close()


@pytest.mark.parametrize("jump", [YEAR, -DAY], ids=["a year forwards", "a day backwards"])
def test_a_campaign_whose_clock_jumps_is_played_to_its_end_in_order(workspace: Workspace, tmp_path: Path, jump: float):
    clock = Jumping()
    deadline = datetime.now(UTC) + timedelta(days=30)
    change_config(workspace, max_submissions_per_day=2, deadline=deadline.isoformat())
    script = own(1) | own(2) | own(3)
    ahead = {1: jump, 2: 0.0}

    def listen(row: Row) -> None:
        if row["kind"] == "round_done":
            clock.ahead = ahead.get(row["round"], clock.ahead)

    began = time.monotonic()
    code, events = play(workspace, 3, script, on_event=listen, clock=clock)
    took = time.monotonic() - began
    assert code == 0
    ended = kinds(events, "run_ended")[0]
    assert ended["status"] == "finished" and 0 < ended["elapsed"] <= took
    assert all(0 <= data["seconds"] <= took for data in kinds(events, "experiment_done"))
    assert [row["id"] for row in events] == list(range(1, len(events) + 1))
    exported = [row["id"] for row in json.loads((workspace.root / "experiments.json").read_text())]
    assert exported == ["R01", "R02", "R03", "B01"], "in the order they were played, the closing blend last"
    registry = Registry(workspace.facts)
    assert [row["id"] for row in registry.pool()] == ["R01", "R02", "R03"]
    assert [known.row["id"] for known in recall(registry).experiments] == exported
    registry.close()
    submits = [data for data in kinds(events, "phase_done") if data["phase"] == "submit"]
    assert [data["outcome"] for data in submits] == ["accepted", "skipped" if jump > 0 else "accepted", "skipped"]
    assert "deadline" in submits[1]["line"] or jump < 0
    today, yesterday = (f"{datetime.now(UTC) - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1))
    wanted = [today, today] if jump > 0 else [today, yesterday, today]
    assert sent(tmp_path / "home") == wanted, "after the deadline nothing; the closing blend when the clock is right"


def test_a_member_that_leaves_the_pool_is_seen_though_the_clock_was_set_back(workspace: Workspace):
    clock = Jumping()
    play(workspace, 2, own(1) | own(2), clock=clock)
    clock.ahead = -YEAR
    (workspace.rounds / "R02_oof.npy").unlink()
    play(workspace, 1, own(3), clock=clock)
    exported = json.loads((workspace.root / "experiments.json").read_text())
    assert "R02" not in [name for row in exported if row["id"] == "B02" for name, _ in row["members"]]
    registry = Registry(workspace.facts)
    assert [row["id"] for row in registry.pool()] == ["R01", "R03"]
    registry.close()


def test_a_stop_of_yesterday_is_not_obeyed_by_an_engine_whose_clock_was_set_back(workspace: Workspace):
    registry = Registry(workspace.facts)
    registry.insert("commands", uuid="old", run=None, verb="stop", args={}, at=time.time())
    registry.close()
    assert last_command(workspace.facts) == 1
    clock = Jumping()
    clock.ahead = -DAY
    code, events = play(workspace, 1, own(1), clock=clock)
    assert code == 0 and kinds(events, "command")[0]["state"] == "refused"
    assert kinds(events, "run_ended")[0]["status"] == "finished"
