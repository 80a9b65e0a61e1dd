"""The phases of a round: who does them, what they write, what a sound answer looks like."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from backends.models.tasks import Phase, Role, Task
from experiments.plan import PlanError, parse_plan
from experiments.retro import RetroError, next_experiments

BRIEF_WORDS = 500


@dataclass(frozen=True)
class PhaseSpec:
    """One phase as the design has it.

    Attributes:
        outputs: Suffixes of the files in rounds/, e.g. ``plan.md`` for ``R07_plan.md``.
        answers: Words the one-line answer may begin with.
        reads: Suffixes of this round's files worth reading; of a retrospective the last one that there is.
    """

    role: Role
    outputs: tuple[str, ...]
    answers: tuple[str, ...]
    reads: tuple[str, ...] = ()


PHASES: Mapping[Phase, PhaseSpec] = {
    "eda": PhaseSpec("builder", ("eda.md",), ("DONE",)),
    "retro": PhaseSpec("reviewer", ("retro.md",), ("DONE",), ("retro.md",)),
    "research": PhaseSpec(
        "researcher", ("research_raw.md", "research_brief.md"), ("DONE",), ("retro.md", "scraped.txt")
    ),
    "plan": PhaseSpec("builder", ("plan.md",), ("DONE",), ("research_brief.md", "retro.md")),
    "review": PhaseSpec(
        "reviewer", ("review.md",), ("APPROVED", "REVISE"), ("plan.md", "research_brief.md", "retro.md")
    ),
    "revise": PhaseSpec("builder", ("plan.md",), ("REVISED",), ("plan.md", "review.md", "retro.md")),
    "code": PhaseSpec("builder", ("experiment.py",), ("CODED",), ("plan.md",)),
    "fix": PhaseSpec("builder", ("experiment.py",), ("CODED",), ("experiment.py", "run.log")),
    "findings": PhaseSpec("builder", ("findings.md",), ("DONE",), ("plan.md", "run.log")),
    "verify": PhaseSpec(
        "reviewer", ("verify.md",), ("APPROVED", "REJECT"), ("plan.md", "findings.md", "experiment.py")
    ),
}


def problem(task: Task, word: str, files: Mapping[str, str]) -> str:
    """What is wrong with a phase's answer, in one line; empty when nothing is.

    Args:
        task: What was asked.
        word: The word the answer began with; empty when a file is adopted without an answer.
        files: Text by file name.
    """
    for name in task.outputs:
        if not files.get(name, "").strip():
            return f"rounds/{name} was not written."
    if task.phase in ("plan", "revise"):
        return plan_problem(files[task.outputs[0]])
    if task.phase in ("code", "fix"):
        return code_problem(files[task.outputs[0]], task.outputs[0])
    if task.phase == "retro":
        return retro_problem(files[task.outputs[0]], task.outputs[0])
    if task.phase == "research":
        words = len(files[task.outputs[1]].split())
        if words > BRIEF_WORDS:
            return (
                f"rounds/{task.outputs[1]} has {words} words; the brief holds new findings only, under {BRIEF_WORDS}."
            )
    if task.phase in ("review", "verify"):
        said = opening_word(files[task.outputs[0]], task.answers)
        if not said:
            return f"the first line of rounds/{task.outputs[0]} must begin with {' or '.join(task.answers)}."
        if word and said != word:
            return f"the answer says {word}, the first line of rounds/{task.outputs[0]} says {said}."
    return ""


def opening_word(text: str, answers: tuple[str, ...]) -> str:
    """The verdict a file's first line begins with, or an empty string."""
    lines = text.strip().splitlines()
    first = lines[0].lstrip("*_`# ").upper() if lines else ""
    return next((word for word in answers if first.startswith(word)), "")


def plan_problem(text: str) -> str:
    """What is wrong with a plan file, or an empty string."""
    try:
        parse_plan(text)
    except PlanError as error:
        return str(error).replace("\n", " ")
    return ""


def retro_problem(text: str, name: str) -> str:
    """What is wrong with the block of a retrospective that the program reads, or an empty string."""
    try:
        next_experiments(text)
    except RetroError as error:
        return f"rounds/{name}: {' '.join(str(error).split())}"
    return ""


def code_problem(text: str, name: str) -> str:
    """What is wrong with an experiment file before it runs, or an empty string."""
    try:
        tree = ast.parse(text, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"rounds/{name} is not Python: {error}."
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "fit_predict":
            arguments = node.args
            if len(arguments.posonlyargs + arguments.args) == 4 or arguments.vararg:
                return ""
            return f"rounds/{name}: fit_predict takes (train, valid, test, ctx)."
    return f"rounds/{name} defines no function fit_predict(train, valid, test, ctx)."
