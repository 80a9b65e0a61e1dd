"""Verdicts: what the Reviewer, the rules and the engine say, kept as facts and told as events.

The event has the figures that matter as words: a blend of 150 has eleven thousand pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from experiments.figures import figures_text
from experiments.registry import Registry
from experiments.retro import NextExperiment
from experiments.rules import Ruling
from experiments.text import gain_text, one_line

Author = Literal["reviewer", "rules", "engine"]


def record_verdict(
    registry: Registry,
    round: int | None,
    phase: str,
    author: Author,
    verdict: str,
    reason: str,
    *,
    rule: str | None = None,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Keep one verdict, with the event that tells of it."""
    with registry.transaction():
        number = registry.insert(
            "verdicts",
            round=round,
            phase=phase,
            author=author,
            verdict=verdict,
            rule=rule,
            reason=reason,
            figures=dict(figures or {}),
            at=registry.clock(),
        )
        registry.event(
            "verdict",
            round=round,
            id=number,
            phase=phase,
            author=author,
            verdict=verdict,
            rule=rule,
            reason=reason,
            figures=figures_text(rule, figures),
        )


def announced(named: Sequence[NextExperiment], file: str) -> str:
    """What is told of a retrospective: its top five in a line, or where it is."""
    told = []
    for one in named:
        gain = "" if one.expected_gain is None else f" {gain_text(one.expected_gain)}"
        minutes = "" if one.minutes is None else f" in {one.minutes:.1f} min"
        change = ", ".join(f"{name} = {value}" for name, value in one.params.items()) or (
            one.idea if one.parent else ""
        )
        told.append(f"{one.family} {one_line(change, 40)}".rstrip() + gain + minutes)
    return f"top five: {'; '.join(told)}" if told else f"written to rounds/{file}"


def record_rulings(
    registry: Registry, round: int | None, phase: str, rulings: Sequence[Ruling], *, experiment: str = ""
) -> None:
    """Keep every rule that fired, with its figures; one that is kept already is not told again.

    Args:
        experiment: What it is said of; outside rounds its name joins the figures.
    """
    about = {"experiment": experiment} if round is None and experiment else {}
    known = registry.rows(
        "SELECT rule, reason, figures FROM verdicts WHERE round IS ? AND phase = ? AND author = 'rules'", [round, phase]
    )
    told = {(row["rule"], row["reason"], (row["figures"] or {}).get("experiment")) for row in known}
    for ruling in rulings:
        if ruling.verdict == "pass" or (ruling.rule, ruling.reason, about.get("experiment")) in told:
            continue
        figures = {**ruling.figures, **about}
        record_verdict(
            registry, round, phase, "rules", ruling.verdict, ruling.reason, rule=ruling.rule, figures=figures
        )
