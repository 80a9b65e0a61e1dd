"""CatBoost: gradient boosting over symmetric trees, with its own ordered encoding of categories.

The number of rounds comes from an inner split of the fold's training rows; the model is then fitted again on
all of them. Both steps watch the clock.
"""

from __future__ import annotations

import time
from typing import Any

import catboost
import numpy as np
import pandas as pd

from experiments.recipes._boosting import absolute_error, bagged
from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import word_table

RECIPE: dict[str, Any] = {
    "family": "catboost",
    "label": "CatBoost",
    "order": 20,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "CatBoost, categories as they are",
    "hypothesis": "Symmetric trees and ordered target statistics err unlike leaf-wise trees, not least on categories.",
    "cost": {"seconds": 10.0, "rows": 0.9, "features": 0.6, "outputs": 0.8},
    "variants": [
        {
            "name": "geometry",
            "kind": "model",
            "params": {"neighbours": 4, "pairs": 6},
            "idea": "target means of near rows in planes of numbers; their sums, differences, products, ratios",
            "hypothesis": "Places and proportions matter: nearness in two numbers at once is slow to cut out of axes.",
            "needs": ["numeric2", "few_classes"],
        },
        {
            "name": "near rows",
            "kind": "model",
            "params": {"neighbours": 4},
            "idea": "target means of near rows in planes of the strongest numeric columns",
            "hypothesis": "Where two numbers mark a place, rows nearby tell more than either number.",
            "needs": ["numeric2", "few_classes"],
        },
        {
            "name": "pairs",
            "kind": "model",
            "params": {"pairs": 6},
            "idea": "sums, differences, products and ratios of the strongest numeric columns",
            "hypothesis": "Splits along diagonals and ratios say in one cut what needs many along the axes.",
            "needs": ["numeric2"],
        },
        {
            "name": "ordered",
            "kind": "model",
            "params": {"boosting_type": "Ordered", "depth": 5},
            "idea": "ordered boosting on shallower trees",
            "hypothesis": "Gradients from models that have not seen the row do not leak its target: less overfitting.",
            "needs": ["few_classes", "many_rows"],
        },
        {
            "name": "deeper",
            "kind": "tune",
            "params": {"depth": 8, "l2_leaf_reg": 10.0},
            "idea": "trees of depth 8",
            "hypothesis": "If interactions run deep, deeper symmetric trees catch them.",
        },
        {
            "name": "shallow",
            "kind": "tune",
            "params": {"depth": 4},
            "idea": "trees of depth 4, more rounds",
            "hypothesis": "If the signal is mostly additive, simpler trees generalise better.",
        },
    ],
}

PARAMS: dict[str, Any] = {
    "learning_rate": 0.05,
    "depth": 6,
    "l2_leaf_reg": 6.0,
    "random_strength": 1.5,
    "boosting_type": "auto",
    "max_rounds": 3000,
    "patience": 80,
    "inner_folds": 5,
    "bags": 3,
    "bag_seconds": 10.0,
    "pairs": 0,
    "neighbours": 0,
    "text_components": 32,
}


class TimeWatch:
    """Stops training when its seconds are used up (a CatBoost callback)."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.until = clock, clock.used() + seconds

    def after_iteration(self, _info: Any) -> bool:
        """Whether to go on."""
        return self.clock.used() < self.until


def fit_predict(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, ctx: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for the validation and the test rows."""
    clock = Clock(ctx)
    target = read_target(train, ctx)
    answer = constant_answer(valid, test, target, ctx)
    if answer is not None:
        return answer
    table = word_table(train, valid, test, target, ctx, PARAMS)
    frames = [frame.astype(dict.fromkeys(table.categorical, str)) for frame in table.split]
    settings = learner_settings(target, ctx)
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    settings["learning_rate"] = affordable_step(frames[0], table.categorical, target, settings, 0.42 * clock.left())

    first, held = frames[0].iloc[fit_rows], frames[0].iloc[eval_rows]
    inner = learner(target, settings).fit(
        catboost.Pool(first, target.y[fit_rows], cat_features=table.categorical),
        eval_set=catboost.Pool(held, target.y[eval_rows], cat_features=table.categorical),
        early_stopping_rounds=PARAMS["patience"],
        callbacks=[TimeWatch(clock, 0.42 * clock.left())],
    )
    growth = 1 + 0.5 * (len(train) / len(fit_rows) - 1)
    settings["iterations"] = max(1, round((inner.get_best_iteration() + 1) * growth))
    whole = catboost.Pool(frames[0], target.y, cat_features=table.categorical)

    def bag(seed: int) -> list[np.ndarray]:
        model = learner(target, {**settings, "random_seed": seed})
        model.fit(whole, callbacks=[TimeWatch(clock, clock.left())])
        return [predict(model, frame, target) for frame in frames[1:]]

    scores, bags = bagged(bag, ctx.seed, PARAMS["bags"], PARAMS["bag_seconds"], clock)
    rounds, step = settings["iterations"], settings["learning_rate"]
    ctx.report(rounds=rounds, learning_rate=step, bags=bags, seconds=round(clock.used(), 1))
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def learner_settings(target: Target, ctx: Any) -> dict[str, Any]:
    """Parameters of the learner; the loss follows the task and the metric."""
    if ctx.task_type == "regression":
        loss = "MAE" if absolute_error(ctx) else "RMSE"
    else:
        loss = "MultiClass" if target.outputs > 1 else "Logloss"
    # Ordered boosting costs about twice the time and pays where rows are few; so do shallower trees.
    few = PARAMS["boosting_type"] == "auto" and len(target.y) <= 8000 and target.outputs <= 5
    boosting = ("Ordered" if few else "Plain") if PARAMS["boosting_type"] == "auto" else PARAMS["boosting_type"]
    settings = {
        "loss_function": loss,
        "iterations": PARAMS["max_rounds"],
        "learning_rate": PARAMS["learning_rate"],
        "depth": PARAMS["depth"] - 1 if few else PARAMS["depth"],
        "l2_leaf_reg": PARAMS["l2_leaf_reg"],
        "random_strength": PARAMS["random_strength"],
        "boosting_type": boosting,
        "random_seed": ctx.seed,
        "thread_count": ctx.threads,
        "logging_level": "Silent",
        "allow_writing_files": False,
    }
    if target.outputs > 1:
        settings["classes_count"] = target.outputs
    return settings


def learner(target: Target, settings: dict[str, Any]) -> Any:
    """An unfitted model."""
    kind = catboost.CatBoostClassifier if len(target.present) else catboost.CatBoostRegressor
    return kind(**settings)


def affordable_step(
    frame: pd.DataFrame, categorical: list[str], target: Target, settings: dict[str, Any], seconds: float
) -> float:
    """The learning rate that lets boosting arrive in time: larger when a few trial rounds are slow."""
    clock = TrialClock()
    pool = catboost.Pool(frame, target.y, cat_features=categorical)
    learner(target, {**settings, "iterations": 12}).fit(pool, callbacks=[clock])
    affordable = seconds / max(clock.each(), 1e-9)
    return float(min(max(settings["learning_rate"], 24.0 / affordable), 0.3))


class TrialClock:
    """Times rounds, the first one left out (a CatBoost callback)."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def after_iteration(self, _info: Any) -> bool:
        """Note the time; go on."""
        self.stamps.append(time.monotonic())
        return len(self.stamps) < 2 or self.stamps[-1] - self.stamps[0] < 2.0

    def each(self) -> float:
        """Seconds of a round."""
        return (self.stamps[-1] - self.stamps[0]) / max(len(self.stamps) - 1, 1)


def predict(model: Any, frame: pd.DataFrame, target: Target) -> np.ndarray:
    """(n,) values, or (n, k) probabilities of the classes present."""
    return np.asarray(model.predict_proba(frame) if len(target.present) else model.predict(frame))
