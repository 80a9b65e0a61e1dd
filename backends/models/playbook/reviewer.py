"""The playbook's Reviewer: six checks before a run, a verdict after it, a brief for its successor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from backends.models.playbook.answer import Answer, number
from backends.models.playbook.checks import Check, six_checks
from backends.models.playbook.researcher import untried
from backends.models.playbook.strategy import propose
from backends.models.tasks import CampaignView, Task
from experiments.figures import figures_text

_MANY = 3
"""Checks that must fail before a plan that breaks no rule is sent back, and only for one that fails fewer."""


def review(task: Task) -> Answer:
    """Answer the six questions from the registry; rules that block decide, many failed checks ask for a better plan."""
    view = task.view
    plan: Mapping[str, Any] = task.facts["plan"]
    rulings: Sequence[Mapping[str, Any]] = task.facts["rulings"]
    findings: Sequence[str] = task.facts.get("findings", ())
    checks = six_checks(view, plan, findings)
    blocked = [ruling for ruling in rulings if ruling["verdict"] == "block"]
    better = "" if blocked else _better(view, plan, checks, findings)
    verdict = "APPROVED"
    if blocked:
        verdict = f"REVISE: {blocked[0]['rule']}: {blocked[0]['reason']}"
    elif better:
        failed = ", ".join(check.name.lower() for check in checks if not check.passed)
        verdict = f"REVISE: {sum(not check.passed for check in checks)} of 6 checks fail ({failed}); {better}"
    verdict = " ".join(verdict.split())
    lines = [f"{place}. {check}" for place, check in enumerate(checks, 1)]
    text = "\n".join([verdict, "", "## Six checks", "", *lines, "", "## Rules", "", *_fired(rulings)])
    return Answer(verdict, {task.outputs[0]: text + "\n"})


def _better(view: CampaignView, plan: Mapping[str, Any], checks: Sequence[Check], findings: Sequence[str]) -> str:
    """A plan that fails fewer checks, in a few words; empty when the plan may pass or there is none."""
    failed = sum(not check.passed for check in checks)
    if failed < _MANY:
        return ""
    other = propose(view, avoid=((plan["family"], plan.get("params") or {}),))
    if other.kind == "stop":
        return ""
    instead = six_checks(view, asdict(other), findings)
    fails = sum(not check.passed for check in instead)
    return f"{other.family} ({other.idea}) would fail {fails or 'none'}" if fails < failed else ""


def _fired(rulings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rules that fired, each with its figures."""
    lines = []
    for ruling in rulings:
        figures = figures_text(ruling["rule"], ruling.get("figures"))
        lines.append(
            f"- {ruling['rule']} ({ruling['verdict']}): {ruling['reason']}{f' [{figures}]' if figures else ''}"
        )
    return lines or ["- None fired."]


def verify(task: Task) -> Answer:
    """Judge the result; a veto only stops the submission."""
    result: Mapping[str, Any] = task.facts["result"]
    scores = list(result["fold_scores"].values())
    problem = ""
    if result["status"] != "keep":
        problem = "no gain over the noise" if result["status"] == "discard" else f"it ended as {result['status']}"
    elif (
        task.view.spec.metric in ("roc_auc", "accuracy", "r2")
        and result["score"] is not None
        and result["score"] >= 0.99999
    ):
        problem = "a score this good smells of leakage; look at the features first"
    verdict = f"REJECT: {' '.join(problem.split())}" if problem else "APPROVED"
    spread = f"{min(scores):.5f} to {max(scores):.5f}" if scores else "none"
    text = (
        f"{verdict}\n\n{result['id']}: {result['status']}, cv {number(result['score'])}, folds {spread}.\n\n"
        + "\n".join(_fired(task.facts["rulings"]))
        + "\n"
    )
    return Answer(verdict, {task.outputs[0]: text})


def handover(task: Task) -> Answer:
    """The brief a role leaves for its successor, all of it from the registry."""
    view = task.view
    tried = Counter(e.family for e in view.experiments)
    families = ", ".join(f"{family} ×{count}" for family, count in tried.most_common()) or "nothing"
    champion = view.experiment(view.champion)
    leads = f"{champion.id} leads with {number(champion.score)}" if champion else "no champion yet"
    fresh = ", ".join(untried(view)) or "no family"
    brief = f"Tried: {families}. {leads[0].upper()}{leads[1:]}. Untried: {fresh}.\n"
    return Answer("DONE", dict.fromkeys(task.outputs, brief))
