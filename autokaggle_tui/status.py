"""The campaign at a glance, for ``status``."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import Any

from autokaggle_tui.loading import load_state
from autokaggle_tui.pruning import Prunable, prunable
from autokaggle_tui.standing import board_facts
from autokaggle_tui.state import Now, Spent, State
from autokaggle_tui.usage import disk_usage, free_bytes
from autokaggle_tui.workspace import Workspace, round_name
from experiments.errors import RegistryError
from experiments.schema import decode, open_viewer

VERDICT = ("round", "phase", "author", "verdict", "rule", "reason", "figures")
RUN_STATUS = {"finished": "finished", "failed": "failed", "stopped": "stopped", "died": "interrupted"}


def load_status(workspace: Workspace) -> dict[str, Any]:
    """What ``status --json`` says; the keys are in docs/json.md.

    Raises:
        RegistryError: Nothing has run here yet.
    """
    pid = workspace.engine_pid()
    connection = open_viewer(workspace.facts)
    try:
        state = load_state(connection)
        gone: list[Prunable] = []
        # With a damaged row nothing may be pruned; the rest of the state can still be told.
        with contextlib.suppress(RegistryError):
            gone = prunable(lambda sql: [decode(row) for row in connection.execute(sql)], workspace.rounds)
    finally:
        connection.close()
    kinds = disk_usage(workspace)
    storage = {
        **kinds,
        "total": sum(kinds.values()),
        "prunable": sum(item.bytes for item in gone),
        "free": free_bytes(workspace.root),
    }
    return {"workspace": str(workspace.root), **describe(state, pid, time.time()), "storage": storage}


def describe(state: State, pid: int | None, now: float) -> dict[str, Any]:
    """The state as plain values.

    Args:
        pid: The engine's, None when there is none.
        now: Unix seconds.
    """
    run, best, engine = state.now, state.best, state.engine(pid)
    sent = [item for item in state.submissions.values() if item.state == "accepted"]
    verdict = state.verdicts[-1] if state.verdicts else None
    played = [row.round for row in state.results.values() if row.round is not None]
    return {
        "state": engine,
        "engine": {
            "running": pid is not None,
            "pid": pid,
            "paused": engine == "paused",
            "held": run.held if run.held and engine in ("pausing", "paused") else None,
        },
        "competition": run.competition,
        "metric": run.metric,
        "direction": run.direction,
        "folds": run.folds or None,
        "run": None
        if run.run is None
        else {
            "id": run.run,
            "status": RUN_STATUS.get(engine, "running"),
            "reason": run.reason,
            "rounds": run.rounds,
            "first_round": run.first_round,
            "time_limit": run.time_limit,
            "elapsed": run.elapsed(now) if pid is not None or run.ended_at else None,
        },
        "round": max(played, default=None),
        "doing": doing(run) if pid is not None else "",
        "champion": None
        if best is None
        else {
            "id": best.name,
            "kind": best.kind,
            "family": best.family,
            "score": best.score,
            "gain": best.gain,
            "t": best.t,
        },
        "experiments": _counts(state, pid),
        "leaderboard": {
            "experiment": sent[-1].experiment,
            "public_score": sent[-1].public_score,
            "board": None if state.board is None else board_facts(state.board, run.better),
        }
        if sent
        else None,
        "submissions": len(sent),
        "sending": _sending(state),
        "spent": {
            "calls": state.spent.calls,
            "tokens": state.spent.tokens,
            "usd": state.spent.cost,
            "estimated": state.spent.estimated,
            "retries": state.spent.retries,
            "fallbacks": state.spent.fallbacks,
        },
        "budget": {key: run.budget.get(key) for key in ("usd", "tokens")},
        "models": {role: _model(state, role) for role in run.models},
        "verdict": None if verdict is None else {key: getattr(verdict, key) for key in VERDICT},
    }


def _model(state: State, role: str) -> dict[str, Any]:
    """Who plays a role, what that used, and how the last call went."""
    spent, last = state.by_role.get(role, Spent()), state.calls.get(role)
    return {
        "model": state.now.models[role],
        "calls": spent.calls,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "cached_tokens": spent.cached_tokens,
        "usd": spent.cost,
        "estimated": spent.estimated,
        "retries": spent.retries,
        "fallbacks": spent.fallbacks,
        "last": None
        if last is None
        else {
            "model": last.model,
            "asked": last.asked or None,
            "tokens_per_second": last.pace and round(last.pace, 1),
            "context": last.context,
            "window": last.window,
            "outcome": last.outcome,
        },
    }


def doing(now: Now) -> str:
    """What the engine works on, in a few words."""
    if now.experiment is not None:
        return f"{now.experiment}: {now.folds_done} of {now.folds} folds"
    if now.phase is not None and now.round is not None:
        return f"{round_name(now.round)} {now.phase.name} ({now.phase.role}, {now.phase.model})"
    return ""


def _sending(state: State) -> dict[str, int]:
    """How many submissions are scored, open or of unknown fate; how many wait for their turn, or for a word."""
    submissions, queue = state.submissions.values(), state.queue.values()
    return {
        "scoring": sum(item.pending for item in submissions),
        "open": sum(item.state == "intent" for item in submissions),
        "unknown": sum(item.state == "unknown" for item in submissions),
        "waiting": sum(item.state == "waiting" for item in queue),
        "asking": sum(item.state == "asking" for item in queue),
    }


def _counts(state: State, pid: int | None) -> dict[str, int]:
    """Experiments by status; rounds that came to none are not counted."""
    counts = Counter(row.status for row in state.results.values() if row.status not in ("open", "done", "blocked"))
    if pid is None and "running" in counts:
        counts["unfinished"] = counts.pop("running")
    return dict(sorted(counts.items()))
