"""What the registry says, read in one go: the state a viewer starts from, and what ``rounds`` and ``show`` print.

Standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

from autokaggle_tui.fitting import MALFORMED, Record, fit
from autokaggle_tui.pruning import Prunable, prunable
from autokaggle_tui.reducing import FOLLOWED, KEPT_NOTICES, KEPT_VERDICTS, OF_A_RUN, reduce_now
from autokaggle_tui.standing import FACT, Board, board_from
from autokaggle_tui.state import (
    Call,
    Notice,
    Now,
    Result,
    Spent,
    State,
    Submission,
    Waiting,
    call_of,
    result_of,
    submission_of,
    verdict_of,
    waiting_of,
)
from autokaggle_tui.workspace import Workspace, round_name, round_number
from experiments.errors import RegistryError, UsageError
from experiments.schema import Row, decode, open_viewer

RESULTS = """
    SELECT r.round AS number, r.status AS round_status, r.kind AS round_kind, r.family AS round_family,
           r.idea AS round_idea, r.started_at AS round_started, r.ended_at AS round_ended, e.*,
           s.public_score AS lb, c.cost, c.calls - c.priced AS unpriced
    FROM ({rounds}) r {join} JOIN experiments e ON {on}
    LEFT JOIN (SELECT experiment, public_score, max(id) FROM submissions WHERE state = 'accepted' GROUP BY experiment) s
           ON s.experiment = e.id
    LEFT JOIN (SELECT round, sum(cost) AS cost, count(cost) AS priced, count(*) AS calls FROM calls GROUP BY round) c
           ON c.round = r.round
"""


def load_state(connection: sqlite3.Connection) -> State:
    """The state as of the last committed event, in one read transaction.

    Args:
        connection: From ``experiments.schema.open_viewer``.
    """
    connection.execute("BEGIN")
    try:
        champion = connection.execute("SELECT experiment FROM champion").fetchone()
        spent, by_role = _spent(connection)
        return State(
            last_id=connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0],
            now=_now(connection),
            results=_results(connection),
            champion=champion and champion["experiment"],
            verdicts=_verdicts(connection),
            bound=_bound(connection),
            submissions={sent.id: sent for sent in _submissions(connection)},
            queue={item.experiment: item for item in _queue(connection)},
            board=_board(connection),
            spent=spent,
            by_role=by_role,
            calls=_last_calls(connection),
            notices=_notices(connection),
        )
    finally:
        connection.execute("COMMIT")


def _rows(connection: sqlite3.Connection, sql: str, parameters: Iterable[Any] = ()) -> list[Row]:
    return [decode(row) for row in connection.execute(sql, tuple(parameters))]


def _one(connection: sqlite3.Connection, sql: str, parameters: Iterable[Any] = ()) -> Row | None:
    rows = _rows(connection, sql, parameters)
    return rows[0] if rows else None


def _sound(make: Callable[[Row], Record], rows: Iterable[Row]) -> list[Record]:
    """What can be made of rows; malformed ones are left out."""
    made = []
    for row in rows:
        with contextlib.suppress(*MALFORMED):
            made.append(make(row))
    return made


def _now(connection: sqlite3.Connection) -> Now:
    """Follow the few events that say where the run stands: what concerns it as a whole, and the last round."""
    marks = ", ".join("?" * len(OF_A_RUN))
    run = "SELECT coalesce(max(id), 0) FROM events WHERE kind IN ('run_started', 'try_started')"
    last = "SELECT coalesce(max(id), 0) FROM events WHERE kind = 'round_started'"
    events = _rows(
        connection,
        f"SELECT * FROM events WHERE (id >= ({run}) AND kind IN ({marks})) "
        f"OR (id >= ({last}) AND kind IN ({', '.join('?' * len(FOLLOWED))})) ORDER BY id",
        (*OF_A_RUN, *FOLLOWED),
    )
    return functools.reduce(reduce_now, events, Now())


def _results(connection: sqlite3.Connection) -> dict[str, Result]:
    """Every round, and every experiment without one, in the order they began."""
    found = [
        *connection.execute(
            RESULTS.format(rounds="SELECT * FROM rounds", join="LEFT", on="e.round = r.round AND e.source = 'round'")
        ),
        *connection.execute(
            RESULTS.format(
                rounds="SELECT NULL AS round, '' AS status, '' AS kind, '' AS family, '' AS idea, NULL AS started_at, "
                "NULL AS ended_at",
                join="",
                on="e.source != 'round'",
            )
        ),
    ]
    results = _sound(_result, map(decode, found))
    return {result.name: result for result in sorted(results, key=lambda result: (result.started_at, result.name))}


def _result(row: Row) -> Result:
    cost = 0.0 if row["unpriced"] is None else None if row["unpriced"] else row["cost"]
    if row["id"] is not None:
        started = row["started_at"] if row["round_started"] is None else row["round_started"]
        return result_of(row | {"name": row["id"], "started_at": started, "cost": cost})
    opened = Result(
        name=round_name(row["number"]),
        round=row["number"],
        kind=row["round_kind"],
        family=row["round_family"],
        idea=row["round_idea"],
        status=row["round_status"],
        cost=cost,
        started_at=row["round_started"],
        ended_at=row["round_ended"],
    )
    return fit(opened)


def _verdicts(connection: sqlite3.Connection) -> tuple[Any, ...]:
    rows = _rows(connection, f"SELECT * FROM verdicts ORDER BY id DESC LIMIT {KEPT_VERDICTS}")
    return tuple(_sound(verdict_of, reversed(rows)))


def _submissions(connection: sqlite3.Connection) -> list[Submission]:
    return _sound(submission_of, _rows(connection, "SELECT * FROM submissions"))


def _queue(connection: sqlite3.Connection) -> list[Waiting]:
    return _sound(waiting_of, _rows(connection, "SELECT * FROM queue ORDER BY at, rowid"))


def _board(connection: sqlite3.Connection) -> Board | None:
    row = connection.execute("SELECT value FROM facts WHERE key = ?", [FACT]).fetchone()
    return None if row is None else board_from(row["value"])


def _bound(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    bound: dict[str, dict[str, int]] = {}
    counted = "SELECT rule, verdict, count(*) AS times FROM verdicts WHERE rule IS NOT NULL GROUP BY rule, verdict"
    for row in connection.execute(counted):
        bound.setdefault(row["rule"], {})[row["verdict"]] = row["times"]
    return bound


def _spent(connection: sqlite3.Connection) -> tuple[Spent, dict[str, Spent]]:
    """What all model calls used, and those of each role."""
    rows = _rows(
        connection,
        "SELECT role, count(*) AS calls, count(cost) AS priced, sum(input_tokens) AS input, "
        "sum(output_tokens) AS output, sum(cost) AS cost, sum(retries) AS retries, sum(asked != '') AS fallbacks, "
        "sum(cached_tokens) AS cached, max(estimated) AS estimated FROM calls GROUP BY role",
    )
    by_role = dict(_sound(_spent_by, rows))
    return functools.reduce(Spent.joined, by_role.values(), Spent()), by_role


def _spent_by(row: Row) -> tuple[str, Spent]:
    cost = row["cost"] if row["priced"] == row["calls"] else None
    told = (row["retries"], row["fallbacks"], row["cached"], bool(row["estimated"]))
    return str(row["role"]), fit(Spent(row["calls"], row["input"], row["output"], cost, *told))


def _last_calls(connection: sqlite3.Connection) -> dict[str, Call]:
    rows = _rows(connection, "SELECT * FROM calls WHERE id IN (SELECT max(id) FROM calls GROUP BY role) ORDER BY id")
    return dict(_sound(lambda row: (str(row["role"]), call_of(row)), rows))


def _notices(connection: sqlite3.Connection) -> tuple[Notice, ...]:
    rows = _rows(
        connection,
        "SELECT at, kind, data FROM events WHERE kind IN ('warning', 'note', 'learned') "
        f"ORDER BY id DESC LIMIT {KEPT_NOTICES}",
    )
    return tuple(_sound(lambda row: fit(Notice(row["at"], row["kind"], row["data"]["text"])), reversed(rows)))


def load_prunable(workspace: Workspace) -> list[Prunable]:
    """Predictions that can never matter again, oldest first; the keys are those of ``prune --json``."""
    connection = open_viewer(workspace.facts)
    try:
        return prunable(lambda sql: _rows(connection, sql), workspace.rounds)
    finally:
        connection.close()


def load_rounds(workspace: Workspace) -> list[Row]:
    """One row per experiment, oldest first; the keys are those of ``rounds --json``."""
    connection = open_viewer(workspace.facts)
    try:
        return _intact(workspace, _rows(connection, "SELECT * FROM results"))
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

    def rows(sql: str, parameters: Iterable[Any]) -> list[Row]:
        return _intact(workspace, _rows(connection, sql, parameters))

    try:
        number = round_number(name)
        wanted = round_name(number) if number is not None else name
        experiment = _one(connection, "SELECT * FROM experiments WHERE id = ?", (wanted,))
        played = _one(connection, "SELECT * FROM rounds WHERE round = ?", (number,)) if number is not None else None
        if experiment is None and played is None:
            known = [row["id"] for row in _rows(connection, "SELECT id FROM experiments ORDER BY started_at")]
            raise UsageError(
                f"there is no round or experiment {name!r} in {workspace.root}.",
                hint=f"The last ones: {', '.join(known[-12:])}." if known else "There are none yet.",
            )
        _intact(workspace, [row for row in (experiment, played) if row is not None])
        return {
            "id": wanted,
            "round": played,
            "experiment": experiment,
            "folds": rows(
                "SELECT fold, status, score, seconds, error FROM folds WHERE experiment = ? ORDER BY fold",
                (wanted,),
            ),
            "predictions": _one(
                connection, "SELECT oof, test, pruned_at FROM predictions WHERE experiment = ?", (wanted,)
            ),
            "phases": rows(
                "SELECT phase, attempt, role, model, outcome, files, seconds FROM phases WHERE round = ? ORDER BY at",
                (number,),
            ),
            "verdicts": rows(
                "SELECT phase, author, verdict, rule, reason, figures FROM verdicts WHERE round = ? ORDER BY id",
                (number,),
            ),
            "submissions": rows(
                "SELECT state, scoring, public_score, note, file FROM submissions WHERE experiment = ? ORDER BY id",
                (wanted,),
            ),
        }
    finally:
        connection.close()


_NUMBERS = frozenset({"fold", "cv_score", "score", "gain", "t", "rho", "seconds", "lb", "public_score", "ended_at"})
_LISTS = frozenset({"members"})


def _intact(workspace: Workspace, rows: list[Row]) -> list[Row]:
    """The rows themselves.

    Raises:
        RegistryError: A number is none, a text is none, or a blend has no list of members.
    """
    for row in rows:
        for key, value in row.items():
            number = isinstance(value, int | float)
            fits = isinstance(value, str | dict) or number
            if key in _NUMBERS:
                fits = number
            elif key in _LISTS:
                fits = isinstance(value, list) and all(_is_member(item) for item in value)
            if not fits and value is not None:
                raise RegistryError(
                    f"{workspace.facts} is damaged: a row's {key} is {value!r:.60}.", hint="Restore it from a backup."
                )
    return rows


def _is_member(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], int | float)
