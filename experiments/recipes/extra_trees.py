"""Extra trees: many unpruned trees with random thresholds, averaged.

The size of the leaves is chosen on an inner split of the fold's training rows; trees are then added on all of them
until there are enough or the time is used up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor

from experiments.recipes._features import Clock, Target, constant_answer, finish, inner_rows, read_target
from experiments.recipes._tables import tree_table

RECIPE: dict[str, Any] = {
    "family": "extra_trees",
    "label": "Extra trees",
    "order": 50,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "extremely randomised trees",
    "hypothesis": "Averaged deep random trees have little bias of their own: boosting's mistakes are not theirs.",
    "cost": {"seconds": 6.0, "rows": 1.1, "features": 0.6, "outputs": 0.2},
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
            "name": "random forest",
            "kind": "model",
            "params": {"bootstrap": True},
            "idea": "random forest: best thresholds on bootstrap samples",
            "hypothesis": "Where thresholds matter, searched cuts beat random ones.",
        },
    ],
}

PARAMS: dict[str, Any] = {
    "trees": 500,
    "chunk": 25,
    "leaves": [1, 3, 8],
    "max_features": 0.5,
    "bootstrap": False,
    "inner_folds": 5,
    "target_encoding": "all",
    "max_levels": 30,
    "pairs": 0,
    "neighbours": 0,
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
    table = tree_table(train, valid, test, target, ctx, PARAMS)
    # Forests want no gaps: a value far below all others keeps missing cells together.
    lowest = table.split.train.min().fillna(0.0) - 1.0
    arrays = [frame.fillna(lowest).to_numpy(np.float32) for frame in table.split]
    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    # Pure leaves of very many rows take long to grow and say little more.
    leaf = max(choose_leaf(arrays[0], target, fit_rows, eval_rows, clock, ctx), len(train) // 20_000)
    sums, trees = average(arrays[0], target, arrays[1:], leaf, clock, ctx)
    ctx.report(trees=trees, leaf=leaf, seconds=round(clock.used(), 1))
    return finish(sums[0], target, ctx), finish(sums[1], target, ctx)


def forest(target: Target, leaf: int, trees: int, seed: int, ctx: Any) -> Any:
    """An unfitted forest."""
    kinds: dict[bool, tuple[Any, Any]] = {
        False: (ExtraTreesClassifier, ExtraTreesRegressor),
        True: (RandomForestClassifier, RandomForestRegressor),
    }
    kind = kinds[PARAMS["bootstrap"]][0 if len(target.present) else 1]
    return kind(
        n_estimators=trees,
        min_samples_leaf=leaf,
        max_features=PARAMS["max_features"],
        max_samples=min(len(target.y), 200_000) if PARAMS["bootstrap"] else None,
        random_state=seed,
        n_jobs=ctx.threads,
    )


def choose_leaf(rows: np.ndarray, target: Target, fit_rows: Any, eval_rows: Any, clock: Clock, ctx: Any) -> int:
    """The smallest leaf with the least held-out loss, by small forests on at most 20,000 rows."""
    chosen = np.sort(np.random.default_rng(ctx.seed).permutation(fit_rows)[:20_000])
    best, least = int(PARAMS["leaves"][-1]), float("inf")
    for leaf in PARAMS["leaves"]:
        before = clock.used()
        model = forest(target, leaf, 40, ctx.seed, ctx).fit(rows[chosen], target.y[chosen])
        scores = predict(model, rows[eval_rows], target)
        y = target.y[eval_rows]
        if len(target.present):
            smooth = (scores[np.arange(len(y)), y] * 40 + 1 / len(target.present)) / 41
            loss = float(-np.mean(np.log(smooth)))
        else:
            loss = float(np.mean((scores - y) ** 2))
        if loss < least:
            best, least = int(leaf), loss
        if clock.used() - before > 0.15 * clock.left():
            break
    return best


def average(
    rows: np.ndarray, target: Target, others: list[np.ndarray], leaf: int, clock: Clock, ctx: Any
) -> tuple[list[np.ndarray], int]:
    """Mean predictions of forests grown chunk by chunk, and the number of trees."""
    sums: list[np.ndarray] = []
    trees = 0
    while trees < PARAMS["trees"]:
        before = clock.used()
        model = forest(target, leaf, PARAMS["chunk"] if trees else 5, ctx.seed + 1 + trees, ctx)
        model.fit(rows, target.y)
        size = len(model.estimators_)
        parts = [size * predict(model, part, target) for part in others]
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
        trees += size
        if clock.used() - before > clock.left() * size / PARAMS["chunk"]:
            break
    return [total / trees for total in sums], trees


def predict(model: Any, rows: np.ndarray, target: Target) -> np.ndarray:
    """(n,) values, or (n, k) probabilities of the classes present."""
    if not len(target.present):
        return np.asarray(model.predict(rows))
    scores = np.zeros((len(rows), len(target.present)))
    scores[:, model.classes_] = model.predict_proba(rows)
    return scores
