"""A worker slot on this machine: one warm process, one fold at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Literal

from backends.compute.base import FoldJob, Record
from backends.compute.fold import RunningFold
from backends.compute.sandbox import Sandbox
from backends.compute.warm import WarmProcess
from backends.compute.watchdog import Watchdog
from experiments.errors import ComputeError
from experiments.worker import KILL, RUN

KILL_SECONDS = 15.0
WATCH_SECONDS = 0.25


class LocalSlot:
    """A warm process that runs one fold at a time; restarted when it was lost.

    Args:
        threads: Threads each fold may use.
        scratch_root: Folder in which the slot makes its own.
        sandbox: What its processes are shut into.
    """

    def __init__(self, threads: int, scratch_root: Path, sandbox: Sandbox) -> None:
        self._threads = threads
        self._scratch_root = scratch_root
        self._sandbox = sandbox
        self._warm: WarmProcess | None = None
        self._lost = ""
        self._fold: RunningFold | None = None
        self._closed = False

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
            self._warm = await WarmProcess.spawn(self._threads, self._scratch_root, self._sandbox)

    async def run(self, job: FoldJob) -> AsyncGenerator[Record, None]:
        """Run one fold, yielding records as they come and a FoldOutcome last.

        Closing the iteration, or cancelling it, kills the fold.

        Raises:
            DataError: A data file of the job is missing.
            ComputeError: The slot is busy or closed, or its process cannot be started again.
        """
        if self._closed or self._fold is not None:
            raise ComputeError(f"The worker slot is {'closed' if self._closed else 'busy'}.")
        fold = self._fold = RunningFold(job)
        supervisor: asyncio.Task[None] | None = None
        try:
            supervisor = asyncio.create_task(self._supervise(fold))
            supervisor.add_done_callback(fold.supervised)
            while True:
                record = await fold.records.get()
                if record is None:
                    supervisor.result()
                    return
                yield record
        finally:
            try:
                if supervisor is not None and not supervisor.done():
                    self._end(fold, "killed")
                    await _finish(supervisor)
            finally:
                self._fold = None

    async def kill(self) -> None:
        """Kill the running fold and all it started; its run() ends with status ``killed``."""
        if self._fold is not None:
            self._end(self._fold, "killed")

    async def close(self) -> None:
        """End the warm process and everything below it."""
        self._closed = True
        if self._fold is not None:
            self._end(self._fold, "killed")
            await self._fold.over.wait()
        if self._warm is not None:
            warm, self._warm = self._warm, None
            await warm.close()

    async def _watch(self, fold: RunningFold, warm: WarmProcess) -> None:
        """End a fold whose processes together exceed a cap."""
        watchdog = Watchdog(warm.pid, self._sandbox.limits, self._sandbox.scratch(warm.folder))
        while not fold.exceeded:
            await asyncio.sleep(WATCH_SECONDS)
            fold.exceeded = await asyncio.to_thread(watchdog.check)
        self._end(fold, "limit")

    def _end(self, fold: RunningFold, reason: Literal["killed", "timeout", "limit"]) -> None:
        fold.reason = fold.reason or reason
        if fold.sent and self._warm is not None:
            self._warm.send(KILL)
        fold.ending.set()

    async def _supervise(self, fold: RunningFold) -> None:
        """See a fold through to its outcome, whatever becomes of who reads the records."""
        try:
            for attempt in (1, 2):
                warm = await self._ready(fold)
                if fold.reason:
                    await fold.finish(None)
                    return
                fold.open()
                fold.sent = warm.send(RUN, fold.descriptors)
                fold.close_theirs()
                begun = await self._message(fold, warm, None) if fold.sent else None
                if begun is not None:
                    break
                fold.sent = False
                await self._lose(warm)
                await fold.close_ours()
                if attempt == 2:
                    raise ComputeError(f"A worker slot ends as soon as a fold starts: {self._lost}.")
            await fold.connect()
            fold.started = time.monotonic()
            watching = asyncio.create_task(self._watch(fold, warm))
            try:
                done = await self._message(fold, warm, fold.job.time_limit)
            finally:
                watching.cancel()
            lost = ""
            if done is None:
                await self._lose(warm)
                lost = self._lost
            elif not done["done"]["clean"]:
                self._lost = "a fold left something behind that could not be removed"
                await self._lose(warm)
            await fold.drain()
            await fold.finish(done["done"] if done else None, lost)
        finally:
            fold.close_theirs()
            await fold.close_ours()

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
                    self._end(fold, "timeout")
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


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for a task to its end, also when the waiting is cancelled meanwhile."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
