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
    campaign: Campaign, champion: Row, oof: np.ndarray, fold_scores: Mapping[int, float]
) -> Gain | None:
    """The paired gain over the folds, its noise no smaller than that of rows drawn again and of other seeds.

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
    noise = measured_rerun_noise(campaign.registry)
    # Both sides were run with one seed, and a mean over the folds is steadier than one of them.
    rerun_se = None if noise is None else noise * math.sqrt(2 / len(shared))
    return gain.at_least(row_se=await _row_noise(campaign, champion, oof), rerun_se=rerun_se)


async def _row_noise(campaign: Campaign, champion: Row, oof: np.ndarray) -> float | None:
    """Of the gain over the rows; None for metrics that are no mean over rows, and when a prediction is gone."""
    if not is_decomposable(campaign.metric):
        return None
    stored = campaign.registry.value("SELECT oof FROM predictions WHERE experiment = ?", [champion["id"]])
    competition, rows = campaign.competition, campaign.folds.covered
    try:
        theirs = load_array(campaign.workspace.rounds / str(stored))
        found = await asyncio.to_thread(
            row_gain,
            campaign.metric,
            competition.y[rows],
            oof[rows],
            theirs[rows],
            groups=None if competition.groups is None else group_codes(competition.groups, len(rows))[rows],
            times=None if competition.times is None else time_ranks(competition.times, len(rows))[rows],
        )
    except (PredictionError, MetricError):
        return None
    return found.se if math.isfinite(found.se) else None


def measured_rerun_noise(registry: Registry) -> float | None:
    """What other seeds do to one fold's score (standard deviation), over all that was repeated; None before that."""
    rows = registry.rows(
        "SELECT experiment, fold, score FROM reruns UNION ALL "
        "SELECT f.experiment, f.fold, f.score FROM folds f WHERE f.score IS NOT NULL "
        "AND EXISTS (SELECT 1 FROM reruns r WHERE r.experiment = f.experiment AND r.fold = f.fold) "
        "ORDER BY 1, 2"
    )
    repeats = [
        [row["score"] for row in group] for _, group in groupby(rows, key=lambda row: (row["experiment"], row["fold"]))
    ]
    return rerun_noise(repeats)


def parts_of(experiment: Row) -> int:
    """Of how many models it is made: the fewer, the simpler."""
    return max(len(experiment["members"]), 1)
