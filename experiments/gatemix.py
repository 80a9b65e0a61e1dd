"""What a model adds to a better one: the evidence that lets a weaker one pass the gate."""

from __future__ import annotations

import numpy as np

from experiments.metrics import Metric
from experiments.scorer import score_or_nan
from experiments.significance import Gain, paired_gain


def mix_gain(new: np.ndarray, old: np.ndarray, y: np.ndarray, metric: Metric, *, parts: int = 5, seed: int = 0) -> Gain:
    """What one prediction adds to another on the same rows.

    The rows are dealt into parts, alike in their targets; the share of ``new`` is chosen on the other parts
    (0 to 0.9 in tenths) and scored on each part against ``old`` alone.

    Args:
        new: (n,) or (n, K), on the validation rows of one fold.
        old: Of the same shape.
        y: (n,) targets of those rows.

    Returns:
        A gain over ``parts`` parts; no gain and t = 0 when there are too few rows to tell.
    """
    nothing = Gain(0.0, float("inf"), 0.0, 0)
    if len(y) < 10 * parts:
        return nothing
    shuffled = np.random.default_rng(seed).permutation(len(y))
    part = np.empty(len(y), dtype=np.int64)
    part[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(len(y)) % parts
    shares = np.arange(10) / 10
    mixes = [((1 - share) * old + share * new).astype(np.float32) for share in shares]
    fresh, base = [], []
    for number in range(parts):
        inside = part == number
        others = [score_or_nan(metric, y, mix, ~inside) for mix in mixes]
        choice = 0
        for index, score in enumerate(others):
            if np.isfinite(score) and metric.better(score, others[choice]):
                choice = index
        fresh.append(score_or_nan(metric, y, mixes[choice], inside))
        base.append(score_or_nan(metric, y, mixes[0], inside))
    size = len(y) / parts
    return paired_gain(fresh, base, metric.direction, n_train=len(y) - size, n_valid=size)
