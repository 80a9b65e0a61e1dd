"""Scores and paired gains of out-of-fold predictions on the rows of one campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from experiments.errors import MetricError
from experiments.folds import Folds
from experiments.metrics import Metric
from experiments.significance import Gain, fold_sizes, paired_gain


def score_or_nan(metric: Metric, y: np.ndarray, pred: np.ndarray, mask: np.ndarray | None = None) -> float:
    """The score, NaN where the metric is undefined (one class only, say)."""
    try:
        return metric.score(y, pred, mask=mask)
    except MetricError:
        return float("nan")


@dataclass(frozen=True)
class Scorer:
    """What a prediction is worth on these rows.

    Attributes:
        y: (n,) integer codes, or floats for regression.
    """

    y: np.ndarray
    folds: Folds
    metric: Metric

    def total(self, oof: np.ndarray, folds: Sequence[int] | None = None) -> float:
        """Score over all covered rows, or those of some folds; NaN where it is undefined."""
        return score_or_nan(self.metric, self.y, oof, self.folds.covered if folds is None else self.rows_of(folds))

    def by_fold(self, oof: np.ndarray, folds: Sequence[int] | None = None) -> tuple[float, ...]:
        """Score of each fold, or of some; NaN where it is undefined."""
        chosen = range(self.folds.n_folds) if folds is None else folds
        return tuple(score_or_nan(self.metric, self.y[rows], oof[rows]) for rows in map(self._rows, chosen))

    def rows_of(self, folds: Sequence[int]) -> np.ndarray:
        """(n,) bool: the rows that these folds validate."""
        mask = np.zeros(len(self.y), dtype=bool)
        for fold in folds:
            mask[self._rows(fold)] = True
        return mask

    def gain(self, new: Sequence[float], old: Sequence[float]) -> Gain:
        """The paired gain of one set of fold scores over another on the same folds."""
        n_train, n_valid = self._sizes
        return paired_gain(new, old, self.metric.direction, n_train=n_train, n_valid=n_valid)

    def _rows(self, fold: int) -> np.ndarray:
        return self.folds.splits[fold][1]

    @cached_property
    def _sizes(self) -> tuple[float, float]:
        return fold_sizes(self.folds)
