"""Blends of one pool, fitted on the rows of some folds: which members, mixed how, treated how afterwards."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from experiments.climbing import allowed_members, climb
from experiments.objectives import Problem
from experiments.pool import Mean, Reader
from experiments.postprocess import Post, Treatment, fit_post, treatments
from experiments.rules import BlendLimits
from experiments.scorer import Scorer
from experiments.stacking import MAX_ROWS, Level, Stack, fit_stack, levels
from experiments.weights import optimal_weights

Method = Literal["equal", "climb", "optimised", "logistic", "ridge", "gbdt"]
"""From simple to intricate: a plain average, hill climbing, the metric's optimum, and second-level models."""

# Weights nearer to each other than this are one blend.
SAME_WEIGHTS = 0.005
METHODS: tuple[Method, ...] = get_args(Method)
Folds = tuple[int, ...]


@dataclass(frozen=True)
class Way:
    """One way of making a blend.

    Attributes:
        lifted: Rules that do not bind it, because evidence may lift them.
        treatment: What is done to the mix afterwards; None for nothing.
    """

    lifted: tuple[str, ...]
    mean: Mean
    method: Method
    treatment: Treatment | None = None

    @property
    def intricacy(self) -> tuple[int, bool, bool]:
        """Order of simplicity, the simplest first."""
        return METHODS.index(self.method), self.treatment is not None, self.mean == "rank"


@dataclass(frozen=True)
class Fitted:
    """A blend fitted on some rows.

    Attributes:
        members: By their numbers, largest weight first.
        weights: Positive, summing to 1: of a second-level model how much it rests on each.
        order: The members as the second-level model knows them.
    """

    members: tuple[int, ...]
    weights: tuple[float, ...]
    stack: Stack | None = None
    order: tuple[int, ...] = ()
    post: Post | None = None

    @property
    def mix(self) -> Hashable:
        """What tells its mix from that of another blend with the same kind of mean."""
        return self.members, self.weights, id(self.stack)

    def predict(self, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """The blend's prediction, float32, of the rows that ``read`` gives of each member."""
        return self.treated(self.mixed(read))

    def treated(self, mixed: np.ndarray) -> np.ndarray:
        """The mix after its treatment."""
        return mixed if self.post is None else self.post.apply(mixed)

    def mixed(self, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """The members' predictions, mixed, float32."""
        if self.stack is not None:
            return self.stack.predict([read(member) for member in self.order])
        total: np.ndarray = np.zeros(())
        for member, weight in zip(self.members, self.weights, strict=True):
            total = total + weight * np.asarray(read(member), dtype=np.float64)
        return np.asarray(total, dtype=np.float32)


class BlendSearch:
    """Every way of blending one pool, fitted on the rows of all folds or without some of them."""

    def __init__(
        self,
        views: Sequence[tuple[Reader, Problem]],
        correlations: np.ndarray,
        scorer: Scorer,
        limits: BlendLimits,
        costs: np.ndarray,
        *,
        vouched: np.ndarray | None = None,
        seed: int = 0,
    ) -> None:
        """Search a pool.

        Args:
            views: Readers with the problems made of them.
            correlations: (m, m) Pearson.
            costs: (m,) of each member alone over all covered rows, lower is better; inf where undefined.
            vouched: (m,) bool, those that others are measured by; None for all.
            seed: Of samples of rows.
        """
        self.costs, self.vouched = costs, vouched
        self.second_levels = True
        self.views, self.correlations, self.scorer, self.limits = views, correlations, scorer, limits
        self.seed = seed
        self.everyone = range(len(views[0][0].names))
        self._costs: dict[tuple[Mean, Folds], np.ndarray] = {}
        self._fits: dict[object, list[tuple[Method, Fitted]]] = {}

    def reader(self, mean: Mean) -> Reader:
        """The predictions as one kind of mean sees them."""
        return next(reader for reader, _ in self.views if reader.mean == mean)

    def singles(self, mean: Mean = "arithmetic", without: Folds = ()) -> np.ndarray:
        """(m,) cost of each member alone: over all rows, or on the searched rows without some folds."""
        if not without:
            return self.costs
        if (mean, without) not in self._costs:
            problem = next(problem for reader, problem in self.views if reader.mean == mean)
            self._costs[mean, without] = problem.walk(without).costs(self.everyone)
        return self._costs[mean, without]

    def fits(self, without: Folds = ()) -> dict[Way, Fitted]:
        """Each way's blend, fitted on the rows of all folds but some.

        A way that the rules leave alone is there once: what they do not bind is not also found without them.
        """
        found: dict[Way, Fitted] = {}
        for reader, problem in self.views:
            known: list[list[tuple[Method, Fitted]]] = []
            for lifted in self.limits.lifts:
                made = self._made(reader, problem, without, self.limits.without(lifted))
                if any(made is other for other in known):
                    continue
                known.append(made)
                for method, fit in made:
                    found[Way(lifted, reader.mean, method, None if fit.post is None else fit.post.kind)] = fit
        return found

    def _made(
        self, reader: Reader, problem: Problem, without: Folds, limits: BlendLimits
    ) -> list[tuple[Method, Fitted]]:
        costs = self.singles(reader.mean, without)
        allowed, fitted = allowed_members(costs, self.correlations, limits, self.scorer.metric.bounded, self.vouched)
        most = None if limits.max_members is None or limits.max_members >= len(allowed) else limits.max_members
        same = (reader.mean, without, tuple(allowed), fitted, most)
        if same not in self._fits:
            plain = list(self._plain(reader, problem, without, allowed, fitted, most))
            self._fits[same] = [*plain, *self._treated(reader, without, plain)]
        return self._fits[same]

    def _plain(
        self, reader: Reader, problem: Problem, without: Folds, allowed: Sequence[int], fitted: bool, most: int | None
    ) -> Iterator[tuple[Method, Fitted]]:
        counts = climb(problem.walk(without), allowed, len(self.everyone), most, again=False)
        yield "equal", _weighted(np.flatnonzero(counts), counts[counts > 0])
        if not fitted:
            return
        counts = climb(problem.walk(without), allowed, len(self.everyone), most)
        members = np.flatnonzero(counts)
        yield "climb", _weighted(members, counts[members])
        if len(members) < 2:
            return
        chosen = [int(member) for member in members]
        start = counts[members] / counts.sum()
        best = optimal_weights(problem, chosen, start, without)
        if np.abs(best - start).max() > SAME_WEIGHTS:
            yield "optimised", _weighted(members, best)
        if reader.mean == "rank" or not self.second_levels:
            return
        rows = self._rows(without)
        for level in levels(self.scorer.y, reader.oof(chosen[0]).shape, len(rows), len(chosen)):
            stacked = self._stacked(level, reader, chosen, rows)
            if stacked is not None:
                yield level, stacked

    def _stacked(self, level: Level, reader: Reader, members: Sequence[int], rows: np.ndarray) -> Fitted | None:
        parts = [np.asarray(reader.oof(member)[rows]) for member in members]
        stack = fit_stack(level, parts, self.scorer.y[rows], seed=self.seed)
        if stack is None:
            return None
        return replace(_weighted(np.asarray(members), np.asarray(stack.shares)), stack=stack, order=tuple(members))

    def _treated(
        self, reader: Reader, without: Folds, plain: Sequence[tuple[Method, Fitted]]
    ) -> Iterator[tuple[Method, Fitted]]:
        metric, y = self.scorer.metric, self.scorer.y
        kinds = treatments(metric, y, reader.oof(0).shape)
        if not kinds:
            return
        rows = self._rows(without)
        for method, fit in plain:
            mixed = fit.predict(lambda member: reader.oof(member)[rows])
            for kind in kinds:
                yield method, replace(fit, post=fit_post(kind, metric, y[rows], mixed))

    def _rows(self, without: Folds) -> np.ndarray:
        """Rows to fit second levels and treatments on: covered, not of these folds, at most so many."""
        folds = self.scorer.folds
        rows = np.flatnonzero(folds.covered & ~np.isin(folds.assignment, without))
        if len(rows) <= MAX_ROWS:
            return rows
        return np.sort(np.random.default_rng(self.seed).choice(rows, MAX_ROWS, replace=False))


def _weighted(members: np.ndarray, weights: np.ndarray) -> Fitted:
    """Members with positive weights scaled to sum 1, largest first."""
    pairs = [(int(member), float(weight)) for member, weight in zip(members, weights, strict=True) if weight > 0]
    total = sum(weight for _, weight in pairs)
    pairs.sort(key=lambda pair: -pair[1])
    return Fitted(tuple(member for member, _ in pairs), tuple(weight / total for _, weight in pairs))
