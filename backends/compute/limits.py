"""How much of the machine one slot may take."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil

_SHARE = 0.8
_LEAST = 512 << 20
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Limits:
    """Caps of one slot: its warm process, the fold and all that the fold starts.

    Attributes:
        memory: Bytes of memory, shared pages counted once; also the cap of each process's private memory.
        processes: Processes and threads.
        scratch: Bytes in the scratch folder.
        shm: Bytes in /dev/shm.
        open_files: File descriptors of each process.
    """

    memory: int
    processes: int = 512
    scratch: int = 4 << 30
    shm: int = 1 << 30
    open_files: int = 4096

    @classmethod
    def share(cls, slots: int, *, memory: int | None = None, processes: int | None = None) -> Limits:
        """The caps of each of so many slots, which share the machine's memory.

        Args:
            memory: Bytes of each slot, instead of its share.
            processes: Processes and threads of each slot, instead of the default.
        """
        share = machine_memory() // max(1, slots)
        cap = memory or max(_LEAST, int(_SHARE * share))
        # Where they live in memory, scratch folder and /dev/shm take from the share as well.
        part = max(_LEAST // 8, share // 8)
        return cls(
            memory=cap,
            processes=processes or cls.processes,
            scratch=min(cls.scratch, part),
            shm=min(cls.shm, part),
        )


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's where that is less."""
    found = [psutil.virtual_memory().total]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int((_CGROUP / name).read_text()))
    return min(found)
