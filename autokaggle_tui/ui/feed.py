"""The feed: a thread that tails autokaggle.db and live.db for a viewer.

The journal mode may be TRUNCATE, where a reader keeps the engine from committing: everything is read in single
short statements, and nothing is read at all while the viewer does not take what is waiting.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autokaggle_tui.failures import explain, record_bug
from autokaggle_tui.loading import load_state
from autokaggle_tui.state import Row, State
from autokaggle_tui.ui.livetail import LiveTail, LogRow, StreamRow, decoded, identity
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError
from experiments.schema import decode, open_viewer
from experiments.text import clean, one_line

__all__ = ["Batch", "Feed", "LogRow", "StreamRow"]

LOOK_SECONDS: Final = 0.5
"""How often files and the engine's lock are looked at."""
EVENTS_AT_ONCE: Final = 500
MOST_EVENTS: Final = 5_000
"""Further behind than this, the state is read anew."""
MOST_WAITING: Final = 16
JOIN_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Batch:
    """What is new since the batch before.

    Attributes:
        state: Where to start anew: of the first batch, of one after the registry was replaced, and of one after the
            viewer fell far behind; the events of this and later batches follow it.
        events: Rows of the event log, in order, data decoded.
        pid: Who holds the engine's lock.
        problem: Why the registry cannot be read now, or an empty string.
    """

    state: State | None = None
    events: tuple[Row, ...] = ()
    streamed: tuple[StreamRow, ...] = ()
    logged: tuple[LogRow, ...] = ()
    pid: int | None = None
    problem: str = ""


class Feed:
    """Follows a workspace from a thread of its own.

    Args:
        interval: Seconds between two looks at the databases.
        patience: Seconds that something may be wrong before it is told: an engine that starts makes its registry
            step by step.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        interval: float = 0.08,
        patience: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._interval = interval
        self._patience = patience
        self._clock = clock
        self._facts = _Facts(workspace.facts)
        self._live = LiveTail(workspace.live)
        self._batches: list[Batch] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pid: int | None = None
        self._problem = ""
        self._wrong = ""
        self._wrong_since = 0.0
        self._looked = float("-inf")
        self._silent = True

    def start(self) -> None:
        """Begin to follow."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._follow, name="feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close the databases."""
        self._stopping.set()
        if self._thread is None:
            self._close()
        else:
            self._thread.join(JOIN_SECONDS)
            self._thread = None

    def drain(self) -> list[Batch]:
        """What came since the last call, oldest first; empty when nothing changed."""
        with self._lock:
            batches, self._batches = self._batches, []
        return batches

    def _follow(self) -> None:
        try:
            while not self._stopping.is_set():
                self.look()
                self._stopping.wait(self._interval)
        finally:
            self._close()

    def _close(self) -> None:
        self._facts.close()
        self._live.close()

    def look(self) -> None:
        """Read what is new and keep it for :meth:`drain`; the thread does it time and again."""
        with self._lock:
            if len(self._batches) >= MOST_WAITING:
                return
        now = self._clock()
        due = now - self._looked >= LOOK_SECONDS
        pid, wrong = self._pid, self._wrong
        state: State | None = None
        events: tuple[Row, ...] = ()
        streamed: tuple[StreamRow, ...] = ()
        logged: tuple[LogRow, ...] = ()
        try:
            if due:
                self._looked = now
                pid = self._workspace.engine_pid()
            # What failed is tried again when it is due: opening reads more than going on.
            if due or self._facts.connected:
                state, events = self._facts.read(check=due)
                wrong = ""
            if state is not None:
                self._live.running = state.now.experiment
            if self._facts.opened:
                streamed, logged = self._stream(due)
        except AutokaggleError as error:
            wrong = one_line(str(error))
        except Exception as error:  # noqa: BLE001 - above a thread there is nobody whom an exception would reach
            wrong = self._explained(error)
        problem = self._told(wrong, now)
        changed = state is not None or events or streamed or logged
        # The first look is told also when there is nothing to see.
        first, self._silent = self._silent and not wrong, self._silent and bool(wrong)
        if changed or first or (pid, problem) != (self._pid, self._problem):
            with self._lock:
                self._batches.append(Batch(state, events, streamed, logged, pid, problem))
        self._pid, self._problem = pid, problem

    def _stream(self, due: bool) -> tuple[tuple[StreamRow, ...], tuple[LogRow, ...]]:
        """Rows of live.db, which is disposable: what is wrong with it passes, or the engine makes a new one."""
        try:
            return self._live.read(check=due)
        except sqlite3.Error:
            self._live.close()
            return (), ()

    def _told(self, wrong: str, now: float) -> str:
        """What is wrong, once it has been so for a while."""
        if bool(wrong) != bool(self._wrong):
            self._wrong_since = now
        self._wrong = wrong
        return wrong if wrong and now - self._wrong_since >= self._patience else ""

    def _explained(self, error: Exception) -> str:
        root = self._workspace.root
        known = explain(error, root)
        if known is not None:
            return one_line(str(known))
        # Told again and again it would fill the log.
        return self._wrong if self._wrong.startswith("this is a bug") else one_line(record_bug(error, root))


class _Facts:
    """The registry, read up to the last event.

    Attributes:
        opened: There was one, now or earlier.
    """

    def __init__(self, path: Path) -> None:
        self.opened = False
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._last = 0

    @property
    def connected(self) -> bool:
        """Whether it could be read the last time."""
        return self._connection is not None

    def close(self) -> None:
        """Close the connection; the next read starts anew."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def read(self, *, check: bool) -> tuple[State | None, tuple[Row, ...]]:
        """(a state to start from, or None; the events since).

        Args:
            check: Look whether the registry is still the same file, and was not set back.

        Raises:
            RegistryError: It is gone, or of another version.
            sqlite3.Error: It is damaged.
        """
        if check and self._connection is not None and identity(self._path) != self._file:
            self.close()
        if self._connection is None:
            return (self._open(), ()) if self.opened or self._path.exists() else (None, ())
        try:
            return self._events(self._connection, check)
        except sqlite3.OperationalError as error:
            if _busy(error):
                return None, ()
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def _open(self) -> State:
        file = identity(self._path)
        self._connection = connection = open_viewer(self._path)
        try:
            # Whoever waits longer than this looks again later, and can be stopped in between.
            connection.execute("PRAGMA busy_timeout = 1000")
            connection.text_factory = decoded
            state = load_state(connection)
        except BaseException:
            self.close()
            raise
        # The inode of an open file is not given to another one, so this stays good until the connection is closed.
        self._file, self._last, self.opened = file, state.last_id, True
        return state

    def _events(self, connection: sqlite3.Connection, check: bool) -> tuple[State | None, tuple[Row, ...]]:
        if check:
            newest = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
            if not 0 <= newest - self._last <= MOST_EVENTS:
                state = load_state(connection)
                self._last = state.last_id
                return state, ()
        rows: Sequence[sqlite3.Row] = connection.execute(
            "SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?", (self._last, EVENTS_AT_ONCE)
        ).fetchall()
        if rows:
            self._last = rows[-1]["id"]
        return None, tuple(_event(row) for row in rows)


def _event(row: sqlite3.Row) -> Row:
    return {key: _readable(value) for key, value in decode(row).items()}


def _readable(value: Any) -> Any:
    """A value out of JSON, which may hold control characters in disguise, with its text cleaned."""
    if isinstance(value, str):
        return value if value.isprintable() else clean(value)
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
