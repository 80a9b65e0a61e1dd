"""The playbook's Researcher: what the registry shows that nobody has followed up yet."""

from __future__ import annotations

import math

from backends.models.playbook.answer import Answer, number, table
from backends.models.playbook.notebooks import public_findings, public_tables
from backends.models.tasks import CampaignView, Task
from experiments.recipes.catalog import catalog
from experiments.text import one_line

BEST = 50
LATEST = 50


def research(task: Task) -> Answer:
    """Write the raw findings and the brief of a round."""
    raw, brief = task.outputs
    view = task.view
    findings = [*_findings(view), *public_findings(view)]
    text = "\n".join(f"- {line}" for line in findings) or "- Nothing new since the last brief."
    sources = "the registry of this campaign" + (", and public notebooks" if view.public else " (offline)")
    parts = [f"# Raw findings\n\nSource: {sources}.", _standing(view), public_tables(view)]
    return Answer(
        "DONE",
        {
            raw: "\n\n".join(part for part in parts if part) + "\n",
            brief: f"# New findings\n\n{text}\n",
        },
    )


def untried(view: CampaignView) -> list[str]:
    """Families of the catalogue without an experiment, in catalogue order."""
    seen = {experiment.family for experiment in view.experiments}
    return [recipe.family for recipe in catalog() if recipe.family not in seen and view.spec.task_type in recipe.tasks]


def _findings(view: CampaignView) -> list[str]:
    found: list[str] = []
    for hint in view.hints[-3:]:
        found.append(f"The owner says: {hint}")
    data = view.data
    if not view.experiments:
        found += _data_findings(view)
    fresh = untried(view)
    if fresh:
        found.append(
            f"Families nobody has tried: {', '.join(fresh)}. A new family is worth more to a blend than a tuned one."
        )
    last = view.experiments[-1] if view.experiments else None
    if last is not None:
        verdict = f"{last.id} ({last.family}) ended as {last.status}"
        found.append(f"{verdict} with {number(last.score)}." if last.score is not None else f"{verdict}.")
        partners = [(value, other) for other, value in view.correlations_of(last.id).items() if last.in_pool]
        if partners:
            value, other = min(partners)
            found.append(
                f"{last.id} differs most from {other} (correlation {value:.4f}): that pair is where a blend can gain."
            )
    failed = [e.id for e in view.experiments if e.status in ("crash", "timeout", "invalid")]
    if failed:
        found.append(f"Without a result so far: {', '.join(failed[-5:])}; a fixed script counts as a new experiment.")
    if data.n_text and not any(e.params.get("text") for e in view.experiments):
        found.append("Text columns have not been used by any experiment with its text features on.")
    return found


def _data_findings(view: CampaignView) -> list[str]:
    data = view.data
    found = [
        f"{data.rows:,} training rows, {data.test_rows:,} test rows, {data.n_numeric} numeric, "
        f"{data.n_categorical} categorical, {data.n_text} text and {data.n_datetime} date columns."
    ]
    if data.max_cardinality > 50:
        found.append(
            f"A categorical column has {data.max_cardinality:,} levels: "
            "encode it by frequency and by target inside the fold."
        )
    if data.missing_share > 0.01:
        found.append(f"{data.missing_share:.1%} of the cells are missing: missingness itself may carry signal.")
    if data.rows < 20_000:
        found.append(
            "Few rows: fold noise is large, bagging and blending pay, gains under the noise floor do not count."
        )
    return found


def _standing(view: CampaignView) -> str:
    """Every experiment, or of many the best and the latest ones: a file of a phase has a limit."""
    shown = view.experiments
    if len(shown) > BEST + LATEST:
        scored = [e for e in shown if e.score is not None and not math.isnan(e.score)]
        scored.sort(key=lambda e: e.score or 0.0, reverse=view.spec.direction == "maximize")
        kept = {e.id for e in (*scored[:BEST], *shown[-LATEST:])}
        shown = tuple(e for e in shown if e.id in kept)
    rows = [
        (e.id, e.kind, e.family, number(e.score), e.status, f"{e.seconds:.0f}", one_line(e.idea, 100)) for e in shown
    ]
    text = table(("id", "kind", "family", "cv", "status", "s", "idea"), rows) if rows else "No experiment yet."
    out = len(view.experiments) - len(shown)
    more = f"\n\nThe best {BEST} and the latest {LATEST} are listed; {out} more are in the registry."
    return text + (more if out else "")
