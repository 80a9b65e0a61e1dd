"""What was submitted, what waits and where it stands, as ``submissions`` tells it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autokaggle_tui.agreement import Agreement, Shot, agreement, picks
from autokaggle_tui.ledger import quota
from autokaggle_tui.loading import load_state
from autokaggle_tui.scored import load_shots
from autokaggle_tui.standing import board_facts
from autokaggle_tui.state import State
from autokaggle_tui.workspace import Workspace
from experiments.errors import ConfigError
from experiments.schema import open_viewer


def load_sendings(workspace: Workspace) -> dict[str, Any]:
    """The keys are those of ``submissions --json``, in docs/json.md.

    Raises:
        RegistryError: Nothing has run here yet.
    """
    connection = open_viewer(workspace.facts)
    try:
        state, shots = load_state(connection), load_shots(connection)
    finally:
        connection.close()
    return tell_sendings(state, shots, _limit(workspace), time.time())


def tell_sendings(state: State, shots: Sequence[Shot], limit: int | None, now: float) -> dict[str, Any]:
    """What was submitted and what follows from it, as plain values.

    Args:
        limit: Submissions a day, None without a limit.
        now: Unix seconds.
    """
    better = state.now.better
    found = agreement(shots, better)
    today = quota(state.submissions.values(), limit, now)
    return {
        "direction": state.now.direction,
        "submissions": [asdict(item) for _, item in sorted(state.submissions.items())],
        "queue": [asdict(item) for item in state.queue.values()],
        "quota": {**asdict(today), "left": today.left},
        "leaderboard": None if state.board is None else board_facts(state.board, better),
        "agreement": agreement_facts(found),
        "final": [asdict(pick) for pick in picks(found, better)],
    }


def agreement_facts(found: Agreement) -> dict[str, Any]:
    """How far leaderboard and cross-validation agree, as plain values."""
    return {
        "rho": found.rho,
        "clear": found.clear,
        "parted": [list(pair) for pair in found.parted],
        "warning": found.warning or None,
        "points": [
            {"experiment": shot.experiment, "kind": shot.kind, "cv": shot.cv, "lb": shot.lb} for shot in found.shots
        ],
    }


def _limit(workspace: Workspace) -> int | None:
    """Submissions a day by config.json; None without a limit, or when that cannot be read."""
    from autokaggle_tui.config import load_config

    try:
        return load_config(workspace.root).max_submissions_per_day
    except ConfigError:
        return None
