"""The state: what ``load_state`` reads is what ``reduce`` makes of the events, at every moment of a campaign."""

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from .conftest import change_config, play

from autokaggle_tui.loading import load_state
from autokaggle_tui.reducing import reduce
from autokaggle_tui.state import Now, Result, State
from autokaggle_tui.workspace import Workspace
from experiments.schema import Row, decode, open_viewer

PLAN = """---
kind: model
family: own
hypothesis: it breaks
idea: "[/red] \\u001b[31m odd"
minutes: 1
---
Nothing else.
"""


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
