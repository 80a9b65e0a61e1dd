"""``reduce``: the state after one more event of the log. Pure, so every viewer sees the same. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from autokaggle_tui.fitting import MALFORMED, fit
from autokaggle_tui.standing import board_from
from autokaggle_tui.state import (
    Notice,
    Now,
    PhaseDone,
    PhaseNow,
    Result,
    Row,
    Spent,
    State,
    call_of,
    submission_of,
    verdict_of,
    waiting_of,
)
from autokaggle_tui.workspace import round_name

KEPT_VERDICTS = 2_000
KEPT_NOTICES = 200
OF_A_RUN = ("run_started", "try_started", "command", "stopping", "held", "released", "slept", "run_ended", "try_ended")
"""Kinds that say how a run stands as a whole."""

_RESULT_COLUMNS = frozenset(item.name for item in fields(Result)) - {"name", "round"}
_NOW_COLUMNS = frozenset(item.name for item in fields(Now))


def reduce(state: State, event: Row) -> State:
    """The state after one more event; unknown kinds, events it has seen and malformed ones change nothing else.

    Args:
        event: A row of the events table, its data decoded.
    """
    if event["id"] <= state.last_id:
        return state
    change = _CHANGES.get(event["kind"])
    try:
        changed = state if change is None else change(state, event)
    except MALFORMED:
        changed = state
    return replace(changed, last_id=event["id"], now=reduce_now(changed.now, event))


def reduce_now(now: Now, event: Row) -> Now:
    """Where the run stands after one more event."""
    change = _MOVES.get(event["kind"])
    try:
        return now if change is None else fit(change(now, event))
    except MALFORMED:
        return now


def _with_result(state: State, name: str, **changes: Any) -> State:
    old = state.results.get(name, Result(name))
    return replace(state, results={**state.results, name: fit(replace(old, **changes))})


def _round_started(state: State, event: Row) -> State:
    name = round_name(event["round"])
    if name in state.results:
        return state
    return _with_result(state, name, round=event["round"], started_at=event["at"])


def _plan_accepted(state: State, event: Row) -> State:
    data = event["data"]
    told = {"kind": data["plan_kind"], "family": data["family"], "idea": data["idea"]}
    return _with_result(state, round_name(event["round"]), **told)


def _round_done(state: State, event: Row) -> State:
    name = round_name(event["round"])
    row = state.results.get(name)
    if row is None or row.status != "open":
        return state
    return _with_result(state, name, status=event["data"]["status"], ended_at=event["at"])


def _experiment(state: State, event: Row) -> State:
    """An experiment began, ended or was imported: the event carries its columns."""
    data = {key: value for key, value in event["data"].items() if key in _RESULT_COLUMNS}
    if "members" in data:
        data["members"] = tuple((name, weight) for name, weight in data["members"])
    name = event["data"]["experiment"]
    old = state.results.get(name)
    began = event["at"] if old is None else old.started_at
    ended = None if event["kind"] == "experiment_started" else event["at"]
    return _with_result(state, name, **data, round=event["round"], started_at=began, ended_at=ended)


def _champion(state: State, event: Row) -> State:
    name = event["data"]["experiment"]
    return replace(state, champion=name) if name in state.results else state


def _pruned(state: State, event: Row) -> State:
    gone = set(event["data"]["experiments"]) & set(state.results)
    return replace(
        state,
        results={name: replace(row, in_pool=False) if name in gone else row for name, row in state.results.items()},
    )


def _verdict(state: State, event: Row) -> State:
    verdict = verdict_of({**event["data"], "at": event["at"], "round": event["round"]})
    verdicts = (*state.verdicts, verdict)[-KEPT_VERDICTS:]
    if verdict.rule is None:
        return replace(state, verdicts=verdicts)
    times = dict(state.bound.get(verdict.rule, {}))
    times[verdict.verdict] = times.get(verdict.verdict, 0) + 1
    return replace(state, verdicts=verdicts, bound={**state.bound, verdict.rule: times})


def _submission(state: State, event: Row) -> State:
    data = event["data"]
    old = state.submissions.get(data["id"])
    sent = submission_of({**data, "at": event["at"] if old is None else old.at})
    changed = replace(state, submissions={**state.submissions, sent.id: sent})
    if sent.state == "accepted" and sent.experiment in state.results:
        changed = _with_result(changed, sent.experiment, lb=sent.public_score)
    return changed


def _queue(state: State, event: Row) -> State:
    data = event["data"]
    old = state.queue.get(data["experiment"])
    at = old.at if old is not None and old.state == data["state"] else event["at"]
    item = waiting_of({**data, "at": at})
    # The order is that of the rows: by when each came to its state.
    queue = {**state.queue, item.experiment: item}
    return replace(state, queue=dict(sorted(queue.items(), key=lambda pair: pair[1].at)))


def _board(state: State, event: Row) -> State:
    board = board_from(event["data"])
    return state if board is None else replace(state, board=board)


def _call(state: State, event: Row) -> State:
    call = event["data"]
    role, cost = call["role"], call["cost"]
    spent = fit(
        Spent(
            1,
            call["input_tokens"],
            call["output_tokens"],
            cost,
            call.get("retries", 0),
            int(bool(call.get("asked"))),
            call.get("cached_tokens", 0),
            bool(call["estimated"]),
        )
    )
    changed = replace(
        state,
        calls={**state.calls, role: call_of(call)},
        spent=state.spent.joined(spent),
        by_role={**state.by_role, role: state.by_role.get(role, Spent()).joined(spent)},
    )
    row = state.results.get(round_name(event["round"]))
    if row is None:
        return changed
    return _with_result(changed, row.name, cost=None if row.cost is None or cost is None else row.cost + cost)


def _notice(state: State, event: Row) -> State:
    notice = fit(Notice(event["at"], event["kind"], event["data"]["text"]))
    return replace(state, notices=(*state.notices, notice)[-KEPT_NOTICES:])


_CHANGES: Mapping[str, Callable[[State, Row], State]] = {
    "round_started": _round_started,
    "plan_accepted": _plan_accepted,
    "round_done": _round_done,
    "experiment_started": _experiment,
    "experiment_done": _experiment,
    "imported": _experiment,
    "champion": _champion,
    "pruned": _pruned,
    "verdict": _verdict,
    "submission": _submission,
    "queue": _queue,
    "leaderboard": _board,
    "call": _call,
    "warning": _notice,
    "note": _notice,
    "learned": _notice,
}


def _run_started(now: Now, event: Row) -> Now:
    told = {key: value for key, value in event["data"].items() if key in _NOW_COLUMNS}
    return Now(**told, run=event["run"], mode="running", since=event["at"], round=now.round, phases=now.phases)


def _command(now: Now, event: Row) -> Now:
    data = event["data"]
    if data["state"] != "done" or now.mode in ("idle", "ended"):
        return now
    if data["verb"] == "pause" and now.mode == "running":
        return replace(_waiting(now, event["at"]), mode="paused")
    if data["verb"] == "resume" and now.mode == "paused":
        return replace(now if now.held else _going(now, event["at"]), mode="running")
    if data["verb"] == "stop":
        return _stopping(now, event)
    if data["verb"] == "model":
        return replace(now, models={**now.models, data["args"]["role"]: data["args"]["model"]})
    return now


def _held(now: Now, event: Row) -> Now:
    """The machine is short of something; a person's pause may have come first."""
    if now.mode not in ("running", "paused"):
        return now
    return replace(_waiting(now, event["at"]), held=event["data"]["text"])


def _released(now: Now, event: Row) -> Now:
    return replace(now if now.mode == "paused" else _going(now, event["at"]), held="")


def _slept(now: Now, event: Row) -> Now:
    """Move what runs past the sleep; a pause that lasts leaves it out anyway."""
    seconds = event["data"]["seconds"]
    phase = now.phase and replace(now.phase, since=now.phase.since + seconds)
    running = {fold: since + seconds for fold, since in now.running.items()}
    paused = now.paused_seconds + (seconds if now.paused_since is None else 0.0)
    return replace(now, phase=phase, running=running, paused_seconds=paused)


def _waiting(now: Now, at: float) -> Now:
    """Paused or held, from the first of the two on."""
    return replace(now, paused_since=at if now.paused_since is None else now.paused_since)


def _going(now: Now, at: float) -> Now:
    """Neither paused nor held."""
    paused = 0.0 if now.paused_since is None else at - now.paused_since
    return replace(now, paused_since=None, paused_seconds=now.paused_seconds + paused)


def _stopping(now: Now, event: Row) -> Now:
    return replace(_going(now, event["at"]), mode="stopping", held="")


def _run_ended(now: Now, event: Row) -> Now:
    data = event["data"]
    return replace(
        _idle(_going(now, event["at"])),
        mode="ended",
        held="",
        outcome=data["status"],
        reason=data["reason"],
        ended_at=event["at"],
    )


def _idle(now: Now) -> Now:
    return replace(now, phase=None, experiment=None, folds_done=0, running={}, fold_seconds=())


def _round_began(now: Now, event: Row) -> Now:
    return replace(_idle(now), round=event["round"], phases=now.phases if now.round == event["round"] else ())


def _round_over(now: Now, _event: Row) -> Now:
    return _idle(now)


def _phase_started(now: Now, event: Row) -> Now:
    data = event["data"]
    phase = fit(PhaseNow(data["phase"], data["role"], data["model"], data["attempt"], event["at"]))
    return replace(now, phase=phase)


def _phase_done(now: Now, event: Row) -> Now:
    data = event["data"]
    done = fit(PhaseDone(data["phase"], data["role"], data["outcome"], data["line"]))
    return replace(now, phase=None, phases=(*now.phases, done))


def _experiment_started(now: Now, event: Row) -> Now:
    data = event["data"]
    return replace(now, experiment=data["experiment"], folds_done=data["done"], running={}, fold_seconds=(), phase=None)


def _fold_started(now: Now, event: Row) -> Now:
    return replace(now, running={**now.running, event["data"]["fold"]: event["at"]})


def _fold_done(now: Now, event: Row) -> Now:
    data = event["data"]
    running = {fold: since for fold, since in now.running.items() if fold != data["fold"]}
    seconds = (*now.fold_seconds, data["seconds"]) if data["status"] == "ok" else now.fold_seconds
    return replace(now, running=running, folds_done=data["done"], fold_seconds=seconds)


def _experiment_done(now: Now, _event: Row) -> Now:
    return replace(now, experiment=None, folds_done=0, running={}, fold_seconds=())


_MOVES: Mapping[str, Callable[[Now, Row], Now]] = {
    "run_started": _run_started,
    "try_started": _run_started,
    "command": _command,
    "stopping": _stopping,
    "held": _held,
    "released": _released,
    "slept": _slept,
    "run_ended": _run_ended,
    "try_ended": _run_ended,
    "round_started": _round_began,
    "round_resumed": _round_began,
    "round_done": _round_over,
    "phase_started": _phase_started,
    "phase_done": _phase_done,
    "experiment_started": _experiment_started,
    "fold_started": _fold_started,
    "fold_done": _fold_done,
    "experiment_done": _experiment_done,
}

FOLLOWED = tuple(_MOVES)
"""Kinds that move ``Now``; of those not in ``OF_A_RUN`` only the last round's matter."""
