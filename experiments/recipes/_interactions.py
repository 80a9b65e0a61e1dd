"""Pairs of numeric columns: the sums, differences, products and ratios that trees find hard to build."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from experiments.recipes._features import Split, Target, informative


def pair_part(numeric: Split, target: Target, seed: int, most: int) -> Split:
    """Every pair of the ``most`` most important numeric columns, combined in four ways.

    Sums and differences are of standardised columns: a tree split on them is a split along a diagonal.
    """
    useful = informative(numeric)
    names = important_columns(useful.train, target, seed, most)
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
