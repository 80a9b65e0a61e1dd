"""XGBoost: gradient boosting over depth-wise histogram trees on encoded features.

The number of rounds comes from an inner split of the fold's training rows; the model is then fitted again on
all of them. Both steps watch the clock: a slow machine gets a larger step and fewer rounds, never no answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xgboost

from experiments.recipes._boosting import Pace, RoundWatch, absolute_error, bagged, multiclass_step
from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import tree_table

RECIPE: dict[str, Any] = {
    "family": "xgboost",
    "label": "XGBoost",
    "order": 40,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "XGBoost, strongly regularised, early stopping inside the fold",
    "hypothesis": "Depth-wise trees with a second-order penalty differ enough from leaf-wise ones to blend.",
    "cost": {"seconds": 4.0, "rows": 0.9, "features": 0.8, "outputs": 1.0},
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
            "name": "target encoding",
            "kind": "model",
            "params": {"target_encoding": "all"},
            "idea": "cross-fitted target encoding of every category",
            "hypothesis": "A level's own target mean orders the categories better than their codes.",
            "needs": ["categorical"],
        },
        {
            "name": "small trees",
            "kind": "tune",
            "params": {"max_depth": 4, "min_child_weight": 10.0},
            "idea": "simpler trees, more rounds",
            "hypothesis": "If the signal is mostly additive, simpler trees generalise better.",
        },
        {
            "name": "large trees",
            "kind": "tune",
            "params": {"max_depth": 9, "colsample_bynode": 0.4, "min_child_weight": 2.0},
            "idea": "deeper trees on fewer columns each",
            "hypothesis": "If interactions run deep, larger trees on a part of the columns catch them.",
        },
    ],
}

PARAMS: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_depth": 6,
    "min_child_weight": 4.0,
    "subsample": 0.8,
    "colsample_bynode": 0.6,
    "lambda": 2.0,
    "max_bin": 256,
    "max_rounds": 4000,
    "patience": 80,
    "inner_folds": 5,
    "bags": 4,
    "bag_seconds": 8.0,
    "target_encoding": "auto",
    "max_levels": 30,
    "pairs": 0,
    "neighbours": 0,
    "text_components": 32,
}


def fit_predict(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, ctx: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for the validation and the test rows."""
    clock = Clock(ctx)
    target = read_target(train, ctx)
    answer = constant_answer(valid, test, target, ctx)
    if answer is not None:
        return answer
    table = tree_table(train, valid, test, target, ctx, PARAMS)
    arrays = [frame.to_numpy(np.float32) for frame in table.split]

    settings = learner_settings(target, ctx)
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    first = matrix(arrays[0][fit_rows], target.y[fit_rows], ctx)
    held = xgboost.QuantileDMatrix(arrays[0][eval_rows], target.y[eval_rows], ref=first, nthread=ctx.threads)
    pace = Pace(multiclass_step(PARAMS["learning_rate"], target.outputs), PARAMS["max_rounds"], 0.42 * clock.left())
    inner = grow(first, settings, pace, held)
    pace = pace.refit(inner, len(fit_rows), len(train), clock.left())
    whole = matrix(arrays[0], target.y, ctx)

    def bag(seed: int) -> list[np.ndarray]:
        booster = grow(whole, {**settings, "seed": seed}, pace).model
        return [predict(booster, rows, target) for rows in arrays[1:]]

    scores, bags = bagged(bag, ctx.seed, PARAMS["bags"], PARAMS["bag_seconds"], clock)
    ctx.report(rounds=pace.rounds, learning_rate=pace.step, bags=bags, seconds=round(clock.used(), 1))
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def matrix(rows: np.ndarray, y: np.ndarray, ctx: Any) -> xgboost.QuantileDMatrix:
    """Binned rows with their target."""
    return xgboost.QuantileDMatrix(rows, y, max_bin=PARAMS["max_bin"], nthread=ctx.threads)


def learner_settings(target: Target, ctx: Any) -> dict[str, Any]:
    """Parameters of the booster; the objective follows the task and the metric."""
    settings = {
        "tree_method": "hist",
        "max_depth": PARAMS["max_depth"],
        "min_child_weight": PARAMS["min_child_weight"] if len(target.y) > 1000 else 1.0,
        "subsample": PARAMS["subsample"],
        "colsample_bynode": PARAMS["colsample_bynode"],
        "lambda": PARAMS["lambda"],
        "max_bin": PARAMS["max_bin"],
        "seed": ctx.seed,
        "nthread": ctx.threads,
        "verbosity": 0,
    }
    if ctx.task_type == "regression":
        absolute = absolute_error(ctx)
        objective, metric = ("reg:absoluteerror", "mae") if absolute else ("reg:squarederror", "rmse")
    elif target.outputs > 1:
        objective, metric = "multi:softprob", "mlogloss"
        settings["num_class"] = target.outputs
        # A softmax hessian is at most 1/4 and far less with many classes.
        settings["min_child_weight"] = settings["min_child_weight"] / target.outputs
    else:
        objective, metric = "binary:logistic", "logloss"
    return {**settings, "objective": objective, "eval_metric": metric}


def grow(
    rows: xgboost.QuantileDMatrix,
    settings: dict[str, Any],
    pace: Pace,
    held: xgboost.QuantileDMatrix | None = None,
) -> RoundWatch:
    """Boost until the rounds, the patience (with ``held`` rows) or the time are used up."""
    cache = [rows] if held is None else [rows, held]
    booster = xgboost.Booster({**settings, "learning_rate": pace.step}, cache)
    watch = RoundWatch(booster, pace, PARAMS["patience"])
    number = 0
    while watch.goes_on():
        booster.update(rows, number)
        number += 1
        watch.saw(float(booster.eval(held).rsplit(":", 1)[1]) if held is not None else None)
        if watch.new_step is not None:
            booster.set_param({"learning_rate": watch.new_step})
    return watch


def predict(booster: xgboost.Booster, rows: np.ndarray, target: Target) -> np.ndarray:
    """(n,) values, or (n, k) probabilities of the classes present."""
    raw = np.asarray(booster.inplace_predict(rows))
    return np.column_stack([1 - raw, raw]) if len(target.present) == 2 else raw
