"""What model calls may cost: dollars and tokens of the campaign against the caps of config.json."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from autokaggle_tui.config import Budget, load_config
from autokaggle_tui.workspace import Workspace
from backends.models.base import Usage
from experiments.errors import AutokaggleError
from experiments.registry import Registry


@dataclass
class Purse:
    """Counts what calls cost; the caps are read again from config.json while the loop waits for a higher one.

    Attributes:
        usd: Dollars so far, calls without a known price left out.
        tokens: Tokens so far, in and out.
    """

    workspace: Workspace
    budget: Budget
    usd: float = 0.0
    tokens: int = 0

    @classmethod
    def open(cls, workspace: Workspace, budget: Budget, registry: Registry) -> Purse:
        """The purse of a campaign, with what the registry says is spent."""
        usd = registry.value("SELECT sum(cost) FROM calls")
        tokens = registry.value("SELECT sum(input_tokens + output_tokens) FROM calls")
        return cls(workspace, budget, float(usd or 0.0), int(tokens or 0))

    def add(self, usage: Usage) -> None:
        """Count a call."""
        self.usd += usage.cost or 0.0
        self.tokens += usage.input_tokens + usage.output_tokens

    def empty(self) -> str:
        """Which cap is reached, for a person; nothing while none is."""
        budget = self.budget
        if budget.usd is not None and self.usd >= budget.usd:
            return f"${self.usd:.2f} of budget.usd {budget.usd:g} are spent"
        if budget.tokens is not None and self.tokens >= budget.tokens:
            return f"{self.tokens:,} of budget.tokens {budget.tokens:,} are used"
        return ""

    def read_again(self) -> None:
        """Take the caps as config.json has them now; a file that cannot be read changes nothing."""
        with contextlib.suppress(AutokaggleError):
            self.budget = load_config(self.workspace.root).budget
