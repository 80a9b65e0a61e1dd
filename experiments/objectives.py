"""What a blend minimises, evaluated fast: the cost of adding one more member to a running sum of predictions.

All costs are the metric itself, negated when it is maximised, so lower is better and differences are in units
of the metric. Squared-error metrics need only the Gram matrix of the residuals; log loss only the probability
of the true class; AUC one sort of integers; label metrics break their many ties by log loss. A fast path is
taken where it agrees with ``Metric.score``; any other metric is scored by itself, on a sample of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from experiments.fastmetrics import BALANCED, Kind, fast_kind, generic_kind, signed_cost
from experiments.folds import Folds
from experiments.gram import SQUARED, GramProblem
from experiments.metrics import Metric
from experiments.mixes import Mixes, MixWalk, MixWeighing, Slopes, Windows

# 64 million float32 values: 256 MB for the sample.
MAX_VALUES = 64_000_000
# Rows on which a search without slopes makes its shortlists.
WINDOW_ROWS = 16_000
# Many more rows of one class than of the other add nearly nothing to what an AUC is known by.
MOST_COMMON = 20

Read = Callable[[int], np.ndarray]


class Walk(Protocol):
    """A multiset of members that grows by one at a time.

    Attributes:
        steps: How many additions are worth their time.
    """

    steps: int

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) cost of the mean after adding each candidate alone; inf where the metric is undefined."""

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) a second, smooth cost that decides between equal ones; zeros where there is none."""

    def shortlist(self, candidates: Sequence[int]) -> Sequence[int]:
        """The candidates that are worth their costs, in the given order; all where costs are cheap."""

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
    if metric.name in SQUARED:
        gram = GramProblem(read, members, y, folds, metric.name)
        own = signed(y[folds.covered], np.asarray(read(0))[folds.covered])
        if np.isfinite(gram.grams).all() and _agree(gram.walk().costs([0])[0], own):
            return gram
    return SampleProblem(read, members, y, folds, metric, seed)


class SampleProblem:
    """Any metric, on a sample of rows drawn per fold; all rows when there are few."""

    def __init__(self, read: Read, members: int, y: np.ndarray, folds: Folds, metric: Metric, seed: int) -> None:
        first = np.asarray(read(0))
        self.classes = first.shape[1] if first.ndim == 2 else 1
        self.metric = metric
        kind = fast_kind(metric, y, self.classes)
        self.kind = kind if kind is not None and self._agrees(kind, y, folds, first) else generic_kind(metric)
        by_class = self.kind.shift and self.classes == 1 and metric.name in BALANCED
        shape = self.kind.reduce(first, np.zeros(1, dtype=np.intp), y[:1]).shape[:-1]
        limit = min(self.kind.max_rows, max(1, MAX_VALUES // (members * math.prod(shape))))
        rows = _sample(y, folds, limit, seed, by_class=by_class)
        # Fold by fold, so that the rows of some folds are a few slices and not a copy; shuffled within
        # a fold, so that every slice of one is a sample of it.
        fold = folds.assignment[rows]
        order = np.argsort(fold + np.random.default_rng(seed).random(len(rows)))
        self.edges = np.searchsorted(fold[order], np.arange(folds.n_folds + 1)).tolist()
        self.rows = len(rows)
        self.y = y[rows[order]]
        own = y[rows]
        self.values = np.empty((members, *shape, len(rows)), dtype=np.float32)
        for member, out in enumerate(self.values):
            self.kind.reduce(np.asarray(read(member)), rows, own).take(order, axis=-1, out=out, mode="clip")
        if self.kind.shift:
            self.values -= min(float(self.values.min()), 0.0)
        self.windows = max(1, self.rows // WINDOW_ROWS)

    def walk(self, without: Collection[int] = ()) -> Walk:
        """An empty walk over the sampled rows of all folds but these."""
        mixes = self._mixes(without)
        if self.kind.slope is not None:
            return MixWalk(mixes, Slopes(mixes))
        return MixWalk(mixes, Windows([self._mixes(without, window) for window in range(self.windows)]))

    def weighing(self, without: Collection[int] = ()) -> Weighing:
        """Costs of weighted means over the sampled rows of all folds but these."""
        return MixWeighing(self._mixes(without))

    def _mixes(self, without: Collection[int], window: int | None = None) -> Mixes:
        """Mixes over the sampled rows of all folds but these, or over one window of each fold."""
        pieces: list[slice] = []
        for fold, (start, stop) in enumerate(pairwise(self.edges)):
            if window is not None:
                size = stop - start
                start, stop = (start + size * number // self.windows for number in (window, window + 1))
            if fold in without or start == stop:
                continue
            if pieces and pieces[-1].stop == start:
                start = pieces.pop().start
            pieces.append(slice(start, stop))
        return Mixes(self.values, self.y, self.kind, pieces)

    def _agrees(self, kind: Kind, y: np.ndarray, folds: Folds, first: np.ndarray) -> bool:
        rows = _sample(y, folds, 20_000, 0, by_class=False)
        values = kind.reduce(first, rows, y[rows])[None]
        if kind.shift:
            values -= min(float(values.min()), 0.0)
        mixes = Mixes(values, y[rows], kind, [slice(0, len(rows))])
        return _agree(mixes.cost(mixes.mean([0], np.ones(1))), signed_cost(self.metric)(y[rows], first[rows]))


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
            quota = min(quota, max(2, (MOST_COMMON + 1) * len(parts[0])))
        for number, part in enumerate(parts):
            share = quota // (len(parts) - number)
            taken = part if len(part) <= share else random.choice(part, share, replace=False)
            quota -= len(taken)
            chosen.append(taken)
    return np.sort(np.concatenate(chosen))
