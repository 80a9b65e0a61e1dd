"""The computing behind ``experiments.metrics``: scikit-learn and SciPy where they have the metric."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics as skm

from experiments.errors import MetricError

if TYPE_CHECKING:
    from experiments.metrics import Metric

Array = npt.NDArray[Any]

_MAX_GRADES = 1000
"""Whole-number labels that a kappa's confusion matrix may span."""
_TOLERANCE = 1e-5
"""How far outside [0, 1] a float32 probability may fall by rounding."""


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
        return values.argmax(axis=1) if values.ndim == 2 else (values > 0.5).astype(np.int64)
    if metric.prediction == "top_k":
        return top_classes(_columns(metric.name, values), metric.k or 1)
    if metric.prediction == "probability":
        return _probabilities(metric.name, values)
    return values if metric.floor is None else np.maximum(values, metric.floor)


def top_classes(pred: Array, k: int) -> npt.NDArray[np.int64]:
    """(n, min(k, K)) codes of the most probable classes, most probable first, ties in code order."""
    return np.argsort(-pred, axis=1, kind="stable")[:, :k].astype(np.int64)


def _rounded(pred: Array, lowest: float, highest: float) -> npt.NDArray[np.int64]:
    """(n,) whole-number labels of a regression: rounded, then clipped to the labels that exist."""
    return np.clip(np.rint(pred), lowest, highest).astype(np.int64)


def _compute(metric: Metric, truth: Array, values: Array) -> float:
    if metric.function is not None:
        score = metric.function(truth, values)
    else:
        try:
            # scikit-learn warns of degenerate rows; they are either well defined or refused below.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                score = float(_function(metric)(truth, values))
        except ValueError as error:
            raise MetricError(f"{metric.name} cannot be computed: {error}") from error
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


def _per_class(score: Callable[[Array, Array], float], name: str, truth: Array, pred: Array) -> float:
    """A two-class metric; for K classes the mean of each class against the rest.

    Classes that do not occur in these rows are left out of the mean: a fold may lack a rare one.
    """
    if pred.ndim == 1:
        occurring = np.unique(truth)
        if len(occurring) < 2:
            raise MetricError(f"{name} is undefined: all {len(truth)} rows are of class {occurring[0]}")
        return score(truth, pred)
    classes = np.unique(truth)
    if len(classes) < 2:
        raise MetricError(f"{name} is undefined: all {len(truth)} rows are of class {classes[0]}")
    return float(np.mean([score((truth == c).astype(np.int64), pred[:, c]) for c in classes]))


def _roc_auc(truth: Array, pred: Array) -> float:
    return _per_class(skm.roc_auc_score, "roc_auc", truth, pred)


def _gini(truth: Array, pred: Array) -> float:
    return 2.0 * _per_class(skm.roc_auc_score, "gini", truth, pred) - 1.0


def _average_precision(truth: Array, pred: Array) -> float:
    return _per_class(skm.average_precision_score, "average_precision", truth, pred)


def _log_loss(truth: Array, pred: Array) -> float:
    n_classes = pred.shape[1] if pred.ndim == 2 else 2
    return float(skm.log_loss(truth, pred, labels=np.arange(n_classes)))


def _brier(truth: Array, pred: Array) -> float:
    if pred.ndim == 1:
        return float(skm.brier_score_loss(truth, pred, pos_label=1))
    # Brier's original form, in [0, 2]: what scikit-learn computes for more than two classes.
    distance = pred.copy()
    distance[np.arange(len(truth)), truth] -= 1.0
    return float(np.einsum("ij,ij->", distance, distance) / len(truth))


def _f1(truth: Array, labels: Array) -> float:
    if truth.max() > 1 or labels.max() > 1:
        raise MetricError("f1 is for two classes", hint="use f1_macro, f1_micro or f1_weighted")
    return float(skm.f1_score(truth, labels, pos_label=1, zero_division=0))


def _f1_average(truth: Array, labels: Array, *, average: str) -> float:
    return float(skm.f1_score(truth, labels, average=average, zero_division=0))


def _qwk(truth: Array, labels: Array) -> float:
    # The weights are distances between positions, so that grades nobody has must keep their place.
    lowest, highest = min(truth.min(), labels.min()), max(truth.max(), labels.max())
    if lowest == highest:
        raise MetricError(f"qwk is undefined: all {len(truth)} rows are of grade {lowest}, and predicted so")
    grades = np.arange(lowest, highest + 1)
    return float(skm.cohen_kappa_score(truth, labels, labels=grades, weights="quadratic"))


def _smape(truth: Array, pred: Array) -> float:
    """In percent, 0 to 200, as Kaggle defines it; a pair of zeros counts as 0."""
    size = np.abs(truth) + np.abs(pred)
    share = np.divide(2.0 * np.abs(pred - truth), size, out=np.zeros_like(size), where=size > 0)
    return float(100.0 * share.mean())


def _spearman(truth: Array, pred: Array) -> float:
    for what, values in (("target", truth), ("prediction", pred)):
        if values.min() == values.max():
            raise MetricError(f"spearman is undefined: every {what} is {values[0]:g}")
    return float(stats.spearmanr(truth, pred).statistic)


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
    # Equal to sklearn.metrics.ndcg_score of one-hot targets, which loops over rows in Python.
    ranks = np.arange(1, pred.shape[1] + 1)
    return _mean_discount(truth, pred, np.where(ranks <= k, 1.0 / np.log2(ranks + 1), 0.0))


_FUNCTIONS: dict[str, Callable[[Array, Array], float]] = {
    "roc_auc": _roc_auc,
    "gini": _gini,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _brier,
    "accuracy": skm.accuracy_score,
    "balanced_accuracy": skm.balanced_accuracy_score,
    "f1": _f1,
    "f1_macro": partial(_f1_average, average="macro"),
    "f1_micro": partial(_f1_average, average="micro"),
    "f1_weighted": partial(_f1_average, average="weighted"),
    "mcc": skm.matthews_corrcoef,
    "qwk": _qwk,
    "rmse": skm.root_mean_squared_error,
    "rmsle": skm.root_mean_squared_log_error,
    "mse": skm.mean_squared_error,
    "mae": skm.mean_absolute_error,
    "medae": skm.median_absolute_error,
    "r2": skm.r2_score,
    "mape": skm.mean_absolute_percentage_error,
    "smape": _smape,
    "spearman": _spearman,
}
_AT_K: dict[str, Callable[..., float]] = {"map": _map_at, "ndcg": _ndcg_at}
