"""Squared error by the Gram matrix of the residuals: with weights that sum to 1 its sum is w' G w.

Residuals rather than predictions, so that targets far from zero lose no digits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from experiments.blas import one_thread
from experiments.folds import Folds

# Rows whose residuals are multiplied in float32, a part of them for each fold; the products are added in float64.
CHUNK = 16_384
# Additions that a climb makes; one costs next to nothing.
STEPS = 400

Units = Callable[[np.ndarray], np.ndarray]


class GramProblem:
    """A pool to search for squared error; all covered rows count. Fits ``objectives.Problem``."""

    def __init__(self, read: Callable[[int], np.ndarray], members: int, y: np.ndarray, folds: Folds, name: str) -> None:
        self.name = name
        self.rows = int(folds.covered.sum())
        self.grams = np.zeros((folds.n_folds, members, members))
        self.targets = [y[rows].astype(np.float64) for _, rows in folds.splits]
        arrays = [np.asarray(read(j)) for j in range(members)]
        regression = arrays[0].ndim == 1
        # Squares of what is very large or very small do not fit into a float32; those of shares of the spread do.
        scale = float(np.std(y[folds.covered])) or 1.0 if regression else 1.0
        assignment = folds.assignment
        residuals = np.empty((members, min(CHUNK, len(y)), *arrays[0].shape[1:]), dtype=np.float32)
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(y), CHUNK):
                fold = assignment[start : start + CHUNK]
                order = np.argsort(fold, kind="stable")
                block = residuals[:, : len(fold)]
                for array, out in zip(arrays, block, strict=True):
                    np.take(array[start : start + CHUNK], order, axis=0, out=out, mode="clip")
                _subtract(block, y[start : start + CHUNK][order], scale)
                edges = np.searchsorted(fold[order], np.arange(folds.n_folds + 1))
                for gram, first, last in zip(self.grams, edges[:-1], edges[1:], strict=True):
                    part = block[:, first:last].reshape(members, -1)
                    gram += part @ part.T
            self.grams *= scale**2

    def gram(self, without: Collection[int] = ()) -> np.ndarray:
        """(m, m) float64 inner products of the residuals over the rows of all folds but these."""
        return np.asarray(self.grams[self._used(without)].sum(axis=0))

    def walk(self, without: Collection[int] = ()) -> GramWalk:
        """An empty walk over the rows of all folds but these."""
        return GramWalk(self.gram(without), self._units(without))

    def weighing(self, without: Collection[int] = ()) -> GramWeighing:
        """Costs of weighted means over the rows of all folds but these."""
        return GramWeighing(self.gram(without), self._units(without))

    def _used(self, without: Collection[int]) -> list[int]:
        return [fold for fold in range(len(self.grams)) if fold not in without]

    def _units(self, without: Collection[int]) -> Units:
        return SQUARED[self.name](np.concatenate([self.targets[fold] for fold in self._used(without)]))


class GramWalk:
    """A multiset of members that grows by one at a time; see ``objectives.Walk``."""

    def __init__(self, gram: np.ndarray, units: Units) -> None:
        self.gram = gram
        self.units = units
        self.steps = STEPS
        self.size = 0
        self.half = np.zeros(len(gram))
        self.inner = 0.0

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) cost of the mean after adding each candidate alone."""
        chosen = np.asarray(candidates, dtype=np.intp)
        squared = self.inner + 2 * self.half[chosen] + self.gram.diagonal()[chosen]
        return self.units(np.maximum(squared, 0.0) / (self.size + 1) ** 2)

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        """Zeros."""
        return np.zeros(len(candidates))

    def shortlist(self, candidates: Sequence[int]) -> Sequence[int]:
        """All of them: nothing is cheaper than their costs."""
        return candidates

    def take(self, member: int) -> None:
        """Add a member."""
        self.inner += float(2 * self.half[member] + self.gram[member, member])
        self.half += self.gram[member]
        self.size += 1


class GramWeighing:
    """Costs of weighted means of members; see ``objectives.Weighing``."""

    def __init__(self, gram: np.ndarray, units: Units) -> None:
        self.gram = gram
        self.units = units

    def cost(self, members: Sequence[int], weights: np.ndarray) -> float:
        """Cost of a weighted mean."""
        squared = weights @ self.gram[np.ix_(members, members)] @ weights
        return float(self.units(np.maximum(squared, 0.0)))

    def tie(self, members: Sequence[int], weights: np.ndarray) -> float:  # noqa: ARG002
        """Zero."""
        return 0.0


def _subtract(block: np.ndarray, y: np.ndarray, scale: float) -> None:
    """Leave (prediction - target) / scale of (m, r) predictions, or of (m, r, K) probabilities of r codes."""
    if block.ndim == 3:
        block[:, np.arange(len(y)), y] -= np.float32(1)
        return
    # A target has more digits than a float32: what the first part of it leaves over goes off second.
    rounded = y.astype(np.float32)
    block -= rounded
    block -= (y - rounded).astype(np.float32)
    block *= np.float32(1 / scale)


def _units_mse(y: np.ndarray) -> Units:
    return lambda sse: sse / len(y)


def _units_rmse(y: np.ndarray) -> Units:
    return lambda sse: np.sqrt(sse / len(y))


def _units_r2(y: np.ndarray) -> Units:
    total = max(float(((y - y.mean()) ** 2).sum()), np.finfo(float).tiny)
    return lambda sse: sse / total - 1


SQUARED = {"rmse": _units_rmse, "mse": _units_mse, "brier": _units_mse, "r2": _units_r2}
