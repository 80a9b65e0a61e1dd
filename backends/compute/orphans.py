"""Folds that an engine left when it died: found again, followed to their end, handed to who asks for the same fold."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from backends.compute.base import FoldJob, FoldOutcome, Record
from backends.compute.control import RESULT, ControlFolder
from backends.compute.handover import with_predictions
from backends.compute.link import Link, released
from backends.compute.messages import KILL, LEAVE, Message, Ticket, to_record
from experiments.processes import end_tree

LEAVE_SECONDS = 30.0


class Orphan:
    """One such fold.

    Args:
        link: To its supervisor, when that still lives.
        messages: What was said so far; the outcome is the last one when it is over.

    Attributes:
        over: Set once nothing more will come from it, and its slot is free.
    """

    def __init__(self, control: ControlFolder, ticket: Ticket, link: Link | None, messages: list[Message]) -> None:
        self.control = control
        self.ticket = ticket
        self.over = asyncio.Event()
        self._link = link
        self._messages = messages
        self._news = asyncio.Condition()
        self._following: asyncio.Task[None] | None = None
        if link is None:
            self.over.set()
        else:
            self._following = asyncio.create_task(self._follow(link))

    async def records(self, job: FoldJob) -> AsyncGenerator[Record, None]:
        """What the fold said, from its first line, and its outcome last; no outcome when it was lost.

        Closing the iteration early kills the fold.

        Args:
            job: The same fold, asked for anew.
        """
        seen = 0
        try:
            while True:
                await self._more_than(seen)
                if seen == len(self._messages):
                    return
                record = to_record(self._messages[seen], job.fold)
                seen += 1
                if isinstance(record, FoldOutcome):
                    await self.over.wait()
                    outcome = await asyncio.to_thread(self._with_predictions, record, job)
                    if outcome is not None:
                        yield outcome
                    return
                if record is not None:
                    yield record
        finally:
            await self.end()

    def kill(self) -> None:
        """Kill the fold."""
        if self._link is not None:
            self._link.send(KILL)

    async def end(self) -> None:
        """Kill it if it runs, and remove what it left."""
        self.kill()
        if self._following is not None:
            await asyncio.wait({self._following})
        await asyncio.to_thread(self.control.remove)

    async def _follow(self, link: Link) -> None:
        """Take what comes; at the end have the supervisor write it down and leave, so that nothing is lost with us."""
        try:
            while (message := await link.receive()) is not None:
                await self._add(message)
                if {"end", "failed"} & message.keys():
                    link.send(LEAVE)
            if not await link.gone(LEAVE_SECONDS):
                await link.destroy()
        finally:
            link.hang_up()
            self._link = None
            self.over.set()
            async with self._news:
                self._news.notify_all()

    async def _more_than(self, seen: int) -> None:
        """Wait for another message, or for the end."""
        async with self._news:
            await self._news.wait_for(lambda: len(self._messages) > seen or self.over.is_set())

    async def _add(self, message: Message) -> None:
        async with self._news:
            self._messages.append(message)
            self._news.notify_all()

    def _with_predictions(self, outcome: FoldOutcome, job: FoldJob) -> FoldOutcome | None:
        """The outcome as the engine takes it; None when the predictions were not written down."""
        if outcome.status != "ok":
            return outcome
        try:
            descriptor = os.open(self.control.path / RESULT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return with_predictions(outcome, descriptor, job)
        finally:
            os.close(descriptor)


async def find_orphans(root: Path) -> list[Orphan]:
    """Every fold that runs or ended while no engine was there; all else that an engine left below ``root`` goes."""
    found = []
    for control in ControlFolder.all(root):
        orphan = await _find(control)
        if orphan is not None:
            found.append(orphan)
    return found


async def _find(control: ControlFolder) -> Orphan | None:
    link = await Link.attach(control)
    if link is not None and link.ticket is not None:
        return Orphan(control, link.ticket, link, [])
    if link is not None:
        await link.close()
        return None
    # One that does not answer any more may be writing down how its fold ended.
    free = await released(control, LEAVE_SECONDS)
    await asyncio.to_thread(end_tree, None if free else control.owner(), control.marker)
    if not free:
        await released(control, LEAVE_SECONDS)
    left = await asyncio.to_thread(control.left)
    if left is not None:
        return Orphan(control, left.ticket, None, list(left.messages))
    await asyncio.to_thread(control.remove)
    return None
