"""What the rules in force say of submitting an experiment: nobody, and no hurry, lifts one that blocks."""

from __future__ import annotations

import json
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.verdicts import record_rulings
from experiments.rules import BlendMember, Ruling, check_blend
from experiments.schema import Row
from experiments.significance import Gain


def clear(campaign: Campaign, experiment: Row) -> tuple[Ruling, ...]:
    """The rules' word on a submission, kept as verdicts where they fired.

    Rules may have been edited since a blend was fitted, and since the last phase; those of now count.
    """
    campaign.refresh_rules()
    rulings: tuple[Ruling, ...] = ()
    if experiment["kind"] == "blend" and experiment["members"]:
        rulings = _blend_rulings(campaign, experiment)
    record_rulings(campaign.registry, experiment["round"], "submit", rulings, experiment=experiment["id"])
    return rulings


def _blend_rulings(campaign: Campaign, experiment: Row) -> tuple[Ruling, ...]:
    """The rules on blends, with the pool and the evidence as they were when it was fitted."""
    registry = campaign.registry
    row = registry.row("SELECT report FROM blends WHERE experiment = ?", [experiment["id"]])
    report: dict[str, Any] = row["report"] if row is not None and isinstance(row["report"], dict) else {}
    chosen = report.get("chosen")
    if not chosen:
        return ()
    scores = {member["name"]: member["score"] for member in report["members"]}
    names = [name for name, _ in experiment["members"]]
    close = registry.rows(
        "SELECT a, b, pearson FROM correlations WHERE a IN (SELECT value FROM json_each(?1)) "
        "AND b IN (SELECT value FROM json_each(?1))",
        [json.dumps(names)],
    )
    return check_blend(
        campaign.rules,
        [BlendMember(name, scores[name]) for name in names],
        correlations={(pair["a"], pair["b"]): pair["pearson"] for pair in close},
        best_score=report["best"]["score"],
        direction=campaign.metric.direction,
        bounded=campaign.metric.bounded,
        fitted=chosen["method"] != "equal",
        evidence=_evidence(chosen["rulings"]),
    )


def _evidence(rulings: list[dict[str, Any]]) -> Gain | None:
    """What lifted rules when the blend was fitted."""
    for ruling in rulings:
        found = ruling["figures"].get("evidence")
        if found:
            return Gain(found["gain"], found["se"], found["t"], found["folds"])
    return None
