"""Means of members over a sample of rows, and which members are worth adding to one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import cycle, pairwise
from typing import Protocol

import numpy as np

from experiments.blas import one_thread
from experiments.fastmetrics import Kind

# Additions that a climb makes: weights of one in a hundred.
STEPS = 100
# Of a kind with slopes these many candidates are worth their costs, of another these many.
SHORTLIST, LONGLIST = 2, 16
# Values that are added up faster than a shortlist is made.
FEW_VALUES = 100_000
# Candidates whose cost tells the curvature.
LOOKS = 3
# Slopes are taken anew when a mean has grown by this factor, longer shortlists at every few steps.
GROWTH = 1.5
RESCAN = 4
# Rows that tell how far apart members are.
APART_ROWS = 32_000


class Mixes:
    """Weighted means of the members over some pieces of the rows, and what they cost."""

    def __init__(self, values: np.ndarray, y: np.ndarray, kind: Kind, pieces: Sequence[slice]) -> None:
        self.values = values
        self.kind = kind
        ends = np.cumsum([0, *(piece.stop - piece.start for piece in pieces)]).tolist()
        self.pieces = [(piece, slice(*place)) for piece, place in zip(pieces, pairwise(ends), strict=True)]
        self.y = y[pieces[0]] if len(pieces) == 1 else np.concatenate([y[piece] for piece in pieces])
        self.target = self.y if kind.target is None else kind.target(self.y)
        self.mix, self.product = self.empty(), self.empty()

    def empty(self) -> np.ndarray:
        """Room for one mix."""
        return np.empty((*self.values.shape[1:-1], len(self.y)), dtype=np.float32)

    def mean(self, members: Sequence[int], weights: np.ndarray) -> np.ndarray:
        """The weighted mean of some members; the next one takes its place."""
        self.mix.fill(0)
        for member, weight in zip(members, weights, strict=True):
            if weight:
                for piece, place in self.pieces:
                    np.multiply(self.values[member][..., piece], np.float32(weight), out=self.product[..., place])
                self.mix += self.product
        return self.mix

    def add(self, total: np.ndarray, member: int, out: np.ndarray) -> None:
        """``out = total + member``."""
        for piece, place in self.pieces:
            np.add(total[..., place], self.values[member][..., piece], out=out[..., place])

    def added(self, total: np.ndarray, member: int, size: int) -> np.ndarray:
        """The mean of a total of ``size`` members and one more; the next one takes its place."""
        self.add(total, member, self.mix)
        self.mix *= np.float32(1 / (size + 1))
        return self.mix

    def costs(self, total: np.ndarray, size: int, candidates: Sequence[int]) -> np.ndarray:
        """(c,) costs of a total of ``size`` members and one more."""
        return np.array([self.cost(self.added(total, member, size)) for member in candidates])

    def ties(self, total: np.ndarray, size: int, candidates: Sequence[int]) -> np.ndarray:
        """(c,) what decides between equal costs."""
        if self.kind.tie is None:
            return np.zeros(len(candidates))
        return np.array([self.tie(self.added(total, member, size)) for member in candidates])

    def cost(self, mix: np.ndarray) -> float:
        """The cost of a mix, inf where it is undefined; it may be overwritten."""
        return _finite(self.kind.cost(self.target, mix))

    def tie(self, mix: np.ndarray) -> float:
        """The cost that decides between equal ones."""
        return 0.0 if self.kind.tie is None else _finite(self.kind.tie(self.y, mix))


class Scout(Protocol):
    """Finds the members that are worth adding to a mean, for less than it costs to know."""

    def shortlist(self, total: np.ndarray, taken: Sequence[int], candidates: Sequence[int]) -> Sequence[int]:
        """Some of the candidates, in the given order; ``total`` is the sum of those taken, one at least."""


class Slopes:
    """By a quadratic model of the cost around a mean.

    Its slopes are exact, one product of all members with the derivative of the cost. Its curvature in
    every direction is how far a member is from the mean, times one factor that a few costs tell.
    """

    def __init__(self, mixes: Mixes) -> None:
        self.mixes = mixes
        self.grown = 0.0

    def shortlist(self, total: np.ndarray, taken: Sequence[int], candidates: Sequence[int]) -> Sequence[int]:
        """Those of the lowest modelled cost."""
        if len(candidates) <= SHORTLIST or len(candidates) * len(self.mixes.y) <= FEW_VALUES:
            return candidates
        chosen = np.asarray(candidates, dtype=np.intp)
        if len(taken) >= self.grown:
            self._look(total, taken, chosen)
        linear, square = self._terms(taken, chosen)
        order = np.argsort(linear + self.curvature * square, kind="stable")
        return [int(member) for member in chosen[np.sort(order[:SHORTLIST])]]

    def _look(self, total: np.ndarray, taken: Sequence[int], chosen: np.ndarray) -> None:
        """Model the cost around the mean of those taken."""
        assert self.mixes.kind.slope is not None
        mean = total * np.float32(1 / len(taken))
        slope = self.mixes.kind.slope(self.mixes.target, mean)
        with one_thread():
            self.slopes = sum(self.mixes.values[:, piece] @ slope[place] for piece, place in self.mixes.pieces)
        self.weights = np.bincount(taken, minlength=len(self.slopes)) / len(taken)
        self.grown = len(taken) * GROWTH
        linear, square = self._terms(taken, chosen)
        looks = np.argsort(linear, kind="stable")[:LOOKS]
        costs = self.mixes.costs(total, len(taken), chosen[looks].tolist()) - self.mixes.cost(mean)
        bends = (costs - linear[looks]) / np.maximum(square[looks], np.finfo(float).tiny)
        self.curvature = max(float(np.median(bends)), 0.0) if np.isfinite(bends).all() else 0.0

    @cached_property
    def apart(self) -> np.ndarray:
        """(m, m) covariance of the members on some of the rows."""
        every = max(1, len(self.mixes.y) // APART_ROWS)
        rows = np.concatenate([self.mixes.values[:, piece][:, ::every] for piece, _ in self.mixes.pieces], axis=1)
        rows -= rows.mean(axis=1, keepdims=True)
        with one_thread():
            products = rows @ rows.T
        return np.asarray(products / rows.shape[1], dtype=np.float64)

    def _terms(self, taken: Sequence[int], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second order of the step from where the model was made to each mean of one more."""
        size = len(taken) + 1
        step = np.bincount(taken, minlength=len(self.weights)) / size - self.weights
        linear = self.slopes @ step + self.slopes[chosen] / size
        apart = self.apart @ step
        square = step @ apart + 2 * apart[chosen] / size + self.apart.diagonal()[chosen] / size**2
        return linear, square


class Windows:
    """By the costs on a few of the rows, others each time."""

    def __init__(self, windows: Sequence[Mixes]) -> None:
        self.windows = cycle(windows)
        self.chosen: list[int] = []

    def shortlist(self, total: np.ndarray, taken: Sequence[int], candidates: Sequence[int]) -> Sequence[int]:  # noqa: ARG002
        """Those of the lowest costs, for a few steps."""
        if len(candidates) <= LONGLIST:
            return candidates
        if len(taken) <= RESCAN or len(taken) % RESCAN == 0:
            window = next(self.windows)
            mean = window.empty()
            mean.fill(0)
            for member in taken:
                window.add(mean, member, mean)
            given = (mean, len(taken), candidates)
            order = np.lexsort((window.ties(*given), window.costs(*given)))
            self.chosen = [candidates[place] for place in order[:LONGLIST]]
        still = set(self.chosen)
        return [member for member in candidates if member in still] or candidates


class MixWalk:
    """A multiset of members that grows by one at a time; see ``objectives.Walk``."""

    def __init__(self, mixes: Mixes, scout: Scout) -> None:
        self.mixes = mixes
        self.scout = scout
        self.steps = STEPS
        self.total = mixes.empty()
        self.total.fill(0)
        self.taken: list[int] = []

    def costs(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) cost of the mean after adding each candidate alone; inf where the metric is undefined."""
        return self.mixes.costs(self.total, len(self.taken), candidates)

    def ties(self, candidates: Sequence[int]) -> np.ndarray:
        """(c,) what decides between equal costs."""
        return self.mixes.ties(self.total, len(self.taken), candidates)

    def shortlist(self, candidates: Sequence[int]) -> Sequence[int]:
        """The candidates that are worth their costs."""
        return self.scout.shortlist(self.total, self.taken, candidates) if self.taken else candidates

    def take(self, member: int) -> None:
        """Add a member."""
        self.mixes.add(self.total, member, self.total)
        self.taken.append(member)


class MixWeighing:
    """Costs of weighted means of members; see ``objectives.Weighing``."""

    def __init__(self, mixes: Mixes) -> None:
        self.mixes = mixes

    def cost(self, members: Sequence[int], weights: np.ndarray) -> float:
        """Cost of a weighted mean; inf where the metric is undefined."""
        return self.mixes.cost(self.mixes.mean(members, weights))

    def tie(self, members: Sequence[int], weights: np.ndarray) -> float:
        """What decides between equal costs."""
        return 0.0 if self.mixes.kind.tie is None else self.mixes.tie(self.mixes.mean(members, weights))


def _finite(cost: float) -> float:
    return cost if np.isfinite(cost) else float("inf")
