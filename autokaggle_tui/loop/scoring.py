"""From predictions to facts: score, status, champion, correlations; the engine alone decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.closeness import closeness
from autokaggle_tui.loop.gains import gain_over, parts_of
from autokaggle_tui.loop.runner import RunResult
from autokaggle_tui.loop.verdicts import record_rulings
from experiments.correlation import Closeness
from experiments.errors import MetricError, PredictionError
from experiments.pool import PoolMember
from experiments.predictions import array_sha, load_array, save_array
from experiments.registry import pairs
from experiments.rules import Ruling, check_champion
from experiments.schema import Row


@dataclass(frozen=True)
class Standing:
    """Where a scored prediction stands.

    Attributes:
        status: ``keep`` when it became champion, else ``discard`` (or ``invalid`` when it cannot be scored).
        gain: Over the champion: the mean paired difference over the folds, positive is better.
        against: The champion it was compared with, or None.
    """

    status: str
    reason: str
    score: float | None
    gain: float | None
    t: float | None
    against: str | None
    rulings: tuple[Ruling, ...]


def names(experiment: str) -> tuple[str, str]:
    """File names of an experiment's predictions in rounds/."""
    return f"{experiment}_oof.npy", f"{experiment}_test.npy"


async def stand(
    campaign: Campaign, experiment: Row, oof: np.ndarray, fold_scores: Mapping[int, float], *, parts: int = 1
) -> Standing:
    """Score an out-of-fold prediction and compare it with the champion, fold by fold.

    Args:
        parts: Of how many models it is made.
    """
    try:
        score = await asyncio.to_thread(campaign.metric.score, campaign.competition.y, oof, mask=campaign.folds.covered)
    except MetricError as error:
        return Standing("invalid", error.message, None, None, None, None, ())
    champion = campaign.registry.champion()
    if champion is None:
        return Standing("keep", "", score, None, None, None, ())
    gain = await gain_over(campaign, champion, experiment, oof, fold_scores)
    plain = gain.mean if gain is not None else campaign.metric.gain(score, champion["score"])
    simpler = parts < parts_of(champion)
    rulings = check_champion(campaign.rules, gain, simpler=simpler) if gain is not None else ()
    blocked = [ruling for ruling in rulings if ruling.verdict == "block"]
    status, reason = ("discard", blocked[0].reason) if blocked else ("keep", "")
    if not blocked and (plain < 0 or (plain == 0 and not simpler)):
        status, reason = "discard", f"not better than {champion['id']}"
    t = gain.t if gain is not None and np.isfinite(gain.t) else None
    return Standing(status, reason, score, plain, t, champion["id"], rulings)


def load_pool(campaign: Campaign) -> dict[str, PoolMember]:
    """Every prediction a blend may choose from, memory-mapped.

    A prediction whose files are gone or damaged leaves the pool, with a warning; whoever only looks leaves it out.
    """
    registry, rounds = campaign.registry, campaign.workspace.rounds
    found: dict[str, PoolMember] = {}
    for row in registry.pool():
        try:
            found[row["id"]] = PoolMember(load_array(rounds / row["oof"]), load_array(rounds / row["test"]))
        except PredictionError as error:
            if registry.looking:
                registry.event("warning", text=f"{row['id']} is left out: {error.message}")
                continue
            with registry.transaction():
                # What is read by ``ended_at`` sees the change, even if the clock was set back.
                registry.execute(
                    "UPDATE experiments SET in_pool = 0, ended_at = max(?, (SELECT max(ended_at) FROM experiments)) "
                    "WHERE id = ?",
                    [registry.clock(), row["id"]],
                )
                registry.event("warning", text=f"{row['id']} leaves the pool: {error.message}")
    return found


async def correlations(campaign: Campaign, experiment: str, oof: np.ndarray) -> dict[str, Closeness]:
    """How alike a new prediction is to every one in the pool."""
    return await closeness(campaign, experiment, oof, load_pool(campaign))


def nearest(close: Mapping[str, Closeness]) -> tuple[str | None, float | None]:
    """The most correlated prediction and its Pearson correlation; (None, None) in an empty pool."""
    name = max(close, key=lambda other: close[other].pearson, default=None)
    return name, None if name is None else close[name].pearson


def _twin(campaign: Campaign, experiment: str, oof: np.ndarray) -> str | None:
    """Another experiment with exactly this out-of-fold prediction, or None."""
    found = campaign.registry.value(
        "SELECT experiment FROM predictions WHERE oof_sha = ? AND experiment != ?", [array_sha(oof), experiment]
    )
    return None if found is None else str(found)


async def settle(
    campaign: Campaign,
    experiment: str,
    result: RunResult,
    *,
    seconds: float,
    members: Sequence[Any] = (),
    also: Callable[[str, str], None] = lambda _status, _reason: None,
) -> Row:
    """Make the outcome of a run a fact: files first, then everything else in one transaction.

    Args:
        seconds: Wall seconds of the run, pauses left out.
        members: Of a blend: (experiment, weight).
        also: Called with status and reason inside the transaction.

    Returns:
        The experiment's row, with its id.
    """
    registry = campaign.registry
    row = registry.experiment(experiment)
    if row is None:
        raise KeyError(experiment)
    twin: str | None = None
    if result.status != "complete" or result.oof is None or result.test is None:
        standing = Standing(result.status, result.reason, None, None, None, None, ())
    else:
        standing = await stand(campaign, row, result.oof, result.fold_scores, parts=max(len(members), 1))
        twin = _twin(campaign, experiment, result.oof)
        if twin is not None:
            standing = replace(standing, status="discard", reason=f"predicts exactly what {twin} predicts")
    pooled = twin is None and standing.score is not None and result.oof is not None and result.test is not None
    close: dict[str, Closeness] = {}
    closest, rho = nearest(close)
    if pooled and result.oof is not None and result.test is not None:
        oof_name, test_name = names(experiment)
        close = await correlations(campaign, experiment, result.oof)
        closest, rho = nearest(close)
        await asyncio.to_thread(save_array, campaign.workspace.rounds / oof_name, result.oof)
        await asyncio.to_thread(save_array, campaign.workspace.rounds / test_name, result.test)
    with registry.transaction():
        now = registry.clock()
        registry.update(
            "experiments",
            experiment,
            status=standing.status,
            reason=standing.reason,
            score=standing.score,
            gain=standing.gain,
            t=standing.t,
            in_pool=int(pooled),
            closest=closest,
            rho=rho,
            members=list(members),
            seconds=seconds,
            ended_at=now,
        )
        if pooled and result.oof is not None and result.test is not None:
            oof_name, test_name = names(experiment)
            registry.upsert(
                "predictions",
                experiment=experiment,
                oof=oof_name,
                test=test_name,
                oof_sha=array_sha(result.oof),
                test_sha=array_sha(result.test),
                at=now,
            )
            registry.replace_all("correlations", pairs(close, experiment))
        record_rulings(registry, row["round"], "run", (*result.rulings, *standing.rulings), experiment=experiment)
        also(standing.status, standing.reason)
        registry.event(
            "experiment_done",
            round=row["round"],
            experiment=experiment,
            family=row["family"],
            status=standing.status,
            score=standing.score,
            gain=standing.gain,
            t=standing.t,
            against=standing.against,
            reason=standing.reason,
            rho=rho,
            closest=closest,
            in_pool=pooled,
            members=list(members),
            ruled=any(ruling.verdict == "block" for ruling in (*result.rulings, *standing.rulings)),
            seconds=seconds,
        )
        if standing.status == "keep":
            registry.insert(
                "champions", experiment=experiment, score=standing.score, gain=standing.gain, t=standing.t, at=now
            )
            registry.event(
                "champion", round=row["round"], experiment=experiment, score=standing.score, gain=standing.gain
            )
    settled = registry.experiment(experiment)
    if settled is None:
        raise KeyError(experiment)
    return settled
