"""Folds on this machine: a fixed number of worker slots that share nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from pathlib import Path

from backends.compute.base import FoldJob, FoldOutcome, Record
from backends.compute.cgroup import sweep_groups
from backends.compute.orphans import Orphan, find_orphans
from backends.compute.sandbox import Sandbox
from backends.compute.slot import LocalSlot
from experiments.errors import ComputeError


class LocalCompute:
    """Worker slots as processes of this machine.

    Args:
        slots: Folds that run side by side.
        threads: Threads of each fold.
        scratch_root: Folder for the slots' own. It belongs to one LocalCompute at a time: folds that an
            earlier, killed one left there are found again at the start, and all else is removed.
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
        self._orphans: dict[str, Orphan] = {}
        self._claimed: set[Orphan] = set()
        self._held_back: set[asyncio.Task[None]] = set()

    @property
    def libraries(self) -> Mapping[str, str]:
        """Version by library that the slots have loaded."""
        return next((slot.libraries for slot in self._all if slot.libraries), {})

    async def start(self) -> None:
        """Find the folds that an earlier engine left, and start every slot that none of them holds, side by side.

        Raises:
            ComputeError: A slot did not come up; the others are closed again.
        """
        if self.sandbox.groups:
            sweep_groups(Path(self.sandbox.groups))
        self._orphans = {orphan.ticket.key: orphan for orphan in await find_orphans(self._scratch_root)}
        running = [orphan for orphan in self._orphans.values() if not orphan.over.is_set()]
        later, now = self._all[: len(running)], self._all[len(running) :]
        started = await asyncio.gather(*(slot.start() for slot in now), return_exceptions=True)
        failures = [result for result in started if isinstance(result, BaseException)]
        if failures:
            await self.close()
            raise failures[0]
        for slot in now:
            self._free.put_nowait(slot)
        for slot, orphan in zip(later, running, strict=False):
            self._held_back.add(asyncio.create_task(self._follow(orphan, slot)))

    async def expect(self, keys: Collection[str]) -> None:
        """Of the folds an earlier engine left, keep those with these keys for ``run`` and end the others."""
        for key in [key for key in self._orphans if key not in keys]:
            await self._orphans.pop(key).end()

    async def run(self, job: FoldJob) -> AsyncGenerator[Record, None]:
        """Run a fold in the next free slot, or go on with it where an earlier engine left it.

        Records as in ``Slot.run``.

        Raises:
            ComputeError: The slots are closed, or a lost one could not be started again.
        """
        if self._closed:
            raise ComputeError("The worker slots are closed.")
        orphan = self._orphans.pop(job.key, None)
        if orphan is not None:
            over = False
            async with aclosing(self._claim(orphan, job)) as records:
                async for record in records:
                    over = isinstance(record, FoldOutcome)
                    yield record
            if over:
                return
        slot = await self._slot(job)
        if slot is None:
            yield FoldOutcome(job.fold, "killed", 0.0, error="killed on request")
            return
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
        for orphan in self._claimed:
            if orphan.ticket.experiment == experiment:
                orphan.kill()
        for slot, job in list(self._running.items()):
            if job.experiment == experiment:
                await slot.kill()

    async def close(self) -> None:
        """End every slot, and every fold that was found again."""
        self._closed = True
        self._refuse(lambda _: True)
        await self.expect(())
        for orphan in self._claimed:
            orphan.kill()
        await asyncio.gather(*(orphan.over.wait() for orphan in self._claimed))
        await asyncio.gather(*self._held_back)
        await asyncio.gather(*(slot.close() for slot in self._all))

    async def _claim(self, orphan: Orphan, job: FoldJob) -> AsyncGenerator[Record, None]:
        self._claimed.add(orphan)
        try:
            async with aclosing(orphan.records(job)) as records:
                async for record in records:
                    yield record
        finally:
            self._claimed.discard(orphan)

    async def _follow(self, orphan: Orphan, slot: LocalSlot) -> None:
        """Open a slot when the fold that holds its place is over; it starts with its first fold."""
        await orphan.over.wait()
        self._free.put_nowait(slot)

    async def _slot(self, job: FoldJob) -> LocalSlot | None:
        """The next free slot; None when the job was killed while it waited."""
        waiting = asyncio.ensure_future(self._free.get())
        self._waiting[waiting] = job
        try:
            await asyncio.wait({waiting})
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise
        finally:
            del self._waiting[waiting]
        if waiting not in self._refused:
            return waiting.result()
        self._refused.remove(waiting)
        self._give_up(waiting)
        return None

    def _refuse(self, which: Callable[[FoldJob], bool]) -> None:
        """End the wait of these jobs; one that was just given a slot gives it back."""
        for task, job in self._waiting.items():
            if which(job):
                self._refused.add(task)
                task.cancel()

    def _give_up(self, waiting: asyncio.Task[LocalSlot]) -> None:
        if not waiting.cancel() and not waiting.cancelled():
            self._free.put_nowait(waiting.result())
