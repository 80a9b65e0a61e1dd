"""What the person wants right now: pause, stop, kill; asked by the loop between steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class StopRun(Exception):  # noqa: N818 - a request, not an error
    """Leave the loop at the next step; nothing is wrong."""


@dataclass
class Control:
    """Wishes of the person, obeyed at checkpoints.

    Attributes:
        stopping: A stop was asked for.
        interrupted: It was Ctrl-C that asked.
        kill: Kills the running experiment; set by whoever runs one.
    """

    stopping: bool = False
    interrupted: bool = False
    kill: Callable[[], bool] = lambda: False
    paused_seconds: float = 0.0
    _paused_at: float | None = None
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._go.set()

    @property
    def paused(self) -> bool:
        """Whether the loop waits at its next checkpoint."""
        return self._paused_at is not None

    def pause(self) -> None:
        """Hold at the next checkpoint."""
        if not self.paused:
            self._paused_at = time.monotonic()
            self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self.paused_seconds = self.total_paused()
        self._paused_at = None
        self._go.set()

    def stop(self) -> None:
        """Leave at the next checkpoint, paused or not."""
        self.stopping = True
        self.resume()

    def interrupt(self) -> None:
        """Stop as :meth:`stop` does, because of Ctrl-C."""
        self.interrupted = True
        self.stop()

    def total_paused(self) -> float:
        """Seconds spent paused so far, the current pause included."""
        current = 0.0 if self._paused_at is None else time.monotonic() - self._paused_at
        return self.paused_seconds + current

    async def checkpoint(self) -> None:
        """Wait while paused.

        Raises:
            StopRun: A stop was asked for.
        """
        await self._go.wait()
        if self.stopping:
            raise StopRun


@dataclass
class RunClock:
    """Wall time of a run: survives restarts, does not run while paused.

    Attributes:
        limit: Seconds the run may take, or None.
        before: Seconds used by earlier processes of the same run.
        reserve: Seconds kept back for the last blend and submission.
    """

    control: Control
    limit: float | None
    before: float = 0.0
    reserve: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Seconds used so far."""
        return self.before + time.monotonic() - self.started - self.control.total_paused()

    def left(self) -> float | None:
        """Seconds until the reserve begins; None without a limit."""
        return None if self.limit is None else self.limit - self.reserve - self.elapsed()
