"""How far a download is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from autokaggle_tui.sizes import size_text
from backends.platforms.base import Progress as Told

STEP = 0.1
"""Without a terminal, a line for each such share of a file."""
LEAST_BYTES = 1_000_000
"""But none for less."""
STEP_BYTES = 50_000_000
"""And of one whose size is not known, for each so many bytes."""


@contextmanager
def download_progress(console: Console) -> Iterator[Told]:
    """What a download tells how far it is."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, there: int, size: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size)
            bar.update(tasks[name], completed=there, total=size)

        yield show


class _Lines:
    """A line for each step of a file, and one when it is complete."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, int] = {}

    def __call__(self, name: str, there: int, size: int | None) -> None:
        step = STEP_BYTES if size is None else max(int(size * STEP), LEAST_BYTES)
        done = size is not None and there >= size
        reached = -1 if done else there // step
        if self._told.get(name, 0) == reached:
            return
        self._told[name] = reached
        whole = f" of {size_text(size)}" if size is not None else ""
        self._console.print(f"download    {name}: {size_text(there)}{whole}", markup=False, highlight=False)
