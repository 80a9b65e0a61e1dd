"""Whether the leaderboard agrees with the cross-validation, and what to select for the final score. Pure functions.

Standard library only: viewers call it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

FoldScores = Mapping[int, float]
CLEAR_T = 1.5
"""A difference of at least so many standard errors is more than noise; what rule ``noise-floor`` asks by default."""
ENOUGH = 4
"""Submissions from which on agreement is judged."""
PARTING = 0.2
"""Share of the clear pairs that the leaderboard may order otherwise before it is told."""


@dataclass(frozen=True)
class Shot:
    """A scored submission: what the cross-validation said of it and what the public leaderboard says."""

    experiment: str
    kind: str
    cv: float
    lb: float
    folds: FoldScores


@dataclass(frozen=True)
class Agreement:
    """How far leaderboard and cross-validation agree.

    Attributes:
        shots: By submission, oldest first.
        rho: Spearman's rank correlation of both, 1 when they order alike whichever way is better; None when it cannot
            be told (fewer than four, or no two that differ).
        clear: Pairs whose cross-validation differs by more than noise.
        parted: Of these, those that the leaderboard orders the other way: (better by CV, better by LB).
        warning: One sentence when they part, else empty.
    """

    shots: tuple[Shot, ...] = ()
    rho: float | None = None
    clear: int = 0
    parted: tuple[tuple[str, str], ...] = ()
    warning: str = ""


@dataclass(frozen=True)
class Pick:
    """A submission to select for the final score, and why."""

    experiment: str
    why: str


def clearly_better(new: FoldScores, old: FoldScores, better: int) -> bool:
    """Whether ``new`` beats ``old`` on the same folds by more than their noise.

    The standard error is that of Nadeau and Bengio (see ``experiments.significance``) for folds of equal size.

    Args:
        better: +1 when higher scores are better, else -1.
    """
    gains = [(new[fold] - old[fold]) * better for fold in new if fold in old]
    if len(gains) < 2 or not all(map(math.isfinite, gains)):
        return False
    mean = statistics.fmean(gains)
    noise = statistics.stdev(gains) * math.sqrt(1 / len(gains) + 1 / (len(gains) - 1))
    rounding = 1e-12 * max(abs(score) for score in (*new.values(), *old.values()))
    return mean > max(CLEAR_T * noise, rounding)


def agreement(shots: Sequence[Shot], better: int) -> Agreement:
    """How far the leaderboard agrees with the cross-validation.

    Args:
        shots: One for each experiment, oldest first.
        better: +1 when higher scores are better, else -1.
    """
    rho = spearman([shot.cv for shot in shots], [shot.lb for shot in shots]) if len(shots) >= ENOUGH else None
    clear = 0
    parted: list[tuple[str, str]] = []
    for one, other in combinations(shots, 2):
        for good, bad in ((one, other), (other, one)):
            if clearly_better(good.folds, bad.folds, better):
                clear += 1
                if (bad.lb - good.lb) * better > 0:
                    parted.append((good.experiment, bad.experiment))
    warning = ""
    if len(shots) >= ENOUGH and parted and len(parted) > PARTING * clear:
        in_cv, on_board = parted[-1]
        warning = (
            f"CV and leaderboard part: of {clear} pairs that differ by more than noise in CV the leaderboard puts "
            f"{len(parted)} the other way round, e.g. {in_cv} leads in CV and {on_board} on the leaderboard. "
            "Folds unlike the test set, or a small public part, do that; trust neither alone."
        )
    return Agreement(tuple(shots), rho, clear, tuple(parted), warning)


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Rank correlation, equal values sharing their mean rank; None when either side does not vary."""
    a, b = _ranks(x), _ranks(y)
    try:
        return statistics.correlation(a, b)
    except statistics.StatisticsError:
        return None


def picks(found: Agreement, better: int) -> tuple[Pick, ...]:
    """The two submissions to select for the final score.

    The best by CV; and the best blend by CV that no worse one beats clearly on the leaderboard. When that is the same
    one, or there is none, the next best by CV that the leaderboard does not contradict.
    """
    ranked = sorted(found.shots, key=lambda shot: -shot.cv * better)
    if not ranked:
        return ()
    first = Pick(ranked[0].experiment, f"best CV ({'a blend' if ranked[0].kind == 'blend' else 'a single model'})")
    doubtful = {good for good, _ in found.parted}
    rest = [shot for shot in ranked[1:] if shot.experiment not in doubtful]
    blend = next((shot for shot in rest if shot.kind == "blend"), None)
    if ranked[0].kind != "blend" and blend is not None:
        return first, Pick(blend.experiment, "best blend by CV, and the leaderboard agrees")
    if rest:
        return first, Pick(rest[0].experiment, "next best CV, and the leaderboard agrees")
    return (first,)


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for place in order[begin:end]:
            ranks[place] = (begin + end - 1) / 2
        begin = end
    return ranks
