"""Is a gain larger than the noise of the folds it was measured on?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from experiments.folds import Folds
from experiments.spec import Direction

# Stands in for infinity (no variance between folds), so that a t stays a number in JSON.
T_LIMIT = 1000.0
# min_t is read at five folds, the usual number; fewer folds must clear the same probability.
USUAL_FOLDS = 5
# Scores that differ by less than this share of their size differ by rounding only.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Gain:
    """A paired difference between two sets of fold scores; positive is better.

    Attributes:
        mean: Mean difference over the folds, in units of the metric.
        se: Its corrected standard error; inf when fewer than two folds can be compared.
        t: mean / se, within +-1000; 0 when there is no difference or nothing to compare.
        n: Folds compared.
        row_se: Standard error over resampled rows (``rowgain``), where it was measured; ``se`` is no smaller.
        rerun_se: What other seeds alone would make of the difference, where that was measured; ``se`` is no smaller.
    """

    mean: float
    se: float
    t: float
    n: int
    row_se: float | None = None
    rerun_se: float | None = None

    def at_least(self, *, row_se: float | None = None, rerun_se: float | None = None) -> Gain:
        """The gain with a standard error that is no smaller than these: a few folds can agree by chance."""
        known = [noise for noise in (row_se, rerun_se) if noise is not None]
        se = max([self.se, *known])
        t = self.t
        if self.n >= 2 and se > self.se:
            t = float(np.clip(self.mean / se, -T_LIMIT, T_LIMIT)) if self.mean else 0.0
        return replace(self, se=se, t=t, row_se=row_se, rerun_se=rerun_se)

    def significant(self, min_t: float) -> bool:
        """Whether the gain is positive and its t reaches ``required_t(min_t, n)``."""
        return self.mean > 0 and self.n >= 2 and self.t >= required_t(min_t, self.n)


def paired_gain(
    new_folds: Sequence[float],
    old_folds: Sequence[float],
    direction: Direction,
    *,
    n_train: float,
    n_valid: float,
) -> Gain:
    """The gain of ``new`` over ``old`` on the same folds, with the corrected resampled t statistic.

    Training sets of different folds overlap, so the plain paired t claims too much; the variance of the
    mean is s^2 (1/k + n_valid/n_train) instead of s^2/k. Source: Nadeau and Bengio, Inference for the
    Generalization Error, Machine Learning 52 (2003), section 3.

    Folds in which either score is not finite are left out. Without any variance between the folds t is
    0 for no difference and +-1000 for the same difference everywhere.

    Args:
        new_folds: (k,) scores by fold, in units of the metric.
        old_folds: (k,) scores of the other experiment on the same folds.
        direction: Of the metric.
        n_train: Mean number of training rows of a fold (``fold_sizes``).
        n_valid: Mean number of validation rows of a fold.

    Raises:
        ValueError: Different numbers of folds, or sizes that are not positive.
    """
    new = np.asarray(new_folds, dtype=np.float64)
    old = np.asarray(old_folds, dtype=np.float64)
    if new.shape != old.shape or new.ndim != 1:
        raise ValueError(f"{new.size} fold scores cannot be paired with {old.size}.")
    if not (n_train > 0 and n_valid > 0):
        raise ValueError("Fold sizes must be positive.")
    both = np.isfinite(new) & np.isfinite(old)
    new, old = new[both], old[both]
    n = int(both.sum())
    if n == 0:
        return Gain(0.0, float("inf"), 0.0, 0)
    rounding = ROUNDING * float(np.max(np.abs(np.concatenate([new, old]))))
    differences = new - old if direction == "maximize" else old - new
    mean = float(differences.mean())
    if abs(mean) <= rounding:
        mean = 0.0
    if n < 2:
        return Gain(mean, float("inf"), 0.0, n)
    spread = float(differences.std(ddof=1))
    if spread <= rounding:
        return Gain(mean, 0.0, float(np.sign(mean)) * T_LIMIT, n)
    se = spread * float(np.sqrt(1 / n + n_valid / n_train))
    return Gain(mean, se, float(np.clip(mean / se, -T_LIMIT, T_LIMIT)), n)


def required_t(min_t: float, n: int) -> float:
    """The t that ``n`` folds must reach where ``min_t`` is asked of five.

    With two folds the variance rests on one degree of freedom and a large t comes cheap: the same
    one-sided probability is asked instead (t 2.0 at five folds is 2.7 at three and 5.4 at two). More
    folds than five are never asked for less than ``min_t``.
    """
    if n >= USUAL_FOLDS or n < 2 or min_t <= 0:
        return min_t
    probability = min(float(stdtr(USUAL_FOLDS - 1, min_t)), 1 - 1e-12)
    return min(max(min_t, float(stdtrit(n - 1, probability))), T_LIMIT)


def fold_noise(reference: Sequence[float], others: Iterable[Sequence[float]] = ()) -> float:
    """How far one fold's score may lie from the reference's by chance, in units of the metric.

    The median over ``others`` of the standard deviation (over folds) of their paired differences to the
    reference: what makes a fold hard for all of them cancels. Without another complete experiment it is
    the standard deviation of the reference's own scores, which is larger and so kills less.

    Args:
        reference: (k,) fold scores, usually of best_single.
        others: Fold scores of other complete experiments on the same folds; those of another length, or
            with scores that are not finite, are skipped.
    """
    base = np.asarray(reference, dtype=np.float64)
    if base.size < 2 or not np.isfinite(base).all():
        return 0.0
    spreads: list[float] = []
    for other in others:
        scores = np.asarray(other, dtype=np.float64)
        # An experiment equal to the reference (itself, a copy) says nothing about noise.
        if scores.shape == base.shape and np.isfinite(scores).all() and not np.array_equal(scores, base):
            spreads.append(float((scores - base).std(ddof=1)))
    return float(np.median(spreads)) if spreads else float(base.std(ddof=1))


def rerun_noise(repeats: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation of one fold's score over seeds, in units of the metric; None when nothing was repeated.

    Args:
        repeats: For each fold that ran several times, its scores; pooled over the folds.
    """
    squares, freedom = 0.0, 0
    for repeat in repeats:
        scores = np.asarray(repeat, dtype=np.float64)
        scores = scores[np.isfinite(scores)]
        if scores.size >= 2:
            squares += float(((scores - scores.mean()) ** 2).sum())
            freedom += scores.size - 1
    return float(np.sqrt(squares / freedom)) if freedom else None


def fold_sizes(folds: Folds) -> tuple[float, float]:
    """Mean numbers of training and validation rows per fold, for ``paired_gain``."""
    train = [len(rows) for rows, _ in folds.splits]
    valid = [len(rows) for _, rows in folds.splits]
    return float(np.mean(train)), float(np.mean(valid))
