"""The registry: every fact of a campaign in one SQLite file, written by the engine alone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from experiments.redaction import armed
from experiments.schema import Row, decode, open_facts, open_viewer

if TYPE_CHECKING:
    from experiments.correlation import Closeness

BUSY_MILLISECONDS = 1000
"""How long SQLite waits for a busy file by itself; then ``on_wait`` is called, and it is tried again."""

Clock = Callable[[], float]


class _Facts(Database):  # type: ignore[misc]
    """sqlite-utils, told what it would find out by writing.

    It takes a full disk for a SQLite without ``ON CONFLICT``, and from then on its upserts drop rows without a word.
    """

    @property
    def supports_on_conflict(self) -> bool:
        """Every SQLite since 3.24 does, and so every Python that runs this."""
        return True


class Registry:
    """Facts in, rows out; the values of known secrets never go in.

    Every write happens in a transaction begun ``IMMEDIATE``; calls that belong together are wrapped in
    :meth:`transaction`, so that an effect and the event that tells of it become visible at once.

    Attributes:
        on_event: Called with each event row after its transaction has committed.
        on_wait: Called about every second while another program keeps a statement from the file, with the seconds so
            far. Somebody who only looks is no reason to end a run; what it raises does.
        looking: The facts are another program's to write: events are told and not kept, SQLite refuses the rest.
    """

    def __init__(self, path: Path, *, clock: Clock = time.time, looking: bool = False) -> None:
        self.path = path
        self.looking = looking
        self._clock = clock
        self._now: float | None = None
        self.run: str | None = None
        self.on_event: Callable[[Row], None] = lambda _row: None
        self.on_wait: Callable[[float], None] = lambda _seconds: None
        self._connection = open_viewer(path) if looking else open_facts(path)
        self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        self._db = _Facts(self._connection)
        self._pending: list[Row] = []

    def clock(self) -> float:
        """The time, in Unix seconds; within a transaction always the same, so what belongs together agrees."""
        if not self._connection.in_transaction:
            return self._clock()
        if self._now is None:
            self._now = self._clock()
        return self._now

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.clock(), UTC)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, the outermost decides."""
        if self._connection.in_transaction:
            yield
            return
        self._patiently("BEGIN IMMEDIATE")
        self._now = None
        try:
            yield
            self._patiently("COMMIT")
        except BaseException:
            # SQLite itself rolls back on a full disk; a second ROLLBACK would hide the real error.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._pending.clear()
            raise
        told, self._pending = self._pending, []
        for row in told:
            self.on_event(row)

    def _patiently(self, statement: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement, however long somebody else's look at the file takes; a commit may be repeated."""
        began = time.monotonic()
        while True:
            try:
                return self._connection.execute(statement, tuple(parameters))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                self.on_wait(time.monotonic() - began)

    def insert(self, table: str, **row: Any) -> int:
        """Insert a row; dicts and lists become JSON. Returns the rowid."""
        with self.transaction():
            return int(self._db.table(table).insert(armed().hide_all(row)).last_rowid or 0)

    def upsert(self, table: str, **row: Any) -> None:
        """Insert a row or update the one with the same primary key."""
        with self.transaction():
            keys = [name for name in self._db.table(table).pks if name in row]
            self._db.table(table).upsert(armed().hide_all(row), pk=keys[0] if len(keys) == 1 else tuple(keys))

    def replace_all(self, table: str, rows: Sequence[Row]) -> None:
        """Insert many rows at once; each takes the place of one with the same primary key."""
        with self.transaction():
            self._db.table(table).insert_all(rows, replace=True)

    def update(self, table: str, key: str | int | tuple[Any, ...], **changes: Any) -> None:
        """Change columns of the row with this primary key."""
        with self.transaction():
            self._db.table(table).update(key, armed().hide_all(changes))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a writing statement; returns the number of rows it changed."""
        with self.transaction():
            return self._connection.execute(sql, tuple(parameters)).rowcount

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Read rows as dicts, JSON columns decoded."""
        return [decode(row) for row in self._patiently(sql, parameters)]

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row, or None."""
        found = self._patiently(sql, parameters).fetchone()
        return None if found is None else decode(found)

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None."""
        found = self._patiently(sql, parameters).fetchone()
        return None if found is None else found[0]

    def event(self, kind: str, /, *, round: int | None = None, **data: Any) -> None:
        """Append to the event log; listeners hear of it once it is committed."""
        told = armed().hide_all(data)
        if self.looking:
            self.on_event({"id": None, "at": self.clock(), "run": None, "round": round, "kind": kind, "data": told})
            return
        with self.transaction():
            row: Row = {"at": self.clock(), "run": self.run, "round": round, "kind": kind, "data": told}
            row["id"] = self.insert("events", **row)
            self._pending.append(row)

    def fact(self, key: str) -> str | None:
        """A single named value, e.g. ``folds_digest``."""
        found = self.value("SELECT value FROM facts WHERE key = ?", [key])
        return None if found is None else str(found)

    def set_fact(self, key: str, value: str) -> None:
        """Set a single named value."""
        self.upsert("facts", key=key, value=value)

    def experiment(self, name: str) -> Row | None:
        """The experiment with this id, or None."""
        return self.row("SELECT * FROM experiments WHERE id = ?", [name])

    def pool(self) -> list[Row]:
        """Experiments with a complete prediction, blends left out: what a blend may choose from."""
        return self.rows(
            "SELECT e.*, p.oof, p.test FROM experiments e JOIN predictions p ON p.experiment = e.id "
            "WHERE e.in_pool AND e.kind != 'blend' ORDER BY e.rowid"
        )

    def champion(self) -> Row | None:
        """The experiment that leads, blends included; None before the first."""
        return self.row("SELECT e.* FROM champion c JOIN experiments e ON e.id = c.experiment")

    def best_single(self, direction: str) -> Row | None:
        """The best complete model that is no blend and whose folds we can vouch for."""
        order = "DESC" if direction == "maximize" else "ASC"
        return self.row(
            "SELECT * FROM experiments WHERE in_pool AND kind != 'blend' AND source != 'imported' "
            f"ORDER BY score {order}, rowid LIMIT 1"
        )

    def fold_scores(self, experiment: str) -> dict[int, float]:
        """Score of each finished fold, by fold number."""
        rows = self.rows(
            "SELECT fold, score FROM folds WHERE experiment = ? AND status = 'ok' ORDER BY fold", [experiment]
        )
        return {row["fold"]: row["score"] for row in rows if row["score"] is not None}

    def done_phase(self, round: int, phase: str, attempt: int = 1) -> Row | None:
        """The row that says this phase is over, or None."""
        return self.row("SELECT * FROM phases WHERE round = ? AND phase = ? AND attempt = ?", [round, phase, attempt])


def pairs(correlations: Mapping[str, Closeness], experiment: str) -> list[Row]:
    """Rows of the correlations table for one new experiment, each pair in its one order."""
    return [
        {"a": min(experiment, other), "b": max(experiment, other), **asdict(close)}
        for other, close in correlations.items()
    ]
