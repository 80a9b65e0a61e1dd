"""The playbook's Builder: plans from the registry, code from the recipes, findings from the figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backends.models.playbook.answer import Answer, number, table
from backends.models.playbook.lessons import known
from backends.models.playbook.strategy import Proposal, propose
from backends.models.tasks import CampaignView, Task
from experiments.plan import Plan, PlanHeader
from experiments.recipes.catalog import Recipe, catalog


def eda(task: Task) -> Answer:
    """Write the EDA report from the engine's profile of the data."""
    profile: Mapping[str, Any] = task.facts["profile"]
    spec = task.view.spec
    columns = [
        (
            column["name"],
            column["role"],
            f"{column['unique']:,}",
            f"{column['missing']:.1%}",
            f"{column['missing_test']:.1%}",
            column["summary"],
            column["association"],
        )
        for column in profile["columns"]
    ]
    warnings = "\n".join(f"- {line}" for line in profile["warnings"]) or "- None."
    text = f"""# EDA of {spec.name}

{spec.task_type}, metric {spec.metric} ({spec.direction}), target `{spec.target}`,
{spec.cv_folds} folds ({spec.cv_strategy}).

- {profile["rows"]:,} training rows, {profile["test_rows"]:,} test rows, {len(columns)} features.
- Target: {profile["target"]}
- Duplicate feature rows in train: {profile["duplicates"]:,}.

## Columns

{table(("column", "role", "levels", "missing", "missing in test", "values", "link with target"), columns)}

## Worth knowing

{warnings}
"""
    return Answer("DONE", {task.outputs[0]: text})


def plan(task: Task) -> Answer:
    """Write the plan of the round."""
    return Answer("DONE", {task.outputs[0]: _plan_text(propose(task.view))})


def revise(task: Task) -> Answer:
    """Write another plan in place of the one that was sent back."""
    sent_back: Mapping[str, Any] = task.facts["plan"]
    proposal = propose(task.view, avoid=((sent_back["family"], sent_back.get("params", {})),))
    return Answer("REVISED", {task.outputs[0]: _plan_text(proposal)})


def alternative(view: CampaignView, blocked: PlanHeader) -> str:
    """The text of a playbook plan in the place of one that the rules block."""
    return _plan_text(propose(view, avoid=((blocked.family, blocked.params),)))


def code(task: Task) -> Answer:
    """Render the recipe that the plan names; of a plan that a model made, with the parameters that the recipe has."""
    header = task.facts["plan"]
    recipe = _recipe(header["family"])
    return Answer("CODED", {task.outputs[0]: recipe.render(known(recipe, header.get("params", {})))})


def fix(task: Task) -> Answer:
    """After a crash: the recipe's own defaults. The same code again means that nothing is left to try."""
    return Answer("CODED", {task.outputs[0]: _recipe(task.facts["plan"]["family"]).render({})})


def findings(task: Task) -> Answer:
    """Write what the round taught."""
    result: Mapping[str, Any] = task.facts["result"]
    header: Mapping[str, Any] = task.facts["plan"]
    folds = [(str(fold + 1), number(score)) for fold, score in sorted(result["fold_scores"].items())]
    closest = result.get("closest")
    near = "Nothing in the pool to compare with."
    if closest:
        near = f"Closest in the pool: {closest[0]} (correlation {closest[1]:.5f})."
    why_not = result["reason"] or result["status"]
    advice = "submit" if result["status"] == "keep" else f"do not submit ({why_not})"
    text = f"""# Findings of {result["id"]}

Expected: {header["hypothesis"]}

Happened: {_happened(result)}

{table(("fold", "score"), folds) if folds else "No fold was finished."}

{near}

Recommendation: {advice}.
"""
    return Answer("DONE", {task.outputs[0]: text})


def _happened(result: Mapping[str, Any]) -> str:
    said = f"{result['status']}, cv {number(result['score'])} in {result['seconds']:.0f} s."
    if result.get("gain") is not None:
        noise = f", t = {result['t']:.2f}" if result.get("t") is not None else ""
        said += f" Gain over {result['against']}: {result['gain']:+.5f}{noise}."
    return f"{said} {result['reason']}".strip()


def _recipe(family: str) -> Recipe:
    return next((recipe for recipe in catalog() if recipe.family == family), catalog()[0])


def _plan_text(proposal: Proposal) -> str:
    header = PlanHeader(
        kind=proposal.kind,
        family=proposal.family,
        hypothesis=proposal.hypothesis,
        parent=proposal.parent,
        idea=proposal.idea,
        expected_gain=proposal.expected_gain,
        members=proposal.members,
        minutes=proposal.minutes,
        params=dict(proposal.params),
    )
    body = f"# {proposal.idea}\n\nWhy this, now: {proposal.reason}\n"
    if proposal.kind in ("model", "tune"):
        recipe = _recipe(proposal.family)
        body += f"\n## Specification\n\n{recipe.label}: {recipe.idea}\n"
        changes = [(name, repr(value)) for name, value in sorted(proposal.params.items())]
        if changes:
            body += f"\n{table(('parameter', 'value'), changes)}\n"
    elif proposal.kind == "blend":
        body += (
            "\n## Specification\n\nThe engine fits a weighted mean over "
            f"{', '.join(proposal.members) if proposal.members else 'the pool'}, selection and weights cross-fitted "
            "over the folds.\n"
        )
    return Plan(header, body).dump()
