"""The supervisor's hold on its worker: one warm process, one fold at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from backends.compute.base import FoldOutcome, Record
from backends.compute.fold import RunningFold
from backends.compute.messages import Ticket
from backends.compute.sandbox import Sandbox
from backends.compute.warm import WarmProcess
from backends.compute.watchdog import Watchdog, full_text
from experiments.errors import ComputeError
from experiments.worker import KILL, RUN

KILL_SECONDS = 15.0
LOOK_SECONDS = 0.25


class WorkerHost:
    """A warm process that runs one fold at a time; restarted when it was lost.

    Args:
        threads: Threads each fold may use.
        folder: Where the warm process makes its own.
        sandbox: What it is shut into.
    """

    def __init__(self, threads: int, folder: Path, sandbox: Sandbox) -> None:
        self._threads = threads
        self._sandbox = sandbox
        self._folder = folder
        self._warm: WarmProcess | None = None
        self._lost = ""
        self._fold: RunningFold | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the warm process, None when there is none."""
        return self._warm.pid if self._warm else None

    @property
    def libraries(self) -> Mapping[str, str]:
        """Version by library that the warm process has loaded."""
        return self._warm.libraries if self._warm else {}

    async def start(self) -> None:
        """Start the warm process; returns once it has imported its libraries.

        Raises:
            ComputeError: It did not come up.
        """
        if self._warm is None:
            self._warm = await WarmProcess.spawn(self._threads, self._folder, self._sandbox)

    async def run(self, ticket: Ticket, given: Sequence[int], tell: Callable[[Record], None]) -> FoldOutcome:
        """Run one fold to its end.

        Args:
            given: Descriptors (job, train, valid, test, result).
            tell: Takes log lines and reports as they come.

        Returns:
            How it ended; predictions, if any, are in the result file, unchecked.

        Raises:
            ComputeError: The warm process cannot be started again.
        """
        fold = self._fold = RunningFold(ticket, given, tell)
        try:
            return await self._supervise(fold)
        finally:
            self._fold = None
            fold.close_theirs()
            fold.close_ours()

    def end(self, reason: Literal["killed", "timeout", "limit"], excess: str = "") -> None:
        """Kill the running fold and all it started, if there is one; its run() returns soon.

        Args:
            excess: With ``limit``: what it took too much of.
        """
        fold = self._fold
        if fold is None:
            return
        if not fold.reason:
            fold.reason, fold.excess = reason, excess
        if fold.sent and self._warm is not None:
            self._warm.send(KILL)
        fold.ending.set()

    async def close(self) -> None:
        """End the warm process and everything below it; no fold may run."""
        if self._warm is not None:
            warm, self._warm = self._warm, None
            await warm.close()

    async def _supervise(self, fold: RunningFold) -> FoldOutcome:
        warm = await self._begin(fold)
        if warm is None:
            return fold.outcome(None)
        await fold.connect()
        fold.started = time.monotonic()
        kills = warm.memory_kills
        watching = asyncio.create_task(self._watch(warm))
        try:
            done = await self._message(fold, warm, fold.ticket.time_limit)
        finally:
            watching.cancel()
        lost = ""
        if warm.memory_kills > kills:
            fold.fill(full_text(self._sandbox.limits.memory))
        if done is None:
            await self._lose(warm)
            lost = self._lost
        elif not done["done"]["clean"]:
            self._lost = "a fold left something behind that could not be removed"
            await self._lose(warm)
        await fold.drain()
        return fold.outcome(done["done"] if done else None, lost)

    async def _watch(self, warm: WarmProcess) -> None:
        """Kill a fold that takes more of the machine than its slot may."""
        sandbox = self._sandbox
        watchdog = Watchdog(warm.pid, sandbox.limits, sandbox.scratch(warm.folder), warm.own, warm.group)
        while (excess := await asyncio.to_thread(watchdog.check)) is None:
            await asyncio.sleep(LOOK_SECONDS)
        self.end("limit", excess)

    async def _begin(self, fold: RunningFold) -> WarmProcess | None:
        """Have the warm process start the fold; None when it was killed before."""
        for _ in range(2):
            warm = await self._ready(fold)
            if fold.reason:
                return None
            fold.open()
            fold.sent = warm.send(RUN, fold.descriptors)
            fold.close_theirs()
            if fold.sent and await self._message(fold, warm, None) is not None:
                return warm
            fold.sent = False
            await self._lose(warm)
            fold.close_ours()
        raise ComputeError(f"A worker slot ends as soon as a fold starts: {self._lost}.")

    async def _ready(self, fold: RunningFold) -> WarmProcess:
        """The warm process, started again where it was lost."""
        if self._warm is not None and not self._warm.alive:
            await self._lose(self._warm)
        if self._warm is None:
            if self._lost:
                fold.log(f"[worker slot started again: {self._lost}]")
            await self.start()
            self._lost = ""
        assert self._warm is not None
        return self._warm

    async def _message(self, fold: RunningFold, warm: WarmProcess, limit: float | None) -> dict[str, Any] | None:
        """The next message of the warm process.

        Past the limit, or once told to end, the fold is killed first.
        """
        receiving = asyncio.ensure_future(warm.receive())
        ending = asyncio.ensure_future(fold.ending.wait())
        try:
            await asyncio.wait({receiving, ending}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not receiving.done():
                if not ending.done():
                    self.end("timeout")
                await asyncio.wait({receiving}, timeout=KILL_SECONDS)
            if not receiving.done():
                self._lost = "it no longer answered"
            return receiving.result() if receiving.done() else None
        finally:
            receiving.cancel()
            ending.cancel()

    async def _lose(self, warm: WarmProcess) -> None:
        """Give up a warm process that died or no longer obeys."""
        self._warm = None
        await warm.destroy()
        self._lost = self._lost or f"its process {warm.describe_end()}"
