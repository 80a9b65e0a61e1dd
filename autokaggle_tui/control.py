"""What the person wants and the machine allows right now: pause, hold, stop, kill; asked by the loop between steps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class StopRun(Exception):  # noqa: N818 - a request, not an error
    """Leave the loop at the next step; nothing is wrong."""


@dataclass(frozen=True)
class Hold:
    """Why the loop may not go on, whatever the person asked for.

    Attributes:
        text: What is short, e.g. ``disk 0.4 GB free``.
        until: What must be true for the loop to go on by itself, e.g. ``1.2 GB are free on the disk``.
    """

    text: str
    until: str


@dataclass
class Control:
    """Wishes of the person and the state of the machine, obeyed at checkpoints.

    A person's pause and holds do not lift each other: the loop goes on when none is left.

    Attributes:
        stopping: A stop was asked for.
        interrupted: It was Ctrl-C that asked.
        asked: The person wants a pause.
        holds: What is short, by who watches it: the machine's memory and disk, the budget.
        kill: Kills the running experiment; set by whoever runs one.
    """

    stopping: bool = False
    interrupted: bool = False
    asked: bool = False
    holds: dict[str, Hold] = field(default_factory=dict)
    kill: Callable[[], bool] = lambda: False
    paused_seconds: float = 0.0
    _paused_at: float | None = None
    _go: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: set[asyncio.Timeout] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._go.set()

    @property
    def held(self) -> Hold | None:
        """All that is short, as one; None when nothing is."""
        if not self.holds:
            return None
        return Hold(
            ", ".join(hold.text for hold in self.holds.values()),
            " and ".join(hold.until for hold in self.holds.values()),
        )

    @property
    def paused(self) -> bool:
        """Whether the loop waits at its next checkpoint."""
        return self._paused_at is not None

    def pause(self) -> None:
        """Hold at the next checkpoint."""
        self.asked = True
        self._settle()

    def resume(self) -> None:
        """Go on, unless something holds the loop."""
        self.asked = False
        self._settle()

    def hold(self, owner: str, why: Hold) -> None:
        """Wait at the next checkpoint, until the same owner lets go."""
        if not self.stopping:
            self.holds[owner] = why
        self._settle()

    def release(self, owner: str) -> None:
        """What this owner watches is fine again."""
        self.holds.pop(owner, None)
        self._settle()

    def stop(self) -> None:
        """Leave at the next checkpoint, paused, held or not."""
        self.stopping = True
        self.asked = False
        self.holds.clear()
        self._settle()
        while self._waits:
            self._waits.pop().reschedule(0.0)

    def interrupt(self) -> None:
        """Stop as :meth:`stop` does, because of Ctrl-C."""
        self.interrupted = True
        self.stop()

    def _settle(self) -> None:
        waits = (self.asked or bool(self.holds)) and not self.stopping
        if waits and self._paused_at is None:
            self._paused_at = time.monotonic()
            self._go.clear()
        elif not waits:
            self.paused_seconds = self.total_paused()
            self._paused_at = None
            self._go.set()

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

    @asynccontextmanager
    async def unless_stopped(self) -> AsyncIterator[None]:
        """Do what may be given up halfway; a stop ends it at once.

        Raises:
            StopRun: A stop was asked for.
        """
        if self.stopping:
            raise StopRun
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if wait.expired():
                raise StopRun from None
            raise


@dataclass
class RunClock:
    """Time of a run: survives restarts, does not run while paused, nor (``time.monotonic``) while the machine sleeps.

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

    def remaining(self) -> float | None:
        """Seconds until the limit, the reserve included and never below none; None without a limit."""
        return None if self.limit is None else max(self.limit - self.elapsed(), 0.0)
