"""The keeper of the backups: copies the registry after rounds, beside the loop."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from autokaggle_tui.failures import explain
from experiments.backups import back_up
from experiments.errors import AutokaggleError
from experiments.registry import Registry
from experiments.schema import Row
from experiments.text import one_line

BACKUP_SECONDS = 600.0


@dataclass
class Keeper:
    """Backs the registry up after a closed round, once in ``interval`` seconds at most, and when the engine ends.

    A backup that cannot be made is a warning, told once, and no end of the run.

    Attributes:
        clock: Seconds that only go forward.
    """

    registry: Registry
    folder: Path
    interval: float = BACKUP_SECONDS
    clock: Callable[[], float] = time.monotonic
    _last: float | None = None
    _told: str = ""
    _working: asyncio.Task[None] | None = field(default=None, repr=False)

    def hear(self, event: Row) -> None:
        """A closed round is the time for a backup; called by the event loop's own thread."""
        if event["kind"] != "round_done" or (self._working is not None and not self._working.done()):
            return
        if self._last is None or self.clock() - self._last >= self.interval:
            self._last = self.clock()
            self._working = asyncio.create_task(self._back_up())

    async def close(self) -> None:
        """Finish what is being done, and keep what came since."""
        if self._working is not None:
            await asyncio.wait({self._working})
        await self._back_up()

    async def _back_up(self) -> None:
        try:
            await asyncio.to_thread(back_up, self.registry.path, self.folder)
        except (AutokaggleError, OSError, sqlite3.Error) as error:
            said = one_line(str(explain(error, self.folder.parent) or error))
            if said != self._told:
                self._told = said
                # Where even this cannot be written, the run ends with the same message.
                with contextlib.suppress(sqlite3.Error):
                    self.registry.event("warning", text=f"no backup of {self.registry.path.name}: {said}")
