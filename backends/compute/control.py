"""The folder of one slot: its supervisor's lock and door, and what it leaves when nobody is there to take it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.compute.messages import Message, Ticket
from experiments.files import remove_tree, write_atomic
from experiments.logtext import tail

PREFIX = "slot-"
DOOR = "door-"
LOCK = "lock"
SAID = "said"
LAST = "exit.json"
RESULT = "result"


@dataclass(frozen=True)
class Left:
    """The end of a fold that nobody took.

    Attributes:
        messages: All that the supervisor had to say, the outcome last.
        result: The file with the predictions.
    """

    ticket: Ticket
    messages: Sequence[Message]
    result: Path


@dataclass(frozen=True)
class ControlFolder:
    """Paths of one slot; no experiment can list this folder, so none can name the door."""

    path: Path

    @classmethod
    def create(cls, root: Path) -> ControlFolder:
        """A new one below ``root``."""
        path = root / f"{PREFIX}{secrets.token_hex(4)}"
        root.mkdir(parents=True, exist_ok=True, mode=0o711)
        # A worker that becomes a user of its own passes through it; nobody but the owner can list it.
        path.mkdir(mode=0o711)
        return cls(path)

    @classmethod
    def all(cls, root: Path) -> list[ControlFolder]:
        """Those that are there."""
        return [cls(path) for path in sorted(root.glob(f"{PREFIX}*"))] if root.is_dir() else []

    @property
    def marker(self) -> str:
        """What the slot's processes carry in their environment."""
        return self.path.name

    @property
    def said(self) -> Path:
        """What the supervisor printed."""
        return self.path / SAID

    def words(self) -> str:
        """The end of what the supervisor printed."""
        try:
            with self.said.open("rb") as file:
                return tail(file)
        except OSError:
            return ""

    def lock(self) -> int | None:
        """Take the supervisor's lock: a descriptor that holds it, with all its copies; None when it is taken."""
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def held(self) -> bool:
        """Whether a supervisor is alive."""
        try:
            descriptor = self.lock()
        except FileNotFoundError:
            return False
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def owner(self) -> int | None:
        """The supervisor's pid, as it wrote it down; believe it only while the lock is held."""
        try:
            return int((self.path / LOCK).read_text())
        except (OSError, ValueError):
            return None

    def listen(self) -> socket.socket:
        """The door, opened under a name that cannot be guessed."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with self._reachable() as place:
            door.bind(f"{place}/{DOOR}{secrets.token_hex(6)}")
        door.listen(4)
        return door

    def connect(self) -> socket.socket | None:
        """A connection to the supervisor; None when nobody listens."""
        for path in self.path.glob(f"{DOOR}*"):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with self._reachable() as place:
                    connection.connect(f"{place}/{path.name}")
            except OSError:
                connection.close()
            else:
                return connection
        return None

    def leave(self, ticket: Ticket, messages: Sequence[Message], result: int) -> None:
        """Write down how a fold ended, for the next engine."""
        with os.fdopen(os.dup(result), "rb") as source:
            source.seek(0)
            write_atomic(self.path / RESULT, lambda file: shutil.copyfileobj(source, file, 1 << 24))
        write_atomic(self.path / LAST, json.dumps({"ticket": ticket.to_json(), "messages": list(messages)}).encode())

    def left(self) -> Left | None:
        """How the last fold ended, if that was written down."""
        try:
            stored = json.loads((self.path / LAST).read_bytes())
            return Left(Ticket(**stored["ticket"]), stored["messages"], self.path / RESULT)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def remove(self) -> None:
        """Remove it with all it holds."""
        remove_tree(self.path)

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[str]:
        """A short name of the folder: the path of a socket may have about a hundred characters."""
        if sys.platform != "linux":
            yield str(self.path)
            return
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
