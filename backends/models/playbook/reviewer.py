"""The playbook's Reviewer: six checks before a run, a verdict after it, a retrospective every ten rounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from backends.models.playbook.answer import Answer, number, table
from backends.models.playbook.researcher import untried
from backends.models.tasks import CampaignView, ExperimentView, Task

Check = tuple[str, bool, str]


def review(task: Task) -> Answer:
    """Answer the six questions from the registry; rules that block decide."""
    plan: Mapping[str, Any] = task.facts["plan"]
    rulings: Sequence[Mapping[str, Any]] = task.facts["rulings"]
    checks = six_checks(task.view, plan)
    blocked = [ruling for ruling in rulings if ruling["verdict"] == "block"]
    verdict = f"REVISE: {blocked[0]['rule']}: {blocked[0]['reason']}" if blocked else "APPROVED"
    verdict = " ".join(verdict.split())
    lines = [
        f"{place}. {'✓' if passed else '✗'} {name}: {said}" for place, (name, passed, said) in enumerate(checks, 1)
    ]
    fired = [f"- {ruling['rule']} ({ruling['verdict']}): {ruling['reason']}" for ruling in rulings]
    text = "\n".join([verdict, "", "## Six checks", "", *lines, "", "## Rules", "", *(fired or ["- None fired."])])
    return Answer(verdict, {task.outputs[0]: text + "\n"})


def six_checks(view: CampaignView, plan: Mapping[str, Any]) -> list[Check]:
    """(name, passed, why) of diversity, contradiction, narrow search, untried family, bold moves, return on time."""
    family, kind = plan["family"], plan["kind"]
    same = [e for e in view.experiments if e.family == family]
    recent = [e.family for e in view.experiments if e.kind != "blend"][-3:]
    fresh = [name for name in untried(view) if name != family]
    minutes = plan.get("minutes")
    left = view.seconds_left
    affordable = minutes is None or left is None or minutes * 60 <= left
    bad = [e for e in same if e.status in ("crash", "timeout", "invalid", "killed")]
    return [
        ("Diversity", kind == "blend" or len(same) < 3, f"{len(same)} earlier experiments of {family}."),
        ("Contradiction", len(bad) < 2, f"{len(bad)} of them ended without a useful result."),
        (
            "Narrow search",
            kind == "blend" or len(recent) < 3 or set(recent) != {family},
            f"last families: {', '.join(recent) or 'none'}.",
        ),
        ("Untried family", kind == "blend" or not same or not fresh, f"untried: {', '.join(fresh) or 'none'}."),
        (
            "Bold moves",
            kind != "tune" or bool(fresh) is False,
            "a tuning round while families are untried."
            if kind == "tune" and fresh
            else "nothing bolder is being avoided.",
        ),
        (
            "Return on time",
            affordable,
            f"{'–' if minutes is None else f'{minutes:.1f}'} minutes planned, "
            f"{'no limit' if left is None else f'{left / 60:.1f} minutes left'}.",
        ),
    ]


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
    fired = [f"- {r['rule']} ({r['verdict']}): {r['reason']}" for r in task.facts["rulings"]]
    text = (
        f"{verdict}\n\n{result['id']}: {result['status']}, cv {number(result['score'])}, folds {spread}.\n\n"
        + "\n".join(fired or ["- No rule fired."])
        + "\n"
    )
    return Answer(verdict, {task.outputs[0]: text})


def retro(task: Task) -> Answer:
    """Look at the whole campaign and name the top five next experiments."""
    view = task.view
    scored = [e for e in view.experiments if e.score is not None and e.in_pool]
    best = sorted(scored, key=lambda e: e.score or 0.0, reverse=view.spec.direction == "maximize")
    families = Counter(e.family for e in view.experiments)
    rows = [
        (
            family,
            str(count),
            number(_best_of(best, family)),
            f"{sum(e.seconds for e in view.experiments if e.family == family):.0f}",
        )
        for family, count in families.most_common()
    ]
    again = [e for e in view.experiments if e.status in ("killed", "crash", "timeout", "invalid")]
    single = [e.family for e in view.experiments if families[e.family] == 1 and e.status in ("killed", "discard")]
    steps = [f"Try {family}: nobody has." for family in untried(view)]
    steps += [f"Give {family} a second, distinct configuration: one is no proof." for family in dict.fromkeys(single)]
    steps += [f"Repair {e.id} ({e.family}): it ended as {e.status}." for e in again]
    steps += [f"Carry the features of {best[0].id} over to another family."] if best else []
    steps += ["Blend the pool again once something new is in it."]
    text = f"""# Retrospective at round {task.round}

{len(view.experiments)} experiments, champion {view.champion or "none"}, best single {view.best_single or "none"}.

## Families

{table(("family", "experiments", "best cv", "seconds"), rows) if rows else "Nothing has run."}

## Worth another look

{chr(10).join(f"- {e.id} {e.family}: {e.status} ({e.idea})" for e in again[-8:]) or "- Nothing was lost on the way."}

## Top five next

{chr(10).join(f"{place}. {step}" for place, step in enumerate(steps[:5], 1))}
"""
    return Answer("DONE", {task.outputs[0]: text})


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


def _best_of(best: Sequence[ExperimentView], family: str) -> float | None:
    return next((e.score for e in best if e.family == family), None)
