"""LightGBM: gradient boosting over leaf-wise trees on encoded features.

The number of rounds comes from an inner split of the fold's training rows; the model is then fitted again on
all of them. Both steps watch the clock: a slow machine gets a larger step and fewer rounds, never no answer.
"""

from __future__ import annotations

import time
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from experiments.recipes._boosting import Pace, RoundWatch, absolute_error, bagged, multiclass_step
from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import tree_table

RECIPE: dict[str, Any] = {
    "family": "lightgbm",
    "label": "LightGBM",
    "order": 10,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "LightGBM, early stopping inside the fold",
    "hypothesis": "Boosted trees on plainly encoded columns set a strong level for everything after them.",
    "cost": {"seconds": 2.5, "rows": 0.9, "features": 0.7, "outputs": 1.0},
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
            "name": "extra-random",
            "kind": "model",
            "params": {"extra_trees": True, "feature_fraction": 0.7},
            "idea": "LightGBM with random thresholds",
            "hypothesis": "Random cuts decorrelate the trees: a little weaker alone, a better blend partner.",
        },
        {
            "name": "small leaves",
            "kind": "tune",
            "params": {"num_leaves": 12, "min_data_in_leaf": 30, "lambda_l2": 5.0},
            "idea": "simpler trees, more rounds",
            "hypothesis": "If the signal is mostly additive, simpler trees generalise better.",
        },
        {
            "name": "large leaves",
            "kind": "tune",
            "params": {"num_leaves": 96, "feature_fraction": 0.5, "min_data_in_leaf": 10},
            "idea": "deeper trees on fewer columns each",
            "hypothesis": "If interactions run deep, larger trees on half of the columns catch them.",
        },
    ],
}

PARAMS: dict[str, Any] = {
    "learning_rate": 0.04,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "lambda_l2": 1.0,
    "extra_trees": False,
    "max_rounds": 4000,
    "patience": 80,
    "inner_folds": 5,
    "bags": 4,
    "bag_seconds": 8.0,
    "target_encoding": "auto",
    "max_levels": 100,
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
    arrays = [frame.to_numpy(np.float64) for frame in table.split]
    columns = list(table.split.train.columns)
    categorical = [columns.index(name) for name in table.categorical]

    settings = learner_settings(target, ctx)
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    whole = lightgbm.Dataset(arrays[0], target.y, categorical_feature=categorical, params=settings, free_raw_data=False)
    pace = Pace(multiclass_step(PARAMS["learning_rate"], target.outputs), PARAMS["max_rounds"], 0.42 * clock.left())
    inner = grow(whole.subset(fit_rows), settings, pace, whole.subset(eval_rows))
    pace = pace.refit(inner, len(fit_rows), len(train), clock.left())
    seconds = seconds_of_prediction(inner, arrays[0][eval_rows], len(valid) + len(test))
    pace = pace.leave_for_prediction(seconds, inner.best_round)

    def bag(seed: int) -> list[np.ndarray]:
        booster = grow(whole, {**settings, "seed": seed}, pace).model
        return [predict(booster, rows, target) for rows in arrays[1:]]

    scores, bags = bagged(bag, ctx.seed, PARAMS["bags"], PARAMS["bag_seconds"], clock)
    ctx.report(rounds=pace.rounds, learning_rate=pace.step, bags=bags, seconds=round(clock.used(), 1))
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def learner_settings(target: Target, ctx: Any) -> dict[str, Any]:
    """Parameters of the booster; the objective follows the task and the metric."""
    settings = {
        "num_leaves": PARAMS["num_leaves"],
        "min_data_in_leaf": max(2, min(PARAMS["min_data_in_leaf"], len(target.y) // 50)),
        "feature_fraction": PARAMS["feature_fraction"],
        "bagging_fraction": PARAMS["bagging_fraction"],
        "bagging_freq": 1,
        "lambda_l2": PARAMS["lambda_l2"],
        "extra_trees": PARAMS["extra_trees"],
        "max_cat_threshold": 16,
        "cat_smooth": 20,
        "seed": ctx.seed,
        "num_threads": ctx.threads,
        "verbosity": -1,
        "force_col_wise": True,
        "feature_pre_filter": False,
        "learning_rate": PARAMS["learning_rate"],
    }
    if ctx.task_type == "regression":
        objective, metric = ("regression_l1", "l1") if absolute_error(ctx) else ("regression", "l2")
    elif target.outputs > 1:
        objective, metric = "multiclass", "multi_logloss"
        settings["num_class"] = target.outputs
    else:
        objective, metric = "binary", "binary_logloss"
    return {**settings, "objective": objective, "metric": metric}


def grow(
    rows: lightgbm.Dataset, settings: dict[str, Any], pace: Pace, held: lightgbm.Dataset | None = None
) -> RoundWatch:
    """Boost until the rounds, the patience (with ``held`` rows) or the time are used up."""
    booster = lightgbm.Booster({**settings, "learning_rate": pace.step}, rows)
    if held is not None:
        booster.add_valid(held, "held")
    watch = RoundWatch(booster, pace, PARAMS["patience"])
    while watch.goes_on():
        finished = booster.update()
        score = booster.eval_valid()[0][2] if held is not None else None
        watch.saw(score)
        if watch.new_step is not None:
            booster.reset_parameter({"learning_rate": watch.new_step})
        if finished:
            break
    return watch


def predict(booster: lightgbm.Booster, rows: np.ndarray, target: Target) -> np.ndarray:
    """(n,) values, or (n, k) probabilities of the classes present."""
    raw = np.asarray(booster.predict(rows))
    return np.column_stack([1 - raw, raw]) if len(target.present) == 2 else raw


def seconds_of_prediction(watch: RoundWatch, rows: np.ndarray, wanted: int) -> float:
    """How long ``wanted`` rows will take, measured on a few; with many classes this is no small part."""
    few = rows[:300]
    before = time.monotonic()
    watch.model.predict(few, num_iteration=watch.best_round)
    return (time.monotonic() - before) * wanted / len(few)
