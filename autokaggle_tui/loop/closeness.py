"""How alike the pool's predictions are: measured when one joins, and for pairs that nobody measured before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations

import numpy as np

from autokaggle_tui.campaign import Campaign
from experiments.correlation import Closeness, all_pairs, compare
from experiments.pool import PoolMember
from experiments.predictions import array_sha
from experiments.ranks import RankFiles
from experiments.registry import Registry

Pairs = dict[tuple[str, str], Closeness]
"""By the ids of a pair, the lesser first, as the registry has them."""


async def closeness(
    campaign: Campaign, experiment: str, oof: np.ndarray, pool: Mapping[str, PoolMember]
) -> dict[str, Closeness]:
    """A new prediction against every one of the pool, itself left out."""
    others = {name: member.oof for name, member in pool.items() if name != experiment}
    if not others:
        return {}
    shas = _shas(campaign.registry)
    sha = array_sha(oof)
    files = _rank_files(campaign)

    def work() -> dict[str, Closeness]:
        ranks = {name: files.of(name, shas[name], values) for name, values in others.items()}
        own = files.of(experiment, sha, oof)
        files.keep({sha, *(shas[name] for name in others)})
        return compare(oof, others, campaign.folds.covered, campaign.competition.y, own, ranks)

    return await asyncio.to_thread(work)


def measure_missing(campaign: Campaign, pool: Mapping[str, PoolMember]) -> Pairs:
    """Pairs of the pool that lack a figure: those of an older version, or of a registry that was restored.

    All that lack one are measured together, in one pass, and become facts where this is not only a look.
    """
    registry = campaign.registry
    known = {
        (row["a"], row["b"])
        for row in registry.rows("SELECT a, b FROM correlations WHERE spearman IS NOT NULL AND error IS NOT NULL")
    }
    missing = [pair for pair in combinations(sorted(pool), 2) if pair not in known]
    if not missing:
        return {}
    names = sorted({name for pair in missing for name in pair})
    shas, files = _shas(registry), _rank_files(campaign)
    members = {name: pool[name].oof for name in names}
    ranks = {name: files.of(name, shas[name], values) for name, values in members.items()}
    found = all_pairs(members, campaign.folds.covered, campaign.competition.y, ranks)
    place = {name: number for number, name in enumerate(names)}
    measured = {}
    for a, b in missing:
        at = place[a], place[b]
        measured[a, b] = Closeness(float(found.pearson[at]), float(found.spearman[at]), float(found.error[at]))
    if not registry.looking:
        _store(registry, measured)
    return measured


def _store(registry: Registry, measured: Pairs) -> None:
    # A row keeps its place: what was read by it need not be read again. Rules keep the Pearson they ruled by.
    statement = (
        "INSERT INTO correlations (a, b, pearson, spearman, error) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (a, b) DO UPDATE SET spearman = excluded.spearman, error = excluded.error"
    )
    with registry.transaction():
        for (a, b), close in measured.items():
            registry.execute(statement, [a, b, close.pearson, close.spearman, close.error])


def _shas(registry: Registry) -> dict[str, str]:
    return {row["experiment"]: row["oof_sha"] for row in registry.rows("SELECT experiment, oof_sha FROM predictions")}


def _rank_files(campaign: Campaign) -> RankFiles:
    folder = campaign.workspace.cache / "ranks"
    return RankFiles(folder, campaign.folds.covered, writing=not campaign.registry.looking)
