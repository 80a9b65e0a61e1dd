"""Metrics as a blend search needs them: thousands of evaluations of nearly the same float32 prediction.

They stand beside ``experiments.metrics``, never in place of it: ``objectives`` uses one only where it agrees with
``Metric.score`` on the data at hand, and every score that is reported comes from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from experiments.errors import MetricError
from experiments.metrics import Metric, is_positive

# Rows that a search looks at; what it finds is always scored on all of them. Sorting costs more than adding.
MAX_ROWS = 400_000
MAX_ROWS_SORTED = 150_000
MAX_ROWS_RANKED = 50_000
MAX_ROWS_GENERIC = 20_000
# Where scikit-learn cuts off a probability before taking its logarithm.
SMALLEST = np.float32(np.finfo(np.float64).eps)
# AUC does not depend on how common the classes are: each may be sampled for itself, the rare one whole.
BALANCED = frozenset({"roc_auc", "gini"})
# Below this probability of the true class its logarithm is not taken to be any steeper.
STEEPEST = np.float32(1e-6)
# Parts of the scores over each of which their density is taken to be even.
NEIGHBOURHOODS = 500
_ONE = np.uint32(1)
# More grades than this make a kappa's table larger than its worth.
MAX_GRADES = 300

Cost = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Kind:
    """How a metric is evaluated on a sample; costs are the metric, negated when it is maximised.

    Attributes:
        reduce: (pred, rows, y) -> what is summed over members, rows last: (r,) or (K, r) float32. ``pred`` has
            all rows; y, (r,), those that are wanted.
        cost: (y, mix) -> cost, mix as reduced; it may leave anything in mix.
        tie: (y, mix) -> a smooth cost that decides between equal ones, or None.
        target: What ``cost`` is given as y, computed once; y itself when None.
        slope: (target, mix) -> (r,) float32 derivative of the cost by each value of the mix.
        shift: The cost needs values from 0 up, and does not mind one constant added to all of them.
    """

    reduce: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    cost: Cost
    max_rows: int
    tie: Cost | None = None
    shift: bool = False
    target: Callable[[np.ndarray], np.ndarray] | None = None
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


def fast_kind(metric: Metric, y: np.ndarray, classes: int) -> Kind | None:
    """The fast path of a metric for this kind of target, if there is one."""
    name = metric.name
    labelled = y.dtype.kind in "iu"
    if name in _SORTED and labelled:
        score = _SORTED[name]
        limit = MAX_ROWS_RANKED if name == "average_precision" else MAX_ROWS_SORTED
        target = _bits if classes == 1 else None
        slope = _auc_slope if classes == 1 and name in BALANCED else None
        return Kind(_rows_last, lambda y, mix: -_per_class(score, y, mix), limit, None, True, target, slope)
    if name == "log_loss" and labelled:
        return Kind(_true_class, _log_loss, MAX_ROWS, slope=_log_loss_slope)
    if name == "spearman" and not labelled:
        return Kind(_rows_last, _spearman, MAX_ROWS_RANKED, target=_centred_ranks)
    if name == "mae" and not labelled:
        return Kind(_rows_last, _mae, MAX_ROWS, slope=_mae_slope)
    if name == "accuracy" and labelled:
        return Kind(_rows_last, lambda y, mix: -float(_right(y, mix).mean()), MAX_ROWS, _label_tie)
    if name in CONFUSED and labelled:
        figure, size = CONFUSED[name], max(classes, 2)
        return Kind(_rows_last, lambda y, mix: -figure(_confusion(y, _labels(mix), size)), MAX_ROWS, _label_tie)
    if name == "qwk" and not labelled and float(np.ptp(y)) < MAX_GRADES and (y == np.rint(y)).all():
        return _graded(float(y.min()), int(np.ptp(y)) + 1)
    return None


def generic_kind(metric: Metric) -> Kind:
    """Any metric, scored by itself."""
    signed = signed_cost(metric)
    tie = None if metric.prediction in ("value", "ranking") else _label_tie
    return Kind(_rows_last, lambda y, mix: signed(y, mix.T), MAX_ROWS_GENERIC, tie)


def signed_cost(metric: Metric) -> Cost:
    """(y, pred) -> the metric, lower is better; inf where it is undefined."""
    sign = -1.0 if metric.direction == "maximize" else 1.0

    def cost(y: np.ndarray, pred: np.ndarray) -> float:
        try:
            return sign * metric.score(y, pred)
        except MetricError:
            return float("inf")

    return cost


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve by one sort of integers; ties count half; NaN for a single class.

    The bits of a non-negative float32 sort as it does, which leaves the lowest bit of an integer for the label.

    Args:
        y: (n,) 0 or 1.
        score: (n,) non-negative float32.
    """
    keys = _keys(y, score)
    # Where neighbours differ in the label alone, their score is tied.
    edges = keys[:-1][(keys[:-1] ^ keys[1:]) == 1]
    wins = -_half_won(keys, edges) if len(edges) else 0.0
    keys &= _ONE
    positives = int(keys.sum(dtype=np.int64))
    negatives = len(keys) - positives
    if not positives or not negatives:
        return float("nan")
    # Every positive beats the negatives sorted before it; among equal scores negatives come first.
    keys *= np.arange(len(keys), dtype=np.uint32)
    wins += float(keys.sum(dtype=np.int64)) - positives * (positives - 1) / 2
    return wins / (positives * negatives)


def average_precision(y: np.ndarray, score: np.ndarray) -> float:
    """Mean precision at each positive, equal scores taken together; arguments as in ``auc``."""
    keys = _keys(y, score)[::-1]
    hits = np.cumsum(keys & _ONE)
    last = np.append(np.flatnonzero((keys[:-1] ^ keys[1:]) > 1), len(keys) - 1)
    found = hits[last]
    if not len(keys) or not found[-1]:
        return float("nan")
    return float((np.diff(found, prepend=0) * (found / (last + 1))).sum() / found[-1])


def _keys(y: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) sorted uint32: the bits of a score above its label."""
    keys = score.view(np.uint32) << _ONE
    keys |= y.astype(np.uint32, copy=False)
    keys.sort()
    return keys


def _half_won(keys: np.ndarray, edges: np.ndarray) -> float:
    """Half of the pairs of both labels with equal scores, of which ``edges`` are the keys with label 0."""
    low, middle = np.searchsorted(keys, edges, "left"), np.searchsorted(keys, edges, "right")
    high = np.searchsorted(keys, edges + _ONE, "right")
    return float(((middle - low).astype(np.float64) * (high - middle)).sum()) / 2


def _gini(y: np.ndarray, score: np.ndarray) -> float:
    return 2 * auc(y, score) - 1


_SORTED: dict[str, Cost] = {"roc_auc": auc, "gini": _gini, "average_precision": average_precision}


def _auc_slope(y: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Derivative of -AUC by each score: how dense scores of the other label are around it.

    A score that passes one of the other label wins or loses a pair. The density is that of the nearest scores.
    """
    n = len(mix)
    keys = mix.view(np.uint32).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(n, dtype=np.uint64)
    keys.sort()
    order = keys.astype(np.uint32).astype(np.intp)
    near = max(4, n // NEIGHBOURHOODS)
    low, high = np.maximum(np.arange(n) - near, 0), np.minimum(np.arange(n) + near, n - 1)
    labels = y[order]
    before = np.cumsum(labels, dtype=np.int64)
    positives = before[high] - before[low] + labels[low]
    sorted_mix = mix[order].astype(np.float64)
    width = sorted_mix[high] - sorted_mix[low]
    # Of many equal scores none is passed by a small step alone.
    np.maximum(width, max(float(width.mean()) / 1000, float(np.finfo(np.float32).tiny)), out=width)
    slopes = np.where(labels == 1, positives - (high - low + 1), positives) / width
    found = np.empty(n, dtype=np.float32)
    found[order] = slopes / max(int(before[-1]) * (n - int(before[-1])), 1)
    return found


def _per_class(score: Cost, y: np.ndarray, mix: np.ndarray) -> float:
    if mix.ndim == 1:
        return score(y, mix)
    return float(np.mean([score(y == code, mix[code]) for code in np.unique(y)]))


def _centred_ranks(y: np.ndarray) -> np.ndarray:
    ranks = rankdata(y)
    ranks -= ranks.mean()
    return np.asarray(ranks / (np.sqrt((ranks**2).mean()) or 1.0), dtype=np.float64)


def _spearman(ranks: np.ndarray, mix: np.ndarray) -> float:
    """Ties in the mix are ranked as they come, which a mean of several models hardly notices."""
    n = len(mix)
    return -float(ranks[np.argsort(mix)] @ (np.arange(n) - (n - 1) / 2)) / n / float(np.sqrt((n**2 - 1) / 12))


def _bits(y: np.ndarray) -> np.ndarray:
    return y.astype(np.uint32)


def _rows_last(pred: np.ndarray, rows: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pred.take(rows, axis=0).T, dtype=np.float32)


def _true_class(pred: np.ndarray, rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    if pred.ndim == 2:
        own = pred.reshape(-1).take(rows * pred.shape[1] + y)
        return np.asarray(own, dtype=np.float32)
    own = pred.take(rows)
    return np.asarray(np.where(y == 1, own, 1 - own), dtype=np.float32)


def _log_loss(_: np.ndarray, mix: np.ndarray) -> float:
    np.maximum(mix, SMALLEST, out=mix)
    return -float(np.log(mix, out=mix).mean(dtype=np.float64))


def _log_loss_slope(_: np.ndarray, mix: np.ndarray) -> np.ndarray:
    return np.asarray(np.float32(-1 / len(mix)) / np.maximum(mix, STEEPEST))


def _mae(y: np.ndarray, mix: np.ndarray) -> float:
    return float(np.abs(mix - y).mean())


def _mae_slope(y: np.ndarray, mix: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(mix - y) / len(y), dtype=np.float32)


def _label_tie(y: np.ndarray, mix: np.ndarray) -> float:
    if y.dtype.kind not in "iu":
        return float(((mix - y) ** 2).mean())
    true = mix[y, np.arange(len(y))] if mix.ndim == 2 else np.where(y == 1, mix, 1 - mix)
    return _log_loss(y, true)


def _right(y: np.ndarray, mix: np.ndarray) -> np.ndarray:
    if mix.ndim == 1:
        return np.asarray(is_positive(mix) == (y == 1))
    highest = mix.max(axis=0)
    # Several highest classes in a row: the first one is the label.
    if np.count_nonzero(mix == highest) > len(y):
        return np.asarray(_labels(mix) == y)
    return np.asarray(mix[y, np.arange(len(y))] == highest)


def _labels(mix: np.ndarray) -> np.ndarray:
    """Predicted codes; the first of equal classes. A loop over classes is faster than argmax across them."""
    if mix.ndim == 1:
        return is_positive(mix).astype(np.int64)
    labels = np.zeros(mix.shape[1], dtype=np.int64)
    highest = mix[0].copy()
    for code in range(1, len(mix)):
        higher = mix[code] > highest
        labels[higher] = code
        np.maximum(highest, mix[code], out=highest)
    return labels


def _confusion(y: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(K, K) float64 counts, true classes in rows."""
    cells = np.bincount(y.astype(np.int64) * classes + labels, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.float64)


def _graded(lowest: float, grades: int) -> Kind:
    """Kappa of a regression that is rounded to the grades of the target."""

    def cost(y: np.ndarray, mix: np.ndarray) -> float:
        labels = np.clip(np.rint(mix) - lowest, 0, grades - 1).astype(np.int64)
        return -_qwk(_confusion(y - lowest, labels, grades))

    return Kind(_rows_last, cost, MAX_ROWS, _label_tie)


def _balanced_accuracy(table: np.ndarray) -> float:
    count = table.sum(axis=1)
    return float((table.diagonal()[count > 0] / count[count > 0]).mean())


def _f1_each(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """F1 of each class that occurs or is predicted, and how often it occurs."""
    count = table.sum(axis=1)
    both = count + table.sum(axis=0)
    return 2 * table.diagonal()[both > 0] / both[both > 0], count[both > 0]


def _f1(table: np.ndarray) -> float:
    both = table[1].sum() + table[:, 1].sum()
    return float(2 * table[1, 1] / both) if both else 0.0


def _f1_macro(table: np.ndarray) -> float:
    return float(_f1_each(table)[0].mean())


def _f1_weighted(table: np.ndarray) -> float:
    each, count = _f1_each(table)
    return float((each * count).sum() / count.sum())


def _mcc(table: np.ndarray) -> float:
    n, true, predicted = table.sum(), table.sum(axis=1), table.sum(axis=0)
    spread = np.sqrt(n**2 - (true**2).sum()) * np.sqrt(n**2 - (predicted**2).sum())
    return float((table.trace() * n - true @ predicted) / spread) if spread else 0.0


def _qwk(table: np.ndarray) -> float:
    codes = np.arange(len(table))
    weights = (codes[:, None] - codes) ** 2
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    expected = float((weights * by_chance).sum())
    return 1 - float((weights * table).sum()) / expected if expected else float("nan")


CONFUSED: dict[str, Callable[[np.ndarray], float]] = {
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "f1_micro": lambda table: float(table.trace() / table.sum()),
    "f1_weighted": _f1_weighted,
    "mcc": _mcc,
    "qwk": _qwk,
}
