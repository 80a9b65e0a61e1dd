"""The rules of LEARNINGS.md, enforced: plain facts in, rulings out. Nothing here decides, reads or writes.

Every check returns one ruling per active rule that it covers: ``pass``, ``warn`` or ``block`` with a sentence
for a person and the figures behind it (JSON-able). A rule that is ``off`` gives no ruling. This module is the
one door to all of them: runs, verdicts and blends are judged here, plans and code in ``planrules``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.learnings import Rule, Rules
from experiments.planrules import PastExperiment, PlanFacts, check_code, check_plan
from experiments.rulings import Ruling, blocking, broken, finite, gain_figures, how_far_behind
from experiments.significance import Gain, required_t
from experiments.spec import Direction
from experiments.text import gain_text, score_text

__all__ = [
    "BlendLimits",
    "BlendMember",
    "PastExperiment",
    "PlanFacts",
    "Rule",
    "Rules",
    "Ruling",
    "blend_limits",
    "blocking",
    "check_blend",
    "check_champion",
    "check_code",
    "check_gate",
    "check_plan",
    "diversity_margin",
    "gate_margin",
]

# A score a hair beyond a threshold by rounding (0.970 - 0.967 > 0.003) is within it.
TOLERANCE = 1 + 1e-9
LIFT_ORDER = ("diversity-threshold", "small-blends", "stacking-correlation")
"""Evidence has to show for each further rule that lifting it pays, the one that does the least harm first."""


@dataclass(frozen=True)
class BlendMember:
    """A proposed member of a blend; score in units of the metric."""

    name: str
    score: float


@dataclass(frozen=True)
class BlendLimits:
    """What the rules leave open to a blend; None lifts a limit.

    Attributes:
        max_correlation: Of a better and a worse member that both get fitted weights.
        max_gap: Distance to the best single score, for metrics in [0, 1].
        max_gap_share: The same for other metrics, as a share of the best single score.
        lift: Ids of rules that cross-fitted evidence may lift.
        min_t: The t that such evidence must reach (``min_evidence_t`` of rule noise-floor).
    """

    max_correlation: float | None = 0.995
    max_gap: float | None = 0.003
    max_gap_share: float | None = 0.003
    min_members: int = 2
    max_members: int | None = 4
    lift: frozenset[str] = frozenset()
    min_t: float = 1.0

    def margin(self, best_score: float, bounded: bool) -> float:
        """How far from ``best_score`` a member may be, in units of the metric."""
        if bounded:
            return math.inf if self.max_gap is None else self.max_gap
        return math.inf if self.max_gap_share is None else self.max_gap_share * abs(best_score)

    def without(self, rules: Collection[str]) -> BlendLimits:
        """The limits with these rules lifted."""
        gap = "diversity-threshold" in rules
        return replace(
            self,
            max_correlation=None if "stacking-correlation" in rules else self.max_correlation,
            max_gap=None if gap else self.max_gap,
            max_gap_share=None if gap else self.max_gap_share,
            max_members=None if "small-blends" in rules else self.max_members,
        )

    @property
    def lifts(self) -> tuple[tuple[str, ...], ...]:
        """What evidence may lift, step by step: nothing, then one more rule each time."""
        able = [rule for rule in LIFT_ORDER if rule in self.lift]
        return tuple(tuple(able[:count]) for count in range(len(able) + 1))


def blend_limits(rules: Rules) -> BlendLimits:
    """The limits that the blocking rules set; ``warn`` and ``off`` leave a blend free."""
    correlation, gap, small = (
        rules["stacking-correlation"],
        rules["diversity-threshold"],
        rules["small-blends"],
    )
    blocks = {rule.id for rule in (correlation, gap, small) if rule.enforce == "block"}
    return BlendLimits(
        max_correlation=correlation.number("max_correlation") if correlation.id in blocks else None,
        max_gap=gap.number("max_gap") if gap.id in blocks else None,
        max_gap_share=gap.number("max_gap_share") if gap.id in blocks else None,
        min_members=int(small.number("min_members")) if small.id in blocks else 2,
        max_members=int(small.number("max_members")) if small.id in blocks else None,
        lift=frozenset(rule_id for rule_id in blocks if rules[rule_id].override == "evidence"),
        min_t=rules["noise-floor"].number("min_evidence_t"),
    )


def diversity_margin(rules: Rules, best_score: float, bounded: bool) -> float:
    """The diversity threshold in units of the metric: absolute when ``bounded``, else a share of the score.

    Whether the rule is enforced does not matter here: the gate uses its number too.
    """
    rule = rules["diversity-threshold"]
    return rule.number("max_gap") if bounded else rule.number("max_gap_share") * abs(best_score)


def gate_margin(rules: Rules, best_score: float, bounded: bool, noise: float) -> float:
    """Fold 1 may be worse than best_single's by this much: max(diversity threshold, fold noise).

    Args:
        best_score: Out-of-fold score of best_single.
        noise: ``experiments.significance.fold_noise``, in units of the metric.
    """
    factor = rules["fold1-gate"].number("noise_factor")
    return max(diversity_margin(rules, best_score, bounded), factor * noise)


def check_gate(
    rules: Rules,
    *,
    fold_score: float,
    best_fold_score: float | None,
    best_score: float | None,
    direction: Direction,
    bounded: bool,
    noise: float,
    evidence: Gain | None = None,
) -> tuple[Ruling, ...]:
    """Rule fold1-gate after the first fold.

    Args:
        fold_score: Of the running experiment.
        best_fold_score: Of best_single on the same fold; None when there is none yet.
        best_score: Of best_single over all folds.
        evidence: What a mix with best_single gains over best_single on that fold (``gatemix.mix_gain``).
    """
    rule = rules["fold1-gate"]
    if not rule.active:
        return ()
    if best_fold_score is None or best_score is None:
        return (Ruling(rule.id, "pass", "There is no single model to compare fold 1 with yet.", {}),)
    margin = gate_margin(rules, best_score, bounded, noise)
    behind = how_far_behind(fold_score, best_fold_score, direction)
    figures = {
        "fold_score": finite(fold_score),
        "best_fold_score": finite(best_fold_score),
        "behind": finite(behind),
        "margin": finite(margin),
        "noise": finite(noise),
    }
    if behind <= margin * TOLERANCE:
        where = "level with" if behind == 0 else f"{score_text(abs(behind))} {'behind' if behind > 0 else 'ahead of'}"
        reason = f"Fold 1 scores {score_text(fold_score)}, {where} the best single model (margin {score_text(margin)})."
        return (Ruling(rule.id, "pass", reason, figures),)
    reason = (
        f"Fold 1 scores {score_text(fold_score)}, {score_text(behind)} behind the best single model's "
        f"{score_text(best_fold_score)}; the margin is {score_text(margin)}."
    )
    return (broken(rules, rule, reason, figures, evidence),)


def check_champion(rules: Rules, gain: Gain | None, *, simpler: bool = False) -> tuple[Ruling, ...]:
    """Rule noise-floor for a change of champion.

    Args:
        gain: None when there is no champion yet.
        simpler: Than the champion: then to be no worse is enough.
    """
    rule = rules["noise-floor"]
    if not rule.active:
        return ()
    if gain is None:
        return (Ruling(rule.id, "pass", "There is no champion to beat yet.", {}),)
    min_t = rule.number("min_t")
    figures = {**gain_figures(gain), "required_t": required_t(min_t, gain.n)}
    said = f"The gain over the champion is {gain_text(gain.mean)} over {gain.n} folds, t = {gain.t:.3f}"
    if gain.significant(min_t):
        return (Ruling(rule.id, "pass", f"{said}: more than noise.", figures),)
    if simpler and gain.n >= 2 and gain.mean >= 0:
        return (Ruling(rule.id, "pass", f"{said}: no worse, and simpler.", figures),)
    reason = f"{said}; a change of champion needs a gain with t of at least {required_t(min_t, gain.n):.3f}."
    return (broken(rules, rule, reason, figures),)


def check_blend(
    rules: Rules,
    members: Sequence[BlendMember],
    *,
    correlations: Mapping[tuple[str, str], float],
    best_score: float,
    direction: Direction,
    bounded: bool,
    fitted: bool = True,
    evidence: Gain | None = None,
) -> tuple[Ruling, ...]:
    """Rules stacking-correlation, diversity-threshold and small-blends for a proposed or fitted blend.

    Args:
        correlations: Pearson by pair of names, in either order; an unknown pair counts as uncorrelated.
        best_score: Of best_single.
        fitted: Weights or a second-level model are fitted; False for a plain average.
        evidence: Cross-fitted gain over the best blend that keeps the rules (``Blend.evidence``).
    """
    rulings: list[Ruling] = []
    correlation = rules["stacking-correlation"]
    if correlation.active:
        limit = correlation.number("max_correlation")
        names = [member.name for member in members]
        pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        values = {pair: correlations.get(pair, correlations.get(pair[::-1], 0.0)) for pair in pairs}
        close = sorted((pair for pair in pairs if values[pair] > limit), key=lambda pair: -values[pair])
        figures: dict[str, Any] = {
            "pairs": [[a, b, round(values[a, b], 6)] for a, b in close],
            "max_correlation": limit,
        }
        if not close or not fitted:
            how = "the average is plain" if close else f"no pair is correlated above {limit:g}"
            rulings.append(Ruling(correlation.id, "pass", f"{how[0].upper()}{how[1:]}.", figures))
        else:
            a, b = close[0]
            reason = (
                f"{a} and {b} are correlated at {values[a, b]:.4f}, above {limit:g}: "
                "keep one of them, or take a plain average."
            )
            rulings.append(broken(rules, correlation, reason, figures, evidence))
    gap = rules["diversity-threshold"]
    if gap.active:
        margin = diversity_margin(rules, best_score, bounded)
        behind = {member.name: how_far_behind(member.score, best_score, direction) for member in members}
        weak = {name: value for name, value in behind.items() if not value <= margin * TOLERANCE}
        figures = {
            "behind": {name: finite(value) for name, value in weak.items()},
            "margin": finite(margin),
            "best_score": finite(best_score),
        }
        if weak:
            listed = ", ".join(f"{name} is {score_text(value)}" for name, value in weak.items())
            best = score_text(best_score)
            reason = f"{listed} behind the best single model's {best}; the threshold is {score_text(margin)}."
            rulings.append(broken(rules, gap, reason, figures, evidence))
        else:
            reason = f"Every member is within {margin:.3g} of the best single model."
            rulings.append(Ruling(gap.id, "pass", reason, figures))
    small = rules["small-blends"]
    if small.active:
        low, high = int(small.number("min_members")), int(small.number("max_members"))
        count = len(members)
        figures = {"members": count, "min_members": low, "max_members": high}
        reason = f"The blend has {count} member{'s' if count != 1 else ''}; {low} to {high} are allowed."
        if low <= count <= high:
            rulings.append(Ruling(small.id, "pass", reason, figures))
        else:
            # Evidence can speak for more members, never for too few.
            rulings.append(broken(rules, small, reason, figures, evidence if count > high else None))
    return tuple(rulings)
