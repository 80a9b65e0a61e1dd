"""Watches what the processes of a slot use together, which no limit of the kernel counts."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import psutil

from backends.compute.cgroup import memory_kills
from backends.compute.limits import Limits

_MOST_FILES = 50_000
_SHM = "/dev/shm"


class Watchdog:
    """Compares a process tree with its caps; polled a few times a second.

    What is polled overshoots: a fold that fills memory as fast as it can gets past its cap by what it
    writes between two looks. Files in memory that are open but not mapped are not seen.

    Args:
        pid: The root of the tree.
        limits: Caps of the slot.
        scratch: Scratch folder on disk, see ``Sandbox.scratch``; None where scratch and /dev/shm are the
            sandbox's own, which the kernel caps.
        own: Processes of the tree that are not the fold's: the kernel takes them last.
        group: Control group of the tree, in which the kernel may end single processes.
    """

    def __init__(
        self,
        pid: int,
        limits: Limits,
        scratch: Path | None = None,
        own: frozenset[int] = frozenset(),
        group: Path | None = None,
    ) -> None:
        self._pid = pid
        self._group = group
        self._kills = 0 if group is None else memory_kills(group)
        self._own = own
        self._limits = limits
        self._scratch = scratch
        self._shm_before = _used(_SHM)

    def check(self) -> str | None:
        """What exceeds its cap, for a person, e.g. ``it holds 9.1 GB of memory, more than its 8.0 GB``.

        None while nothing does, and when the process is gone.
        """
        pids = sorted(tree(self._pid))
        if not pids:
            return None
        for pid in set(pids) - self._own:
            _sacrifice(pid)
        if self._group is not None and memory_kills(self._group) > self._kills:
            return full_text(self._limits.memory)
        memory = tree_memory(pids, self._limits.memory)
        if memory > self._limits.memory:
            return f"it holds {_size(memory)} of memory, more than its {_size(self._limits.memory)}"
        if self._scratch is None:
            return None
        try:
            scratch, files = disk_usage(self._scratch, self._limits.scratch)
            scratch += _unlinked(pids, self._scratch)
        except OSError as error:
            return f"its scratch folder cannot be measured: {error.strerror}"
        if files > _MOST_FILES:
            return f"its scratch folder holds more than {_MOST_FILES:,} files"
        if scratch > self._limits.scratch:
            return f"it holds {_size(scratch)} on disk, more than its {_size(self._limits.scratch)}"
        grown = _used(_SHM) - self._shm_before
        if grown > self._limits.shm:
            return f"/dev/shm has grown by {_size(grown)} under it, more than its {_size(self._limits.shm)}"
        return None


def full_text(memory: int) -> str:
    """What the kernel ended a process for.

    Args:
        memory: Bytes that its slot may hold.
    """
    return f"it needed more memory than its {_size(memory)}"


def tree(pid: int) -> frozenset[int]:
    """A process and all below it; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return frozenset({pid, *(child.pid for child in root.children(recursive=True))})
    except psutil.Error:
        return frozenset()


def tree_memory(pids: list[int], enough: int) -> int:
    """Bytes of memory that processes hold together.

    Resident pages, shared ones counted once for each process; where that is more than ``enough``, shared
    ones are divided among those who share them (PSS), as far as the kernel tells it.
    """
    resident = {pid: _resident(pid) for pid in pids}
    if sum(resident.values()) <= enough:
        return sum(resident.values())
    return sum(_proportional(pid) or pages for pid, pages in resident.items())


def disk_usage(folder: Path, enough: int) -> tuple[int, int]:
    """Bytes on disk below a folder, and files; stops counting once there are more than ``enough``.

    Raises:
        OSError: A folder cannot be read: closed, or too deep.
    """
    size = files = 0
    pending = [str(folder)]
    while pending and size <= enough and files <= _MOST_FILES:
        with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                files += 1
                with contextlib.suppress(FileNotFoundError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
    return size, files


def _unlinked(pids: list[int], scratch: Path) -> int:
    """Bytes of files on the folder's disk that have no name any more but are still open."""
    with contextlib.suppress(FileNotFoundError):
        device = scratch.stat().st_dev
        found = {}
        for pid in pids:
            for state in _open_files(pid):
                if stat.S_ISREG(state.st_mode) and state.st_nlink == 0 and state.st_dev == device:
                    found[state.st_ino] = state.st_blocks * 512
        return sum(found.values())
    return 0


def _open_files(pid: int) -> list[os.stat_result]:
    states = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError):
                states.append(os.stat(f"/proc/{pid}/fd/{name}"))  # noqa: PTH116
    return states


def _sacrifice(pid: int) -> None:
    """Have the kernel take this process before those of the slot itself, when its memory is full."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def _resident(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _proportional(pid: int) -> int | None:
    """PSS in bytes; None where the process hides it, or has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _used(folder: str) -> int:
    try:
        state = os.statvfs(folder)
    except OSError:
        return 0
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
