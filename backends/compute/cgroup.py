"""Control groups: where the kernel lets us, it keeps a slot's memory within bounds itself.

Version 2 needs a folder of ours in which the memory controller is switched on for groups below, as systemd gives to
the programs of a desktop session; version 1 a memory hierarchy that may be written, as root has it. Source:
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PREFIX = "autokaggle-"
_ROOT = Path("/sys/fs/cgroup")
_STALE_SECONDS = 120.0
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def group_parent(table: str | None = None, root: Path = _ROOT) -> Path | None:
    """The folder in which this process can make groups with a memory limit, or None.

    Args:
        table: The process's groups, as in /proc/self/cgroup.
        root: Where the hierarchies are mounted.
    """
    try:
        lines = (table or Path("/proc/self/cgroup").read_text()).splitlines()
    except OSError:
        return None
    return next((folder for folder in _candidates(lines, root) if _ours(folder)), None)


def make_group(parent: Path, memory: int) -> Path:
    """A new group that may hold so many bytes, without swap.

    Raises:
        OSError: The kernel does not let us.
    """
    group = parent / f"{PREFIX}{uuid.uuid4().hex[:16]}"
    group.mkdir()
    try:
        limit = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
        (group / limit).write_text(str(memory))
    except OSError:
        group.rmdir()
        raise
    for name, value in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", memory)):
        # Not there where the kernel does not count swap.
        with contextlib.suppress(OSError):
            (group / name).write_text(str(value))
    return group


def entering(group: Path) -> tuple[str, ...]:
    """What stands before a command line so that the program begins inside a group, and nothing of it outside."""
    return ("/bin/sh", "-c", _ENTER, str(group))


def memory_kills(group: Path) -> int:
    """How many processes of a group the kernel has killed because it was full."""
    for name in ("memory.events", "memory.oom_control"):
        with contextlib.suppress(OSError):
            for line in (group / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def remove_group(group: Path) -> None:
    """Remove a group whose processes have ended; one that still has some stays for ``sweep_groups``."""
    with contextlib.suppress(OSError):
        group.rmdir()


def sweep_groups(parent: Path) -> None:
    """Remove the empty groups that killed processes left; those just made are left alone."""
    with contextlib.suppress(OSError):
        for group in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if time.time() - group.stat().st_mtime > _STALE_SECONDS:
                    group.rmdir()


def _candidates(lines: list[str], root: Path) -> Iterator[Path]:
    """Folders that may do, the process's own first."""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if controllers == "":
            # In version 2 a group with processes has none below it that is limited: one further up may.
            own = root / place.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))
        elif "memory" in controllers.split(","):
            yield root / "memory" / place.lstrip("/")


def _ours(folder: Path) -> bool:
    if not (os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)):
        return False
    if (folder / "memory.limit_in_bytes").exists():
        return True
    try:
        return "memory" in (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
