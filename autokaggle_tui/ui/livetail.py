"""The tail of live.db: what agents say and experiments print. The file may vanish or be replaced at any time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.text import clean

ROLES: Final = ("researcher", "builder", "reviewer")
KEPT: Final = 400
"""Rows of each role that are shown of what was said before."""
KEPT_LOGS: Final = 2_000
MOST_BEHIND: Final = 4_000
"""Further behind than this, rows are skipped."""
WINDOW: Final = 10_000
"""Rows that one statement looks through, so that none takes long."""


@dataclass(frozen=True)
class StreamRow:
    """A piece of what a role said or did.

    Attributes:
        kind: ``phase`` (one begins), ``text`` and ``reasoning`` (deltas, which may hold newlines), ``call``,
            ``result``, ``answer``, ``unfit`` (why an answer was asked for again), ``skipped`` (how much is not shown).
    """

    at: float
    round: int | None
    role: str
    kind: str
    text: str


@dataclass(frozen=True)
class LogRow:
    """A line that an experiment printed; folds count from 0."""

    at: float
    experiment: str
    fold: int
    text: str


class LiveTail:
    """Reads live.db on from where it stopped.

    Attributes:
        running: The experiment whose earlier lines are read too when the file is opened first.
    """

    def __init__(self, path: Path) -> None:
        self.running: str | None = None
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._first = True
        self._streamed = 0
        self._logged = 0

    def close(self) -> None:
        """Close the connection; the next read goes on where this one stopped if the file is still the same."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def read(self, *, check: bool) -> tuple[tuple[StreamRow, ...], tuple[LogRow, ...]]:
        """What is new.

        Args:
            check: Look whether the file is still the same one, and open one that came.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        if check and self._connection is not None and identity(self._path) != self._file:
            self.close()
        if self._connection is None and check:
            self._connection = self._open()
        if self._connection is None:
            return (), ()
        newest, newest_log = _newest(self._connection, "stream"), _newest(self._connection, "logs")
        if newest < self._streamed or newest_log < self._logged:
            # The ids began anew in the same file.
            self._streamed = self._logged = 0
        if self._first:
            self._logged = self._before_the_experiment(self._connection, newest_log)
        streamed = self._stream(self._connection, newest)
        self._first = False
        return streamed, self._logs(self._connection, newest_log)

    def _open(self) -> sqlite3.Connection | None:
        file = identity(self._path)
        if file is None:
            return None
        # Unlike a plain connect this never makes the file; a read-only one could not roll back a hot journal.
        where = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(where, uri=True, timeout=1, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.text_factory = decoded
        connection.execute("PRAGMA query_only = ON")
        if file != self._file:
            self._file, self._streamed, self._logged = file, 0, 0
        return connection

    def _stream(self, connection: sqlite3.Connection, newest: int) -> tuple[StreamRow, ...]:
        behind = newest - self._streamed
        if behind == 0:
            return ()
        if self._first or behind > MOST_BEHIND:
            found = self._recent(connection, newest)
            skipped = [] if self._first else self._skipped(connection, newest, found)
            self._streamed = newest
            return (*skipped, *(_stream_row(row) for row in found))
        rows = connection.execute("SELECT * FROM stream WHERE id > ? ORDER BY id", [self._streamed]).fetchall()
        self._streamed = rows[-1]["id"] if rows else newest
        return tuple(_stream_row(row) for row in rows)

    def _recent(self, connection: sqlite3.Connection, newest: int) -> list[sqlite3.Row]:
        """The last rows of each role, in order."""
        found: list[sqlite3.Row] = []
        for role in ROLES:
            wanted = KEPT
            for low, high in _windows(self._streamed, newest):
                sql = "SELECT * FROM stream WHERE id > ? AND id <= ? AND role = ? ORDER BY id DESC LIMIT ?"
                rows = connection.execute(sql, [low, high, role, wanted]).fetchall()
                found += rows
                wanted -= len(rows)
                if wanted == 0:
                    break
        return sorted(found, key=lambda row: int(row["id"]))

    def _skipped(self, connection: sqlite3.Connection, newest: int, shown: list[sqlite3.Row]) -> list[StreamRow]:
        """For each role a row that says how many are not shown."""
        counts = dict.fromkeys(ROLES, 0)
        for low, high in _windows(self._streamed, newest):
            sql = "SELECT role, count(*) AS rows FROM stream WHERE id > ? AND id <= ? GROUP BY role"
            for row in connection.execute(sql, [low, high]).fetchall():
                counts[row["role"]] = counts.get(row["role"], 0) + row["rows"]
        for row in shown:
            counts[row["role"]] -= 1
        at = shown[0]["at"] if shown else 0.0
        return [
            StreamRow(at, None, role, "skipped", f"{count:,} pieces skipped") for role, count in counts.items() if count
        ]

    def _before_the_experiment(self, connection: sqlite3.Connection, newest: int) -> int:
        """The last log row that is of no interest to a viewer that begins to look."""
        sql = "SELECT min(id) FROM logs WHERE id > ? AND experiment = ?"
        first = connection.execute(sql, [newest - WINDOW, self.running]).fetchone()[0]
        return newest if first is None else int(first) - 1

    def _logs(self, connection: sqlite3.Connection, newest: int) -> tuple[LogRow, ...]:
        behind = newest - self._logged
        if behind == 0:
            return ()
        skipped = behind - KEPT_LOGS if behind > MOST_BEHIND else 0
        sql = "SELECT * FROM logs WHERE id > ? ORDER BY id"
        rows = connection.execute(sql, [self._logged + skipped]).fetchall()
        self._logged = rows[-1]["id"] if rows else newest
        told = [LogRow(row["at"], row["experiment"], row["fold"], row["text"]) for row in rows]
        if skipped and told:
            first = told[0]
            told.insert(0, LogRow(first.at, first.experiment, first.fold, f"… {skipped:,} lines skipped"))
        return tuple(told)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None when there is none.

    While somebody holds the old file open, its number is not given to another.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def decoded(text: bytes) -> str:
    """Text of a database, for a person to read: whatever its bytes are, nothing in it can move a cursor."""
    said = text.decode("utf-8", errors="replace")
    return said if said.isprintable() else clean(said)


def _windows(low: int, high: int) -> Iterator[tuple[int, int]]:
    """Spans of ids (exclusive, inclusive) that cover ``low`` to ``high``, the newest first."""
    while high > low:
        below = max(high - WINDOW, low)
        yield below, high
        high = below


def _newest(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])


def _stream_row(row: sqlite3.Row) -> StreamRow:
    return StreamRow(row["at"], row["round"], row["role"], row["kind"], row["text"])
