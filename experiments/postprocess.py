"""What a metric wants done to a finished prediction: thresholds, class weights, cut points, rounding, clipping.

A treatment maps a prediction to one of the same shape, so that everything after it (the metric, correlations, the
submission file) reads it as any other: a threshold becomes a monotone map that puts it at one half. Treatments are
fitted on rows and applied to others; nothing here decides whether one is worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from experiments.fastmetrics import CONFUSED
from experiments.metrics import Metric

Treatment = Literal["threshold", "class_weights", "cuts", "clip", "round"]

# Places a threshold may take: between these quantiles of the prediction.
PLACES = 512
# A score as a function of its threshold is jagged: neighbours have their say.
SMOOTH = 5
BINS = 512
SWEEPS = 3
MAX_CLASSES = 10
# Each cut is moved by itself, and looks at a table of all grades.
MAX_CUTS = 50
# Class weights are searched by trying them out.
MAX_ROWS = 20_000
STEPS = (-0.6, -0.3, -0.15, -0.07, 0.07, 0.15, 0.3, 0.6)


@dataclass(frozen=True)
class Post:
    """A fitted treatment.

    Attributes:
        values: The threshold; the classes' weights; the cut points between grades, lowest first, after the lowest
            grade; the lowest and highest value of a clip or rounding.
    """

    kind: Treatment
    values: tuple[float, ...]

    def apply(self, pred: np.ndarray) -> np.ndarray:
        """The treated prediction: same shape, float32."""
        return np.asarray(_APPLY[self.kind](self.values, np.asarray(pred)), dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Kind and values."""
        return {"kind": self.kind, "values": [round(value, 6) for value in self.values]}


def treatments(metric: Metric, y: np.ndarray, shape: Sequence[int]) -> tuple[Treatment, ...]:
    """The treatments that may help a prediction of this shape under this metric."""
    classes = shape[1] if len(shape) == 2 else 1
    labelled = y.dtype.kind in "iu"
    if metric.function is not None:
        return ()
    if not labelled:
        if metric.prediction == "label":
            whole = bool((y == np.rint(y)).all()) and float(np.ptp(y)) < MAX_CUTS
            return ("cuts",) if metric.name == "qwk" and whole and float(np.ptp(y)) > 0 else ()
        if metric.prediction != "value":
            return ()
        return ("clip", "round") if bool((y == np.rint(y)).all()) else ("clip",)
    # The most probable class is the best answer for accuracy already; a threshold only corrects calibration.
    if metric.prediction != "label" or metric.name not in CONFUSED:
        return ()
    if classes == 1:
        return ("threshold",)
    if metric.name == "qwk":
        return ("cuts",) if classes <= MAX_CUTS else ()
    return ("class_weights",) if classes <= MAX_CLASSES and metric.name != "f1_micro" else ()


def fit_post(kind: Treatment, metric: Metric, y: np.ndarray, pred: np.ndarray) -> Post:
    """Fit a treatment.

    Args:
        y: (n,) integer codes, or floats for regression.
        pred: (n,) or (n, K), finite, of the same rows.
    """
    return _FIT[kind](metric, y, np.asarray(pred, dtype=np.float64))


def _fit_threshold(metric: Metric, y: np.ndarray, pred: np.ndarray) -> Post:
    """Tables of all thresholds at once from one sort: what is above counts as class 1."""
    order = np.argsort(-pred, kind="stable")
    ranked, hits = pred[order], np.cumsum(y[order] == 1)
    # Evenly over the rows and evenly over the positives: of a rare class all are among the first few rows.
    even = np.linspace(1, len(y) - 1, min(PLACES, max(len(y) - 1, 1)))
    found = np.flatnonzero(y[order] == 1) + 1
    among = found[np.linspace(0, len(found) - 1, min(PLACES, len(found))).astype(np.int64)] if len(found) else found
    places = np.unique(np.concatenate([even, among]).astype(np.int64))
    # Equal predictions cannot be told apart.
    places = places[(places < len(y)) & (ranked[places - 1] > ranked[np.minimum(places, len(y) - 1)])]
    if not len(places):
        return Post("threshold", (0.5,))
    positives = float(hits[-1])
    true_positives = hits[places - 1].astype(np.float64)
    false_positives = places - true_positives
    figure = CONFUSED[metric.name]
    scores = np.array(
        [
            figure(np.array([[len(y) - positives - fp, fp], [positives - tp, tp]]))
            for tp, fp in zip(true_positives, false_positives, strict=True)
        ]
    )
    place = int(places[int(np.argmax(_smooth(scores)))])
    return Post("threshold", (float((ranked[place - 1] + ranked[place]) / 2),))


def _smooth(scores: np.ndarray) -> np.ndarray:
    kernel = np.ones(min(SMOOTH, len(scores)))
    weight = np.convolve(np.ones(len(scores)), kernel, mode="same")
    return np.asarray(np.convolve(scores, kernel, mode="same") / weight)


def _apply_threshold(values: tuple[float, ...], pred: np.ndarray) -> np.ndarray:
    cut = min(max(values[0], 1e-9), 1 - 1e-9)
    wide = pred.astype(np.float64)
    below = 0.5 * wide / cut
    above = 0.5 + 0.5 * (wide - cut) / (1 - cut)
    # Rounding to float32 must not carry a value across: one half itself counts as class 0.
    return np.where(wide > cut, np.maximum(above, 0.5 + 1e-7), np.minimum(below, 0.5))


def _fit_weights(metric: Metric, y: np.ndarray, pred: np.ndarray) -> Post:
    """Coordinate ascent over the logarithms of the classes' weights."""
    if len(y) > MAX_ROWS:
        chosen = np.random.default_rng(0).choice(len(y), MAX_ROWS, replace=False)
        y, pred = y[chosen], pred[chosen]
    classes = pred.shape[1]
    logs = np.log(np.maximum(pred, 1e-12))
    figure = CONFUSED[metric.name]

    def worth(weights: np.ndarray) -> float:
        labels = (logs + weights).argmax(axis=1)
        cells = np.bincount(y.astype(np.int64) * classes + labels, minlength=classes * classes)
        return figure(cells.reshape(classes, classes).astype(np.float64))

    weights = np.zeros(classes)
    best = worth(weights)
    for _ in range(SWEEPS):
        before = best
        for code in range(classes):
            for step in STEPS:
                moved = weights.copy()
                moved[code] += step
                found = worth(moved)
                if found > best:
                    best, weights = found, moved
        if best <= before:
            break
    return Post("class_weights", tuple(float(value) for value in np.exp(weights - weights.mean())))


def _apply_weights(values: tuple[float, ...], pred: np.ndarray) -> np.ndarray:
    weighted = pred.astype(np.float64) * np.asarray(values)
    total = weighted.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, weighted / np.where(total > 0, total, 1.0), 1.0 / pred.shape[1]))


def _expected(pred: np.ndarray) -> np.ndarray:
    """(n,) the mean grade of class probabilities; of a regression the prediction itself."""
    return pred if pred.ndim == 1 else np.asarray(pred @ np.arange(pred.shape[1]))


def _fit_cuts(metric: Metric, y: np.ndarray, pred: np.ndarray) -> Post:
    """Cut points between neighbouring grades, one after the other, on a histogram."""
    value = _expected(pred)
    lowest = 0.0 if pred.ndim == 2 else float(y.min())
    grades = pred.shape[1] if pred.ndim == 2 else int(np.ptp(y)) + 1
    edges = np.unique(np.quantile(value, np.linspace(0, 1, BINS + 1)[1:-1]))
    cell = np.searchsorted(edges, value, side="left")
    table = np.zeros((grades, len(edges) + 1))
    np.add.at(table, ((y - lowest).astype(np.int64), cell), 1.0)
    below = np.concatenate([np.zeros((grades, 1)), np.cumsum(table, axis=1)], axis=1)
    figure = CONFUSED[metric.name]
    # A cut at place p: cells before p are below it.
    cuts = np.searchsorted(edges, lowest + np.arange(grades - 1) + 0.5, side="left") + 1

    def worth(places: np.ndarray) -> float:
        bounds = np.concatenate([[0], places, [len(edges) + 1]]).astype(np.int64)
        return figure(np.diff(below[:, bounds], axis=1))

    best = worth(cuts)
    for step in (32, 8, 2, 1):
        for _ in range(SWEEPS):
            before = best
            for number in range(grades - 1):
                low = cuts[number - 1] if number else 0
                high = cuts[number + 1] if number + 1 < grades - 1 else len(edges) + 1
                for place in (cuts[number] - step, cuts[number] + step):
                    if low <= place <= high:
                        moved = cuts.copy()
                        moved[number] = place
                        found = worth(moved)
                        if found > best:
                            best, cuts = found, moved
            if best <= before:
                break
    points = np.concatenate([[-np.inf], edges, [np.inf]])
    found_cuts = [float(np.clip(points[place], value.min() - 1.0, value.max() + 1.0)) for place in cuts]
    return Post("cuts", (lowest, *found_cuts))


def _apply_cuts(values: tuple[float, ...], pred: np.ndarray) -> np.ndarray:
    grade = np.searchsorted(np.asarray(values[1:]), _expected(pred.astype(np.float64)), side="left")
    if pred.ndim == 1:
        return values[0] + grade
    return np.eye(pred.shape[1])[grade]


def _fit_range(kind: Treatment) -> Callable[[Metric, np.ndarray, np.ndarray], Post]:
    return lambda _metric, y, _pred: Post(kind, (float(y.min()), float(y.max())))


def _apply_clip(values: tuple[float, ...], pred: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(pred, values[0], values[1]))


def _apply_round(values: tuple[float, ...], pred: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(pred), values[0], values[1]))


_FIT: dict[Treatment, Callable[[Metric, np.ndarray, np.ndarray], Post]] = {
    "threshold": _fit_threshold,
    "class_weights": _fit_weights,
    "cuts": _fit_cuts,
    "clip": _fit_range("clip"),
    "round": _fit_range("round"),
}
_APPLY: dict[Treatment, Callable[[tuple[float, ...], np.ndarray], np.ndarray]] = {
    "threshold": _apply_threshold,
    "class_weights": _apply_weights,
    "cuts": _apply_cuts,
    "clip": _apply_clip,
    "round": _apply_round,
}
