"""What the registry teaches: which changes of parameters helped, in which family, and what that means for others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import Recipe, catalog
from experiments.text import gain_text

SCORED = frozenset({"keep", "discard", "imported"})

# Parameters that mean the same in every family that has them.
FEATURE_PARAMS = frozenset({"neighbours", "pairs", "target_encoding"})


def known(recipe: Recipe, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters the recipe has, of the sort that it takes; a person's or a model's own are left out."""
    return {
        name: value for name, value in params.items() if name in recipe.params and _fits(value, recipe.params[name])
    }


def _fits(value: Any, default: Any) -> bool:
    """Whether a value is of the default's sort; where a float is meant, a whole number will do."""
    if isinstance(default, bool) or isinstance(value, bool):
        return type(value) is type(default)
    if isinstance(default, float):
        return isinstance(value, int | float) and math.isfinite(value)
    if isinstance(default, list):
        return isinstance(value, list) and bool(value) and all(_fits(item, default[0]) for item in value)
    return type(value) is type(default)


def quality(view: CampaignView, run: ExperimentView) -> float:
    """The score, turned so that larger is better; minus infinity without one."""
    score = run.score if run.score is not None else math.nan
    if math.isnan(score):
        return -math.inf
    return score if view.spec.direction == "maximize" else -score


@dataclass(frozen=True)
class Lesson:
    """What a run changed against its parent, and what came of it.

    Attributes:
        changed: Parameters with their new values.
        gain: Over the parent, positive is better; None when the run has no score.
        t: Of that gain, paired over the folds and corrected for the overlap of training sets (Nadeau and Bengio,
            2003); None with fewer than three folds.
        sign: +1 when it helped by more than the folds' scatter, -1 when it is worse, else 0.
    """

    run: ExperimentView
    parent: ExperimentView
    changed: Mapping[str, Any]
    gain: float | None
    t: float | None
    sign: float

    def holds(self, change: Mapping[str, Any]) -> bool:
        """Whether this run made that change."""
        return bool(change) and all(self.changed.get(name) == value for name, value in change.items())

    def __str__(self) -> str:
        """E.g. ``R04 lightgbm +0.00120, t 2.1``."""
        said = "killed" if self.gain is None else gain_text(self.gain)
        return f"{self.run.id} {self.run.family} {said}" + ("" if self.t is None else f", t {self.t:.1f}")


def evidence(told: Sequence[Lesson], change: Mapping[str, Any]) -> float:
    """What a change of parameters did elsewhere: +1 it helped a family, -1 it only failed to, 0 nobody knows."""
    return max((lesson.sign for lesson in told if lesson.holds(change)), default=0.0)


def lessons(view: CampaignView) -> tuple[Lesson, ...]:
    """One of every run that changed parameters against a parent of its own family, oldest first."""
    return tuple(_lessons(view))


def _lessons(view: CampaignView) -> Iterator[Lesson]:
    for run in view.experiments:
        parent = view.experiment(run.parent)
        if parent is None or parent.family != run.family or parent.score is None:
            continue
        changed = change_of(run.family, parent.params, run.params)
        if changed and run.status in SCORED | {"killed"}:
            yield _lesson(view, run, parent, changed)


def change_of(family: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters that differ, with their new values; of a recipe its defaults count, and just what it has."""
    recipe = next((recipe for recipe in catalog() if recipe.family == family), None)
    if recipe is not None:
        before, after = recipe.merged(known(recipe, before)), recipe.merged(known(recipe, after))
    return {name: value for name, value in after.items() if name not in before or before[name] != value}


def _lesson(view: CampaignView, run: ExperimentView, parent: ExperimentView, changed: Mapping[str, Any]) -> Lesson:
    if run.score is None:
        return Lesson(run, parent, changed, None, None, -1.0)
    sign = 1.0 if view.spec.direction == "maximize" else -1.0
    gains = [sign * (run.fold_scores[k] - parent.fold_scores[k]) for k in run.fold_scores if k in parent.fold_scores]
    count = len(gains)
    if count < 3:
        gain = quality(view, run) - quality(view, parent)
        return Lesson(run, parent, changed, gain, None, 1.0 if gain > 0 else -1.0)
    mean = sum(gains) / count
    variance = sum((gain - mean) ** 2 for gain in gains) / (count - 1)
    helped = 1.0 if mean > math.sqrt(variance / count) else -1.0 if mean < 0 else 0.0
    # Of k folds each holds out 1 / (k - 1) of what it is trained on.
    error = math.sqrt(variance * (1 / count + 1 / (count - 1)))
    return Lesson(run, parent, changed, mean, mean / error if error > 0 else None, helped)


def carried(told: Sequence[Lesson], recipe: Recipe) -> dict[str, Any]:
    """Changes of the features that helped another family, as far as this one has them."""
    found: dict[str, Any] = {}
    for lesson in told:
        for name in FEATURE_PARAMS & set(lesson.changed) & set(recipe.params):
            if lesson.sign > 0 and lesson.changed[name] != recipe.params[name]:
                found[name] = lesson.changed[name]
    return known(recipe, dict(sorted(found.items())))
