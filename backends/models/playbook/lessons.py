"""What the registry teaches: which changes of parameters helped, in which family, and what that means for others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import Recipe, catalog

SCORED = frozenset({"keep", "discard", "imported"})

# Parameters that mean the same in every family that has them.
_FEATURE_PARAMS = frozenset({"neighbours", "pairs", "target_encoding"})


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


def evidence(view: CampaignView, change: Mapping[str, Any]) -> float:
    """What a change of parameters did elsewhere: +1 it helped a family, -1 it only failed to, 0 nobody knows."""
    signs = [sign for run, sign in _lessons(view) if all(run.get(name) == value for name, value in change.items())]
    return max(signs, default=0.0)


def _lessons(view: CampaignView) -> Iterator[tuple[dict[str, Any], float]]:
    """(what a run changed against its parent, whether that helped: +1, 0 or -1) of every run with a parent."""
    recipes = {recipe.family: recipe for recipe in catalog()}
    for run in view.experiments:
        parent = view.experiment(run.parent)
        recipe = recipes.get(run.family)
        if parent is None or recipe is None or parent.family != run.family or parent.score is None:
            continue
        before = recipe.merged(known(recipe, parent.params))
        after = recipe.merged(known(recipe, run.params))
        changed = {name: value for name, value in after.items() if before[name] != value}
        if changed and run.status in SCORED | {"killed"}:
            yield changed, _verdict(view, run, parent)


def _verdict(view: CampaignView, run: ExperimentView, parent: ExperimentView) -> float:
    """Whether a run beats its parent by more than the folds' scatter: +1, -1 when it is worse, else 0."""
    if run.score is None:
        return -1.0
    sign = 1.0 if view.spec.direction == "maximize" else -1.0
    gains = [sign * (run.fold_scores[k] - parent.fold_scores[k]) for k in run.fold_scores if k in parent.fold_scores]
    if len(gains) < 3:
        return 1.0 if quality(view, run) > quality(view, parent) else -1.0
    mean = sum(gains) / len(gains)
    error = math.sqrt(sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains))
    return 1.0 if mean > error else -1.0 if mean < 0 else 0.0


def carried(view: CampaignView, recipe: Recipe) -> dict[str, Any]:
    """Changes of the features that helped another family, as far as this one has them."""
    found: dict[str, Any] = {}
    for changed, sign in _lessons(view):
        for name in _FEATURE_PARAMS & set(changed) & set(recipe.params):
            if sign > 0 and changed[name] != recipe.params[name]:
                found[name] = changed[name]
    return dict(sorted(found.items()))
