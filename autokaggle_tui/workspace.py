"""A workspace: the folder of one campaign, its file names, atomic writes and the engine's lock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.errors import WorkspaceError
from experiments.files import TEMPORARY, write_atomic


def round_name(number: int) -> str:
    """``R07``, ``R17``, ``R123``: two digits, three from 100 on."""
    return f"R{number:02d}"


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

    def file(self, round: int, suffix: str) -> Path:
        """A published file of a round, e.g. ``file(7, "plan.md")``."""
        return self.rounds / f"{round_name(round)}_{suffix}"

    def sweep(self) -> list[Path]:
        """Remove temporary files that a killed engine left; returns what was removed."""
        stray = [path for path in self.rounds.glob(f"{TEMPORARY}*") if path.is_file()]
        stray += [path for path in self.root.glob(f"{TEMPORARY}*") if path.is_file()]
        stray += [path for path in self.cache.rglob(f"{TEMPORARY}*") if path.is_file()]
        for path in stray:
            path.unlink(missing_ok=True)
        return stray

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the engine's lock.

        Raises:
            WorkspaceError: Another engine holds it; the message names its pid.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock, timeout=0.5)
        holder = self.root / "engine.pid"
        try:
            lock.acquire()
        except Timeout:
            pid = holder.read_text().strip() if holder.is_file() else "unknown"
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
        """The pid of the running engine, or None when the lock is free."""
        if not self.lock.exists():
            return None
        lock = FileLock(self.lock, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            holder = self.root / "engine.pid"
            text = holder.read_text().strip() if holder.is_file() else ""
            return int(text) if text.isdigit() else 0
        lock.release()
        return None
