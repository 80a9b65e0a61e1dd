"""What to try next: a pure function of what the registry shows.

Candidates are the families nobody has tried, then changes of the best configurations of the tried ones. Each is
worth something (breadth first, then what has helped before) and takes some seconds (measured where the family ran,
else estimated); the most worth per second that the rules allow and the time holds is proposed. A blend comes
when enough is new in the pool, and last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.models.playbook.lessons import SCORED, carried, evidence, known, quality
from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import Recipe, Variant, catalog

# Phases around a run (plan, review, findings) and the start of each fold.
_ROUND_SECONDS = 2.0
_FOLD_SECONDS = 0.5
# No plan takes more than this share of what is left while the pool has no two members to blend.
_FIRST_SHARE = 0.45
_NEW_FOR_A_BLEND = 3
# Less than this is not worth starting a model for, even when there is none.
_LEAST_SECONDS = 5.0

Avoid = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Proposal:
    """What the playbook would do this round.

    Attributes:
        parent: The experiment it starts from, or None.
        params: Changes to the recipe's defaults.
        expected_gain: In units of the metric, positive is better; None when nothing is known.
        members: Of a blend; empty means that the engine chooses from the whole pool.
        minutes: How long the run may take; None without a time limit.
        reason: Why this and why now, in a sentence.
    """

    kind: Literal["model", "tune", "blend", "stop"]
    family: str
    parent: str | None
    params: Mapping[str, Any]
    idea: str
    hypothesis: str
    expected_gain: float | None
    members: tuple[str, ...]
    minutes: float | None
    reason: str


@dataclass(frozen=True)
class Candidate:
    """Something that could be run.

    Attributes:
        worth: Of a round spent on it, on a scale of its own (an untried first family is near 100).
        seconds: Wall seconds that it would like to take.
    """

    recipe: Recipe
    variant: Variant | None
    params: Mapping[str, Any]
    parent: ExperimentView | None
    worth: float
    seconds: float
    why: str

    @property
    def kind(self) -> Literal["model", "tune"]:
        """``tune`` only for a variant that is one."""
        return "tune" if self.variant is not None and self.variant.kind == "tune" else "model"

    @property
    def rank(self) -> float:
        """Worth per second, softened: a strong slow family still comes before a weak fast one."""
        return self.worth / math.sqrt(60.0 + self.seconds)


@dataclass(frozen=True)
class _Family:
    """What the registry shows of one family."""

    recipe: Recipe
    runs: tuple[ExperimentView, ...]
    best: ExperimentView | None
    tried: frozenset[str] = field(repr=False)


def propose(view: CampaignView, *, avoid: Avoid = ()) -> Proposal:
    """The next round's plan.

    Args:
        avoid: Families with parameters that were sent back this round (``blend`` for a blend).
    """
    families = _families(view)
    candidates = [c for c in _candidates(view, families) if _allowed(view, c, avoid)]
    fitting = [c for c in candidates if _fits(view, c.seconds)]
    if not fitting and not view.pool and candidates and (view.seconds_left or 0.0) >= _LEAST_SECONDS:
        # Recipes shorten themselves: a hurried model is better than no submission.
        fitting = [min(candidates, key=lambda c: c.seconds)]
    blend = None if any(family == "blend" for family, _ in avoid) else _blend(view, fitting)
    if blend is not None:
        return blend
    if fitting:
        best = max(fitting, key=lambda c: (c.rank, -c.recipe.order, c.recipe.family))
        return _run(view, best)
    if candidates:
        least = min(c.seconds for c in candidates)
        return _stop(
            f"Nothing fits any more: the shortest idea needs about {least:.0f} s of {view.seconds_left or 0:.0f} s."
        )
    return _stop("Every family has been tried with every change worth trying, and the pool is blended.")


def estimated_seconds(view: CampaignView, recipe: Recipe, params: Mapping[str, Any]) -> float:
    """Wall seconds of a complete run: the recipe's own figures, corrected by what has been measured here."""
    waves = math.ceil(view.spec.cv_folds / max(view.slots, 1))
    own = [_pace(view, e, recipe) for e in view.experiments if e.family == recipe.family]
    all_known = [_pace(view, e, r) for r in catalog() for e in view.experiments if e.family == r.family]
    paces = [pace for pace in own if pace] or [pace for pace in all_known if pace]
    correction = min(max(sorted(paces)[len(paces) // 2], 0.2), 5.0) if paces else 1.0
    return _ROUND_SECONDS + waves * (_FOLD_SECONDS + correction * _fold_seconds(view, recipe, params))


def _fold_seconds(view: CampaignView, recipe: Recipe, params: Mapping[str, Any]) -> float:
    data = view.data
    columns = data.n_numeric + data.n_categorical + 6 * data.n_datetime + 30 * data.n_text
    if params.get("pairs"):
        columns += 2 * int(params["pairs"]) * (int(params["pairs"]) - 1)
    rows = round(data.rows * (view.spec.cv_folds - 1) / max(view.spec.cv_folds, 2))
    outputs = data.n_classes if view.spec.task_type == "multiclass" else 1
    seconds = recipe.cost.estimate(rows, columns, outputs)
    return seconds / math.pow(max(view.threads, 1), 0.7)


def _pace(view: CampaignView, run: ExperimentView, recipe: Recipe) -> float | None:
    """Measured over estimated seconds of a finished run, or None."""
    if run.status not in ("keep", "discard") or run.kind == "blend" or run.seconds <= 0:
        return None
    waves = math.ceil(view.spec.cv_folds / max(view.slots, 1))
    return run.seconds / (waves * (_FOLD_SECONDS + _fold_seconds(view, recipe, known(recipe, run.params))))


def _families(view: CampaignView) -> list[_Family]:
    found = []
    for recipe in catalog():
        if view.spec.task_type not in recipe.tasks:
            continue
        runs = tuple(e for e in view.experiments if e.family == recipe.family and e.kind != "blend")
        scored = [e for e in runs if e.score is not None and e.status in SCORED]
        best = max(scored, key=lambda e: quality(view, e), default=None)
        tried = frozenset(recipe.key(known(recipe, e.params)) for e in runs if e.status != "running")
        found.append(_Family(recipe, runs, best, tried))
    return found


def _candidates(view: CampaignView, families: Sequence[_Family]) -> Iterator[Candidate]:
    wishes, bans = _hints(view, [family.recipe for family in families])
    ranked = sorted((f for f in families if f.best), key=lambda f: -quality(view, f.best) if f.best else 0.0)
    place = {family.recipe.family: position for position, family in enumerate(ranked)}
    for family in families:
        recipe = family.recipe
        if recipe.family in bans:
            continue
        wish = 40.0 if recipe.family in wishes else 0.0
        asked = " The owner asked for it." if wish else ""
        if not family.tried:
            worth = 100.0 - 0.6 * recipe.order + wish
            why = "Nobody has tried this family, and a new family is worth more to a blend than a tuned one."
            params = carried(view, recipe)
            if params:
                changed = ", ".join(f"{name} = {value}" for name, value in params.items())
                why += f" It starts with what helped another ({changed})."
            yield Candidate(recipe, None, params, None, worth, estimated_seconds(view, recipe, params), why + asked)
        if family.runs:
            yield from _changes(view, family, place.get(recipe.family), wish, asked)


def _changes(view: CampaignView, family: _Family, place: int | None, wish: float, asked: str) -> Iterator[Candidate]:
    """Variants on top of the family's best configuration."""
    recipe, best = family.recipe, family.best
    untried = [
        r
        for r in catalog()
        if view.spec.task_type in r.tasks and not any(e.family == r.family for e in view.experiments)
    ]
    base = known(recipe, best.params) if best is not None else {}
    for position, variant in enumerate(recipe.variants):
        if view.spec.task_type not in variant.tasks or not all(_holds(view, need) for need in variant.needs):
            continue
        params = {k: v for k, v in {**base, **variant.params}.items() if recipe.params[k] != v}
        if recipe.key(params) in family.tried:
            continue
        worth = {0: 66.0, 1: 46.0, 2: 40.0}.get(place if place is not None else 9, 30.0)
        worth += (4.0 if variant.kind == "model" else -8.0) - 2.0 * position + wish
        helped = evidence(view, variant.params)
        worth += 10.0 * helped
        if variant.kind == "model" and not helped and position == 0:
            # What is learned here decides how the untried families start.
            worth += 10.0 * sum(set(variant.params) <= set(other.params) for other in untried)
        why = (
            f"{recipe.label} leads" if place == 0 else f"{recipe.label} is in the pool" if place is not None
            else f"One configuration of {recipe.label} is no proof that the family is exhausted"
        )  # fmt: skip
        why += "; this change has not been tried on it."
        if helped:
            why += f" It {'helped' if helped > 0 else 'did not help'} another family."
        seconds = estimated_seconds(view, recipe, params)
        yield Candidate(recipe, variant, params, best, worth, seconds, why + asked)


def _holds(view: CampaignView, need: str) -> bool:
    data = view.data
    facts = {
        "numeric2": data.n_numeric >= 2,
        "few_classes": data.n_classes <= 5,
        "many_rows": data.rows > 10_000,
        "categorical": data.n_categorical >= 1,
        "text": data.n_text >= 1,
        "datetime": data.n_datetime >= 1,
        "missing": data.missing_share > 0,
        "high_cardinality": data.max_cardinality > 50,
    }
    return facts[need]


def _hints(view: CampaignView, recipes: Sequence[Recipe]) -> tuple[set[str], set[str]]:
    """Families that the owner asked for, and those that the owner does not want; the newest hint wins."""
    wishes: set[str] = set()
    bans: set[str] = set()
    for hint in view.hints:
        for recipe in recipes:
            names = rf"(?:{re.escape(recipe.family)}|{re.escape(recipe.label)})"
            if re.search(rf"\b(?:no|not|without|skip|avoid|drop|stop)\s+(?:\w+\s+)?{names}\b", hint, re.IGNORECASE):
                bans.add(recipe.family)
                wishes.discard(recipe.family)
            elif re.search(rf"\b{names}\b", hint, re.IGNORECASE):
                wishes.add(recipe.family)
                bans.discard(recipe.family)
    return wishes, bans


def _allowed(view: CampaignView, candidate: Candidate, avoid: Avoid) -> bool:
    recipe = candidate.recipe
    for family, params in avoid:
        if family == recipe.family and recipe.key(known(recipe, params)) == recipe.key(candidate.params):
            return False
    past = [e for e in view.experiments if e.round is not None and e.round != view.round]
    streak = 0
    for run in reversed(past):
        if run.kind == "blend" or run.family != recipe.family:
            break
        streak += 1
    if streak >= int(_threshold(view, "tunnel-vision", "max_running", 2)):
        return False
    if candidate.kind != "tune":
        return True
    window = int(_threshold(view, "research-over-tuning", "window", 3))
    recent = past[len(past) - (window - 1) :] if window > 1 else []
    tuned = sum(run.kind == "tune" for run in recent)
    return tuned + 1 <= int(_threshold(view, "research-over-tuning", "max_tuning", 1)) and any(
        e.kind == "model" and e.status in SCORED for e in past
    )


def _threshold(view: CampaignView, rule: str, name: str, default: float) -> float:
    """A rule's number; a rule that is off does not bind."""
    about = view.rules.get(rule, {})
    if about.get("enforce") == "off":
        return math.inf
    value = about.get(name, about.get("thresholds", {}).get(name, default))
    return float(value)


def _fits(view: CampaignView, seconds: float) -> bool:
    """Whether a run can be finished: recipes shorten themselves, so half of the wish will do."""
    return view.seconds_left is None or 0.5 * seconds + _ROUND_SECONDS <= view.seconds_left


def _allowance(view: CampaignView, seconds: float) -> float | None:
    """Wall seconds a run may take: what it would like and some more, within a fair share of what is left."""
    if view.seconds_left is None:
        return None
    share = view.seconds_left
    if view.rounds_left is not None:
        share = min(share, 1.5 * view.seconds_left / max(view.rounds_left, 1))
    if len(view.pool) < 2:
        share = min(share, _FIRST_SHARE * view.seconds_left)
    return min(max(2.0 * seconds, 12.0), max(share, 5.0))


def _blend(view: CampaignView, fitting: Sequence[Candidate]) -> Proposal | None:
    """A blend of the pool, when it is time for one."""
    pool = view.pool
    earlier = [e for e in view.experiments if e.kind == "blend" and e.status != "crash"]
    last = earlier[-1] if earlier else None
    since = view.experiments[view.experiments.index(last) + 1 :] if last is not None else view.experiments
    fresh = [e for e in since if e.in_pool and e.kind != "blend"]
    if len(pool) < 2 or not fresh:
        return None
    untried = any(c.variant is None for c in fitting)
    if view.rounds_left == 1:
        reason = "It is the last round: what the pool holds is worth more together."
    elif not fitting:
        reason = "No time or no idea is left for another model; the pool has something new since the last blend."
    elif len(fresh) >= _NEW_FOR_A_BLEND and not (untried and last is None and len(pool) < 4):
        reason = f"{len(fresh)} predictions joined the pool since the last blend."
    else:
        return None
    least = view.lowest_correlation
    lowest = "" if least is None else f" The least alike of them correlate at {least:.4f}."
    champion = view.experiment(view.champion)
    return Proposal(
        kind="blend",
        family="blend",
        parent=view.champion,
        params={},
        idea=f"weighted blend of the pool ({len(pool)} models)",
        hypothesis="Models that err differently cancel part of each other's error; weights are cross-fitted." + lowest,
        expected_gain=_typical_gain(view, champion, 0.01),
        members=(),
        minutes=None if view.seconds_left is None else max(view.seconds_left, 5.0) / 60,
        reason=reason,
    )


def _run(view: CampaignView, best: Candidate) -> Proposal:
    recipe, variant = best.recipe, best.variant
    allowance = _allowance(view, best.seconds)
    return Proposal(
        kind=best.kind,
        family=recipe.family,
        parent=best.parent.id if best.parent is not None else None,
        params=dict(best.params),
        idea=recipe.idea if variant is None else f"{recipe.label}: {variant.idea}",
        hypothesis=recipe.hypothesis if variant is None else variant.hypothesis,
        expected_gain=_typical_gain(view, view.experiment(view.best_single), 0.003 if variant else 0.006),
        members=(),
        minutes=None if allowance is None else allowance / 60,
        reason=best.why,
    )


def _typical_gain(view: CampaignView, over: ExperimentView | None, share: float) -> float | None:
    """A share of what is missing to a perfect score (a bounded score) or of the score itself (an error)."""
    if over is None or over.score is None:
        return None
    error = 1 - over.score if view.spec.direction == "maximize" else over.score
    return round(share * abs(error), 10)


def _stop(reason: str) -> Proposal:
    return Proposal("stop", "none", None, {}, "stop", "Another round would not pay.", None, (), None, reason)
