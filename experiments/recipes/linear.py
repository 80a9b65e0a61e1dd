"""Linear model: splines of the numbers, one-hot categories, sparse TF-IDF of texts; penalised.

The penalty is chosen on an inner split of the fold's training rows, then the model is fitted on all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import smooth_table

RECIPE: dict[str, Any] = {
    "family": "linear",
    "label": "Linear",
    "order": 70,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "penalised linear model on splines, one-hot categories and TF-IDF",
    "hypothesis": "A smooth additive model errs where trees do not, and reads sparse text best.",
    "cost": {"seconds": 2.0, "rows": 1.0, "features": 1.0, "outputs": 1.0},
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
            "name": "fine splines",
            "kind": "tune",
            "params": {"knots": 16},
            "idea": "splines with 16 knots",
            "hypothesis": "If single columns act in sharp steps, finer curves follow them.",
            "needs": ["numeric2"],
        },
    ],
}

PARAMS: dict[str, Any] = {
    "scaling": "spline",
    "knots": 7,
    "strengths": [0.03, 0.3, 3.0, 30.0],
    "inner_folds": 5,
    "max_levels": 60,
    "neighbours": 0,
    "text": "sparse",
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
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    strength = choose(table.train, target, fit_rows, eval_rows, clock, ctx)
    model = learner(strength, ctx, iterations(table.train, target, clock.left()))
    model.fit(table.train, target.y)
    ctx.report(strength=strength, seconds=round(clock.used(), 1))
    valid_scores, test_scores = (predict(model, rows, target) for rows in (table.valid, table.test))
    return finish(valid_scores, target, ctx), finish(test_scores, target, ctx)


def choose(rows: Any, target: Target, fit_rows: Any, eval_rows: Any, clock: Clock, ctx: Any) -> float:
    """The inverse penalty with the least loss on the held-out rows, of those that the time allows."""
    strengths: list[float] = PARAMS["strengths"]
    best, least = strengths[len(strengths) // 2], float("inf")
    for strength in strengths:
        before = clock.used()
        model = learner(strength, ctx, iterations(rows, target, 0.3 * clock.left()))
        model.fit(rows[fit_rows], target.y[fit_rows])
        loss = held_out_loss(predict(model, rows[eval_rows], target), target.y[eval_rows], target)
        if loss < least:
            best, least = strength, loss
        if clock.left() < 4 * (clock.used() - before):
            break
    return best


def iterations(rows: Any, target: Target, seconds: float) -> int:
    """How many solver steps fit the time, by a rough count of multiplications."""
    cells = rows.nnz if hasattr(rows, "nnz") else rows.size
    each = 6e-9 * cells * max(target.outputs, 1) + 1e-4
    return int(min(max(seconds / each, 5), 300))


def learner(strength: float, ctx: Any, steps: int) -> Any:
    """An unfitted model; ``strength`` is the inverse of the penalty."""
    if ctx.task_type == "regression":
        return Ridge(alpha=1 / strength, solver="auto", random_state=ctx.seed)
    return LogisticRegression(C=strength, max_iter=steps, tol=1e-3)


def held_out_loss(scores: np.ndarray, y: np.ndarray, target: Target) -> float:
    """Squared error, or log loss."""
    if not len(target.present):
        return float(np.mean((scores - y) ** 2))
    return float(-np.mean(np.log(np.clip(scores[np.arange(len(y)), y], 1e-12, 1))))


def predict(model: Any, rows: Any, target: Target) -> np.ndarray:
    """(n,) values, or (n, k) probabilities of the classes present."""
    if not len(target.present):
        return np.asarray(model.predict(rows))
    scores = np.zeros((rows.shape[0], len(target.present)))
    scores[:, model.classes_] = model.predict_proba(rows)
    return scores
