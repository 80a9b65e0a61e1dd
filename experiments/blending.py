"""Weighted blends of a pool, chosen under the rules and scored without flattering themselves.

Greedy selection with replacement (hill climbing), starting from the best single model. Source: Caruana,
Niculescu-Mizil, Crew, Ksikes, Ensemble Selection from Libraries of Models, ICML 2004.

A blend's score is cross-fitted over the folds that made the predictions: for each fold, members and weights are
chosen on the other folds' rows alone and applied to that fold. The weights for the test prediction are then
fitted on all covered rows; their score on those same rows is ``in_sample``, and the difference is the optimism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.climbing import allowed_members, climb
from experiments.correlation import correlation_matrix
from experiments.errors import MetricError
from experiments.folds import Folds
from experiments.metrics import Metric
from experiments.objectives import Problem, Walk, make_problem
from experiments.pool import BlendError, Mean, PoolMember, Reader, usable
from experiments.rules import TOLERANCE, BlendLimits
from experiments.significance import Gain, fold_sizes, paired_gain, required_t

__all__ = ["Blend", "BlendError", "Mean", "Method", "PoolMember", "fit_blend", "mix_gain"]

Method = Literal["climb", "equal"]


@dataclass(frozen=True)
class Blend:
    """A fitted blend.

    Attributes:
        members: Names, largest weight first.
        weights: Their weights, summing to 1; fitted on all covered rows.
        oof: (n,) or (n, K) float32, cross-fitted, NaN where uncovered.
        test: (m,) or (m, K) float32.
        score: Of ``oof``: the score to believe.
        fold_scores: Of ``oof``, by fold.
        in_sample: Score of the final weights on the rows they were fitted on.
        optimism: How much better ``in_sample`` is than ``score``, positive as a rule.
        mean: ``rank`` when ranks are averaged (scaled to 0..1), else ``arithmetic``.
        method: ``climb`` for fitted weights; ``equal`` for the plain average that near-duplicates get.
        best: The best single model of the pool.
        best_score: Its score.
        gain: Cross-fitted gain over it.
        lifted: Ids of rules that evidence lifted.
        evidence: The gain that lifted them: over the best blend, or single model, within the rules. Also set
            when it was measured and did not suffice.
        notes: Sentences for a person.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    oof: np.ndarray
    test: np.ndarray
    score: float
    fold_scores: tuple[float, ...]
    in_sample: float
    optimism: float
    mean: Mean
    method: Method
    best: str
    best_score: float
    gain: Gain
    lifted: tuple[str, ...] = ()
    evidence: Gain | None = None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Members and weights, scores and notes, in lines for a person."""
        said = ", ".join(f"{name} {weight:.3f}" for name, weight in zip(self.members, self.weights, strict=True))
        scores = f"cross-fitted score {self.score:.6g}, in-sample {self.in_sample:.6g}"
        return "\n".join([f"{self.method}: {said}", scores, *self.notes])


def fit_blend(
    pool: Mapping[str, PoolMember],
    y: np.ndarray,
    folds: Folds,
    metric: Metric,
    *,
    limits: BlendLimits | None = None,
    members: Sequence[str] = (),
    seed: int = 0,
) -> Blend:
    """Choose members and weights under the rules; cross-fit the score.

    Within the rules: members near enough to the best single model; of near-duplicates only the better one,
    or, when there is nothing else, a plain average of them; few members. Where ``limits.lift`` names
    rules that evidence may lift, the same search also runs without them, and its blend is taken when its
    cross-fitted gain over the one within the rules is larger than its noise. Ranking metrics also try a mean of ranks.

    Large pools are searched on a sample of the rows (``objectives``); every score is over all of them.

    Args:
        pool: Predictions by name; no blends among them. Unusable ones are left out, with a note.
        y: (n,) integer codes, or floats for regression.
        folds: Of all the pool.
        limits: From ``rules.blend_limits``; None for the built-in thresholds without evidence.
        members: Choose among these only; an unusable one is then an error.
        seed: Of the sample of rows.

    Raises:
        BlendError: Fewer than two usable predictions, an unknown member, or no blend of two within the
            rules that is better in-sample than the best single model.
    """
    limits = limits or BlendLimits()
    names, notes = usable(pool, folds, members)
    scored = _Scored(y, folds, metric)
    readers: list[Reader] = [Reader(pool, names, folds, "arithmetic")]
    if metric.prediction == "ranking" and pool[names[0]].oof.ndim == 1:
        readers.append(Reader(pool, names, folds, "rank"))
    correlations = correlation_matrix([pool[name].oof for name in names], folds.covered)
    searches = [
        _Search(reader, make_problem(reader.oof, len(names), y, folds, metric, seed=seed), correlations, scored)
        for reader in readers
    ]
    best = searches[0].best()
    ruled = _better((search.fit(limits) for search in searches), metric)
    if ruled is not None:
        # The kind of mean that is better here is taken as the better one for the larger search as well.
        searches = [search for search in searches if search.reader is ruled.reader]
    evidence: Gain | None = None
    lifted: tuple[str, ...] = ()
    chosen = ruled
    if limits.lift:
        free = _better((search.fit(limits.lifted()) for search in searches), metric)
        if free is not None and (ruled is None or free.final != ruled.final):
            evidence = scored.gain(free.fold_scores, ruled.fold_scores if ruled else best.fold_scores)
            if evidence.significant(limits.min_t):
                chosen, lifted = free, searches[0].broken_by(free, limits)
    if chosen is None:
        raise _no_blend(names[best.member], len(names), evidence, limits.min_t)
    searched, covered = searches[0].problem.rows, int(folds.covered.sum())
    if searched < covered:
        notes.append(f"Members and weights were searched on {searched} of {covered} rows.")
    return _finish(chosen, best, scored, lifted, evidence, notes)


def mix_gain(new: np.ndarray, old: np.ndarray, y: np.ndarray, metric: Metric, *, parts: int = 5, seed: int = 0) -> Gain:
    """What one prediction adds to another on the same rows: evidence for a model that the gate would kill.

    The rows are dealt into parts, alike in their targets; the share of ``new`` is chosen on the other parts
    (0 to 0.9 in tenths) and scored on each part against ``old`` alone.

    Args:
        new: (n,) or (n, K), on the validation rows of one fold.
        old: Of the same shape.
        y: (n,) targets of those rows.

    Returns:
        A gain over ``parts`` parts; no gain and t = 0 when there are too few rows to tell.
    """
    nothing = Gain(0.0, float("inf"), 0.0, 0)
    if len(y) < 10 * parts:
        return nothing
    shuffled = np.random.default_rng(seed).permutation(len(y))
    part = np.empty(len(y), dtype=np.int64)
    part[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(len(y)) % parts
    shares = np.arange(10) / 10
    mixes = [((1 - share) * old + share * new).astype(np.float32) for share in shares]
    fresh, base = [], []
    for number in range(parts):
        inside = part == number
        others = [_score(metric, y, mix, ~inside) for mix in mixes]
        choice = 0
        for index, score in enumerate(others):
            if np.isfinite(score) and metric.better(score, others[choice]):
                choice = index
        fresh.append(_score(metric, y, mixes[choice], inside))
        base.append(_score(metric, y, mixes[0], inside))
    size = len(y) / parts
    return paired_gain(fresh, base, metric.direction, n_train=len(y) - size, n_valid=size)


@dataclass(frozen=True)
class _Single:
    member: int
    score: float
    fold_scores: tuple[float, ...]


@dataclass(frozen=True)
class _Fit:
    reader: Reader
    final: tuple[tuple[int, float], ...]
    method: Method
    oof: np.ndarray
    score: float
    fold_scores: tuple[float, ...]
    in_sample: float


@dataclass(frozen=True)
class _Scored:
    """Scores and gains on the rows of one campaign."""

    y: np.ndarray
    folds: Folds
    metric: Metric

    def total(self, oof: np.ndarray) -> float:
        return _score(self.metric, self.y, oof, self.folds.covered)

    def by_fold(self, oof: np.ndarray) -> tuple[float, ...]:
        scores = []
        for _, rows in self.folds.splits:
            inside = np.zeros(len(self.y), dtype=bool)
            inside[rows] = True
            scores.append(_score(self.metric, self.y, oof, inside))
        return tuple(scores)

    def gain(self, new: Sequence[float], old: Sequence[float]) -> Gain:
        n_train, n_valid = fold_sizes(self.folds)
        return paired_gain(new, old, self.metric.direction, n_train=n_train, n_valid=n_valid)


class _Search:
    """Blends of one pool, with one kind of mean."""

    def __init__(self, reader: Reader, problem: Problem, correlations: np.ndarray, scored: _Scored) -> None:
        self.reader, self.problem, self.correlations, self.scored = reader, problem, correlations, scored
        self.everyone = range(len(reader.names))
        self._single_costs: dict[int | None, np.ndarray] = {}

    def best(self) -> _Single:
        """The best single model, over all covered rows."""
        member = int(np.argmin(self._singles(None, self.problem.walk())))
        oof = self.reader.oof(member)
        return _Single(member, self.scored.total(oof), self.scored.by_fold(oof))

    def fit(self, limits: BlendLimits) -> _Fit | None:
        """The blend these limits allow, or None when none of two members beats the best single model."""
        final, method = self._choose(None, limits)
        if len(final) < max(2, limits.min_members):
            return None
        in_sample = self.scored.total(self._mix(final, self.reader.oof))
        alone = [self.scored.total(self.reader.oof(member)) for member, _ in final]
        if any(self.scored.metric.better(score, in_sample) for score in alone):
            return None
        oof = np.full(self.reader.oof(0).shape, np.nan, dtype=np.float32)
        for fold, (_, rows) in enumerate(self.scored.folds.splits):
            weights, _ = self._choose(fold, limits)
            oof[rows] = self._mix(weights, self.reader.oof, rows)
        by_fold = self.scored.by_fold(oof)
        return _Fit(self.reader, final, method, oof, self.scored.total(oof), by_fold, in_sample)

    def broken_by(self, fit: _Fit, limits: BlendLimits) -> tuple[str, ...]:
        """Which of the rules that evidence may lift this blend does not keep."""
        costs = self._singles(None, self.problem.walk())
        best = float(costs.min())
        taken = [member for member, _ in fit.final]
        margin = limits.margin(best, self.scored.metric.bounded) * TOLERANCE
        pairs = self.correlations[np.ix_(taken, taken)][np.triu_indices(len(taken), 1)]
        broken = {
            "diversity-threshold": bool((costs[taken] - best > margin).any()),
            "stacking-correlation": fit.method == "climb"
            and limits.max_correlation is not None
            and bool((pairs > limits.max_correlation).any()),
            "small-blends": limits.max_members is not None and len(taken) > limits.max_members,
        }
        return tuple(sorted(rule for rule, is_broken in broken.items() if is_broken and rule in limits.lift))

    def _choose(self, without: int | None, limits: BlendLimits) -> tuple[tuple[tuple[int, float], ...], Method]:
        walk = self.problem.walk(() if without is None else (without,))
        singles = self._singles(without, walk)
        allowed, fitted = allowed_members(singles, self.correlations, limits, self.scored.metric.bounded)
        counts = climb(walk, allowed, len(self.everyone), limits.max_members, again=fitted)
        weights = [(int(member), float(counts[member] / counts.sum())) for member in np.flatnonzero(counts)]
        return tuple(sorted(weights, key=lambda pair: -pair[1])), "climb" if fitted else "equal"

    def _singles(self, without: int | None, walk: Walk) -> np.ndarray:
        if without not in self._single_costs:
            self._single_costs[without] = walk.costs(self.everyone)
        return self._single_costs[without]

    def _mix(
        self, weights: Sequence[tuple[int, float]], read: Callable[[int], np.ndarray], rows: np.ndarray | None = None
    ) -> np.ndarray:
        """The weighted mean of some members, in float64 sums, on all rows or some."""
        total: np.ndarray = np.zeros(())
        for member, weight in weights:
            values = read(member)
            total = total + weight * np.asarray(values if rows is None else values[rows], dtype=np.float64)
        return np.asarray(total, dtype=np.float32)


def _better(fits: Iterable[_Fit | None], metric: Metric) -> _Fit | None:
    best: _Fit | None = None
    for fit in fits:
        if fit is not None and (best is None or metric.better(fit.score, best.score)):
            best = fit
    return best


def _finish(
    fit: _Fit,
    best: _Single,
    scored: _Scored,
    lifted: tuple[str, ...],
    evidence: Gain | None,
    notes: Sequence[str],
) -> Blend:
    metric, names = scored.metric, fit.reader.names
    said = list(notes)
    if fit.method == "equal":
        said.append("The candidates are near-duplicates: a plain average, no fitted weights.")
    if fit.reader.mean == "rank":
        said.append("A mean of ranks scored better than a mean of the predictions.")
    if evidence is not None:
        outcome = f"lifts {', '.join(lifted)}" if lifted else "lifts no rule"
        said.append(
            f"Cross-fitted evidence {outcome}: {evidence.mean:+.5g} against the best within the rules, "
            f"t = {evidence.t:.2f}."
        )
    optimism = metric.gain(fit.in_sample, fit.score)
    said.append(f"In-sample {fit.in_sample:.6g}, cross-fitted {fit.score:.6g}: optimism {optimism:.2g}.")
    test = sum(weight * fit.reader.test(member).astype(np.float64) for member, weight in fit.final)
    return Blend(
        members=tuple(names[member] for member, _ in fit.final),
        weights=tuple(weight for _, weight in fit.final),
        oof=fit.oof,
        test=np.asarray(test, dtype=np.float32),
        score=fit.score,
        fold_scores=fit.fold_scores,
        in_sample=fit.in_sample,
        optimism=optimism,
        mean=fit.reader.mean,
        method=fit.method,
        best=names[best.member],
        best_score=best.score,
        gain=scored.gain(fit.fold_scores, best.fold_scores),
        lifted=lifted,
        evidence=evidence,
        notes=tuple(said),
    )


def _no_blend(best: str, size: int, evidence: Gain | None, min_t: float) -> BlendError:
    measured = ""
    if evidence is not None:
        measured = (
            f" Without the rules one would gain {evidence.mean:+.5g}, t = {evidence.t:.2f}; "
            f"to lift them takes {required_t(min_t, evidence.n):.2f}."
        )
    return BlendError(
        f"No blend of these {size} predictions within the rules is better than {best} alone.{measured}",
        hint="A model of another family, or better features, gives a blend more to work with.",
    )


def _score(metric: Metric, y: np.ndarray, pred: np.ndarray, mask: np.ndarray) -> float:
    """The metric on some rows; NaN where it is not defined there (one class only)."""
    try:
        return metric.score(y, pred, mask=mask)
    except MetricError:
        return float("nan")
