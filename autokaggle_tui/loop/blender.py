"""Blends of a campaign's pool: surveyed under the rules in force, for a planned round, an agent or a person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.scoring import load_pool
from autokaggle_tui.workspace import experiment_name
from experiments.blending import Survey, survey_blends
from experiments.blendreport import BlendJudge
from experiments.rules import Ruling, blend_limits


@dataclass(frozen=True)
class Surveyed:
    """A survey with what the rules say.

    Attributes:
        report: ``BlendJudge.report``.
        rulings: Of the blend that was taken.
    """

    survey: Survey
    report: dict[str, Any]
    rulings: tuple[Ruling, ...]


async def survey_pool(campaign: Campaign, members: Sequence[str] = (), seconds: float | None = None) -> Surveyed:
    """Try every way of blending the pool, or some of it, beside the loop; nothing is kept.

    Args:
        seconds: That it should take at most.

    Raises:
        BlendError: Fewer than two usable predictions, or an unknown member.
    """
    return await asyncio.to_thread(survey_of(campaign, members, seconds))


def survey_of(campaign: Campaign, members: Sequence[str] = (), seconds: float | None = None) -> Callable[[], Surveyed]:
    """The work of ``survey_pool``, which needs the registry no more once it is made."""
    pool = load_pool(campaign)
    rows = campaign.registry.pool()
    scores = {row["id"]: row["score"] for row in rows if row["score"] is not None}
    imported = {row["id"] for row in rows if row["source"] == "imported"}
    rules = campaign.rules
    # An imported prediction may be called 7.
    chosen = [name if name in pool else experiment_name(name) for name in members]

    def work() -> Surveyed:
        survey = survey_blends(
            pool,
            campaign.competition.y,
            campaign.folds,
            campaign.metric,
            limits=blend_limits(rules),
            members=chosen,
            scores=scores,
            imported=imported,
            seed=campaign.config.seed,
            seconds=seconds,
        )
        judge = BlendJudge(survey, rules, campaign.metric, scores)
        return Surveyed(survey, judge.report(), judge.taken)

    return work
