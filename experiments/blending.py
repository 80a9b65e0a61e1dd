"""Blends of a pool, chosen under the rules and scored without flattering themselves.

Many ways of blending compete (``blendsearch``): plain and weighted means, of predictions or of ranks, hill climbing
(Caruana, Niculescu-Mizil, Crew, Ksikes, Ensemble Selection from Libraries of Models, ICML 2004), the metric's own
optimum, second-level models, each with and without the treatments that the metric rewards.

Each way's score is cross-fitted over the folds that made the predictions: for each fold, members, weights and
treatment are fitted on the other folds' rows alone and applied to that fold. To choose the best of many such scores
flatters again. So every fold is also held out from the choice: it is predicted by the way that the other folds,
cross-fitted among themselves, would have chosen. That is the blend's prediction and score; by how much the chosen
way's own score is better is the optimism of the choice, and is stated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from experiments.blendcontest import Outcome, Scores, contest
from experiments.blends import Blend, Candidate, Survey
from experiments.blendsearch import BlendSearch, Fitted, Way
from experiments.climbing import best_member
from experiments.correlation import correlation_matrix
from experiments.folds import Folds
from experiments.metrics import Metric
from experiments.objectives import make_problem
from experiments.pool import BlendError, Mean, PoolMember, Reader, usable
from experiments.ranks import mid_ranks
from experiments.rules import TOLERANCE, BlendLimits
from experiments.scorer import Scorer
from experiments.significance import Gain, required_t

__all__ = ["Blend", "BlendError", "Candidate", "PoolMember", "Survey", "survey_blends"]

# Folds are held out together in at most so many parts: pairs of parts are fitted, and ten folds have 45.
MAX_PARTS = 5


def survey_blends(
    pool: Mapping[str, PoolMember],
    y: np.ndarray,
    folds: Folds,
    metric: Metric,
    *,
    limits: BlendLimits | None = None,
    members: Sequence[str] = (),
    scores: Mapping[str, float] | None = None,
    imported: Collection[str] = (),
    seed: int = 0,
    seconds: float | None = None,
) -> Survey:
    """Try every way of blending under the rules; cross-fit all of it.

    Within the rules: members near enough to the best single model; of near-duplicates only the better one,
    or, when there is nothing else, a plain average of them; few members. Where ``limits.lift`` names
    rules that evidence may lift, the same search also runs without them, and its blend is taken when its
    cross-fitted gain over the one within the rules is larger than its noise. Of ways that are level the simplest is
    taken. Ranking metrics also try a mean of ranks.

    Large pools are searched on a sample of the rows (``objectives``); every score is over all of them.

    Args:
        pool: Predictions by name; no blends among them. Unusable ones are left out, with a note.
        y: (n,) integer codes, or floats for regression.
        folds: Of all the pool.
        limits: From ``rules.blend_limits``; None for the built-in thresholds without evidence.
        members: Choose among these only; an unusable one is then an error.
        scores: Of the predictions over all covered rows, where they are known.
        imported: Predictions whose folds nobody can vouch for: the best single model is one of the others.
        seed: Of the sample of rows.
        seconds: Wall time it should take at most; where that is short there are no second levels, or the choice is
            not held out, and a note says so.

    Raises:
        BlendError: Fewer than two usable predictions, or an unknown member.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    limits = limits or BlendLimits()
    names, notes = usable(pool, folds, members)
    scorer = Scorer(y, folds, metric)
    readers = [Reader(pool, names, folds, "arithmetic")]
    if metric.prediction == "ranking" and pool[names[0]].oof.ndim == 1:
        readers.append(Reader(pool, names, folds, "rank"))
    views = [(reader, make_problem(reader.oof, len(names), y, folds, metric, seed=seed)) for reader in readers]
    correlations = correlation_matrix([pool[name].oof for name in names], folds.covered)
    costs = _costs(names, readers[0], scorer, scores or {})
    vouched = np.array([name not in imported for name in names])
    search = BlendSearch(views, correlations, scorer, limits, costs, vouched=vouched, seed=seed)
    return _Survey(search, scorer, limits, names, notes, ends).run()


def _costs(names: Sequence[str], reader: Reader, scorer: Scorer, scores: Mapping[str, float]) -> np.ndarray:
    """(m,) the metric of each prediction over all covered rows, lower is better; inf where it is undefined."""
    known = [scores[name] if name in scores else scorer.total(reader.oof(place)) for place, name in enumerate(names)]
    sign = -1.0 if scorer.metric.direction == "maximize" else 1.0
    return np.array([sign * score if np.isfinite(score) else np.inf for score in known])


class _Survey:
    """One survey while it is made."""

    def __init__(
        self,
        search: BlendSearch,
        scorer: Scorer,
        limits: BlendLimits,
        names: Sequence[str],
        notes: Sequence[str],
        ends: float | None,
    ) -> None:
        self.ends = ends
        self.search, self.scorer, self.limits, self.names, self.notes = search, scorer, limits, names, notes
        folds = scorer.folds
        self.parts = [tuple(map(int, part)) for part in np.array_split(range(folds.n_folds), MAX_PARTS) if len(part)]
        self.rows = [np.flatnonzero(scorer.rows_of(part)) for part in self.parts]

    def run(self) -> Survey:
        costs = self.search.singles()
        best = best_member(costs, self.search.vouched)
        base = self.scorer.by_fold(self.search.reader("arithmetic").oof(best))
        full = self._alive(self._first_fits())
        crossed = self._crossed(full, dict(enumerate(self.parts)))
        won = contest(self.scorer, self.limits, crossed, base)
        choice = won.choice
        candidates = self._candidates(full, crossed, base, won)
        sign = -1.0 if self.scorer.metric.direction == "maximize" else 1.0
        survey = Survey(
            names=tuple(self.names),
            scores=tuple(float(sign * cost) for cost in costs),
            correlations=self.search.correlations,
            best=self.names[best],
            candidates=tuple(sorted(candidates, key=lambda one: (one.way != choice, *self._order(one)))),
            blend=None,
            reason="" if choice else self._why_none(best, won.evidence),
            left_out=tuple(self.notes),
        )
        if choice is None:
            return survey
        held = self._held_out(crossed, base, self.search.reader("arithmetic").oof(best))
        blend = self._blend(survey.candidates[0], full[choice][0], held, crossed[choice], best, won.evidence)
        return replace(survey, blend=blend)

    def _first_fits(self) -> dict[Way, Fitted]:
        """Fits on all rows; where those of the others would take too long, without second levels."""
        started = time.monotonic()
        fits = self.search.fits()
        pairs = len(self.parts) * (len(self.parts) - 1) / 2
        ahead = (time.monotonic() - started) * (len(self.parts) + pairs)
        if self.ends is None or time.monotonic() + ahead <= self.ends:
            return fits
        self.search.second_levels = False
        return {way: fit for way, fit in fits.items() if fit.stack is None}

    def _alive(self, fits: Mapping[Way, Fitted]) -> dict[Way, tuple[Fitted, float]]:
        """Blends of two at least that are not worse in-sample than a member alone, with that score, each once."""
        found: dict[Way, tuple[Fitted, float]] = {}
        alone: dict[tuple[Mean, int], float] = {}
        seen = set()
        metric, covered = self.scorer.metric, np.flatnonzero(self.scorer.folds.covered)
        for way, fit in fits.items():
            # To lift a rule changes nothing where the rule did not bind.
            same = (way.mean, way.method, way.treatment, fit.members, fit.weights)
            if len(fit.members) < max(2, self.limits.min_members) or same in seen:
                continue
            seen.add(same)
            reader = self.search.reader(way.mean)
            pred = self._empty(reader)
            pred[covered] = fit.predict(self._reading(way, covered))
            in_sample = self.scorer.total(pred)
            for member in fit.members:
                if (way.mean, member) not in alone:
                    alone[way.mean, member] = self.scorer.total(reader.oof(member))
            if np.isfinite(in_sample) and not any(
                metric.better(alone[way.mean, member], in_sample) for member in fit.members
            ):
                found[way] = (fit, in_sample)
        return found

    def _crossed(self, ways: Collection[Way], without: Mapping[int, tuple[int, ...]]) -> dict[Way, np.ndarray]:
        """Each way's prediction of some parts of the rows.

        Args:
            without: By part, the folds whose rows have no say in what predicts it.
        """
        found = {way: self._empty(self.search.reader(way.mean)) for way in ways}
        for part, folds in without.items():
            fits, rows = self.search.fits(folds), self.rows[part]
            mixes: dict[Hashable, np.ndarray] = {}
            for way, pred in found.items():
                fit = _nearest(fits, way)
                # Treatments share the mix that they treat.
                known = way.mean, fit.mix
                if known not in mixes:
                    mixes[known] = fit.mixed(self._reading(way, rows))
                pred[rows] = fit.treated(mixes[known])
        return found

    def _reading(self, way: Way, rows: np.ndarray) -> Callable[[int], np.ndarray]:
        reader = self.search.reader(way.mean)
        return lambda member: reader.oof(member)[rows]

    def _held_out(self, crossed: Mapping[Way, np.ndarray], base: Scores, alone: np.ndarray) -> np.ndarray | None:
        """Each part predicted by the way that the others would have chosen; None where parts or time are too few.

        Args:
            alone: The best single model, which is what is left where they would have chosen none.
        """
        if len(self.parts) < 3:
            return None
        choices: list[Way | None] = []
        for part in range(len(self.parts)):
            if self.ends is not None and time.monotonic() > self.ends:
                return None
            others = [other for other in range(len(self.parts)) if other != part]
            inner = self._crossed(crossed, {other: self._pair(part, other) for other in others})
            folds = [fold for other in others for fold in self.parts[other]]
            won = contest(self.scorer, self.limits, inner, [base[fold] for fold in folds], folds)
            choices.append(won.choice)
        sources = {way: alone if way is None else crossed[way] for way in choices}
        if self.scorer.metric.prediction == "ranking" and len(sources) > 1:
            # Ways that speak on scales of their own must not meet in one ranking: each is read as its own ranks.
            sources = {way: self._ranked(np.asarray(oof)) for way, oof in sources.items()}
        held = np.full_like(next(iter(crossed.values())), np.nan)
        for rows, choice in zip(self.rows, choices, strict=True):
            held[rows] = sources[choice][rows]
        return held

    def _ranked(self, oof: np.ndarray) -> np.ndarray:
        covered = self.scorer.folds.covered
        ranked = np.full_like(oof, np.nan)
        ranked[covered] = np.apply_along_axis(mid_ranks, 0, oof[covered])
        return ranked

    def _pair(self, one: int, other: int) -> tuple[int, ...]:
        return tuple(sorted(self.parts[one] + self.parts[other]))

    def _candidates(
        self, full: Mapping[Way, tuple[Fitted, float]], crossed: Mapping[Way, np.ndarray], base: Scores, won: Outcome
    ) -> Iterator[Candidate]:
        for way, (fit, in_sample) in full.items():
            by_fold = self.scorer.by_fold(crossed[way])
            yield Candidate(
                way=way,
                members=tuple(self.names[member] for member in fit.members),
                weights=fit.weights,
                post=fit.post,
                score=self.scorer.total(crossed[way]),
                fold_scores=by_fold,
                in_sample=in_sample,
                gain=self.scorer.gain(by_fold, base),
                evidence=self.scorer.gain(by_fold, won.standing[way.lifted]) if way.lifted else None,
            )

    def _order(self, one: Candidate) -> tuple[float, tuple[int, bool, bool]]:
        worst_last = one.score if np.isfinite(one.score) else self.scorer.metric.worst
        return (-worst_last if self.scorer.metric.direction == "maximize" else worst_last), one.way.intricacy

    def _blend(
        self,
        chosen: Candidate,
        fit: Fitted,
        held: np.ndarray | None,
        crossed: np.ndarray,
        best: int,
        evidence: Gain | None,
    ) -> Blend:
        oof = crossed if held is None else held
        score, by_fold = self.scorer.total(oof), self.scorer.by_fold(oof)
        alone = self.search.reader("arithmetic").oof(best)
        lifted = self._broken(fit, chosen)
        return Blend(
            members=chosen.members,
            weights=chosen.weights,
            oof=oof,
            test=fit.predict(self.search.reader(chosen.way.mean).test),
            score=score,
            fold_scores=by_fold,
            cross_fitted=chosen.score,
            in_sample=chosen.in_sample,
            optimism=self.scorer.metric.gain(chosen.in_sample, score),
            mean=chosen.way.mean,
            method=chosen.way.method,
            post=chosen.post,
            best=self.names[best],
            best_score=self.scorer.total(alone),
            gain=self.scorer.gain(by_fold, self.scorer.by_fold(alone)),
            lifted=lifted,
            evidence=evidence,
            notes=tuple(self._notes(chosen, score, held is not None, lifted, evidence)),
        )

    def _broken(self, fit: Fitted, chosen: Candidate) -> tuple[str, ...]:
        """Which of the rules that evidence may lift this blend does not keep."""
        limits, costs, taken = self.limits, self.search.singles(chosen.way.mean), list(fit.members)
        best = float(costs[best_member(costs, self.search.vouched)])
        margin = limits.margin(best, self.scorer.metric.bounded) * TOLERANCE
        pairs = self.search.correlations[np.ix_(taken, taken)][np.triu_indices(len(taken), 1)]
        broken = {
            "diversity-threshold": bool((costs[taken] - best > margin).any()),
            "stacking-correlation": chosen.way.method != "equal"
            and limits.max_correlation is not None
            and bool((pairs > limits.max_correlation).any()),
            "small-blends": limits.max_members is not None and len(taken) > limits.max_members,
        }
        return tuple(sorted(rule for rule, is_broken in broken.items() if is_broken and rule in chosen.way.lifted))

    def _notes(
        self, chosen: Candidate, score: float, held: bool, lifted: Sequence[str], evidence: Gain | None
    ) -> Iterator[str]:
        """What a person should know of the blend, in sentences."""
        yield from self.notes
        metric, folds = self.scorer.metric, self.scorer.folds
        if chosen.way.method == "equal":
            yield "A plain average: fitted weights are not allowed, or not better by more than noise."
        if chosen.way.mean == "rank":
            yield "A mean of ranks scored better than a mean of the predictions."
        if chosen.post is not None:
            yield f"Afterwards: {chosen.post.kind} {', '.join(f'{value:.4g}' for value in chosen.post.values)}."
        if evidence is not None:
            outcome = f"lifts {', '.join(lifted)}" if lifted else "lifts no rule"
            yield (
                f"Cross-fitted evidence {outcome}: {evidence.mean:+.5g} against the best within the rules, "
                f"t = {evidence.t:.2f}."
            )
        searched, covered = self.search.views[0][1].rows, int(folds.covered.sum())
        if not self.search.second_levels:
            yield "Time was short for second-level models."
        if searched < covered:
            yield f"Members and weights were searched on {searched} of {covered} rows."
        yield (
            f"In-sample {chosen.in_sample:.6g}, cross-fitted {chosen.score:.6g}: "
            f"{metric.gain(chosen.in_sample, chosen.score):.2g} of optimism in members and weights."
        )
        if held:
            yield (
                f"With the choice among ways held out as well {score:.6g}: "
                f"{metric.gain(chosen.score, score):.2g} of optimism in the choice."
            )
        else:
            why = "it takes three folds" if len(self.parts) < 3 else "time was short"
            yield f"The choice among ways was not held out: {why}."

    def _why_none(self, best: int, evidence: Gain | None) -> str:
        tried = len(self.names)
        said = f"No blend within the rules is better than {self.names[best]} alone ({tried} predictions tried)."
        if evidence is not None:
            said += (
                f" One without the rules gains {evidence.mean:+.5g} with t = {evidence.t:.2f}; it would take a t of "
                f"{required_t(self.limits.min_t, evidence.n):.2f}."
            )
        return said

    def _empty(self, reader: Reader) -> np.ndarray:
        return np.full(reader.oof(0).shape, np.nan, dtype=np.float32)


def _nearest(fits: Mapping[Way, Fitted], way: Way) -> Fitted:
    """The same way, or where some of the rows do not allow it the nearest simpler one."""
    for count in range(len(way.lifted), -1, -1):
        for method in dict.fromkeys((way.method, "climb", "equal")):
            found = fits.get(replace(way, lifted=way.lifted[:count], method=method))
            if found is not None:
                return found
    raise KeyError(way)
