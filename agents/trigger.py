"""The short message that starts a phase: what to read and write, where the campaign stands, what the engine found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backends.models.public import summary
from backends.models.tasks import CampaignView, Task
from experiments.logtext import shorten
from experiments.text import clean, one_line, score_text

HINTS = 8
HINT_PHASES = frozenset({"eda", "retro", "research", "plan", "revise"})
FACT_CHARS = 6_000
"""What one fact of the engine may take: of a profile or a traceback the rest is left out."""


def trigger(task: Task) -> str:
    """Paths, never contents of files; figures of the engine, which are in no file yet."""
    lines = [f"R{task.round:02d} {task.phase}.", _standing(task.view)]
    if task.inputs:
        lines.append(f"Read: {', '.join(task.inputs)}.")
    if task.outputs:
        lines.append(f"Write: {', '.join(f'rounds/{name}' for name in task.outputs)}.")
    lines += _hints(task)
    lines += _public(task)
    lines += _facts(task.facts)
    lines.append(f"Answer in one line, beginning with {' or '.join(task.answers)}.")
    return "\n".join(line for line in lines if line)


def _standing(view: CampaignView) -> str:
    spec = view.spec
    parts = [f"{spec.name}: {spec.task_type}, {spec.metric} ({spec.direction}), target {one_line(spec.target, 80)}"]
    champion, single = view.experiment(view.champion), view.experiment(view.best_single)
    if champion is not None:
        parts.append(f"champion {champion.id} {score_text(champion.score)}")
    if single is not None and single is not champion:
        parts.append(f"best single {single.id} {score_text(single.score)}")
    if view.rounds_left is not None:
        parts.append(f"{view.rounds_left} rounds left")
    if view.seconds_left is not None:
        parts.append(f"{max(view.seconds_left, 0) / 60:.0f} minutes left")
    return "; ".join(parts) + "."


def _hints(task: Task) -> Iterator[str]:
    if task.phase in HINT_PHASES and task.view.hints:
        yield "The owner says, newest last:"
        yield from (f"- {one_line(hint)}" for hint in task.view.hints[-HINTS:])


def _public(task: Task) -> Iterator[str]:
    """What the engine counted in public notebooks; in this program's own words alone."""
    if task.phase != "research" or not task.view.public:
        return
    new = [kernel for kernel in task.view.public if kernel.round == task.round]
    yield f"The engine read the code of {len(task.view.public)} public notebooks, {len(new)} of them anew."
    yield from summary(task.view.public)


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts.get("notes"):
        yield str(facts["notes"])
    if facts.get("reason"):
        yield f"The Reviewer said: {one_line(str(facts['reason']), 1_000)}"
    if "rulings" in facts:
        yield from _rulings(facts["rulings"])
    if facts.get("error"):
        yield f"It ended with: {one_line(str(facts['error']), 1_000)}"
    if facts.get("traceback"):
        # Its end says what went wrong.
        yield clean(str(facts["traceback"]))[-FACT_CHARS:]
    for name in ("result", "profile"):
        if facts.get(name):
            said = json.dumps(facts[name], ensure_ascii=False, default=str)
            yield f"The engine's {name}: {shorten(clean(said), FACT_CHARS)}"


def _rulings(rulings: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rulings:
        yield "No rule of LEARNINGS.md fired."
        return
    yield "Rules of LEARNINGS.md that fired:"
    yield from (f"- {ruling['verdict']} {ruling['rule']}: {one_line(ruling['reason'])}" for ruling in rulings)
