"""live.db: tokens and log lines for whoever watches; disposable, written in batches."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Any

from experiments.redaction import hide
from experiments.schema import open_live

FLUSH_SECONDS = 0.1
KEPT_ROWS = 200_000
MOST_WAITING = 20_000


class Live:
    """Collects rows and writes them ten times a second at most.

    Nothing here is a fact: rows that cannot be written (a full disk) are dropped, and the loop goes on.
    Adjacent deltas of one role and kind are merged into one row.
    """

    def __init__(self, path: Path | None) -> None:
        """Begin with what is there; None keeps nothing, for where nobody watches."""
        self._connection = open_live(Path(":memory:") if path is None else path)
        self._stream: list[list[Any]] = []
        self._logs: list[tuple[Any, ...]] = []
        self._flushed = time.monotonic()

    def say(self, role: str, kind: str, text: str, *, round: int | None = None) -> None:
        """A piece of text, reasoning or tool use of a role."""
        text = hide(text)
        last = self._stream[-1] if self._stream else None
        if last is not None and kind in ("text", "reasoning") and last[1:4] == [round, role, kind]:
            # Pieces of an answer: what was cut in two is whole only now.
            last[4] = hide(last[4] + text)
        else:
            self._stream.append([time.time(), round, role, kind, text])
        self._maybe_flush()

    def log(self, experiment: str, fold: int, text: str) -> None:
        """A line an experiment printed."""
        self._logs.append((time.time(), experiment, fold, hide(text)))
        self._maybe_flush()

    def flush(self) -> None:
        """Write what is waiting, and forget the oldest rows."""
        self._flushed = time.monotonic()
        if not self._stream and not self._logs:
            return
        streamed, self._stream = self._stream, []
        logged, self._logs = self._logs, []
        try:
            self._write(streamed, logged)
        except sqlite3.DatabaseError as error:
            with contextlib.suppress(sqlite3.DatabaseError):
                self._connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                # Somebody reads: the rows wait for the next flush.
                self._stream = [*streamed, *self._stream][-MOST_WAITING:]
                self._logs = [*logged, *self._logs][-MOST_WAITING:]

    def close(self) -> None:
        """Write what is waiting and close."""
        self.flush()
        self._connection.close()

    def _write(self, streamed: list[list[Any]], logged: list[tuple[Any, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO stream (at, round, role, kind, text) VALUES (?, ?, ?, ?, ?)", streamed
        )
        self._connection.executemany("INSERT INTO logs (at, experiment, fold, text) VALUES (?, ?, ?, ?)", logged)
        for table in ("stream", "logs"):
            self._connection.execute(f"DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?", [KEPT_ROWS])
        self._connection.execute("COMMIT")

    def _maybe_flush(self) -> None:
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()
