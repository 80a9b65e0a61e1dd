"""Which of several ways of blending to take: the best, of level ones the simplest, rules lifted one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.blendsearch import Way
from experiments.rules import BlendLimits
from experiments.scorer import Scorer
from experiments.significance import Gain

# Two ways whose difference has a smaller t than this are level, and the simpler one is taken.
LEVEL_T = 0.5
Scores = Sequence[float]


@dataclass(frozen=True)
class Outcome:
    """How a contest ended.

    Attributes:
        choice: None when nothing may be taken.
        evidence: Of the choice over the best within the rules (the best single model, where there is none), when it
            lifts rules; else the strongest gain that did not suffice, if any was measured.
        standing: By the rules lifted, the fold scores that a blend without them has to beat.
    """

    choice: Way | None
    evidence: Gain | None
    standing: Mapping[tuple[str, ...], Scores]


def contest(
    scorer: Scorer,
    limits: BlendLimits,
    crossed: Mapping[Way, np.ndarray],
    base: Scores,
    folds: Sequence[int] | None = None,
) -> Outcome:
    """Choose among cross-fitted predictions.

    First among the ways that keep all rules. Then, for each further rule that evidence may lift, the best way without
    it is taken when its gain over what stands so far is larger than its noise.

    Args:
        crossed: By way, (n,) or (n, K).
        base: Fold scores of the best single model.
        folds: Those that count; None for all.
    """
    by_fold = {way: scorer.by_fold(oof, folds) for way, oof in crossed.items()}
    totals = {way: scorer.total(oof, folds) for way, oof in crossed.items()}
    choice: Way | None = None
    failed: list[Gain] = []
    within = stands = base
    standing: dict[tuple[str, ...], Scores] = {}
    for lifted in limits.lifts:
        standing[lifted] = stands
        way = _simplest(scorer, {way: total for way, total in totals.items() if way.lifted == lifted}, by_fold)
        if way is None:
            continue
        gain = scorer.gain(by_fold[way], stands)
        if not lifted:
            choice, within, stands = way, by_fold[way], by_fold[way]
        elif gain.significant(limits.min_t):
            choice, stands = way, by_fold[way]
        else:
            failed.append(gain)
    if choice is not None and choice.lifted:
        return Outcome(choice, scorer.gain(by_fold[choice], within), standing)
    return Outcome(choice, max(failed, key=lambda gain: gain.t, default=None), standing)


def _simplest(scorer: Scorer, totals: Mapping[Way, float], by_fold: Mapping[Way, Scores]) -> Way | None:
    """Of the ways that are level with the best one the simplest."""
    scored = [way for way, total in totals.items() if np.isfinite(total)]
    if not scored:
        return None
    best = scored[0]
    for way in scored:
        if scorer.metric.better(totals[way], totals[best]):
            best = way
    for way in sorted(scored, key=lambda way: way.intricacy):
        if way.intricacy >= best.intricacy:
            break
        gain = scorer.gain(by_fold[best], by_fold[way])
        if gain.n >= 2 and gain.t < LEVEL_T:
            return way
    return best
