"""A dummy prediction, scored once: whether a metric can score a target at all is known before a round is played."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.errors import MetricError
from experiments.metrics import Metric

ROWS = 2_000
CELLS = 1_000_000
"""Rows times classes; with very many classes fewer rows are taken."""


def check_metric(metric: Metric, y: np.ndarray, n_classes: int | None, target: str) -> None:
    """Check that a metric is defined on a target.

    Scored are predictions that any metric should accept: one that knows nothing, then one that is right.
    Either will do, for a correlation has nothing to say about a constant.

    Args:
        y: (n,) int codes of the classes, or float64; a sample that keeps what metrics stumble over is scored.
        n_classes: None for regression.

    Raises:
        MetricError: None of them can be scored.
    """
    rows = _sample(y, n_classes)
    truth = y[rows]
    first: MetricError | None = None
    for pred in _numbers(truth, metric) if n_classes is None else _probabilities(truth, n_classes):
        try:
            metric.score(truth, pred)
        except MetricError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise MetricError(
            f"{metric.name} cannot score the target '{target}': {first.message.rstrip('.')}.",
            hint=f"{first.hint[:1].upper()}{first.hint[1:].rstrip('.')}." if first.hint else "Choose another metric.",
        )


def _sample(y: np.ndarray, n_classes: int | None) -> np.ndarray:
    """Rows spread over all, with every class, or the extremes and the first broken number."""
    wanted = min(ROWS, max(1, CELLS // (n_classes or 1)))
    spread = np.arange(0, len(y), max(1, len(y) // wanted))
    if n_classes is not None:
        keep = np.unique(y, return_index=True)[1]
    else:
        keep = np.array([np.argmin(y), np.argmax(y), np.argmax(y != np.rint(y))])
    return np.union1d(spread, keep)


def _numbers(truth: np.ndarray, metric: Metric) -> Iterator[np.ndarray]:
    floor = -np.inf if metric.floor is None else metric.floor
    yield np.full(len(truth), max(float(truth.mean()), floor))
    yield np.maximum(truth, floor)


def _probabilities(truth: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    if n_classes == 2:
        yield np.full(len(truth), 0.5)
        yield np.where(truth == 1, 0.9, 0.1)
        return
    yield np.full((len(truth), n_classes), 1.0 / n_classes)
    right = np.full((len(truth), n_classes), 0.1 / n_classes)
    right[np.arange(len(truth)), truth] += 0.9
    yield right
