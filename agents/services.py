"""What tools may ask of the loop: the agents' side of it. Whoever runs the loop provides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from backends.platforms.base import KernelSort


class Services(Protocol):
    """Answers in words for a model. Each raises AutokaggleError when it cannot be served."""

    async def check_rules(self, round: int, plan: str) -> str:
        """What the rules of LEARNINGS.md say of a plan, given all other rounds.

        Args:
            plan: Text of a plan file.
        """

    async def preview_blend(self, members: Sequence[str]) -> str:
        """The cross-fitted score of a blend of these experiments (of the whole pool without), under the rules."""

    async def run_python(self, code: str) -> str:
        """Run Python in the sandbox, beside copies of train and test that may only be read; returns what it printed."""

    async def list_kernels(self, round: int, sort: KernelSort, count: int) -> str:
        """Public notebooks of the competition, best first, marked with the round that read them.

        Args:
            round: The round that asks: it has a budget of lookups.
        """

    async def read_kernel(self, round: int, ref: str, from_cell: int) -> str:
        """Cells of a public notebook, from one on (they count from 1), quoted."""

    async def list_topics(self, round: int, count: int) -> str:
        """Threads of the competition's forum, marked with the round that read them."""

    async def read_topic(self, round: int, id: int, from_post: int) -> str:
        """Posts of a thread, from one on (they count from 1), quoted."""

    async def leaderboard(self, round: int) -> str:
        """The first places of the public leaderboard, and who moved."""
