"""What a rule says about one thing, and how it says it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from experiments.learnings import Rule, Rules
from experiments.significance import Gain
from experiments.spec import Direction
from experiments.text import gain_text

Verdict = Literal["pass", "warn", "block"]


@dataclass(frozen=True)
class Ruling:
    """What one rule says about one thing.

    Attributes:
        rule: Id of the rule.
        reason: One sentence for a person.
        figures: The numbers and names behind it; finite numbers, texts, lists or None.
    """

    rule: str
    verdict: Verdict
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)


def blocking(rulings: Iterable[Ruling]) -> tuple[Ruling, ...]:
    """Those that forbid."""
    return tuple(ruling for ruling in rulings if ruling.verdict == "block")


def broken(rules: Rules, rule: Rule, reason: str, figures: Mapping[str, Any], evidence: Gain | None = None) -> Ruling:
    """The ruling of a rule that is not kept: what ``enforce`` says, unless evidence lifts it."""
    if evidence is not None and rule.override == "evidence":
        figures = {**figures, "evidence": gain_figures(evidence)}
        said = f"cross-fitted evidence is {gain_text(evidence.mean)}, t = {evidence.t:.2f}"
        if evidence.significant(rules["noise-floor"].number("min_evidence_t")):
            return Ruling(rule.id, "warn", f"{reason} Lifted: {said}.", figures)
        reason = f"{reason} Not lifted: {said}."
    return Ruling(rule.id, "warn" if rule.enforce == "warn" else "block", reason, figures)


def how_far_behind(score: float, best: float, direction: Direction) -> float:
    """How much worse than ``best``; a score that is no number is infinitely worse."""
    if not math.isfinite(score):
        return math.inf
    return best - score if direction == "maximize" else score - best


def gain_figures(gain: Gain) -> dict[str, float | int | None]:
    """The figures of a paired gain."""
    noise = {"row_se": gain.row_se, "rerun_se": gain.rerun_se}
    return {
        "gain": finite(gain.mean),
        "se": finite(gain.se),
        "t": finite(gain.t),
        "folds": gain.n,
        **{name: finite(value) for name, value in noise.items() if value is not None},
    }


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None
