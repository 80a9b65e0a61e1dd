"""Gains row by row: a paired bootstrap for metrics that are a mean over rows.

Fold scores are few, and five of them can agree by chance. The rows are many: what a gain may differ by because other
rows could have been drawn is measured by drawing them again, both predictions on the same ones. Rows that belong
together (groups, neighbours in time) are drawn together. Source: Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from experiments.errors import MetricError
from experiments.metrics import Metric

# Rows are drawn in this many bundles at most: their sums are all that is needed.
BUNDLES = 1000
DRAWS = 1000
# Times follow each other: fewer, longer stretches keep what neighbours share.
STRETCHES = 50
SMALLEST = np.finfo(np.float64).eps

Losses = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class RowGain:
    """A paired gain over the rows; positive is better.

    Attributes:
        mean: In units of the metric.
        se: Standard error over resampled rows.
        low: Lower end of the central 90 %.
        high: Upper end.
    """

    mean: float
    se: float
    low: float
    high: float


def is_decomposable(metric: Metric) -> bool:
    """Whether the metric is a mean over rows (or a monotone function of one)."""
    return metric.function is None and metric.name in _LOSSES


def row_losses(metric: Metric, y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    """(n,) what each row adds to the metric; their mean, finished, is the score.

    Args:
        y: (n,) integer codes, or floats for regression.
        pred: (n,) or (n, K), finite.

    Raises:
        MetricError: The metric is no mean over rows, or cannot read the prediction.
    """
    if not is_decomposable(metric):
        raise MetricError(f"{metric.name} is no mean over rows")
    return _LOSSES[metric.name](np.asarray(y), metric.as_submitted(pred, y))


def row_gain(
    metric: Metric,
    y: np.ndarray,
    new: np.ndarray,
    old: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    seed: int = 0,
) -> RowGain:
    """The gain of one prediction over another, with what other rows could have made of it.

    Args:
        y: (n,) targets of the rows that count.
        new: (n,) or (n, K).
        old: Of the same shape.
        groups: (n,) codes of rows that are drawn together.
        times: (n,) numbers in whose order rows are cut into stretches.

    Raises:
        MetricError: As ``row_losses``.
    """
    with np.errstate(all="ignore"):
        losses = np.stack([row_losses(metric, y, new), row_losses(metric, y, old)]).astype(np.float64)
        gain, gains = _resampled(metric, losses, _bundles(len(y), groups, times, seed), seed)
        se = float(gains.std(ddof=1))
        if groups is not None or times is not None:
            # A handful of groups says little of how much groups differ: no less than rows on their own.
            se = max(se, float(_resampled(metric, losses, _bundles(len(y), None, None, seed), seed)[1].std(ddof=1)))
        low, high = np.quantile(gains, [0.05, 0.95])
    return RowGain(gain, se, float(low), float(high))


def _resampled(metric: Metric, losses: np.ndarray, bundle: np.ndarray, seed: int) -> tuple[float, np.ndarray]:
    """The gain of the first of two rows of losses over the second, and (DRAWS,) what it is when bundles are redrawn."""
    finish = _FINISH.get(metric.name, _plain)
    count = int(bundle.max()) + 1
    sums = np.stack([np.bincount(bundle, weights=values, minlength=count) for values in losses])
    sizes = np.bincount(bundle, minlength=count).astype(np.float64)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    means = (drawn @ sums.T) / np.maximum(drawn @ sizes, 1.0)[:, None]
    sign = 1.0 if metric.direction == "maximize" else -1.0
    whole = losses.mean(axis=1)
    return sign * float(finish(whole[:1])[0] - finish(whole[1:])[0]), sign * (finish(means[:, 0]) - finish(means[:, 1]))


def _bundles(rows: int, groups: np.ndarray | None, times: np.ndarray | None, seed: int) -> np.ndarray:
    """(rows,) which bundle each row is drawn with."""
    random = np.random.default_rng(seed)
    if times is not None:
        # By the rows before a time, so that equal times stay together.
        before = np.searchsorted(np.sort(times), times)
        _, stretch = np.unique(before * min(STRETCHES, rows) // rows, return_inverse=True)
        return np.asarray(stretch)
    if groups is not None:
        _, codes = np.unique(groups, return_inverse=True)
        shuffled = random.permutation(int(codes.max()) + 1)
        return np.asarray(shuffled[codes] % BUNDLES)
    return np.asarray(random.permutation(rows) % BUNDLES)


def _plain(mean: np.ndarray) -> np.ndarray:
    return mean


def _squared(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return np.asarray((pred - y) ** 2)


def _log_squared(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return np.asarray((np.log1p(pred) - np.log1p(y)) ** 2)


def _absolute(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(pred - y))


def _relative(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(pred - y) / np.maximum(np.abs(y), SMALLEST))


def _symmetric(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    size = np.abs(y) + np.abs(pred)
    return np.asarray(100.0 * np.divide(2.0 * np.abs(pred - y), size, out=np.zeros(len(y)), where=size > 0))


def _surprise(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    own = pred[np.arange(len(y)), y] if pred.ndim == 2 else np.where(y == 1, pred, 1.0 - pred)
    return np.asarray(-np.log(np.maximum(own, SMALLEST)))


def _brier(y: np.ndarray, pred: np.ndarray) -> np.ndarray:
    if pred.ndim == 1:
        return np.asarray((pred - y) ** 2)
    distance = pred.copy()
    distance[np.arange(len(y)), y] -= 1.0
    return np.asarray((distance**2).sum(axis=1))


def _right(y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(labels == y, dtype=np.float64)


_LOSSES: dict[str, Losses] = {
    "rmse": _squared,
    "mse": _squared,
    "rmsle": _log_squared,
    "mae": _absolute,
    "mape": _relative,
    "smape": _symmetric,
    "log_loss": _surprise,
    "brier": _brier,
    "accuracy": _right,
    "f1_micro": _right,
}
_FINISH: dict[str, Callable[[np.ndarray], np.ndarray]] = {"rmse": np.sqrt, "rmsle": np.sqrt}
