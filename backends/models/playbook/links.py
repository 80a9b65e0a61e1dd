"""What only shows across rounds: changes never carried over, pairs never blended, errors repeated, work given up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from backends.models.playbook.answer import number
from backends.models.playbook.lessons import FEATURE_PARAMS, SCORED, Lesson, known, quality
from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import catalog

_STRONG = 30
"""How many of the best single models are looked at pair by pair."""
_FAILED = frozenset({"crash", "invalid", "timeout"})
_NEAR = 1.5
"""A run that the gate ended by less than so many margins may have had bad luck."""


def cross_round_links(view: CampaignView, told: Sequence[Lesson]) -> list[str]:
    """Rounds that belong together, a sentence each, those that promise most first."""
    return [*_never_carried(view, told), *_never_blended(view), *_repeated_errors(view)]


def worth_another_look(view: CampaignView) -> list[str]:
    """Killed, discarded and crashed work with the figure why, a sentence each."""
    return [*_killed_narrowly(view), *_different(view), *_broken(view), *_single_configurations(view)]


def by_change(told: Sequence[Lesson]) -> Mapping[tuple[str, str], list[Lesson]]:
    """Lessons by (parameter, its new value) of the runs that changed nothing else."""
    found: dict[tuple[str, str], list[Lesson]] = {}
    for lesson in told:
        if len(lesson.changed) == 1:
            name, value = next(iter(lesson.changed.items()))
            found.setdefault((name, repr(value)), []).append(lesson)
    return found


def threshold(view: CampaignView) -> float | None:
    """How far behind the best single model a member of a blend may be, in units of the metric."""
    best = view.experiment(view.best_single)
    if best is None or best.score is None:
        return None
    rule = view.rules.get("diversity-threshold", {})
    if view.bounded:
        return float(rule.get("max_gap", 0.003))
    return float(rule.get("max_gap_share", 0.003)) * abs(best.score)


def behind(view: CampaignView, run: ExperimentView) -> float:
    """How far a run is behind the best single model; 0 without one."""
    best = view.experiment(view.best_single)
    return quality(view, best) - quality(view, run) if best is not None and best.score is not None else 0.0


def _never_carried(view: CampaignView, told: Sequence[Lesson]) -> Iterator[str]:
    """A change of the features that helped one family and that another one, which was tried, never had."""
    for lesson in told:
        for name in sorted(FEATURE_PARAMS & set(lesson.changed)):
            if lesson.sign <= 0:
                continue
            value = lesson.changed[name]
            without = []
            for recipe in catalog():
                runs = [run for run in view.experiments if run.family == recipe.family and run.kind != "blend"]
                if not runs or recipe.family == lesson.run.family or name not in recipe.params:
                    continue
                if not any(recipe.merged(known(recipe, run.params))[name] == value for run in runs):
                    without.append(f"{recipe.family} ({runs[-1].id})")
            if without:
                yield f"{name} = {value} helped {lesson} over {lesson.parent.id}; {', '.join(without)} never had it."


def _never_blended(view: CampaignView) -> Iterator[str]:
    """The least alike pair of strong models that no blend had both of."""
    limit = threshold(view)
    if limit is None:
        return
    strong = sorted((run for run in view.pool if run.score is not None), key=lambda run: -quality(view, run))
    strong = [run for run in strong[:_STRONG] if behind(view, run) <= limit]
    pairs = sorted(
        (view.correlations[one.id, other.id], one.id, other.id)
        for one, other in combinations(strong, 2)
        if (one.id, other.id) in view.correlations
    )
    blends = [{name for name, weight in run.members if weight} for run in view.experiments if run.kind == "blend"]
    for value, one, other in pairs:
        if not any({one, other} <= members for members in blends):
            yield (
                f"{_named(view, one)} and {_named(view, other)} correlate at {value:.4f}, both within "
                f"{number(limit)} of the best: no blend had them together."
            )
            return


def _named(view: CampaignView, name: str) -> str:
    run = view.experiment(name)
    return name if run is None else f"{name} ({run.family})"


def _repeated_errors(view: CampaignView) -> Iterator[str]:
    """The same error in two rounds."""
    seen: dict[str, list[ExperimentView]] = {}
    for run in view.experiments:
        outcome = view.outcomes.get(run.id)
        if run.status in _FAILED and outcome is not None and outcome.reason:
            seen.setdefault(_error(outcome.reason), []).append(run)
    for error, runs in seen.items():
        if len(runs) > 1:
            yield f"{runs[0].id} and {', '.join(run.id for run in runs[1:])} ended alike: {error[:160]}."


def _error(reason: str) -> str:
    """An error without what differs from run to run: the fold and its numbers."""
    return re.sub(r"\d+(?:\.\d+)?", "…", re.sub(r"^fold \d+: ", "", " ".join(reason.split()))).rstrip(".")


def _killed_narrowly(view: CampaignView) -> Iterator[str]:
    for run in view.experiments:
        outcome = view.outcomes.get(run.id)
        if run.status != "killed" or outcome is None or outcome.gate is None:
            continue
        gap, margin = outcome.gate
        if margin > 0 and gap < _NEAR * margin:
            yield (
                f"{run.id} {run.family}: killed on fold 1, {number(gap)} behind at a margin of {number(margin)} "
                f"({gap / margin:.2f} margins): bad luck on one fold is that large."
            )


def _different(view: CampaignView) -> Iterator[str]:
    """Of what was discarded the least alike to the best single model: a blend may want it."""
    best = view.experiment(view.best_single)
    if best is None:
        return
    values = view.correlations_of(best.id)
    lost = [run for run in view.pool if run.status == "discard" and run.id in values]
    for run in sorted(lost, key=lambda run: values[run.id])[:2]:
        yield (
            f"{run.id} {run.family}: discarded {number(behind(view, run))} behind, yet of all that was it is among the "
            f"least like {best.id} (correlation {values[run.id]:.4f})."
        )


def _broken(view: CampaignView) -> Iterator[str]:
    """What broke and was never mended: no later run of its family has a score."""
    for place, run in enumerate(view.experiments):
        if run.status not in _FAILED:
            continue
        later = view.experiments[place + 1 :]
        if not any(other.family == run.family and other.score is not None for other in later):
            outcome = view.outcomes.get(run.id)
            why = f": {outcome.reason[:160]}" if outcome is not None and outcome.reason else ""
            yield f"{run.id} {run.family}: {run.status} after {run.seconds:.0f} s, never mended{why}"


def _single_configurations(view: CampaignView) -> Iterator[str]:
    """Families that were given up after one configuration, which proves nothing."""
    tried: dict[str, list[ExperimentView]] = {}
    for run in view.experiments:
        if run.kind != "blend" and run.status in SCORED | {"killed"}:
            tried.setdefault(run.family, []).append(run)
    for family, runs in tried.items():
        lost = runs[0].score is None or behind(view, runs[0]) > (threshold(view) or 0.0)
        if len(runs) == 1 and runs[0].status in ("discard", "killed") and lost:
            yield f"{runs[0].id} {family}: {runs[0].status}, and the one configuration of its family: no proof."
