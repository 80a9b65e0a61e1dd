"""Process trees: tie them to their owner, find all of a tree, end it for certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable

import psutil

MARKER = "AUTOKAGGLE_SLOT"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"


def die_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this signal to the calling process when its parent ends (Linux only)."""
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def adopt_orphans() -> None:
    """Make the calling process the new parent of descendants whose parent ends (Linux only).

    After that no daemonised descendant can leave the tree.
    """
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Reaped(dict[int, tuple[int, float, int]]):
    """Ended children by pid: wait status, CPU seconds, peak resident size in bytes."""

    def collect(self) -> bool:
        """Reap every child that has ended; True while others still live."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            peak = usage.ru_maxrss * (1024 if LINUX else 1)
            self[pid] = (status, usage.ru_utime + usage.ru_stime, peak)


def end_descendants(reaped: Reaped, marker: str, patience: float = 5.0) -> bool:
    """Kill and reap everything below the calling process.

    Args:
        reaped: Takes the children that ended.
        marker: Value of ``AUTOKAGGLE_SLOT`` in their environment; finds daemonised ones where orphans
            are not adopted.
        patience: Seconds after which to give up (a process stuck in the kernel, a fork bomb).

    Returns:
        True when nothing is left.
    """
    deadline = time.monotonic() + patience
    while True:
        if not reaped.collect() and LINUX:
            return True
        if os.getpid() == 1:
            # The first process of a namespace: all others in it at once, however fast they fork.
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        else:
            alive = _below(psutil.Process())
            if not LINUX:
                alive += [process for process in marked(marker) if process.pid != os.getpid()]
                if not alive:
                    return True
            _kill(alive)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)


def end_tree(pid: int | None, marker: str) -> None:
    """Kill a process with all below it, and what carries its marker and lives elsewhere.

    Args:
        pid: The process; None when it has ended and its number may be another's by now.
    """
    if pid is not None:
        try:
            root = psutil.Process(pid)
            _kill([*_below(root), root])
        except psutil.NoSuchProcess:
            pass
    _kill(marked(marker))


def marked(marker: str) -> list[psutil.Process]:
    """Processes that carry this marker in the environment they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError, ValueError):
            continue
    return found


def describe_exit(status: int) -> str:
    """A wait status in words, e.g. ``was killed by SIGSEGV (it crashed in native code)``."""
    if os.WIFEXITED(status):
        return f"exited with code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    meaning = {
        "SIGKILL": "most likely it ran out of memory",
        "SIGSEGV": "it crashed in native code",
        "SIGBUS": "it crashed in native code, or the disk is full",
        "SIGABRT": "native code gave up",
        "SIGILL": "native code is not made for this processor",
        "SIGFPE": "native code divided by zero",
        "SIGXCPU": "it used up its processor time",
    }.get(name)
    return f"was killed by {name}" + (f" ({meaning})" if meaning else "")


def _below(root: psutil.Process) -> list[psutil.Process]:
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def _kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        try:
            # The whole group at once: of processes that fork without pause, one by one would miss some.
            group = os.getpgid(process.pid)
            if process.is_running() and group != os.getpgrp():
                os.killpg(group, signal.SIGKILL)
            process.kill()
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
