"""The computing behind ``experiments.metrics``, to the definitions of scikit-learn where it has the metric.

Plain NumPy, because scores are computed in threads: scikit-learn's functions warn of degenerate rows, and change the
warning filters of the whole process while they check their input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from experiments.errors import MetricError
from experiments.metrics import Metric, predicted_codes, top_codes

Array = npt.NDArray[Any]

_MAX_GRADES = 1000
"""Whole-number labels that a regression may be rounded to."""
_TOLERANCE = 1e-5
"""How far outside [0, 1] a float32 probability may fall by rounding."""
_SMALLEST = np.finfo(np.float64).eps
"""Smaller probabilities of the true class count as this one for a logarithm, smaller targets for a percentage."""


def evaluate(metric: Metric, y: npt.ArrayLike, pred: npt.ArrayLike, mask: npt.ArrayLike | None) -> float:
    """What ``Metric.score`` does."""
    name = metric.name
    truth, values = _rows(name, y, pred)
    regression = _is_regression(metric, truth, values)
    grades = _grades(name, truth) if regression and metric.prediction == "label" else None
    if mask is not None:
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != truth.shape:
            raise MetricError(
                f"{name}: the mask must be booleans of shape {truth.shape}, not {keep.dtype} {keep.shape}"
            )
        truth, values = truth[keep], values[keep]
    if not len(truth):
        raise MetricError(f"{name}: there is no row to score")
    if bad := int(np.count_nonzero(~np.isfinite(values))):
        raise MetricError(f"{name}: {bad} of the {values.size} predicted values are missing or infinite")
    truth = _numbers(name, truth) if regression else _codes(name, truth, values)
    if grades is not None:
        return _compute(metric, truth.astype(np.int64), _rounded(values, *grades))
    if metric.prediction == "top_k" and metric.function is None:
        # Scored from all columns: ties at the cut are shared out, not broken by position.
        return _compute(metric, truth, _columns(name, values))
    return _compute(metric, truth, _as_read(metric, values))


def as_submitted(metric: Metric, pred: npt.ArrayLike, y: npt.ArrayLike) -> Array:
    """What ``Metric.as_submitted`` does."""
    values = np.asarray(pred, dtype=np.float64)
    truth = np.asarray(y)
    if metric.prediction == "label" and _is_regression(metric, truth, values):
        return _rounded(values, *_grades(metric.name, truth))
    return _as_read(metric, values)


def _as_read(metric: Metric, values: Array) -> Array:
    """The labels, classes, probabilities or values that a metric reads from a prediction."""
    if metric.prediction == "label":
        return predicted_codes(values)
    if metric.prediction == "top_k":
        return top_codes(_columns(metric.name, values), metric.k or 1)
    if metric.prediction == "probability":
        return _probabilities(metric.name, values)
    return values if metric.floor is None else np.maximum(values, metric.floor)


def _rounded(pred: Array, lowest: float, highest: float) -> npt.NDArray[np.int64]:
    """(n,) whole-number labels of a regression: rounded, then clipped to the labels that exist."""
    return np.clip(np.rint(pred), lowest, highest).astype(np.int64)


def _compute(metric: Metric, truth: Array, values: Array) -> float:
    if metric.function is not None:
        # Copies: both may share memory with the targets and predictions that everything else is scored by.
        score = metric.function(np.array(truth), np.array(values))
    else:
        # What overflows or divides by zero is refused below.
        with np.errstate(all="ignore"):
            score = float(_function(metric)(truth, values))
    if not np.isfinite(score):
        raise MetricError(
            f"{metric.name} is undefined on these {len(truth)} rows (it came out as {score})",
            hint="this happens with constant targets or predictions, or too few rows",
        )
    return score


def _rows(name: str, y: npt.ArrayLike, pred: npt.ArrayLike) -> tuple[Array, Array]:
    truth = np.asarray(y)
    values = np.asarray(pred)
    if truth.dtype.kind not in "biuf" or values.dtype.kind not in "biuf":
        raise MetricError(
            f"{name}: targets and predictions must be numbers, not {truth.dtype} and {values.dtype}",
            hint="classes are given as codes 0..K-1",
        )
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if truth.ndim != 1 or values.ndim not in (1, 2) or len(truth) != len(values):
        raise MetricError(f"{name}: a prediction of shape {values.shape} does not match {truth.shape} targets")
    return truth, values.astype(np.float64, copy=False)


def _is_regression(metric: Metric, truth: Array, values: Array) -> bool:
    """Whether the targets are numbers rather than class codes, for a metric that fits both."""
    if metric.tasks == {"regression"}:
        if values.ndim != 1:
            raise MetricError(f"{metric.name} scores one number for each row, not {values.shape[1]}")
        return True
    if "regression" not in metric.tasks or values.ndim != 1:
        return False
    return not (truth.dtype.kind in "biu" and len(truth) > 0 and truth.min() >= 0 and truth.max() <= 1)


def _grades(name: str, truth: Array) -> tuple[float, float]:
    """The lowest and highest label, over all rows: a fold may lack the extremes."""
    known = truth[np.isfinite(truth)]
    if not len(known):
        raise MetricError(f"{name}: there is no row to score")
    lowest, highest = float(known.min()), float(known.max())
    if (known != np.rint(known)).any():
        raise MetricError(f"{name} needs whole-number targets, such as grades 0 to 4")
    if highest - lowest >= _MAX_GRADES:
        raise MetricError(f"{name}: targets from {lowest:g} to {highest:g} are too many grades")
    return lowest, highest


def _numbers(name: str, truth: Array) -> Array:
    if not np.isfinite(truth).all():
        raise MetricError(f"{name}: a target is missing or infinite")
    return truth.astype(np.float64, copy=False)


def _columns(name: str, values: Array) -> Array:
    if values.ndim != 2:
        raise MetricError(f"{name} needs a probability for each class, (n, K), not {values.shape}")
    return values


def _codes(name: str, truth: Array, values: Array) -> Array:
    n_classes = values.shape[1] if values.ndim == 2 else 2
    if truth.dtype.kind == "f" and (~np.isfinite(truth) | (truth != np.rint(truth))).any():
        raise MetricError(f"{name}: targets must be class codes 0..{n_classes - 1}")
    if truth.min() < 0 or truth.max() >= n_classes:
        raise MetricError(
            f"{name}: targets from {truth.min()} to {truth.max()} do not fit predictions for {n_classes} classes"
        )
    return truth.astype(np.int64, copy=False)


def _probabilities(name: str, values: Array) -> Array:
    if values.size and (values.min() < -_TOLERANCE or values.max() > 1 + _TOLERANCE):
        raise MetricError(
            f"{name} needs probabilities in [0, 1], not {values.min():g} to {values.max():g}",
        )
    values = np.clip(values, 0.0, 1.0)
    if values.ndim == 1:
        return values
    totals = values.sum(axis=1, keepdims=True)
    if (totals <= 0).any():
        raise MetricError(f"{name}: a row of probabilities sums to 0")
    rescaled: Array = values / totals
    return rescaled


def _function(metric: Metric) -> Callable[[Array, Array], float]:
    family, at, _ = metric.name.partition("@")
    if at:
        return partial(_AT_K[family], k=metric.k or 1)
    return _FUNCTIONS[metric.name]


@dataclass(frozen=True)
class _Counts:
    """Rows of each class, each (K,) float64: predicted rightly, belonging to it, predicted as it."""

    right: Array
    true: Array
    predicted: Array

    @classmethod
    def of(cls, truth: Array, labels: Array) -> _Counts:
        """Count codes (n,)."""
        size = 1 + max(1, truth.max(), labels.max())
        return cls(*(np.bincount(of, minlength=size) * 1.0 for of in (truth[truth == labels], truth, labels)))


def _per_class(truth: Array, pred: Array, *, score: Callable[[Array, Array], float], name: str) -> float:
    """A two-class metric; for K classes the mean of each class against the rest.

    Classes that do not occur in these rows are left out of the mean: a fold may lack a rare one.
    """
    classes = np.unique(truth)
    if len(classes) < 2:
        of = "of class " if truth.dtype.kind == "i" else ""
        raise MetricError(f"{name} is undefined: all {len(truth)} rows are {of}{classes[0]:g}")
    if pred.ndim == 1:
        return score(truth, pred)
    return float(np.mean([score((truth == c).astype(np.int64), pred[:, c]) for c in classes]))


def _auc(truth: Array, pred: Array) -> float:
    """The share of pairs of both classes in the right order; a tie is half right (Mann and Whitney, 1947)."""
    positives = int(np.count_nonzero(truth))
    wins = rankdata(pred)[truth == 1].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * (len(truth) - positives)))


def _gini(truth: Array, pred: Array) -> float:
    """Kaggle's normalised Gini: the targets gathered in order of the prediction, as a share of the best order.

    Tied predictions get their mean rank, where Kaggle's script leaves them in order of the file. For targets 0 and 1
    it is 2 AUC - 1.
    """
    centred = truth - truth.mean()
    return float((centred @ rankdata(pred)) / (centred @ rankdata(truth)))


def _average_precision(truth: Array, pred: Array) -> float:
    """Mean precision at each positive, tied predictions taken together."""
    order = np.argsort(-pred, kind="stable")
    last_of_ties = np.flatnonzero(np.diff(pred[order], append=np.nan))
    found = np.cumsum(truth[order])[last_of_ties]
    return float((np.diff(found, prepend=0) @ (found / (last_of_ties + 1))) / found[-1])


def _log_loss(truth: Array, pred: Array) -> float:
    own = pred[np.arange(len(truth)), truth] if pred.ndim == 2 else np.where(truth == 1, pred, 1.0 - pred)
    return 0.0 - float(np.log(np.maximum(own, _SMALLEST)).mean())


def _brier(truth: Array, pred: Array) -> float:
    if pred.ndim == 1:
        return float(((pred - truth) ** 2).mean())
    # Brier's original form, in [0, 2], as usual for more than two classes.
    distance = pred.copy()
    distance[np.arange(len(truth)), truth] -= 1.0
    return float(np.einsum("ij,ij->", distance, distance) / len(truth))


def _accuracy(truth: Array, labels: Array) -> float:
    return float((truth == labels).mean())


def _balanced_accuracy(truth: Array, labels: Array) -> float:
    rows = _Counts.of(truth, labels)
    occurs = rows.true > 0
    return float((rows.right[occurs] / rows.true[occurs]).mean())


def _f1(truth: Array, labels: Array) -> float:
    if truth.max() > 1 or labels.max() > 1:
        raise MetricError("f1 is for two classes", hint="use f1_macro, f1_micro or f1_weighted")
    rows = _Counts.of(truth, labels)
    either = rows.true[1] + rows.predicted[1]
    return float(2.0 * rows.right[1] / either) if either else 0.0


def _f1_macro(truth: Array, labels: Array) -> float:
    rows = _Counts.of(truth, labels)
    either = rows.true + rows.predicted
    return float((2.0 * rows.right[either > 0] / either[either > 0]).mean())


def _f1_weighted(truth: Array, labels: Array) -> float:
    rows = _Counts.of(truth, labels)
    occurs = rows.true > 0
    each = 2.0 * rows.right[occurs] / (rows.true + rows.predicted)[occurs]
    return float((each @ rows.true[occurs]) / len(truth))


def _mcc(truth: Array, labels: Array) -> float:
    """Gorodkin's (2004) form for any number of classes; 0 when the targets or the labels are of one class."""
    rows, n = _Counts.of(truth, labels), len(truth)
    together = rows.right.sum() * n - rows.true @ rows.predicted
    spread = np.sqrt((n**2 - rows.true @ rows.true) * (n**2 - rows.predicted @ rows.predicted))
    return float(together / spread) if spread else 0.0


def _cohen_kappa(truth: Array, labels: Array) -> float:
    rows, n = _Counts.of(truth, labels), len(truth)
    by_chance = rows.true @ rows.predicted / n
    if by_chance == n:
        raise MetricError(f"cohen_kappa is undefined: all {n} rows are of class {truth[0]}, and predicted so")
    return float((rows.right.sum() - by_chance) / (n - by_chance))


def _qwk(truth: Array, labels: Array) -> float:
    """Cohen's (1968) kappa with squared distances; those expected by chance follow from means and variances."""
    apart = ((truth - labels) ** 2).mean()
    by_chance = truth.var() + labels.var() + (truth.mean() - labels.mean()) ** 2
    if not by_chance:
        raise MetricError(f"qwk is undefined: all {len(truth)} rows are of grade {truth[0]}, and predicted so")
    return float(1.0 - apart / by_chance)


def _mse(truth: Array, pred: Array) -> float:
    return float(((pred - truth) ** 2).mean())


def _rmse(truth: Array, pred: Array) -> float:
    return float(np.sqrt(_mse(truth, pred)))


def _rmsle(truth: Array, pred: Array) -> float:
    if (lowest := truth.min()) < 0:
        raise MetricError(f"rmsle needs targets from 0 up; the lowest is {lowest:g}", hint="use rmse or mae")
    return _rmse(np.log1p(truth), np.log1p(pred))


def _mae(truth: Array, pred: Array) -> float:
    return float(np.abs(pred - truth).mean())


def _medae(truth: Array, pred: Array) -> float:
    return float(np.median(np.abs(pred - truth)))


def _r2(truth: Array, pred: Array) -> float:
    """As scikit-learn, a constant target gives 1 when it is predicted exactly and 0 otherwise."""
    if len(truth) < 2:
        return float("nan")
    left = _mse(truth, pred)
    return 1.0 - left / float(truth.var()) if truth.min() < truth.max() else float(left == 0)


def _mape(truth: Array, pred: Array) -> float:
    return float((np.abs(pred - truth) / np.maximum(np.abs(truth), _SMALLEST)).mean())


def _smape(truth: Array, pred: Array) -> float:
    """In percent, 0 to 200, as Kaggle defines it; a pair of zeros counts as 0."""
    size = np.abs(truth) + np.abs(pred)
    share = np.divide(2.0 * np.abs(pred - truth), size, out=np.zeros_like(size), where=size > 0)
    return float(100.0 * share.mean())


def _spearman(truth: Array, pred: Array) -> float:
    """Correlation of the ranks, ties sharing their mean rank.

    0 for a constant prediction, which orders nothing: a search that meets one goes on.
    """
    if truth.min() == truth.max():
        raise MetricError(f"spearman is undefined: every target is {truth[0]:g}")
    if pred.min() == pred.max():
        return 0.0
    true, predicted = (rankdata(values) - (len(values) + 1) / 2 for values in (truth, pred))
    return float((true @ predicted) / np.sqrt((true @ true) * (predicted @ predicted)))


def _mean_discount(truth: Array, pred: Array, discounts: Array) -> float:
    """Mean over rows of the discount at the rank of the true class; among ties, the mean of their ranks' discounts."""
    own = pred[np.arange(len(truth)), truth][:, None]
    above = (pred > own).sum(axis=1)
    tied = (pred == own).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(discounts)])
    return float(np.mean((total[above + tied] - total[above]) / tied))


def _map_at(truth: Array, pred: Array, *, k: int) -> float:
    ranks = np.arange(1, pred.shape[1] + 1)
    return _mean_discount(truth, pred, np.where(ranks <= k, 1.0 / ranks, 0.0))


def _ndcg_at(truth: Array, pred: Array, *, k: int) -> float:
    # Equal to sklearn.metrics.ndcg_score of one-hot targets.
    ranks = np.arange(1, pred.shape[1] + 1)
    return _mean_discount(truth, pred, np.where(ranks <= k, 1.0 / np.log2(ranks + 1), 0.0))


_FUNCTIONS: dict[str, Callable[[Array, Array], float]] = {
    "roc_auc": partial(_per_class, score=_auc, name="roc_auc"),
    "gini": partial(_per_class, score=_gini, name="gini"),
    "average_precision": partial(_per_class, score=_average_precision, name="average_precision"),
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    # Every row has one label, so that each miss is a false positive and a false negative.
    "f1_micro": _accuracy,
    "f1_weighted": _f1_weighted,
    "mcc": _mcc,
    "cohen_kappa": _cohen_kappa,
    "qwk": _qwk,
    "rmse": _rmse,
    "rmsle": _rmsle,
    "mse": _mse,
    "mae": _mae,
    "medae": _medae,
    "r2": _r2,
    "mape": _mape,
    "smape": _smape,
    "spearman": _spearman,
}
_AT_K: dict[str, Callable[..., float]] = {"map": _map_at, "ndcg": _ndcg_at}
