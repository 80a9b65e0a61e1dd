"""What a blend minimises, evaluated fast: the cost of adding one more member to a running sum of predictions.

All costs are the metric itself, negated when it is maximised, so lower is better and differences are in units
of the metric. Squared-error metrics need only the Gram matrix of the residuals; log loss only the probability
of the true class; AUC one sort of integers; label metrics break their many ties by log loss. A fast path is
taken where it agrees with ``Metric.score``; any other metric is scored by itself, on a sample of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import numpy as np

from experiments.fastmetrics import BALANCED, Cost, Kind, fast_kind, generic_kind, signed_cost
from experiments.folds import UNCOVERED, Folds
from experiments.metrics import Metric

# 32 million float32 values: 128 MB for the sample, as much again for the rows of one fit.
MAX_VALUES = 32_000_000
GRAM_CHUNK = 16_384

Read = Callable[[int], np.ndarray]


class Walk(Protocol):
    """A multiset of members that grows by one at a time."""

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) cost of the mean after adding each candidate alone; inf where the metric is undefined."""

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) a second, smooth cost that decides between equal ones; zeros where there is none."""

    def take(self, member: int) -> None:
        """Add a member."""


class Problem(Protocol):
    """A pool and a target, ready for searching on any subset of the folds."""

    rows: int

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the rows of all folds but these."""


def make_problem(read: Read, members: int, y: np.ndarray, folds: Folds, metric: Metric, *, seed: int = 0) -> Problem:
    """Prepare a pool for searching.

    Args:
        read: The out-of-fold prediction of member j: (n,) or (n, K), finite where covered. Called once
            or twice per member, and never for two members at a time.
        members: How many there are.
        y: (n,) integer codes, or floats for regression.
        seed: Of the sample of rows.
    """
    signed = signed_cost(metric)
    if metric.name in _SQUARED:
        gram = GramProblem(read, members, y, folds, metric.name)
        first = read(0)
        if _agree(gram.walk().costs([0])[0], signed(y[folds.covered], np.asarray(first)[folds.covered])):
            return gram
    return SampleProblem(read, members, y, folds, metric, seed)


class GramProblem:
    """Squared error: with weights that sum to 1 the cost is w' G w, G the Gram matrix of the residuals.

    Residuals rather than predictions, so that targets far from zero lose no digits. All covered rows count.
    """

    def __init__(self, read: Read, members: int, y: np.ndarray, folds: Folds, name: str) -> None:
        assignment = folds.assignment
        self.name = name
        self.rows = int(folds.covered.sum())
        self.grams = np.zeros((folds.n_folds, members, members))
        self.targets = [y[rows].astype(np.float64) for _, rows in folds.splits]
        arrays = [read(j) for j in range(members)]
        for start in range(0, len(y), GRAM_CHUNK):
            stop = min(start + GRAM_CHUNK, len(y))
            block = np.stack([np.asarray(array[start:stop], dtype=np.float64) for array in arrays])
            if block.ndim == 3:
                block[:, np.arange(stop - start), y[start:stop]] -= 1.0
            else:
                block -= y[start:stop]
            for fold in np.unique(assignment[start:stop]):
                if fold == UNCOVERED:
                    continue
                part = block[:, assignment[start:stop] == fold].reshape(members, -1)
                self.grams[fold] += part @ part.T

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the rows of all folds but these."""
        used = [fold for fold in range(len(self.grams)) if fold not in without]
        target = np.concatenate([self.targets[fold] for fold in used])
        return _GramWalk(self.grams[used].sum(axis=0), _SQUARED[self.name](target))


class SampleProblem:
    """Any metric, on a sample of rows drawn per fold; all rows when there are few."""

    def __init__(self, read: Read, members: int, y: np.ndarray, folds: Folds, metric: Metric, seed: int) -> None:
        first = np.asarray(read(0))
        self.classes = first.shape[1] if first.ndim == 2 else 1
        self.metric = metric
        kind = fast_kind(metric, y, self.classes)
        self.kind = kind if kind is not None and self._agrees(kind, y, folds, first) else generic_kind(metric)
        limit = min(self.kind.max_rows, max(1, MAX_VALUES // (members * self.classes)))
        rows = _sample(
            y, folds, limit, seed, by_class=self.kind.shift and self.classes == 1 and metric.name in BALANCED
        )
        self.rows = len(rows)
        self.y = y[rows]
        self.fold = folds.assignment[rows]
        self.values = np.stack([self.kind.reduce(self.y, np.asarray(read(j)[rows])) for j in range(members)])
        if self.kind.shift:
            self.values -= min(float(self.values.min()), 0.0)

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the sampled rows of all folds but these."""
        if not without:
            return _MixWalk(self.values, self.y, self.kind)
        used = ~np.isin(self.fold, list(without))
        return _MixWalk(self.values[..., used], self.y[used], self.kind)

    def _agrees(self, kind: Kind, y: np.ndarray, folds: Folds, first: np.ndarray) -> bool:
        rows = _sample(y, folds, 20_000, 0, by_class=False)
        values = kind.reduce(y[rows], first[rows])[None]
        if kind.shift:
            values -= min(float(values.min()), 0.0)
        mine = _MixWalk(values, y[rows], kind).costs([0])[0]
        return _agree(mine, signed_cost(self.metric)(y[rows], first[rows]))


class _GramWalk:
    def __init__(self, gram: np.ndarray, units: Callable[[np.ndarray], np.ndarray]) -> None:
        self.gram = gram
        self.units = units
        self.counts = np.zeros(len(gram))
        self.half = np.zeros(len(gram))
        self.inner = 0.0

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        chosen = np.asarray(candidates, dtype=np.intp)
        squared = self.inner + 2 * self.half[chosen] + self.gram.diagonal()[chosen]
        return self.units(np.maximum(squared, 0.0) / (self.counts.sum() + 1) ** 2)

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        return np.zeros(len(candidates))

    def take(self, member: int) -> None:
        self.inner += float(2 * self.half[member] + self.gram[member, member])
        self.half += self.gram[member]
        self.counts[member] += 1


class _MixWalk:
    def __init__(self, values: np.ndarray, y: np.ndarray, kind: Kind) -> None:
        self.values = values
        self.y = y
        self.target = y if kind.target is None else kind.target(y)
        self.kind = kind
        self.total = np.zeros_like(values[0])
        self.size = 0
        self.mix = np.empty_like(self.total)

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        return np.array([self._cost(self.kind.cost, self.target, member) for member in candidates])

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        if self.kind.tie is None:
            return np.zeros(len(candidates))
        return np.array([self._cost(self.kind.tie, self.y, member) for member in candidates])

    def take(self, member: int) -> None:
        self.total += self.values[member]
        self.size += 1

    def _cost(self, cost: Cost, y: np.ndarray, member: int) -> float:
        np.add(self.total, self.values[member], out=self.mix)
        self.mix *= np.float32(1 / (self.size + 1))
        found = cost(y, self.mix)
        return found if np.isfinite(found) else np.inf


def _units_mse(y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sse: sse / len(y)


def _units_rmse(y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda sse: np.sqrt(sse / len(y))


def _units_r2(y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    total = max(float(((y - y.mean()) ** 2).sum()), np.finfo(float).tiny)
    return lambda sse: sse / total - 1


_SQUARED = {"rmse": _units_rmse, "mse": _units_mse, "brier": _units_mse, "r2": _units_r2}


def _agree(fast: float, slow: float) -> bool:
    return bool(np.isfinite(fast) and abs(fast - slow) <= 1e-6 + 1e-4 * abs(slow))


def _sample(y: np.ndarray, folds: Folds, limit: int, seed: int, *, by_class: bool) -> np.ndarray:
    """Sorted covered rows, at most ``limit`` (a little more by rounding), the folds in proportion."""
    covered = np.flatnonzero(folds.covered)
    if len(covered) <= limit:
        return covered
    random = np.random.default_rng(seed)
    chosen: list[np.ndarray] = []
    for _, rows in folds.splits:
        quota = max(2, round(limit * len(rows) / len(covered)))
        parts = [rows]
        if by_class:
            parts = sorted((rows[y[rows] == code] for code in (0, 1)), key=len)
        for number, part in enumerate(parts):
            share = quota // (len(parts) - number)
            taken = part if len(part) <= share else random.choice(part, share, replace=False)
            quota -= len(taken)
            chosen.append(taken)
    return np.sort(np.concatenate(chosen))
