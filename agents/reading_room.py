"""The Researcher's tools for what others made public: notebooks, threads, leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from agents.tool import Arguments, Tool, services_of

if TYPE_CHECKING:
    from agents.tools import Toolbox


class ListKernels(Arguments):
    """Arguments of list_kernels."""

    sort: Literal["votes", "date", "score"] = "votes"
    count: int = Field(default=20, ge=1, le=100)


class ReadKernel(Arguments):
    """Arguments of read_kernel."""

    ref: str = Field(max_length=300)
    from_cell: int = Field(default=1, ge=1)


class ListTopics(Arguments):
    """Arguments of list_topics."""

    count: int = Field(default=20, ge=1, le=100)


class ReadTopic(Arguments):
    """Arguments of read_topic."""

    id: int = Field(ge=0)
    from_post: int = Field(default=1, ge=1)


class Leaderboard(Arguments):
    """Arguments of leaderboard."""


async def _list_kernels(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).list_kernels(box.round, arguments.sort, arguments.count)


async def _read_kernel(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).read_kernel(box.round, arguments.ref, arguments.from_cell)


async def _list_topics(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).list_topics(box.round, arguments.count)


async def _read_topic(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).read_topic(box.round, arguments.id, arguments.from_post)


async def _leaderboard(box: Toolbox, _arguments: Any) -> str:
    return await services_of(box).leaderboard(box.round)


READING_ROOM: Mapping[str, Tool] = {
    "list_kernels": Tool(
        "Public notebooks and scripts of this competition, best first: by votes, date of the last run, or score. "
        "Each row says whether an earlier round read it. Kaggle competitions only.",
        ListKernels,
        _list_kernels,
    ),
    "read_kernel": Tool(
        "The code and Markdown cells of a public notebook, outputs left out. `ref` is owner/name from list_kernels; "
        "`from_cell` reads on where an answer was cut.",
        ReadKernel,
        _read_kernel,
    ),
    "list_topics": Tool(
        "Threads of the competition's forum, the liveliest first. Kaggle competitions only.", ListTopics, _list_topics
    ),
    "read_topic": Tool(
        "The posts of a thread. `id` is from list_topics; `from_post` reads on where an answer was cut.",
        ReadTopic,
        _read_topic,
    ),
    "leaderboard": Tool(
        "The first places of the public leaderboard, and who moved since it was last looked at.",
        Leaderboard,
        _leaderboard,
    ),
}
