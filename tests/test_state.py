"""The state: what ``load_state`` reads is what ``reduce`` makes of the events, at every moment of a campaign."""

import functools
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autokaggle_tui.loading import load_state
from autokaggle_tui.reducing import reduce
from autokaggle_tui.state import Now, State
from autokaggle_tui.workspace import Workspace
from experiments.schema import Row, decode, open_viewer

from .campaigns import make_campaign
from .conftest import change_config, play


def events_of(workspace: Workspace) -> list[Row]:
    connection = open_viewer(workspace.facts)
    try:
        return [decode(row) for row in connection.execute("SELECT * FROM events ORDER BY id")]
    finally:
        connection.close()


def read(workspace: Workspace) -> State:
    connection = open_viewer(workspace.facts)
    try:
        return load_state(connection)
    finally:
        connection.close()


def rounded(state: State) -> State:
    """Sums of floats in another order differ in the last digits."""
    results = {
        name: replace(row, cost=None if row.cost is None else round(row.cost, 9)) for name, row in state.results.items()
    }
    return replace(state, results=results)


def test_the_state_read_is_the_state_reduced_at_every_event(workspace: Workspace):
    """Two runs with a pause, a crash, a veto, an imported prediction and a try between them."""
    seen: list[State] = []
    folder = workspace.root / "made"
    folder.mkdir()

    def look(_row: Row) -> None:
        seen.append(read(workspace))

    play(workspace, 2, {(1, "research"): ["no"] * 3, (2, "verify"): "REJECT: not this one"}, on_event=look)
    sample = np.load(workspace.rounds / "R01_oof.npy")
    np.save(folder / "mine_oof.npy", np.clip(sample * 0.9, 0, 1))
    shutil.copy(workspace.rounds / "R01_test.npy", folder / "mine_test.npy")
    change_config(workspace, existing_oof_dir="made")
    play(workspace, 1, on_event=look)
    events = events_of(workspace)
    assert len(seen) == len(events) > 60
    begun = State()
    for event in events:
        begun = reduce(begun, event)
        same = next((state for state in seen if state.last_id == event["id"]), None)
        if same is not None:
            assert rounded(begun) == rounded(same), event["kind"]
    assert begun.now.mode == "ended" and begun.submissions and begun.verdicts and begun.bound
    assert {"mine", "R01", "R03"} <= set(begun.results) and begun.results["mine"].rho == pytest.approx(1.0)


def test_a_campaign_that_was_never_played_reads_as_it_reduces(tmp_path: Path):
    """The campaigns that other tests look at tell the same story in rows and in events."""
    workspace = make_campaign(tmp_path / "made", rounds=24, playing=True)
    reduced = functools.reduce(reduce, events_of(workspace), State())
    assert rounded(reduced) == rounded(read(workspace))


def test_events_seen_before_change_nothing(tmp_path: Path):
    workspace = make_campaign(tmp_path / "made", rounds=3)
    state = read(workspace)
    assert functools.reduce(reduce, events_of(workspace), state) is state


@pytest.mark.parametrize(
    ("mode", "pid", "said"),
    [
        ("idle", None, "stopped"),
        ("idle", 7, "starting"),
        ("running", 7, "running"),
        ("running", None, "died"),
        ("paused", 7, "paused"),
        ("paused", None, "died"),
        ("stopping", 7, "stopping"),
        ("ended", 7, "stopping"),
        ("ended", 8, "starting"),
        ("ended", None, "finished"),
    ],
)
def test_what_the_engine_does_follows_from_the_log_and_the_lock(mode: str, pid: int | None, said: str):
    state = State(now=Now(mode=mode, pid=7, outcome="finished" if mode == "ended" else ""))
    assert state.engine(pid) == said


def test_a_pause_is_on_its_way_until_the_folds_are_done():
    state = State(now=Now(mode="paused", pid=7, running={3: 0.0}))
    assert state.engine(7) == "pausing"


def test_elapsed_time_leaves_pauses_out():
    now = Now(run="r", since=100.0, before=50.0, paused_seconds=20.0)
    assert now.elapsed(200.0) == 130.0
    assert replace(now, paused_since=150.0).elapsed(200.0) == 80.0
    assert replace(now, ended_at=160.0).elapsed(200.0) == 90.0


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "quantum_leap"},
        {"data": None},
        {"data": {}},
        {"at": "noon"},
        {"at": 1e300},
        {"round": {"a": 1}},
        {"data": {"experiment": "R02", "score": "high"}},
        {"data": {"experiment": "R02", "members": [["R01"]]}},
    ],
)
def test_a_malformed_event_changes_nothing(change: Row):
    before = State(last_id=3)
    sound = {"id": 4, "at": 10.0, "run": "r", "round": 2, "kind": "experiment_done", "data": {"experiment": "R02"}}
    assert set(reduce(before, sound).results) == {"R02"}
    assert reduce(before, {**sound, **change}) == replace(before, last_id=4)


def test_folds_beyond_measure_make_no_viewer_count_them(tmp_path: Path):
    data = {"folds": 10**12, "slots": 10**12, "rounds": None, "time_limit": None}
    event = {"id": 1, "at": 0.0, "run": "r", "round": None, "kind": "run_started", "data": data}
    assert reduce(State(), event).now == Now()


def test_malformed_rows_are_left_out_of_the_state(tmp_path: Path):
    workspace = make_campaign(tmp_path / "w", 6)
    sound = read(workspace)
    connection = sqlite3.connect(workspace.facts, isolation_level=None)
    connection.execute("UPDATE experiments SET score = 'high' WHERE id = 'R03'")
    connection.execute("UPDATE verdicts SET at = x'00' WHERE id = 1")
    connection.execute("INSERT INTO events (at, kind, data) VALUES (1, 'note', '{')")
    connection.close()
    state = read(workspace)
    assert set(sound.results) - set(state.results) == {"R03"}
    assert len(state.verdicts) == len(sound.verdicts) - 1
