"""What a blend minimises, evaluated fast: the cost of adding one more member to a running sum of predictions.

All costs are the metric itself, negated when it is maximised, so lower is better and differences are in units
of the metric. Squared-error metrics need only the Gram matrix of the residuals; log loss only the probability
of the true class; AUC one sort of integers; label metrics break their many ties by log loss. A fast path is
taken where it agrees with ``Metric.score``; any other metric is scored by itself, on a sample of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from experiments.fastmetrics import BALANCED, Kind, fast_kind, generic_kind, signed_cost
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


class Weighing(Protocol):
    """Weighted means of members, for choosing the weights themselves."""

    def cost(self, members: Sequence[int], weights: np.ndarray) -> float:
        """Cost of a weighted mean; inf where the metric is undefined.

        Args:
            members: (k,) each at most once.
            weights: (k,) from 0 up, summing to 1.
        """

    def tie(self, members: Sequence[int], weights: np.ndarray) -> float:
        """A second, smooth cost that decides between equal ones; 0 where there is none."""


class Problem(Protocol):
    """A pool and a target, ready for searching on any subset of the folds."""

    rows: int

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the rows of all folds but these."""

    def weighing(self, without: Collection[int] = ()) -> Weighing:
        """Costs of weighted means over the rows of all folds but these."""


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

    def gram(self, without: Collection[int] = ()) -> np.ndarray:
        """(m, m) float64 inner products of the residuals over the rows of all folds but these."""
        return np.asarray(self.grams[self._used(without)].sum(axis=0))

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the rows of all folds but these."""
        return _GramWalk(self.gram(without), self._units(without))

    def weighing(self, without: Collection[int] = ()) -> Weighing:
        """Costs of weighted means over the rows of all folds but these."""
        return _GramWeighing(self.gram(without), self._units(without))

    def _used(self, without: Collection[int]) -> list[int]:
        return [fold for fold in range(len(self.grams)) if fold not in without]

    def _units(self, without: Collection[int]) -> Callable[[np.ndarray], np.ndarray]:
        return _SQUARED[self.name](np.concatenate([self.targets[fold] for fold in self._used(without)]))


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
        # Fold by fold, so that the rows of some folds are a few slices and not a copy.
        fold = folds.assignment[rows]
        rows = rows[np.argsort(fold, kind="stable")]
        self.edges = np.searchsorted(np.sort(fold), np.arange(folds.n_folds + 1)).tolist()
        self.rows = len(rows)
        self.y = y[rows]
        self.values = np.stack([self.kind.reduce(self.y, np.asarray(read(j)[rows])) for j in range(members)])
        if self.kind.shift:
            self.values -= min(float(self.values.min()), 0.0)

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the sampled rows of all folds but these."""
        return _MixWalk(self.values, self.y, self.kind, self._pieces(without))

    def weighing(self, without: Collection[int] = ()) -> Weighing:
        """Costs of weighted means over the sampled rows of all folds but these."""
        return _MixWeighing(self.values, self.y, self.kind, self._pieces(without))

    def _pieces(self, without: Collection[int]) -> list[slice]:
        """Where the rows of all folds but these are: neighbouring folds in one piece."""
        pieces: list[slice] = []
        for fold, (start, stop) in enumerate(pairwise(self.edges)):
            if fold in without or start == stop:
                continue
            if pieces and pieces[-1].stop == start:
                start = pieces.pop().start
            pieces.append(slice(start, stop))
        return pieces

    def _agrees(self, kind: Kind, y: np.ndarray, folds: Folds, first: np.ndarray) -> bool:
        rows = _sample(y, folds, 20_000, 0, by_class=False)
        values = kind.reduce(y[rows], first[rows])[None]
        if kind.shift:
            values -= min(float(values.min()), 0.0)
        mine = _MixWalk(values, y[rows], kind, [slice(0, len(rows))]).costs([0])[0]
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


class _GramWeighing:
    def __init__(self, gram: np.ndarray, units: Callable[[np.ndarray], np.ndarray]) -> None:
        self.gram = gram
        self.units = units

    def cost(self, members: Sequence[int], weights: np.ndarray) -> float:
        squared = weights @ self.gram[np.ix_(members, members)] @ weights
        return float(self.units(np.maximum(squared, 0.0)))

    def tie(self, members: Sequence[int], weights: np.ndarray) -> float:  # noqa: ARG002
        return 0.0


class _Mixes:
    """Weighted sums of the members over some pieces of the rows, and what they cost."""

    def __init__(self, values: np.ndarray, y: np.ndarray, kind: Kind, pieces: Sequence[slice]) -> None:
        self.values = values
        self.kind = kind
        ends = np.cumsum([0, *(piece.stop - piece.start for piece in pieces)]).tolist()
        self.pieces = [(piece, slice(*place)) for piece, place in zip(pieces, pairwise(ends), strict=True)]
        self.y = y[pieces[0]] if len(pieces) == 1 else np.concatenate([y[piece] for piece in pieces])
        self.target = self.y if kind.target is None else kind.target(self.y)

    def empty(self) -> np.ndarray:
        """Room for one mix."""
        return np.empty((*self.values.shape[1:-1], len(self.y)), dtype=np.float32)

    def add(self, base: np.ndarray, member: int, out: np.ndarray) -> None:
        """``out = base + member``."""
        for piece, place in self.pieces:
            np.add(base[..., place], self.values[member][..., piece], out=out[..., place])

    def add_weighted(self, mix: np.ndarray, member: int, weight: float, product: np.ndarray) -> None:
        """``mix += weight * member``; ``product`` is room for one mix."""
        for piece, place in self.pieces:
            np.multiply(self.values[member][..., piece], np.float32(weight), out=product[..., place])
        mix += product

    def cost(self, mix: np.ndarray) -> float:
        """The cost of a mix, inf where it is undefined."""
        return _finite(self.kind.cost(self.target, mix))

    def tie(self, mix: np.ndarray) -> float:
        """The cost that decides between equal ones."""
        return 0.0 if self.kind.tie is None else _finite(self.kind.tie(self.y, mix))


class _MixWalk:
    def __init__(self, values: np.ndarray, y: np.ndarray, kind: Kind, pieces: Sequence[slice]) -> None:
        self.mixes = _Mixes(values, y, kind, pieces)
        self.total = self.mixes.empty()
        self.total.fill(0)
        self.size = 0
        self.mix = self.mixes.empty()

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        return np.array([self.mixes.cost(self._with(member)) for member in candidates])

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        if self.mixes.kind.tie is None:
            return np.zeros(len(candidates))
        return np.array([self.mixes.tie(self._with(member)) for member in candidates])

    def take(self, member: int) -> None:
        self.mixes.add(self.total, member, self.total)
        self.size += 1

    def _with(self, member: int) -> np.ndarray:
        self.mixes.add(self.total, member, self.mix)
        self.mix *= np.float32(1 / (self.size + 1))
        return self.mix


class _MixWeighing:
    def __init__(self, values: np.ndarray, y: np.ndarray, kind: Kind, pieces: Sequence[slice]) -> None:
        self.mixes = _Mixes(values, y, kind, pieces)
        self.mix, self.product = self.mixes.empty(), self.mixes.empty()

    def cost(self, members: Sequence[int], weights: np.ndarray) -> float:
        return self.mixes.cost(self._mean(members, weights))

    def tie(self, members: Sequence[int], weights: np.ndarray) -> float:
        return 0.0 if self.mixes.kind.tie is None else self.mixes.tie(self._mean(members, weights))

    def _mean(self, members: Sequence[int], weights: np.ndarray) -> np.ndarray:
        self.mix.fill(0)
        for member, weight in zip(members, weights, strict=True):
            if weight:
                self.mixes.add_weighted(self.mix, member, float(weight), self.product)
        return self.mix


def _finite(cost: float) -> float:
    return cost if np.isfinite(cost) else float("inf")


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
