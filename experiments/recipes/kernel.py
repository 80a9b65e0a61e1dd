"""Kernel machine that learns which directions of the columns matter: a recursive feature machine.

Kernel ridge regression with a Laplace kernel; the average outer product of its gradients becomes the metric in
which the next one measures distances. After Radhakrishnan et al., Mechanism for feature learning in neural networks
and backpropagation-free machine learning models, Science 2024. Solving grows with the cube of the rows, so larger
data are thinned out to what the time allows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize_scalar

from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import SmoothTable, smooth_table

RECIPE: dict[str, Any] = {
    "family": "kernel",
    "label": "Kernel machine",
    "order": 45,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "kernel ridge with a learned metric (recursive feature machine)",
    "hypothesis": "Smooth distances in learned directions separate what single cuts take apart slowly.",
    "cost": {"seconds": 11.0, "rows": 1.3, "features": 0.4, "outputs": 0.1, "most": 90.0},
    "variants": [
        {
            "name": "near rows",
            "kind": "model",
            "params": {"neighbours": 4},
            "idea": "target means of near rows in planes of the strongest numeric columns",
            "hypothesis": "Where two numbers mark a place, rows nearby tell more than either number.",
            "needs": ["numeric2", "few_classes"],
        },
        {
            "name": "short range",
            "kind": "tune",
            "params": {"length": 4.0},
            "idea": "a kernel of shorter range",
            "hypothesis": "If the target changes quickly, only close rows should speak.",
        },
        {
            "name": "long range",
            "kind": "tune",
            "params": {"length": 25.0},
            "idea": "a kernel of longer range",
            "hypothesis": "If the target changes slowly, far rows help to average out the noise.",
        },
    ],
}

PARAMS: dict[str, Any] = {
    "length": 10.0,
    "penalties": [0.001, 0.01, 0.1, 1.0],
    "scalings": ["standard", "quantile"],
    "trial_rows": 2000,
    "metric_rows": 4000,
    "most_rows": 12_000,
    "inner_folds": 5,
    "knots": 5,
    "max_levels": 20,
    "neighbours": 0,
    "text": "svd",
    "text_components": 32,
}


class Choice(NamedTuple):
    """A configuration and how it did on held-out rows.

    Attributes:
        turn: (columns, rank) matrix that takes rows into the learned metric.
    """

    loss: float
    scaling: str
    diagonal: bool
    penalty: float
    turn: np.ndarray


def fit_predict(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, ctx: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for the validation and the test rows."""
    clock = Clock(ctx, 0.7)
    target = read_target(train, ctx)
    answer = constant_answer(valid, test, target, ctx)
    if answer is not None:
        return answer
    wanted, centre, scale = goals(target)
    shuffle = np.random.default_rng(ctx.seed)
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    fit_rows, eval_rows = shuffle.permutation(fit_rows), shuffle.permutation(eval_rows)[:2000]

    trials: list[tuple[Choice, SmoothTable]] = []
    for scaling in PARAMS["scalings"]:
        table = smooth_table(train, valid, test, target, ctx, {**PARAMS, "scaling": scaling})
        for diagonal in (True, False):
            if trials and clock.used() > 0.3 * clock.seconds:
                break
            trials.append((trial(table.train, wanted, fit_rows, eval_rows, scaling, diagonal), table))
    best, table = min(trials, key=lambda pair: pair[0].loss)

    rows = fit_rows[: PARAMS["metric_rows"] if clock.left() > 4 * clock.used() else PARAMS["trial_rows"]]
    turn = learn_metric(table.train, wanted, rows, best, steps=2)
    before = clock.used()
    inner = solve(table.train[rows] @ turn, wanted[rows], best.penalty)
    each = clock.used() - before
    before = clock.used()
    held = predict(table.train[eval_rows], table.train[rows], inner, turn)
    pair = (clock.used() - before) / (len(eval_rows) * len(rows))
    heat = temperature(held, wanted[eval_rows].argmax(axis=1)) if len(target.present) else 1.0
    # Solving grows with the cube of the rows, building the kernel with their square; predictions pair all rows.
    left = max(clock.left(), 0.0)
    solvable = len(rows) * (0.6 * left / max(each, 1e-4)) ** (1 / 2.7)
    pairable = 0.3 * left / max(pair * (len(valid) + len(test)), 1e-9)
    most = int(min(PARAMS["most_rows"], solvable, pairable))
    kept = shuffle.permutation(len(train))[: max(most, 50)]
    weights = solve(table.train[kept] @ turn, wanted[kept], best.penalty)
    ctx.report(
        rows=len(kept),
        scaling=best.scaling,
        diagonal=best.diagonal,
        penalty=best.penalty,
        seconds=round(clock.used(), 1),
    )
    raw = [predict(part, table.train[kept], weights, turn) for part in (table.valid, table.test)]
    scores = [softmax(heat * part) if len(target.present) else part[:, 0] * scale + centre for part in raw]
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def goals(target: Target) -> tuple[np.ndarray, float, float]:
    """(n, k) of -1 and 1 for classes, or (n, 1) standardised values, with their centre and scale."""
    if len(target.present):
        return np.eye(len(target.present), dtype=np.float32)[target.y] * 2 - 1, 0.0, 1.0
    centre, scale = float(target.y.mean()), float(target.y.std()) or 1.0
    return ((target.y - centre) / scale).astype(np.float32)[:, None], centre, scale


def trial(
    x: np.ndarray, wanted: np.ndarray, fit_rows: np.ndarray, eval_rows: np.ndarray, scaling: str, diagonal: bool
) -> Choice:
    """The best penalty of a scaling and a kind of metric, on a few rows."""
    rows = fit_rows[: PARAMS["trial_rows"]]
    start = np.eye(x.shape[1], dtype=np.float32)
    turn = learn_metric(x, wanted, rows, Choice(0.0, scaling, diagonal, 0.1, start), steps=2)
    tries = []
    for penalty in PARAMS["penalties"]:
        weights = solve(x[rows] @ turn, wanted[rows], penalty)
        loss = held_loss(predict(x[eval_rows], x[rows], weights, turn), wanted[eval_rows])
        tries.append(Choice(loss, scaling, diagonal, penalty, turn))
    return min(tries, key=lambda choice: choice.loss)


def held_loss(raw: np.ndarray, wanted: np.ndarray) -> float:
    """Log loss at the best temperature, or squared error."""
    if wanted.shape[1] == 1:
        return float(np.mean((raw - wanted) ** 2))
    y = wanted.argmax(axis=1)
    return log_loss(softmax(temperature(raw, y) * raw), y)


def learn_metric(x: np.ndarray, wanted: np.ndarray, rows: np.ndarray, choice: Choice, steps: int) -> np.ndarray:
    """Square root of the mean outer product of the predictor's gradients, each step in the metric of the last."""
    turn, part = choice.turn, x[rows]
    for _ in range(steps):
        z = part @ turn
        kernel, distance = laplace(z[:2000], z)
        weights = solve(z, wanted[rows], choice.penalty)
        pull = kernel / (PARAMS["length"] * np.maximum(distance, 1e-3))
        total = np.zeros((x.shape[1], x.shape[1]), np.float32)
        for output in range(wanted.shape[1]):
            force = pull * weights[:, output]
            slope = (force @ part - part[:2000] * force.sum(axis=1)[:, None]) @ (turn @ turn.T)
            total += slope.T @ slope
        if choice.diagonal or x.shape[1] > 600:
            total = np.diag(np.diag(total))
        values, vectors = np.linalg.eigh(total / max(float(np.trace(total)), 1e-20))
        # The fourth root: the metric is the square root of the gradients' product, its factor the root of that.
        turn = (vectors * np.maximum(values, 0.0) ** 0.25).astype(np.float32)
        turn *= np.sqrt(x.shape[1] / max(float((turn * turn).sum()), 1e-20))
    return turn


def laplace(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel values and distances of every pair of rows."""
    squared = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * (a @ b.T)
    distance = np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)
    return np.exp(distance * np.float32(-1 / PARAMS["length"])), distance


def solve(z: np.ndarray, wanted: np.ndarray, penalty: float) -> np.ndarray:
    """Weights of the rows, by kernel ridge regression."""
    kernel, _ = laplace(z, z)
    for stronger in (1, 10, 100):
        kernel[np.diag_indices(len(z))] = 1 + stronger * penalty
        try:
            factor = cho_factor(kernel, lower=True, check_finite=False)
        except LinAlgError:  # nearly equal rows in single precision
            continue
        return np.asarray(cho_solve(factor, wanted, check_finite=False))
    return np.zeros_like(wanted)


def predict(x: np.ndarray, rows: np.ndarray, weights: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(n, k) raw scores, a few thousand rows at a time."""
    z = rows @ turn
    parts = [laplace(x[start : start + 2048] @ turn, z)[0] @ weights for start in range(0, len(x), 2048)]
    return np.concatenate(parts)


def temperature(raw: np.ndarray, y: np.ndarray) -> float:
    """The factor on raw scores with the least log loss."""
    found = minimize_scalar(
        lambda log_heat: log_loss(softmax(np.exp(log_heat) * raw), y), bounds=(-2, 4), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(proba: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log probability of the true class."""
    return float(-np.mean(np.log(np.clip(proba[np.arange(len(y)), y], 1e-9, 1))))


def softmax(raw: np.ndarray) -> np.ndarray:
    """(n, k) probabilities."""
    shifted = np.exp(raw - raw.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
