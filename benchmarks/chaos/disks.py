"""Disks: the workspace lies on a small file system that is full at random instants."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.arena import START_SECONDS, Arena
from benchmarks.chaos.siege import Strike

SIZE = 24 * 2**20
LONGEST_CALM, LONGEST_FILL = 0.8, 0.6
MOST_LEFT = 96 * 1024
"""Bytes that a full disk may still take."""
LOOK = 0.002


def missing() -> str:
    """Why this attack cannot be made here; empty when it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        return "a file system of its own needs root"
    return ""


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True)
    if made.returncode:
        raise SystemExit(f"a tmpfs cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


@dataclass
class Fills:
    """Fill, hold, empty, wait; now and then the engine has to start on a full disk.

    Attributes:
        filler: The file that takes all the space.
    """

    filler: Path
    name = "full-disk"

    def strike(self, arena: Arena, chance: random.Random) -> Strike:
        """Start the engine, and let the disk be full a few times until it ends."""
        faults: Counter[str] = Counter()
        if chance.random() < 0.1:
            faults["full at start"] += 1
            self._fill(chance)
        engine = arena.start()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            full = self.filler.exists()
            until = time.monotonic() + chance.uniform(0.0, LONGEST_FILL if full else LONGEST_CALM)
            while (code := engine.poll()) is None and time.monotonic() < until:
                time.sleep(LOOK)
            if code is not None:
                break
            if full:
                self._empty()
            else:
                faults["full"] += 1
                self._fill(chance)
        self._empty()
        engine.see_end(0.0)
        return Strike(faults, code, engine.said())

    def _fill(self, chance: random.Random) -> None:
        left = chance.choice((0, 0, chance.randint(0, MOST_LEFT)))
        with self.filler.open("wb") as file:
            while True:
                room = os.fstatvfs(file.fileno())
                size = room.f_bavail * room.f_frsize - left
                if size < room.f_frsize:
                    return
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                    return
                except OSError:
                    # The engine was faster; what is left now is less.
                    continue

    def _empty(self) -> None:
        self.filler.unlink(missing_ok=True)
