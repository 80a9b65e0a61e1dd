"""A workspace: the folder of one campaign, its file names, atomic writes and the engine's lock."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import WorkspaceError
from experiments.files import make_folder, sweep_folder, write_atomic


def round_name(number: int) -> str:
    """``R07``, ``R17``, ``R123``: two digits, three from 100 on."""
    return f"R{number:02d}"


def round_number(name: str) -> int | None:
    """7 for ``7``, ``r7`` and ``R07``; None for what names no round."""
    found = re.fullmatch(r"[Rr]?([0-9]{1,6})", name.strip())
    return None if found is None else int(found[1])


def experiment_name(text: str) -> str:
    """An experiment as a person names it: ``R07`` for ``7``, ``r7`` and ``R07``; any other name as it is."""
    number = round_number(text)
    return text.strip() if number is None else round_name(number)


@dataclass(frozen=True)
class Workspace:
    """Paths of one campaign; creating the object touches nothing."""

    root: Path

    @property
    def config(self) -> Path:
        """The person's settings."""
        return self.root / "config.json"

    @property
    def learnings(self) -> Path:
        """The rules, read by people and agents and enforced by code."""
        return self.root / "LEARNINGS.md"

    @property
    def rounds(self) -> Path:
        """What each phase published."""
        return self.root / "rounds"

    @property
    def facts(self) -> Path:
        """The registry."""
        return self.root / "autokaggle.db"

    @property
    def backups(self) -> Path:
        """Copies of the registry, and what was set aside when one of them took its place."""
        return self.root / "backups"

    @property
    def live(self) -> Path:
        """Tokens and log lines; disposable."""
        return self.root / "live.db"

    @property
    def cache(self) -> Path:
        """Columnar data, folds and the predictions of single folds; rebuilt or re-run when missing."""
        return self.root / "cache"

    @property
    def lock(self) -> Path:
        """Held by the one engine of this workspace."""
        return self.root / "engine.lock"

    @property
    def engine_out(self) -> Path:
        """What a detached engine printed since its start."""
        return self.root / "engine.out"

    def file(self, round: int, suffix: str) -> Path:
        """A published file of a round, e.g. ``file(7, "plan.md")``."""
        return self.rounds / f"{round_name(round)}_{suffix}"

    def sweep(self) -> list[Path]:
        """Remove temporary files that a killed engine left; returns what was removed."""
        shallow = [sweep_folder(folder) for folder in (self.root, self.rounds, self.backups)]
        return [*(path for removed in shallow for path in removed), *sweep_folder(self.cache, deep=True)]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the engine's lock.

        Raises:
            WorkspaceError: Another engine holds it; the message names its pid.
        """
        # Viewers never lock: they should not wait for this import.
        from filelock import FileLock, Timeout

        make_folder(self.root)
        lock = FileLock(self.lock, timeout=0.5)
        holder = self.root / "engine.pid"
        try:
            lock.acquire()
        except Timeout:
            pid = self._holder() or "unknown"
            raise WorkspaceError(
                f"another engine (pid {pid}) works in {self.root}.",
                hint="Look with `autokaggle-tui status`, end it with `autokaggle-tui stop`.",
            ) from None
        try:
            write_atomic(holder, f"{os.getpid()}\n".encode())
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def engine_pid(self) -> int | None:
        """The pid of the running engine (0 when it cannot be told), or None when the lock is free.

        Writes nothing, and whoever else looks at the same time is not taken for an engine: looking shares the lock.
        """
        try:
            descriptor = os.open(self.lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            # Without flock on the file system, filelock's file exists only while the lock is held.
            held = error.errno in (errno.EAGAIN, errno.EACCES, errno.ENOSYS)
            return self._holder() if held else None
        finally:
            os.close(descriptor)
        return None

    def _holder(self) -> int:
        try:
            text = (self.root / "engine.pid").read_text().strip()
        except OSError:
            return 0
        return int(text) if text.isdigit() else 0
