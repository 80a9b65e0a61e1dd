"""What experiments are shut into, as config.json asks for it."""

from __future__ import annotations

from pathlib import Path

from autokaggle_tui.config import Compute
from backends.compute.limits import Limits
from backends.compute.sandbox import Sandbox
from backends.compute.tiers import find_sandbox


def shut_in(compute: Compute, slots: int, root: Path, place: Path | None = None) -> Sandbox:
    """The sandbox of a workspace's slots; tried by starting a process in it.

    Args:
        root: The workspace, which no experiment may read.
        place: Where the slots will work.

    Raises:
        ComputeError: It does not work here.
    """
    memory = None if compute.memory == "auto" else compute.memory
    limits = Limits.share(slots, memory=memory, processes=compute.processes)
    return find_sandbox(compute.sandbox, limits, protected=(root, Path.home() / ".kaggle"), place=place)
