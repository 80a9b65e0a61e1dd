"""The playbook's retrospective: all rounds at once, what they teach together, and the next experiments worth most."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import yaml

from backends.models.playbook.answer import Answer, number, table
from backends.models.playbook.candidates import candidates, fits
from backends.models.playbook.gains import Estimate, expected_gain
from backends.models.playbook.lessons import SCORED, Lesson, lessons, quality
from backends.models.playbook.links import behind, by_change, cross_round_links, threshold, worth_another_look
from backends.models.playbook.returns import Returns, returns
from backends.models.tasks import CampaignView, ExperimentView, RetroIdea, Task
from experiments.retro import MOST_IDEAS
from experiments.text import gain_text

_LOOK_BACK = 10
_SHORT_LIST = 10
"""Candidates of the highest rank that the top five are chosen from."""
_SHOWN = 6
_EXHAUSTED = 3
"""Configurations of a family after which a learning may say that it stays behind; rule false-negatives may ask more."""


def retro(task: Task) -> Answer:
    """Write the retrospective, with its top five for people and for the program."""
    # What the last one named counts no more: this one weighs everything anew.
    view = replace(task.view, retro=None, top=())
    told = lessons(view)
    top = top_five(view, told)
    recent = returns(view, _LOOK_BACK)
    standing = f"champion {view.champion or 'none'}, best single {view.best_single or 'none'}"
    parts = [
        f"# Retrospective at round {task.round}",
        f"{len(view.experiments)} experiments, {standing}.",
        "## Families",
        _families(view),
        "## Across rounds",
        _list(cross_round_links(view, told), "Nothing across rounds that was not seen before."),
        "## Worth another look",
        _list(worth_another_look(view), "Nothing was lost on the way."),
        "## Diminishing returns",
        _diminishing(recent),
        "## Top five next",
        _top(top),
        _block([idea for idea, _, _ in top]),
    ]
    learned = list(learnings(view, told))
    if learned:
        parts += ["## Learnings", *(f"### {heading}\n\n{evidence}" for heading, evidence in learned)]
    return Answer("DONE", {task.outputs[0]: "\n\n".join(part for part in parts if part) + "\n"})


def top_five(view: CampaignView, told: Sequence[Lesson]) -> list[tuple[RetroIdea, str, str]]:
    """(what to try, why, what its expected gain rests on), by expected gain per minute.

    They are chosen from the candidates that rank highest: a cheap model that cannot win would lead otherwise.
    """
    fitting = [candidate for candidate in candidates(view) if fits(view, candidate.seconds)]
    fitting.sort(key=lambda c: (-c.rank, c.recipe.order, c.recipe.key(c.params)))
    found: list[tuple[float, RetroIdea, str, str]] = []
    for candidate in fitting[:_SHORT_LIST]:
        recipe, variant = candidate.recipe, candidate.variant
        change = {} if variant is None else variant.params
        gain: Estimate | None = expected_gain(view, told, recipe.family, change, candidate.parent)
        idea = RetroIdea(
            family=recipe.family,
            kind=candidate.kind,
            idea=recipe.idea if variant is None else variant.idea,
            parent=candidate.parent.id if candidate.parent is not None else None,
            params=dict(candidate.params),
            expected_gain=None if gain is None else gain.value,
            minutes=round(candidate.seconds / 60, 3),
        )
        rate = 0.0 if gain is None else gain.value / candidate.seconds
        found.append((rate, idea, candidate.why, "" if gain is None else gain.why))
    found.sort(key=lambda entry: -entry[0])
    return [(idea, why, rests) for _, idea, why, rests in found[:MOST_IDEAS]]


def learnings(view: CampaignView, told: Sequence[Lesson]) -> Iterator[tuple[str, str]]:
    """(heading, evidence) of what the registry supports by now; headings stay the same while figures change."""
    for (name, value), same in by_change(told).items():
        families = {lesson.run.family for lesson in same}
        helped = {lesson.run.family for lesson in same if lesson.sign > 0}
        failed = {lesson.run.family for lesson in same if lesson.sign < 0}
        listed = "; ".join(str(lesson) for lesson in same)
        if len(families) >= 2 and helped == families and not failed:
            gains = [lesson.gain for lesson in same if lesson.gain is not None]
            mean = gain_text(sum(gains) / len(gains)) if gains else "nothing"
            said = f"It helped {len(helped)} of {len(families)} families that had it, by {mean} on average: {listed}."
            yield f"{name} = {value} helps here", said
        elif len(families) >= 3 and failed == families and not helped:
            yield f"{name} = {value} does not help here", f"It helped none of {len(families)} families: {listed}."
    exhausted = list(_exhausted(view))
    if exhausted:
        names = [family for family, _ in exhausted]
        joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        verb = "stays" if len(names) == 1 else "stay"
        yield f"{joined} {verb} behind here", " ".join(said for _, said in exhausted)


def _exhausted(view: CampaignView) -> Iterator[tuple[str, str]]:
    """Families with enough distinct configurations, none of them near enough to the best for a blend."""
    limit = threshold(view)
    if limit is None:
        return
    needed = max(_EXHAUSTED, int(view.rules.get("false-negatives", {}).get("min_configurations", 0)))
    tried: dict[str, dict[str, ExperimentView]] = {}
    for run in view.experiments:
        if run.kind != "blend" and run.score is not None and run.status in SCORED and run.round is not None:
            tried.setdefault(run.family, {})[json.dumps(run.params, sort_keys=True, default=str)] = run
    for family in sorted(tried):
        runs = tried[family].values()
        best = max(runs, key=lambda run: quality(view, run))
        gap = behind(view, best)
        if len(runs) >= needed and gap > limit:
            yield (
                family,
                f"{family}: {len(runs)} configurations, none within {number(limit)} of {view.best_single}; "
                f"the best, {best.id}, is {number(gap)} behind.",
            )


def _families(view: CampaignView) -> str:
    counted = Counter(run.family for run in view.experiments)
    rows = []
    for family, count in counted.most_common():
        runs = [run for run in view.experiments if run.family == family]
        scored = [run for run in runs if run.score is not None]
        best = max(scored, key=lambda run: quality(view, run), default=None)
        seconds = sum(run.seconds for run in runs)
        kept = sum(run.status == "keep" for run in runs)
        rows.append((family, str(count), str(kept), number(best.score if best else None), f"{seconds:.0f}"))
    return table(("family", "experiments", "kept", "best cv", "seconds"), rows) if rows else "Nothing has run."


def _diminishing(recent: Returns | None) -> str:
    if recent is None:
        return "Too few rounds to tell."
    rate = f", {recent.a_minute:+.2g} a minute" if recent.a_minute is not None else ""
    rounds = f"{recent.rounds} round{'' if recent.rounds == 1 else 's'}"
    said = [
        f"The last {rounds} bought {gain_text(recent.bought)} in {recent.minutes:.1f} minutes{rate}; "
        f"{gain_text(recent.proved)} of it is above the noise and made a champion."
    ]
    if recent.by_rounds is None:
        said.append("Too few rounds to fit a curve.")
    else:
        said.append(f"At this pace the next {rounds} buy about {gain_text(recent.by_rounds)}")
        if recent.by_minutes is not None:
            said[-1] += f"; by the minutes they take, about {gain_text(recent.by_minutes)}"
        said[-1] += " (least squares of limit - drop / x^power through the best score so far)."
    return " ".join(said)


def _top(top: Sequence[tuple[RetroIdea, str, str]]) -> str:
    lines = []
    for place, (idea, why, rests) in enumerate(top, 1):
        minutes = idea.minutes or 0.0
        gain = "gain unknown" if idea.expected_gain is None else f"expected {gain_text(idea.expected_gain)} ({rests})"
        rate = ""
        if idea.expected_gain is not None and minutes > 0:
            rate = f", {idea.expected_gain / minutes:+.2g} a minute"
        start = f" on {idea.parent}" if idea.parent else ""
        lines.append(f"{place}. {idea.family}{start}: {idea.idea}. {gain}, {minutes:.1f} minutes{rate}. {why}")
    return "\n".join(lines) or "Every family has been tried with every change worth trying; blend what is there."


def _block(top: Sequence[RetroIdea]) -> str:
    """The same for the program."""
    if not top:
        return ""
    told = [{name: value for name, value in asdict(idea).items() if value not in (None, {}, "")} for idea in top]
    return f"```yaml\n{yaml.safe_dump({'next': told}, sort_keys=False, allow_unicode=True, width=1_000)}```"


def _list(lines: Sequence[str], nothing: str) -> str:
    shown = [f"- {line}" for line in lines[:_SHOWN]]
    if len(lines) > _SHOWN:
        shown.append(f"- {len(lines) - _SHOWN} more of the kind.")
    return "\n".join(shown) or f"- {nothing}"
