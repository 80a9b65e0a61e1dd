"""Pairs of numeric columns: the sums, differences, products and ratios that trees find hard to build."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.model_selection import KFold

from experiments.recipes._features import Split, Target, informative


def pair_part(numeric: Split, target: Target, seed: int, most: int) -> Split:
    """Every pair of the ``most`` most important numeric columns, combined in four ways.

    Sums and differences are of standardised columns: a tree split on them is a split along a diagonal.
    """
    useful = informative(numeric)
    names = important_columns(useful.train, target, seed, most if len(target.y) < 300_000 else min(most, 4))
    centre, scale = useful.train[names].mean(), useful.train[names].std().replace(0.0, 1.0)

    def pairs(frame: pd.DataFrame) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for a, b in combinations(names, 2):
            left, right = (frame[a] - centre[a]) / scale[a], (frame[b] - centre[b]) / scale[b]
            columns[f"{a} + {b}"] = left + right
            columns[f"{a} - {b}"] = left - right
            columns[f"{a} * {b}"] = frame[a] * frame[b]
            columns[f"{a} / {b}"] = frame[a] / frame[b].replace(0.0, np.nan)
        return pd.DataFrame(columns, index=frame.index)

    return numeric.map(pairs)


def important_columns(table: pd.DataFrame, target: Target, seed: int, most: int, rows: int = 5000) -> list[str]:
    """The columns that a small forest on at most ``rows`` rows uses most, best first."""
    if table.shape[1] <= 1:
        return list(table.columns)
    chosen = np.random.default_rng(seed).permutation(len(table))[:rows]
    settings: dict[str, Any] = {"n_estimators": 60, "min_samples_leaf": 5, "random_state": seed, "n_jobs": 1}
    kind = ExtraTreesClassifier if len(target.present) else ExtraTreesRegressor
    forest = kind(**settings).fit(table.iloc[chosen].fillna(table.median()), target.y[chosen])
    order = np.argsort(-forest.feature_importances_, kind="stable")
    return [str(table.columns[i]) for i in order[:most]]


def neighbour_part(numeric: Split, target: Target, seed: int, most: int, near: int = 12) -> Split:
    """Mean target of the nearest training rows, in each plane of two of the ``most`` most important numbers.

    Cross-fitted within the training rows. Places on a map are the classic case. Empty for a target of many classes.
    """
    useful = informative(numeric)
    goals = np.eye(len(target.present))[target.y][:, 1:] if len(target.present) else target.y[:, None]
    if useful.train.shape[1] < 2 or goals.shape[1] > 4 or len(target.y) < 5 * near:
        return numeric.map(lambda frame: pd.DataFrame(index=frame.index))
    # Searching takes time: fewer planes for many rows.
    names = important_columns(useful.train, target, seed, most if len(target.y) < 100_000 else min(most, 3))
    middle = useful.train[names].median()
    spread = (useful.train[names].quantile(0.9) - useful.train[names].quantile(0.1)).replace(0.0, 1.0)
    planes = [
        ((frame[names].fillna(middle) - middle) / spread).to_numpy(np.float32)
        for frame in (useful.train, useful.valid, useful.test)
    ]
    tables: list[dict[str, Any]] = [{}, {}, {}]
    for a, b in combinations(range(len(names)), 2):
        points = [rows[:, [a, b]] for rows in planes]
        own = np.zeros_like(goals)
        for rest, part in KFold(5, shuffle=True, random_state=seed).split(points[0]):
            own[part] = near_mean(points[0][rest], goals[rest], points[0][part], near)
        means = [own, *(near_mean(points[0], goals, rows, near) for rows in points[1:])]
        for table, mean in zip(tables, means, strict=True):
            table.update({f"near {names[a]}, {names[b]}: {k}": mean[:, k] for k in range(goals.shape[1])})
    return Split(*(pd.DataFrame(t, index=f.index) for t, f in zip(tables, numeric, strict=True)))


def near_mean(known: np.ndarray, goals: np.ndarray, points: np.ndarray, near: int) -> np.ndarray:
    """(n, k) mean goal of the nearest known points, closer ones counting more."""
    distance, index = cKDTree(known).query(points, k=near)
    weight = 1 / (distance + 1e-3 + distance.mean(axis=1, keepdims=True))
    return np.asarray(np.einsum("nj,njk->nk", weight / weight.sum(axis=1, keepdims=True), goals[index]))
