"""Folds on this machine: a fixed number of worker slots that share nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

from backends.compute.base import FoldJob, FoldOutcome, Record
from backends.compute.sandbox import Sandbox
from backends.compute.slot import LocalSlot
from backends.compute.warm import sweep
from experiments.errors import ComputeError


class LocalCompute:
    """Worker slots as processes of this machine.

    Args:
        slots: Folds that run side by side.
        threads: Threads of each fold.
        scratch_root: Folder for the slots' temporary files. It belongs to one LocalCompute at a time: what
            an earlier, killed one left in it is removed at the start.
        sandbox: What the slots are shut into.
    """

    def __init__(self, slots: int, threads: int, scratch_root: Path, sandbox: Sandbox) -> None:
        self.slots = slots
        self.threads = threads
        self.sandbox = sandbox
        self._scratch_root = scratch_root
        self._closed = False
        self._all = [LocalSlot(threads, scratch_root, sandbox) for _ in range(slots)]
        self._free: asyncio.Queue[LocalSlot] = asyncio.Queue()
        self._running: dict[LocalSlot, FoldJob] = {}
        self._waiting: dict[asyncio.Task[LocalSlot], FoldJob] = {}
        self._refused: set[asyncio.Task[LocalSlot]] = set()

    @property
    def libraries(self) -> Mapping[str, str]:
        """Version by library that the slots have loaded."""
        return self._all[0].libraries if self._all else {}

    async def start(self) -> None:
        """Start every slot, side by side.

        Raises:
            ComputeError: A slot did not come up; the others are closed again.
        """
        await asyncio.to_thread(sweep, self._scratch_root)
        started = await asyncio.gather(*(slot.start() for slot in self._all), return_exceptions=True)
        failures = [result for result in started if isinstance(result, BaseException)]
        if failures:
            await self.close()
            raise failures[0]
        for slot in self._all:
            self._free.put_nowait(slot)

    async def run(self, job: FoldJob) -> AsyncGenerator[Record, None]:
        """Run a fold in the next free slot; records as in ``Slot.run``.

        Raises:
            ComputeError: The slots are closed, or a lost one could not be started again.
        """
        if self._closed:
            raise ComputeError("The worker slots are closed.")
        waiting = asyncio.ensure_future(self._free.get())
        self._waiting[waiting] = job
        try:
            await asyncio.wait({waiting})
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise
        finally:
            del self._waiting[waiting]
        if waiting in self._refused:
            self._refused.remove(waiting)
            self._give_up(waiting)
            yield FoldOutcome(job.fold, "killed", 0.0, error="killed on request")
            return
        slot = waiting.result()
        self._running[slot] = job
        try:
            async with aclosing(slot.run(job)) as records:
                async for record in records:
                    yield record
        finally:
            del self._running[slot]
            self._free.put_nowait(slot)

    async def kill(self, experiment: str) -> None:
        """Kill every fold of an experiment, running or waiting for a slot."""
        self._refuse(lambda job: job.experiment == experiment)
        for slot, job in list(self._running.items()):
            if job.experiment == experiment:
                await slot.kill()

    async def close(self) -> None:
        """End every slot."""
        self._closed = True
        self._refuse(lambda _: True)
        await asyncio.gather(*(slot.close() for slot in self._all))

    def _refuse(self, which: Callable[[FoldJob], bool]) -> None:
        """End the wait of these jobs; one that was just given a slot gives it back."""
        for task, job in self._waiting.items():
            if which(job):
                self._refused.add(task)
                task.cancel()

    def _give_up(self, waiting: asyncio.Task[LocalSlot]) -> None:
        if not waiting.cancel() and not waiting.cancelled():
            self._free.put_nowait(waiting.result())
