"""A worker slot on this machine: a supervisor with its worker, one fold at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.compute.base import FoldJob, FoldOutcome, FoldStatus, LogLine, Record
from backends.compute.handover import open_job, with_predictions
from backends.compute.link import Link
from backends.compute.messages import KILL, RUN, Ticket, to_record
from backends.compute.sandbox import Sandbox
from experiments.errors import ComputeError

GRACE_SECONDS = 45.0
"""What a supervisor may take beyond a fold's time limit to kill it and say so."""


@dataclass
class _Asked:
    """The fold that runs now."""

    job: FoldJob
    killed: bool = False
    link: Link | None = None


class LocalSlot:
    """A supervised worker that runs one fold at a time; started again when it was lost.

    Args:
        threads: Threads each fold may use.
        root: Folder in which the slot makes its own.
        sandbox: What its worker is shut into.
    """

    def __init__(self, threads: int, root: Path, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._threads = threads
        self._root = root
        self._link: Link | None = None
        self._asked: _Asked | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the warm process, None when there is none."""
        return self._link.worker if self._link else None

    @property
    def libraries(self) -> Mapping[str, str]:
        """Version by library that the warm process has loaded."""
        return self._link.libraries if self._link else {}

    async def start(self) -> None:
        """Start the supervisor; returns once its worker has imported its libraries.

        Raises:
            ComputeError: It did not come up.
        """
        if self._link is None:
            self._link = await Link.spawn(self._threads, self._root, self._sandbox)

    async def run(self, job: FoldJob) -> AsyncGenerator[Record, None]:
        """Run one fold, yielding records as they come and a FoldOutcome last.

        Closing the iteration, or cancelling it, kills the fold. A fold that was lost with its slot, through no doing of
        its own that could be seen, runs once more.

        Raises:
            DataError: A data file of the job is missing.
            ComputeError: The slot is busy or closed, or its process cannot be started again.
        """
        if self._closed or self._asked is not None:
            raise ComputeError(f"The worker slot is {'closed' if self._closed else 'busy'}.")
        asked = self._asked = _Asked(job)
        given: list[int] = []
        try:
            await _whole(_open(job, given))
            for attempt in (1, 2):
                async with aclosing(self._attempt(asked, given)) as records:
                    async for record in records:
                        if not isinstance(record, FoldOutcome):
                            yield record
                            continue
                        lost = bool(record.extra.get("worker_lost")) and not asked.killed
                        if lost and attempt == 1:
                            yield LogLine(job.fold, f"[{record.error}; the fold runs again]")
                            continue
                        yield await asyncio.to_thread(with_predictions, record, given[-1], job)
                        return
        finally:
            try:
                if asked.link is not None:
                    await _whole(self._settle(asked.link))
            finally:
                self._asked = None
                for descriptor in given:
                    os.close(descriptor)

    async def kill(self) -> None:
        """Kill the running fold and all it started; its run() ends with status ``killed``."""
        if self._asked is not None:
            self._asked.killed = True
            if self._asked.link is not None:
                self._asked.link.send(KILL)

    async def close(self) -> None:
        """End the supervisor and everything below it; a running fold is killed."""
        self._closed = True
        await self.kill()
        if self._link is not None:
            link, self._link = self._link, None
            await link.close()

    async def _attempt(self, asked: _Asked, given: list[int]) -> AsyncGenerator[Record, None]:
        """Give the fold to the supervisor once, and pass on what it says."""
        job, started = asked.job, asyncio.get_running_loop().time()
        if self._link is not None and not self._link.alive:
            await self._lose(self._link)
        if not asked.killed:
            await self.start()
        link = self._link
        if asked.killed or link is None:
            yield FoldOutcome(job.fold, "killed", 0.0, error="killed on request")
            return
        asked.link = link
        link.send({**RUN, "ticket": Ticket.of(job).to_json()}, given)
        silence = ""
        while True:
            try:
                async with asyncio.timeout_at(started + job.time_limit + GRACE_SECONDS):
                    message = await link.receive()
            except TimeoutError:
                message, silence = None, "it no longer answered"
            if message is None:
                break
            link.worker = message.get("worker", link.worker)
            record = to_record(message, job.fold)
            if "failed" in message:
                asked.link = None
                raise ComputeError(message["failed"])
            if isinstance(record, FoldOutcome):
                asked.link = None
            if record is not None:
                yield record
            if asked.link is None:
                return
        asked.link = None
        await self._lose(link)
        error = f"the worker slot was lost under it: {silence or f'its supervisor {link.describe_end()}'}"
        seconds = asyncio.get_running_loop().time() - started
        status: FoldStatus = "killed" if asked.killed else "crash"
        yield FoldOutcome(job.fold, status, seconds, error=error, extra={"worker_lost": True})

    async def _settle(self, link: Link) -> None:
        """Nobody listens any more: kill the fold and see it end."""
        link.send(KILL)
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while (message := await link.receive()) is not None and not {"end", "failed"} & message.keys():
                    pass
        except TimeoutError:
            message = None
        if message is None:
            await self._lose(link)

    async def _lose(self, link: Link) -> None:
        """Give up a supervisor that died or no longer obeys."""
        if self._link is link:
            self._link = None
        await link.destroy()


async def _open(job: FoldJob, given: list[int]) -> None:
    given.extend(await asyncio.to_thread(open_job, job))


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """See work through to its end, also when the waiting is cancelled meanwhile."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
