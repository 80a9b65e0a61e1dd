"""What a person is told while another program keeps the engine from its registry. Standard library only."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from experiments.registry import Registry
from experiments.schema import Row
from experiments.text import clean, one_line

TOLD_AFTER = 10.0
TOLD_EVERY = 60.0
LOCKS = Path("/proc/locks")


class Patience:
    """Says who holds the registry: at once to whoever listens, in the registry itself when that can be written again.

    Args:
        after: Seconds of waiting until it is worth a warning.
    """

    def __init__(self, registry: Registry, listener: Callable[[Row], None], *, after: float = TOLD_AFTER) -> None:
        self._registry = registry
        self._listener = listener
        self._after = after
        self._due = after
        self._waited = 0.0
        self._said = ""

    def wait(self, seconds: float) -> None:
        """The engine has waited so long for one statement; called about every second while it does."""
        if seconds < self._waited:
            self._due = self._after
        self._waited = seconds
        if seconds < self._due:
            return
        self._due = seconds + TOLD_EVERY
        path = self._registry.path
        who = " and ".join(holders(path)) or "another program"
        self._said = f"{path.name} was held by {who}: the loop had to wait"
        text = f"{path.name} has been held by {who} for {seconds:.0f} s: until that ends, the loop waits."
        told: Row = {"id": None, "at": time.time(), "run": self._registry.run, "round": None}
        self._listener({**told, "kind": "warning", "data": {"text": text}})

    def beat(self) -> None:
        """Write down that there was a wait, now that it is over."""
        if self._said:
            said, self._said = self._said, ""
            self._registry.event("warning", text=f"{said}.")


def holders(path: Path) -> list[str]:
    """Other processes with a lock on a file, as ``pid 4711 (sqlite3 autokaggle.db)``; empty where that is not told."""
    try:
        found = path.stat()
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return []
    inode = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    # 1: POSIX  ADVISORY  READ  4711 08:01:131 1073741826 1073742335
    fields = (line.split() for line in lines if "->" not in line)
    pids = {int(field[4]) for field in fields if len(field) > 5 and field[5] == inode and field[4].isdigit()}
    return [f"pid {pid}{_command(pid)}" for pid in sorted(pids - {0, os.getpid()})]


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return ""
    said = one_line(clean(words.decode(errors="replace")), 80)
    return f" ({said})" if said else ""
