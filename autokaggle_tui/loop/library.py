"""The library: others' public work on the competition, asked for within a budget, kept, and read again for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, get_args

from autokaggle_tui.loop.cuttings import Cutting, Cuttings, fresh
from backends.platforms.base import (
    KernelInfo,
    KernelSort,
    KernelSource,
    Message,
    Research,
    Standing,
    TopicInfo,
)
from experiments.errors import AutokaggleError, PlatformError

FOLDER = "research"
LOOKUPS = 40
"""Questions to the platform that one round may ask."""
LIST_SECONDS = 6 * 3600.0
"""Lists and threads are asked for again after so long."""
BOARD_SECONDS = 1800.0
AWAY = timedelta(minutes=15)
"""How long a platform that is out of reach is left alone."""
MOST_LISTED = 100
BOARD_PLACES = 1_000
"""Of the leaderboard that is kept."""
Content = TypeVar("Content")


class LibraryError(AutokaggleError):
    """Something public cannot be looked up now."""

    title = "Research"


@dataclass(frozen=True)
class Reading:
    """What there is to read, and a remark when it is older than it should be."""

    cutting: Cutting[Any]
    remark: str = ""


@dataclass
class Library:
    """Others' public work on one competition.

    Attributes:
        research: Where it is asked for; None on a platform without others.
        folder: Where it is kept.
        now: The time, in UTC.
    """

    research: Research | None
    folder: Path
    now: Callable[[], datetime]
    _round: int = -1
    _asked: int = 0
    _away: tuple[datetime, PlatformError] | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    def __post_init__(self) -> None:
        self._kernels = Cuttings[list[KernelInfo]](self.folder / "lists", list[KernelInfo])
        self._topics = Cuttings[list[TopicInfo]](self.folder / "lists", list[TopicInfo])
        self._sources = Cuttings[KernelSource](self.folder / "kernels", KernelSource)
        self._threads = Cuttings[list[Message]](self.folder / "topics", list[Message])
        self._board = Cuttings[list[Standing]](self.folder / "lists", list[Standing], keep_before=True)

    async def kernels(self, sort: KernelSort, round: int) -> Reading:
        """Notebooks and scripts, best first: a cutting of ``list[KernelInfo]``.

        Raises:
            LibraryError: They are not kept, and cannot be asked for.
        """
        return await self._read(
            self._kernels,
            f"kernels by {sort}",
            "",
            round,
            LIST_SECONDS,
            lambda there: list(there.kernels(sort, MOST_LISTED)),
        )

    async def kernel(self, ref: str, round: int) -> Reading:
        """The source of one: a cutting of ``KernelSource``; asked for again only once it ran anew.

        Raises:
            LibraryError: It is not kept, and cannot be asked for.
        """
        info = self._listed(ref)
        address = info.url if info is not None else ""
        known = self._sources.find(ref)
        stale = known is not None and info is not None and _later(info.last_run, known.fetched_at)
        age = 0.0 if stale else float("inf")
        return await self._read(self._sources, ref, address, round, age, lambda there: there.kernel(ref))

    async def topics(self, round: int) -> Reading:
        """Threads of the forum: a cutting of ``list[TopicInfo]``.

        Raises:
            LibraryError: They are not kept, and cannot be asked for.
        """
        return await self._read(
            self._topics, "topics", "", round, LIST_SECONDS, lambda there: list(there.topics(MOST_LISTED))
        )

    async def topic(self, id: int, round: int) -> Reading:
        """The posts of a thread: a cutting of ``list[Message]``.

        Raises:
            LibraryError: They are not kept, and cannot be asked for.
        """
        threads = self._topics.find("topics")
        address = next((info.url for info in threads.content if info.id == id), "") if threads is not None else ""
        return await self._read(
            self._threads, f"topic {id}", address, round, LIST_SECONDS, lambda there: list(there.topic(id))
        )

    async def board(self, round: int) -> Reading:
        """The leaderboard, and the one of the look before: a cutting of ``list[Standing]``.

        Raises:
            LibraryError: It is not kept, and cannot be asked for.
        """
        return await self._read(
            self._board,
            "leaderboard",
            "",
            round,
            BOARD_SECONDS,
            lambda there: list(there.leaderboard())[:BOARD_PLACES],
        )

    def read_in(self, info: KernelInfo) -> int | None:
        """The round that read a notebook as it is now; None when none did."""
        known = self._sources.find(info.ref)
        return None if known is None or _later(info.last_run, known.fetched_at) else known.round

    def thread_read_in(self, info: TopicInfo) -> int | None:
        """The round that read a thread as far as it goes now; None when none did."""
        known = self._threads.find(f"topic {info.id}")
        return None if known is None or len(known.content) < info.comments else known.round

    def _listed(self, ref: str) -> KernelInfo | None:
        """What the lists say of a notebook."""
        lists = (self._kernels.find(f"kernels by {sort}") for sort in get_args(KernelSort))
        return next((info for found in lists if found is not None for info in found.content if info.ref == ref), None)

    async def _read(
        self,
        kept: Cuttings[Content],
        key: str,
        address: str,
        round: int,
        seconds: float,
        ask: Callable[[Research], Content],
    ) -> Reading:
        # One at a time: agents ask for several things in one breath, and the platform counts.
        async with self._one:
            known = kept.find(key)
            if known is not None and fresh(known, self.now(), seconds):
                return Reading(known)
            try:
                content = await self._ask(round, ask)
            except LibraryError as error:
                if known is None:
                    raise
                return Reading(known, f"It could not be asked for again: {error.message}")
            return Reading(kept.keep(key, address, content, now=self.now(), round=round))

    async def _ask(self, round: int, ask: Callable[[Research], Content]) -> Content:
        if self.research is None:
            raise LibraryError("this competition is a local one: there are no notebooks, threads or rivals to read.")
        if self._away is not None and self.now() < self._away[0]:
            raise LibraryError(f"the platform is left alone for some minutes: {self._away[1].message}")
        if round != self._round:
            self._round, self._asked = round, 0
        if self._asked >= LOOKUPS:
            raise LibraryError(
                f"the {LOOKUPS} lookups of this round are used up; what was read before can be read again, "
                "and the next round may look further."
            )
        self._asked += 1
        try:
            content = await asyncio.to_thread(ask, self.research)
        except PlatformError as error:
            if error.passing or error.fault in ("credentials", "no-credentials"):
                self._away = (self.now() + AWAY, error)
            raise LibraryError(error.message, hint=error.hint) from None
        self._away = None
        return content


def rank_changes(now: Sequence[Standing], before: Sequence[Standing] | None) -> dict[str, int | None]:
    """How many places each team rose since the look before; None for one that was not there."""
    old = {row.name: row.rank for row in before or ()}
    return {row.name: old[row.name] - row.rank if row.name in old else None for row in now}


def _later(run: datetime | None, read: datetime) -> bool:
    if run is None:
        return False
    return (run if run.tzinfo is not None else run.replace(tzinfo=read.tzinfo)) > read
