"""Support vector machine with a radial kernel on scaled numbers and one-hot categories.

Width of the kernel and penalty are chosen on an inner split; the same held-out rows turn decision values into
probabilities. Training grows with the square of the rows, so larger data are thinned out to what the time allows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from sklearn.svm import SVC

from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import smooth_table

RECIPE: dict[str, Any] = {
    "family": "svm",
    "label": "SVM",
    "order": 60,
    "tasks": ["binary", "multiclass"],
    "idea": "support vector machine with a radial kernel",
    "hypothesis": "Distances in the whole space separate shape-like classes that single cuts take apart slowly.",
    "cost": {"seconds": 5.0, "rows": 1.9, "features": 0.7, "outputs": 0.2, "most": 60.0},
    "variants": [
        {
            "name": "robust scaling",
            "kind": "tune",
            "params": {"scaling": "standard"},
            "idea": "numbers scaled by their quartiles instead of ranked",
            "hypothesis": "If distances matter as they are, ranks distort them.",
            "needs": ["numeric2"],
        },
    ],
}

PARAMS: dict[str, Any] = {
    "scaling": "quantile",
    "knots": 5,
    "widths": [0.5, 1.0, 2.0],
    "penalties": [1.0, 10.0],
    "trial_rows": 2500,
    "inner_folds": 5,
    "max_levels": 20,
    "text": "svd",
    "text_components": 32,
}


def fit_predict(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, ctx: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for the validation and the test rows."""
    clock = Clock(ctx, 0.7)
    target = read_target(train, ctx)
    answer = constant_answer(valid, test, target, ctx)
    if answer is not None:
        return answer
    table = smooth_table(train, valid, test, target, ctx, PARAMS)
    x, y = np.asarray(table.train), target.y
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    order = np.random.default_rng(ctx.seed)
    fit_rows, eval_rows = order.permutation(fit_rows), order.permutation(eval_rows)[:2000]

    labels = ctx.metric in ("accuracy", "balanced_accuracy", "f1", "f1_macro", "f1_micro", "f1_weighted", "mcc", "qwk")
    width, penalty, pace = choose(x, y, fit_rows, eval_rows, target, clock, labels)
    # Up to three more fits follow, each with a prediction that costs about as much again.
    most = affordable_rows(pace, clock.left(), len(y))
    rows, tries = thin(fit_rows, most, y), []
    for wider in (1.0, 2.0) if len(rows) > 1.5 * PARAMS["trial_rows"] else (1.0,):
        raw = decisions(machine(x, y, rows, wider * width, penalty), x[eval_rows], target)
        heat = temperature(raw, y[eval_rows])
        tries.append((held_out_loss(raw, y[eval_rows], heat, labels), wider * width, heat))
    _, width, heat = min(tries)
    model = machine(x, y, thin(order.permutation(len(y)), most, y), width, penalty)
    ctx.report(
        width=width, penalty=penalty, rows=min(most, len(y)), heat=round(heat, 2), seconds=round(clock.used(), 1)
    )
    scores = [softmax(heat * decisions(model, np.asarray(part), target)) for part in (table.valid, table.test)]
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def choose(
    x: np.ndarray,
    y: np.ndarray,
    fit_rows: np.ndarray,
    eval_rows: np.ndarray,
    target: Target,
    clock: Clock,
    labels: bool,
) -> tuple[float, float, float]:
    """Kernel width and penalty with the least held-out log loss, and seconds per million of squared rows.

    Where ``labels`` are scored, the share of wrong ones counts more.
    """
    rows = thin(fit_rows, PARAMS["trial_rows"], y)
    best, least, pace = (1.0, 1.0), float("inf"), 0.0
    for penalty in PARAMS["penalties"]:
        for width in PARAMS["widths"]:
            before = clock.used()
            raw = decisions(machine(x, y, rows, width, penalty), x[eval_rows], target)
            heat = temperature(raw, y[eval_rows])
            loss = held_out_loss(raw, y[eval_rows], heat, labels)
            pace = max(pace, (clock.used() - before) / (len(rows) * (len(rows) + len(eval_rows)) / 1e6))
            if loss < least:
                best, least = (width, penalty), loss
            if clock.used() - before > 0.08 * clock.left():
                return (*best, pace)
    return (*best, pace)


def affordable_rows(pace: float, seconds: float, rows: int) -> int:
    """Training rows of the two last fits that the time allows."""
    return int(max(min(np.sqrt(0.2 * max(seconds, 0.0) * 1e6 / max(pace, 1e-9)), rows), 50))


def thin(rows: np.ndarray, most: int, y: np.ndarray) -> np.ndarray:
    """At most about ``most`` of the shuffled rows; every class that is there stays."""
    if len(rows) <= most:
        return rows
    first = [rows[y[rows] == code][:2] for code in np.unique(y[rows])]
    return np.unique(np.concatenate([rows[:most], *first]))


def machine(x: np.ndarray, y: np.ndarray, rows: np.ndarray, width: float, penalty: float) -> SVC:
    """A fitted machine; ``width`` is the kernel's gamma times the spread of the data."""
    gamma = width / (x.shape[1] * max(float(x.var()), 1e-9))
    return SVC(C=penalty, gamma=gamma, cache_size=300, decision_function_shape="ovr").fit(x[rows], y[rows])


def decisions(model: SVC, x: np.ndarray, target: Target) -> np.ndarray:
    """(n, k) decision values; -1 below the least for a class the model has not seen."""
    raw = np.asarray(model.decision_function(x))
    if raw.ndim == 1:
        raw = np.column_stack([-raw, raw]) / 2
    full = np.full((len(x), len(target.present)), raw.min() - 1.0)
    full[:, model.classes_] = raw
    return full


def temperature(raw: np.ndarray, y: np.ndarray) -> float:
    """The factor on decision values with the least log loss."""
    found = minimize_scalar(
        lambda log_heat: log_loss(softmax(np.exp(log_heat) * raw), y), bounds=(-3, 4), method="bounded"
    )
    return float(np.exp(found.x))


def held_out_loss(raw: np.ndarray, y: np.ndarray, heat: float, labels: bool) -> float:
    """Log loss; where ``labels`` are scored the share of wrong ones counts more."""
    wrong = float(np.mean(raw.argmax(axis=1) != y))
    return log_loss(softmax(heat * raw), y) * (0.2 if labels else 1.0) + (wrong if labels else 0.0)


def log_loss(proba: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log probability of the true class."""
    return float(-np.mean(np.log(np.clip(proba[np.arange(len(y)), y], 1e-9, 1))))


def softmax(raw: np.ndarray) -> np.ndarray:
    """(n, k) probabilities."""
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
