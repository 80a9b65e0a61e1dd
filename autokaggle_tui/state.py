"""What the registry says right now, for ``status``, ``rounds`` and ``show``. Standard library only."""

from __future__ import annotations

import sqlite3
from typing import Any

from autokaggle_tui.workspace import Workspace, round_name
from experiments.errors import UsageError
from experiments.schema import Row, decode, open_viewer


def _rows(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> list[Row]:
    return [decode(row) for row in connection.execute(sql, parameters)]


def _one(connection: sqlite3.Connection, sql: str, parameters: tuple[Any, ...] = ()) -> Row | None:
    rows = _rows(connection, sql, parameters)
    return rows[0] if rows else None


def load_status(workspace: Workspace) -> Row:
    """The campaign at a glance; the keys are those of ``status --json``.

    Raises:
        RegistryError: Nothing has run here yet.
    """
    pid = workspace.engine_pid()
    connection = open_viewer(workspace.facts)
    try:
        run = _one(connection, "SELECT * FROM runs ORDER BY started_at DESC, rowid DESC LIMIT 1")
        started = _one(
            connection,
            "SELECT id, data FROM events WHERE kind IN ('run_started', 'try_started') ORDER BY id DESC LIMIT 1",
        )
        phase = _one(
            connection,
            "SELECT round, kind, data FROM events WHERE kind IN ('phase_started', 'experiment_started', 'fold_done') "
            "ORDER BY id DESC LIMIT 1",
        )
        champion = _one(connection, "SELECT e.* FROM champion c JOIN experiments e ON e.id = c.experiment")
        counts = dict(
            connection.execute("SELECT status, count(*) FROM experiments GROUP BY status ORDER BY status").fetchall()
        )
        board = _one(
            connection,
            "SELECT experiment, public_score FROM submissions WHERE state = 'accepted' ORDER BY id DESC LIMIT 1",
        )
        submissions = connection.execute("SELECT count(*) FROM submissions WHERE state = 'accepted'").fetchone()[0]
        latest = connection.execute("SELECT max(round) FROM rounds").fetchone()[0]
        verdict = _one(
            connection, "SELECT round, phase, author, verdict, rule, reason FROM verdicts ORDER BY id DESC LIMIT 1"
        )
        since = _rows(
            connection,
            "SELECT kind, data FROM events WHERE kind IN ('command', 'stopping', 'run_ended') AND id > ? ORDER BY id",
            (started["id"] if started else 0,),
        )
    finally:
        connection.close()
    if pid is None and "running" in counts:
        counts["unfinished"] = counts.pop("running")
    about = started["data"] if started else {}
    state = "not running" if pid is None else _state(since)
    return {
        "workspace": str(workspace.root),
        "state": state,
        "engine": {"running": pid is not None, "pid": pid, "paused": state == "paused"},
        "competition": about.get("competition"),
        "metric": about.get("metric"),
        "direction": about.get("direction"),
        "folds": about.get("folds"),
        "run": None
        if run is None
        else {
            "id": run["id"],
            "status": run["status"] if pid is not None or run["status"] != "running" else "interrupted",
            "reason": run["reason"],
            "rounds": run["rounds"],
            "first_round": run["first_round"],
            "time_limit": run["time_limit"],
            "elapsed": run["elapsed"],
        },
        "round": latest,
        "doing": _doing(phase) if pid is not None else "",
        "champion": None
        if champion is None
        else {key: champion[key] for key in ("id", "kind", "family", "score", "gain", "t")},
        "experiments": counts,
        "leaderboard": board,
        "submissions": submissions,
        "verdict": verdict,
    }


def _state(events: list[Row]) -> str:
    """``running``, ``paused`` or ``stopping``, from what was told since this process began its run or ``try``."""
    state = "running"
    for event in events:
        verb = event["data"].get("verb") if event["data"].get("state") == "done" else None
        if event["kind"] in ("stopping", "run_ended") or verb == "stop":
            return "stopping"
        if verb in ("pause", "resume"):
            state = "paused" if verb == "pause" else "running"
    return state


def _doing(event: Row | None) -> str:
    if event is None:
        return ""
    data, name = event["data"], round_name(event["round"]) if event["round"] is not None else ""
    if event["kind"] == "phase_started":
        return f"{name} {data['phase']} ({data['role']}, {data['model']})"
    if event["kind"] == "fold_done":
        return f"{data['experiment']}: {data['done']} of {data['folds']} folds"
    return f"{data['experiment']} runs ({data['family']})"


def load_rounds(workspace: Workspace) -> list[Row]:
    """One row per experiment, oldest first; the keys are those of ``rounds --json``."""
    connection = open_viewer(workspace.facts)
    try:
        return _rows(connection, "SELECT * FROM results")
    finally:
        connection.close()


def load_round(workspace: Workspace, name: str) -> Row:
    """Everything about one experiment or round; the keys are those of ``show --json``.

    Args:
        name: ``R07``, ``7``, ``B01`` or an imported name.

    Raises:
        UsageError: There is no such round or experiment.
    """
    connection = open_viewer(workspace.facts)
    try:
        number = int(name.lstrip("Rr")) if name.lstrip("Rr").isdigit() else None
        wanted = round_name(number) if number is not None else name
        experiment = _one(connection, "SELECT * FROM experiments WHERE id = ?", (wanted,))
        played = _one(connection, "SELECT * FROM rounds WHERE round = ?", (number,)) if number is not None else None
        if experiment is None and played is None:
            known = [row["id"] for row in _rows(connection, "SELECT id FROM experiments ORDER BY started_at")]
            raise UsageError(
                f"there is no round or experiment {name!r} in {workspace.root}.",
                hint=f"The last ones: {', '.join(known[-12:])}." if known else "There are none yet.",
            )
        return {
            "id": wanted,
            "round": played,
            "experiment": experiment,
            "folds": _rows(
                connection,
                "SELECT fold, status, score, seconds, error FROM folds WHERE experiment = ? ORDER BY fold",
                (wanted,),
            ),
            "phases": _rows(
                connection,
                "SELECT phase, attempt, role, model, outcome, files, seconds FROM phases WHERE round = ? ORDER BY at",
                (number,),
            ),
            "verdicts": _rows(
                connection,
                "SELECT phase, author, verdict, rule, reason FROM verdicts WHERE round = ? ORDER BY id",
                (number,),
            ),
            "submissions": _rows(
                connection,
                "SELECT state, public_score, note, file FROM submissions WHERE experiment = ? ORDER BY id",
                (wanted,),
            ),
        }
    finally:
        connection.close()
