"""What tools may ask of the loop: the agents' side of it. Whoever runs the loop provides it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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
