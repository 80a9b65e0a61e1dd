"""What could be run next: families nobody has tried, and changes of the best configurations of the tried ones.

Each is worth something (breadth first, then what has helped before, what the owner asked for and what the last
retrospective named) and takes some seconds: measured where the family ran, else estimated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.models.playbook.lessons import SCORED, Lesson, carried, evidence, known, lessons, quality
from backends.models.playbook.notebooks import public_bonus
from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import Recipe, Variant, catalog

# Phases around a run (plan, review, findings) and the start of each fold.
ROUND_SECONDS = 2.0
_FOLD_SECONDS = 0.5
# A place among the top five outweighs that another family leads, never that nobody has tried one.
_NAMED_FIRST = 24.0
_NAMED_STEP = 4.0


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


def estimated_seconds(view: CampaignView, recipe: Recipe, params: Mapping[str, Any]) -> float:
    """Wall seconds of a complete run: the recipe's own figures, corrected by what has been measured here."""
    waves = math.ceil(view.spec.cv_folds / max(view.slots, 1))
    own = [_pace(view, e, recipe) for e in view.experiments if e.family == recipe.family]
    all_known = [_pace(view, e, r) for r in catalog() for e in view.experiments if e.family == r.family]
    paces = [pace for pace in own if pace] or [pace for pace in all_known if pace]
    correction = min(max(sorted(paces)[len(paces) // 2], 0.2), 5.0) if paces else 1.0
    return ROUND_SECONDS + waves * (_FOLD_SECONDS + correction * _fold_seconds(view, recipe, params))


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


def candidates(view: CampaignView) -> Iterator[Candidate]:
    """All that the owner allows, whatever the rules say of the round and however little time is left."""
    families, told = _families(view), lessons(view)
    wishes, bans = owners_wishes(view)
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
            params = carried(told, recipe)
            if params:
                changed = ", ".join(f"{name} = {value}" for name, value in params.items())
                why += f" It starts with what helped another ({changed})."
            bonus, named = _named(view, recipe, None)
            likes, others = public_bonus(view, recipe, None)
            bonus, named = bonus + likes, named + others
            seconds = estimated_seconds(view, recipe, params)
            yield Candidate(recipe, None, params, None, worth + bonus, seconds, why + asked + named)
        if family.runs:
            yield from _changes(view, family, told, place.get(recipe.family), wish, asked)


def _changes(
    view: CampaignView, family: _Family, told: Sequence[Lesson], place: int | None, wish: float, asked: str
) -> Iterator[Candidate]:
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
        helped = evidence(told, variant.params)
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
        bonus, named = _named(view, recipe, variant)
        likes, others = public_bonus(view, recipe, variant)
        bonus, named = bonus + likes, named + others
        yield Candidate(recipe, variant, params, best, worth + bonus, seconds, why + asked + named)


def _named(view: CampaignView, recipe: Recipe, variant: Variant | None) -> tuple[float, str]:
    """What it is worth that the last retrospective names a candidate among its top five, and how that is said."""
    for place, idea in enumerate(view.top):
        if idea.family != recipe.family:
            continue
        params = known(recipe, idea.params)
        same = variant is None or variant.params.items() <= params.items()
        # An idea without parameters that the recipe has speaks for the whole family, and less for each change of it.
        if same or not params:
            bonus = (_NAMED_FIRST - _NAMED_STEP * place) * (1.0 if same else 0.5)
            return bonus, f" The retrospective of R{view.retro or 0:02d} names it (place {place + 1} of its top five)."
    return 0.0, ""


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


def owners_wishes(view: CampaignView) -> tuple[set[str], set[str]]:
    """Families that the owner asked for, and those that the owner does not want; the newest hint wins."""
    recipes = [recipe for recipe in catalog() if view.spec.task_type in recipe.tasks]
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


def fits(view: CampaignView, seconds: float) -> bool:
    """Whether a run can be finished: recipes shorten themselves, so half of the wish will do."""
    return view.seconds_left is None or 0.5 * seconds + ROUND_SECONDS <= view.seconds_left
