"""The six questions that the playbook's Reviewer asks of a plan, answered from the registry with figures and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.models.playbook.answer import number
from backends.models.playbook.candidates import estimated_seconds, fits, owners_wishes
from backends.models.playbook.gains import expected_gain
from backends.models.playbook.lessons import SCORED, Lesson, change_of, lessons, quality
from backends.models.playbook.links import behind, threshold
from backends.models.playbook.researcher import untried
from backends.models.playbook.returns import returns
from backends.models.tasks import CampaignView, ExperimentView
from experiments.recipes.catalog import Recipe, catalog
from experiments.text import gain_text, one_line

_RECENT = 5
_NARROW = 2
"""Rounds in a row of one family after which another one of it is narrow."""
_LEAST_RATE = 0.25
"""A plan that promises less than this share of what a minute of the last rounds bought is a poor return."""
_SHORT = frozenset({"with", "from", "that", "this", "than", "have", "more", "over", "their", "into", "what", "when"})


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    passed: bool
    said: str

    def __str__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.name}: {self.said}"


@dataclass(frozen=True)
class _Case:
    """A plan before the registry.

    Attributes:
        family: Earlier runs of the plan's family, oldest first.
        recipe: Of the family, or None when a model made it up.
        seconds: What it would take, or None when nobody can tell.
        findings: Of the last research brief.
    """

    view: CampaignView
    plan: Mapping[str, Any]
    told: tuple[Lesson, ...]
    family: tuple[ExperimentView, ...]
    recipe: Recipe | None
    seconds: float | None
    findings: Sequence[str]

    @property
    def blend(self) -> bool:
        return bool(self.plan["kind"] == "blend")

    @property
    def name(self) -> str:
        return str(self.plan["family"])

    @property
    def parent(self) -> ExperimentView | None:
        """What it starts from: a run of its family that the plan names, else the family's best."""
        parent = self.view.experiment(self.plan.get("parent"))
        if parent is not None and parent.family == self.name:
            return parent
        scored = [run for run in self.family if run.score is not None and run.status in SCORED]
        return max(scored, key=lambda run: quality(self.view, run), default=None)

    @property
    def change(self) -> dict[str, Any]:
        """What the plan changes against its parent."""
        parent = self.parent
        if parent is None:
            return {}
        return change_of(self.name, parent.params, self.plan.get("params") or {})


def six_checks(view: CampaignView, plan: Mapping[str, Any], findings: Sequence[str] = ()) -> tuple[Check, ...]:
    """Diversity, contradiction, narrow search, untried family, bold moves, return on time: all of this very plan.

    Args:
        plan: The front matter's values.
        findings: Of the last research brief, a line each.
    """
    recipe = next((recipe for recipe in catalog() if recipe.family == plan["family"]), None)
    minutes = plan.get("minutes")
    seconds = minutes * 60 if minutes else None
    if recipe is not None and plan["kind"] != "blend":
        # A plan's minutes are an allowance; what the family took here says more.
        seconds = estimated_seconds(view, recipe, plan.get("params") or {})
    family = tuple(run for run in view.experiments if run.family == plan["family"] and run.kind != "blend")
    case = _Case(view, plan, lessons(view), family, recipe, seconds, findings)
    return (
        _diversity(case),
        _contradiction(case),
        _narrow(case),
        _untried(case),
        _bold(case),
        _return(case),
    )


def _diversity(case: _Case) -> Check:
    """How alike the family's predictions in the pool are to others."""
    view = case.view
    limit = float(view.rules.get("stacking-correlation", {}).get("max_correlation", 0.995))
    if case.blend:
        return _diversity_of_a_blend(case, limit)
    best = view.experiment(view.best_single)
    mine = [run for run in case.family if run.in_pool and best is not None and run.id != best.id]
    if best is None or not any(run.in_pool for run in case.family):
        return Check("Diversity", True, f"no prediction of {case.name} is in the pool yet.")
    if not mine:
        near = max(
            ((value, other) for other, value in view.correlations_of(best.id).items() if other != best.id),
            default=None,
        )
        beside = "" if near is None else f"; nearest to it is {near[1]} ({near[0]:.4f})"
        return Check(
            "Diversity", True, f"of {case.name} only {best.id}, the best single model, is in the pool{beside}."
        )
    values = [(view.correlations.get((run.id, best.id)), run.id) for run in mine]
    known = sorted(((value, name) for value, name in values if value is not None), reverse=True)
    if not known:
        return Check("Diversity", True, f"how alike {case.name} is to {best.id} is not known.")
    lowest, least = known[-1]
    if lowest > limit:
        said = f"all {len(known)} predictions" if len(known) > 1 else "the one prediction"
        return Check(
            "Diversity",
            False,
            f"{said} of {case.name} beside {best.id} correlate with it above {limit:g} "
            f"({', '.join(f'{name} {value:.4f}' for value, name in known[:3])}): another one adds little to a blend.",
        )
    return Check(
        "Diversity", True, f"of {case.name}, {least} is least like {best.id} ({lowest:.4f}, {limit:g} is a copy)."
    )


def _diversity_of_a_blend(case: _Case, limit: float) -> Check:
    view = case.view
    members = list(case.plan.get("members") or ())
    if not members:
        lowest = view.lowest_correlation
    else:
        pairs = [(one, other) for place, one in enumerate(members) for other in members[place + 1 :]]
        lowest = min((view.correlations[pair] for pair in pairs if pair in view.correlations), default=None)
    if lowest is None:
        return Check("Diversity", True, "how alike its members are is not known.")
    said = f"the least alike of {len(members) or len(view.pool)} members correlate at {lowest:.4f}"
    return Check(
        "Diversity", lowest <= limit, f"{said}{'' if lowest <= limit else f', above {limit:g}: all are copies'}."
    )


def _contradiction(case: _Case) -> Check:
    """Whether an earlier experiment already speaks against the plan."""
    view = case.view
    if case.blend:
        return _contradiction_of_a_blend(case)
    change = case.change
    same = [lesson for lesson in case.told if lesson.holds(change)]
    against = [lesson for lesson in same if lesson.sign < 0]
    listed = ", ".join(f"{name} = {value}" for name, value in change.items())
    if against and not any(lesson.sign > 0 for lesson in same):
        return Check("Contradiction", False, f"{listed} failed before: {'; '.join(map(str, against[-3:]))}.")
    ended = [run for run in case.family if run.status != "running"]
    useless = [run for run in ended if run.score is None]
    if len(ended) >= 2 and len(useless) == len(ended):
        each = ", ".join(f"{run.id} {run.status}" for run in useless[-4:])
        return Check("Contradiction", False, f"no run of {case.name} came to a score: {each}.")
    scored = [run for run in ended if run.score is not None and run.status in SCORED]
    limit = threshold(view)
    if limit is not None and len(scored) >= 2 and not same:
        best = max(scored, key=lambda run: quality(view, run))
        gap = behind(view, best)
        if gap > 3 * limit:
            return Check(
                "Contradiction",
                False,
                f"the best of {len(scored)} scored runs of {case.name}, {best.id}, is {number(gap)} behind "
                f"{view.best_single}; {number(limit)} is what a blend forgives.",
            )
    if same:
        return Check("Contradiction", True, f"{listed}: {'; '.join(map(str, same[-3:]))}.")
    spoken = f"{len(scored)} of {len(ended)} runs of {case.name} have a score" if ended else f"{case.name} never ran"
    return Check("Contradiction", True, f"{spoken}; nothing tried so far speaks against it.")


def _contradiction_of_a_blend(case: _Case) -> Check:
    view, members = case.view, set(case.plan.get("members") or ())
    for place in range(len(view.experiments) - 1, -1, -1):
        blend = view.experiments[place]
        if blend.kind != "blend" or blend.status == "running":
            continue
        fresh = [run for run in view.experiments[place + 1 :] if run.in_pool and run.kind != "blend"]
        if members and {name for name, _ in blend.members} == members:
            return Check("Contradiction", False, f"{blend.id} was the blend of these members ({blend.status}).")
        if not members:
            return Check(
                "Contradiction", bool(fresh), f"{len(fresh)} predictions joined since {blend.id} ({blend.status})."
            )
    return Check("Contradiction", True, "there was no blend like it.")


def _narrow(case: _Case) -> Check:
    """Families of the last rounds, and the share of the campaign's time that went into this one."""
    played = [run for run in case.view.experiments if run.round is not None and run.round != case.view.round]
    recent = [run.family for run in played[-_RECENT:]]
    total = sum(run.seconds for run in played)
    share = sum(run.seconds for run in case.family if run.round is not None) / total if total > 0 else 0.0
    running = 0
    for run in reversed(played):
        if run.family != case.name:
            break
        running += 1
    said = (
        f"the last rounds were {', '.join(recent) or 'none'}; {case.name} took {share:.0%} of the time "
        f"({len(case.family)} of {len(played)} rounds)."
    )
    if case.blend:
        return Check(
            "Narrow search", True, f"the last rounds were {', '.join(recent) or 'none'}; a blend breaks the row."
        )
    crowded = len(case.family) >= 3 and share > 0.5 and len({run.family for run in played}) > 1
    return Check("Narrow search", running < _NARROW and not crowded, said)


def _untried(case: _Case) -> Check:
    """Families that nobody has tried, with what each would cost."""
    view = case.view
    _, bans = owners_wishes(view)
    named = {recipe.family: recipe for recipe in catalog()}
    fresh = [(name, estimated_seconds(view, named[name], {})) for name in untried(view) if name not in bans]
    others = [(name, seconds) for name, seconds in fresh if name != case.name]
    if not case.blend and not case.family:
        return Check("Untried family", True, f"{case.name} is one; {_costs(others, 'beside it')}.")
    affordable = [name for name, seconds in others if fits(view, seconds)]
    return Check("Untried family", case.blend or not affordable, f"{_costs(others, 'untried')}.")


def _costs(families: Sequence[tuple[str, float]], what: str) -> str:
    listed = ", ".join(f"{name} (about {_duration(seconds)})" for name, seconds in families)
    return f"{what}: {listed or 'none'}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _bold(case: _Case) -> Check:
    """Whether the plan passes over something bolder: a hint of the owner, the retrospective's top five, the brief."""
    view, plan = case.view, case.plan
    wishes, _ = owners_wishes(view)
    ran = {run.family for run in view.experiments}
    asked = sorted(name for name in wishes if name not in ran and name != case.name)
    mine = _words([plan.get("idea", ""), plan.get("hypothesis", ""), case.name, *map(str, plan.get("params") or ())])
    done = _words(part for run in view.experiments for part in (run.idea, run.family, *map(str, run.params)))
    named = {name.lower() for recipe in catalog() for name in (recipe.family, recipe.label)}
    hints = [
        hint
        for hint in view.hints
        if _words([hint]) and not _words([hint]) & (mine | done) and not any(name in hint.lower() for name in named)
    ]
    waiting = [f"the owner asked for {name}" for name in asked]
    waiting += [f"nobody followed the owner's hint “{one_line(hint, 60)}”" for hint in hints[-2:]]
    ignored = bool(waiting) and not case.blend
    if plan["kind"] == "tune":
        since = [run for run in view.experiments if run.round is not None and run.round >= (view.retro or 0)]
        top = [idea for idea in view.top if idea.kind == "model" and idea.family != case.name]
        top = [idea for idea in top if not any(run.family == idea.family for run in since)]
        waiting += [
            f"R{view.retro or 0:02d}'s retro names {idea.family} {one_line(idea.idea, 60)}".rstrip() for idea in top
        ]
        waiting += [f"{name} is untried" for name in untried(view)[:2] if name not in asked]
        waiting += [
            f"the brief has “{one_line(line, 80)}”" for line in case.findings if len(_words([line]) & (mine | done)) < 2
        ][:2]
    if not waiting:
        return Check("Bold moves", True, "no hint, no retrospective and no brief names anything bolder that waits.")
    bold = plan["kind"] == "model" and not ignored
    said = "; ".join(waiting[:4])
    return Check("Bold moves", bold or case.blend, f"{said}.")


def _words(texts: Iterable[str]) -> set[str]:
    """The words of texts that mean something: four letters at least, without their plural s."""
    found = {word.rstrip("s") for text in texts for word in re.findall(r"[a-zA-Z]{4,}", text.lower().replace("_", " "))}
    return found - _SHORT


def _return(case: _Case) -> Check:
    """Expected gain per minute against what a minute of the last rounds bought, and whether it fits the time left."""
    view = case.view
    takes = "no telling how long" if case.seconds is None else f"about {_duration(case.seconds)}"
    if case.blend:
        takes = "the engine's moment"
    left = "no limit" if view.seconds_left is None else f"{_duration(view.seconds_left)} left"
    if case.seconds is not None and not fits(view, case.seconds):
        return Check("Return on time", False, f"{takes}, {left}: it cannot be finished.")
    gain = case.plan.get("expected_gain")
    why = "as planned"
    if gain is None and not case.blend:
        estimate = expected_gain(view, case.told, case.name, case.change, case.parent)
        gain, why = (None, "") if estimate is None else (estimate.value, estimate.why)
    if gain is None:
        return Check("Return on time", True, f"{takes}, {left}; there is nothing to gain over yet.")
    if gain <= 0:
        return Check("Return on time", False, f"it expects no gain ({gain_text(gain)}); {takes}, {left}.")
    said = f"{gain_text(gain)} expected ({why}) for {takes}, {left}"
    recent = returns(view, _RECENT)
    bought = None if recent is None else recent.a_minute
    if recent is None or bought is None or case.seconds is None:
        return Check("Return on time", True, f"{said}.")
    rate = gain / max(case.seconds / 60, 1e-9)
    said += f": {rate:+.2g} a minute; the last {recent.rounds} rounds bought {bought:+.2g} a minute"
    return Check("Return on time", rate >= _LEAST_RATE * bought, f"{said}.")
