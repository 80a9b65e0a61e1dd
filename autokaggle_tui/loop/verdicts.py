"""Verdicts: what the Reviewer, the rules and the engine say, kept as facts and told as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from experiments.registry import Registry
from experiments.rules import Ruling

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
            "verdict", round=round, id=number, phase=phase, author=author, verdict=verdict, rule=rule, reason=reason
        )


def record_rulings(registry: Registry, round: int | None, phase: str, rulings: Sequence[Ruling]) -> None:
    """Keep every rule that fired, with its figures; one that is kept already is not told again."""
    known = registry.rows(
        "SELECT rule, reason FROM verdicts WHERE round IS ? AND phase = ? AND author = 'rules'", [round, phase]
    )
    told = {(row["rule"], row["reason"]) for row in known}
    for ruling in rulings:
        if ruling.verdict == "pass" or (round is not None and (ruling.rule, ruling.reason) in told):
            continue
        record_verdict(
            registry, round, phase, "rules", ruling.verdict, ruling.reason, rule=ruling.rule, figures=ruling.figures
        )
