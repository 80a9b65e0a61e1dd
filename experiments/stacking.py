"""Second-level models: what is made of members' predictions when it is not their weighted mean.

Logistic regression on log-odds, ridge on values, gradient-boosted trees on either; small and strongly regularised,
for a handful of members. Source of the idea: Wolpert, Stacked Generalization, Neural Networks 5 (1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Level = Literal["logistic", "ridge", "gbdt"]

# More rows teach a model of so few columns nothing.
MAX_ROWS = 100_000
# Trees over a few predictions need rows to say more than a line does.
MIN_ROWS_OF_TREES = 5_000
MAX_ROWS_OF_TREES = 20_000
MAX_FEATURES = 64
# As many trees are grown for each class, each over the members' predictions of all.
MAX_FEATURES_OF_TREES = 24
MAX_CLASSES = 20
SMALLEST = 1e-6
LEAST_SHARE = 1e-9
Parts = Sequence[np.ndarray]


@dataclass(frozen=True)
class Stack:
    """A fitted second level.

    Attributes:
        shares: (m,) how much it rests on each member, summing to 1.
    """

    model: Any
    classes: int
    codes: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    shares: tuple[float, ...]

    def predict(self, parts: Parts) -> np.ndarray:
        """(r,) or (r, K) float32, from the members' predictions of the same rows, each (r,) or (r, K)."""
        columns = (_features(parts, self.classes) - self.centre) / self.scale
        if not self.classes:
            return np.asarray(self.model.predict(columns), dtype=np.float32)
        found = np.asarray(self.model.predict_proba(columns), dtype=np.float64)
        proba = np.full((len(columns), self.classes), SMALLEST)
        proba[:, self.codes] = np.maximum(found, SMALLEST)
        proba /= proba.sum(axis=1, keepdims=True)
        return np.asarray(proba[:, 1] if parts[0].ndim == 1 else proba, dtype=np.float32)


def levels(y: np.ndarray, shape: Sequence[int], rows: int, members: int) -> tuple[Level, ...]:
    """The second levels worth trying.

    Args:
        shape: Of a member's prediction, (n,) or (n, K).
        rows: That there are to fit on.
    """
    width = shape[1] if len(shape) == 2 else 1
    if width > MAX_CLASSES or width * members > MAX_FEATURES:
        return ()
    line: Level = "logistic" if y.dtype.kind in "iu" else "ridge"
    trees = rows >= MIN_ROWS_OF_TREES and width * members <= MAX_FEATURES_OF_TREES
    return (line, "gbdt") if trees else (line,)


def fit_stack(level: Level, parts: Parts, y: np.ndarray, *, seed: int = 0) -> Stack | None:
    """Fit a second level on members' predictions.

    Args:
        parts: Each (r,) or (r, K), of the same rows.
        y: (r,) integer codes, or floats for regression.

    Returns:
        None when the rows hold a single class.
    """
    if level == "gbdt" and len(y) > MAX_ROWS_OF_TREES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(y), MAX_ROWS_OF_TREES, replace=False))
        parts, y = [part[chosen] for part in parts], y[chosen]
    classes = 0
    if y.dtype.kind in "iu":
        classes = parts[0].shape[1] if parts[0].ndim == 2 else 2
    columns = _features(parts, classes)
    centre, scale = columns.mean(axis=0), columns.std(axis=0)
    scale[scale < 1e-12] = 1.0
    columns = (columns - centre) / scale
    codes = np.unique(y) if classes else np.empty(0)
    if classes and len(codes) < 2:
        return None
    model, influence = _fit(level, columns, y, seed)
    per_member = influence.reshape(len(parts), -1).sum(axis=1)
    total = float(per_member.sum())
    shares = per_member / total if total > 0 else np.full(len(parts), 1 / len(parts))
    shares = np.maximum(shares, LEAST_SHARE)
    return Stack(model, classes, codes.astype(np.int64), centre, scale, tuple(map(float, shares / shares.sum())))


def _fit(level: Level, columns: np.ndarray, y: np.ndarray, seed: int) -> tuple[Any, np.ndarray]:
    """The model and (columns,) how much it rests on each."""
    if level == "ridge":
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=1e-3 * len(y)).fit(columns, y)
        return model, np.abs(model.coef_)
    if level == "logistic":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1.0, max_iter=200).fit(columns, y)
        return model, np.abs(model.coef_).sum(axis=0)
    import lightgbm

    kind = lightgbm.LGBMRegressor if y.dtype.kind not in "iu" else lightgbm.LGBMClassifier
    model = kind(
        n_estimators=50,
        learning_rate=0.1,
        num_leaves=8,
        min_child_samples=max(20, len(y) // 200),
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=10.0,
        random_state=seed,
        # Trees this small spend more on threads than on themselves.
        n_jobs=1,
        verbose=-1,
        deterministic=True,
    ).fit(columns, y)
    return model, model.booster_.feature_importance("gain").astype(np.float64)


def _features(parts: Parts, classes: int) -> np.ndarray:
    """(r, members or members * K) float64: values, or log-odds of probabilities, member after member."""
    wide = [np.asarray(part, dtype=np.float64).reshape(len(part), -1) for part in parts]
    columns = np.concatenate(wide, axis=1)
    if not classes:
        return columns
    columns = np.clip(columns, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(columns / (1 - columns)))
