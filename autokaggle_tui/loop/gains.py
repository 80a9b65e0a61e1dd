"""The gain of an experiment over the champion, with all the noise that is known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from itertools import groupby

import numpy as np

from autokaggle_tui.campaign import Campaign
from experiments.errors import MetricError, PredictionError
from experiments.folds import group_codes, time_ranks
from experiments.predictions import load_array
from experiments.registry import Registry
from experiments.rowgain import is_decomposable, row_gain
from experiments.schema import Row
from experiments.significance import Gain, fold_sizes, paired_gain, rerun_noise


async def gain_over(
    campaign: Campaign, champion: Row, experiment: Row, oof: np.ndarray, fold_scores: Mapping[int, float]
) -> Gain | None:
    """The paired gain over the folds, its noise no smaller than that of rows drawn again and of other seeds.

    Args:
        experiment: What the prediction is of.

    Returns:
        None when fewer than two folds can be compared.
    """
    theirs = campaign.registry.fold_scores(champion["id"])
    shared = sorted(set(fold_scores) & set(theirs))
    if len(shared) < 2:
        return None
    n_train, n_valid = fold_sizes(campaign.folds)
    gain = paired_gain(
        [fold_scores[fold] for fold in shared],
        [theirs[fold] for fold in shared],
        campaign.metric.direction,
        n_train=n_train,
        n_valid=n_valid,
    )
    rerun_se = _rerun_error(campaign.registry, experiment, champion, len(shared))
    return gain.at_least(row_se=await _row_noise(campaign, champion, oof), rerun_se=rerun_se)


def _rerun_error(registry: Registry, one: Row, other: Row, folds: int) -> float | None:
    """What other seeds would make of the difference of two means over the folds.

    A blend is made of predictions that are there: it is not run.
    """
    noises = [0.0 if row["kind"] == "blend" else measured_rerun_noise(registry, row["family"]) for row in (one, other)]
    known = [noise for noise in noises if noise is not None]
    return math.sqrt(sum(noise**2 for noise in known) / folds) if known else None


async def _row_noise(campaign: Campaign, champion: Row, oof: np.ndarray) -> float | None:
    """Of the gain over the rows; None for metrics that are no mean over rows, and when a prediction is gone."""
    if not is_decomposable(campaign.metric):
        return None
    stored = campaign.registry.value("SELECT oof FROM predictions WHERE experiment = ?", [champion["id"]])
    competition, rows = campaign.competition, campaign.folds.covered
    groups, times = competition.groups, competition.times

    def work() -> float | None:
        try:
            found = row_gain(
                campaign.metric,
                competition.y[rows],
                oof[rows],
                load_array(campaign.workspace.rounds / str(stored))[rows],
                groups=None if groups is None else group_codes(groups, len(rows))[rows],
                times=None if times is None else time_ranks(times, len(rows))[rows],
            )
        except (PredictionError, MetricError):
            return None
        return found.se if math.isfinite(found.se) else None

    return await asyncio.to_thread(work)


def measured_rerun_noise(registry: Registry, family: str) -> float | None:
    """What other seeds do to one fold's score (standard deviation) in a family, or in all where it was never repeated.

    Returns:
        None before anything was repeated.
    """
    rows = registry.rows(
        "SELECT e.family, s.experiment, s.fold, s.score FROM (SELECT experiment, fold, score FROM reruns UNION ALL "
        "SELECT f.experiment, f.fold, f.score FROM folds f JOIN (SELECT DISTINCT experiment, fold FROM reruns) r "
        "USING (experiment, fold) WHERE f.score IS NOT NULL) s JOIN experiments e ON e.id = s.experiment "
        "ORDER BY 2, 3"
    )
    own = [row for row in rows if row["family"] == family]
    repeats = groupby(own or rows, key=lambda row: (row["experiment"], row["fold"]))
    return rerun_noise([row["score"] for row in group] for _, group in repeats)


def parts_of(experiment: Row) -> int:
    """Of how many models it is made: the fewer, the simpler."""
    return max(len(experiment["members"]), 1)
