"""``correlate``: how alike the predictions of the pool are, for a person and for programs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.ledger import Prediction, room
from autokaggle_tui.loop.closeness import Pairs, measure_missing
from autokaggle_tui.loop.scoring import load_pool
from autokaggle_tui.poolmap import MEASURES, Measure, PoolMap, clusters, likeness, load_maps
from autokaggle_tui.poolview import opened_pool
from autokaggle_tui.workspace import Workspace, experiment_name
from experiments.errors import UsageError
from experiments.learnings import Rules
from experiments.schema import Row

Maps = Mapping[Measure, PoolMap]


def correlations(workspace: Workspace, names: Sequence[str], listener: Callable[[Row], None]) -> Row:
    """What docs/json.md says of ``correlate --json``.

    Pairs that lack a figure are measured, and become facts where no engine runs.

    Args:
        names: Only what is about these; none means all.
        listener: Hears of warnings.

    Raises:
        AutokaggleError: As ``opened_pool``.
        UsageError: A name is not in the pool.
    """
    with opened_pool(workspace, listener) as campaign:
        measured = measure_missing(campaign, load_pool(campaign))
        maps = _completed(load_maps(workspace), measured)
        return _report(campaign, maps, names)


def _completed(maps: Maps, measured: Pairs) -> Maps:
    """Beside an engine nothing is written: what was measured goes where the registry has nothing."""
    place = {member.name: number for number, member in enumerate(maps["pearson"].members)}
    size = len(place)
    found = {}
    for measure, pool in maps.items():
        values = list(pool.values)
        for (a, b), close in measured.items():
            if a in place and b in place and pool.value(place[a], place[b]) is None:
                figure = getattr(close, measure)
                values[place[a] * size + place[b]] = values[place[b] * size + place[a]] = figure
        found[measure] = PoolMap(pool.members, values)
    return found


def _report(campaign: Campaign, maps: Maps, names: Sequence[str]) -> Row:
    pearson, better = maps["pearson"], 1 if campaign.metric.direction == "maximize" else -1
    members = pearson.members
    wanted = set(_places(pearson, names))
    limit = _limit(campaign.rules)
    near = likeness(pearson, limit)
    groups = () if limit is None else clusters(pearson, near, limit, better)
    # Where nothing but imported predictions is, the best of these is what the others are measured by.
    alone = all(member.source == "imported" for member in members)
    pool = [Prediction(member.name, member.family, "" if alone else member.source, member.score) for member in members]
    places = room(pool, (), campaign.rules, better=better, bounded=campaign.metric.bounded).places
    standing = {place.prediction.name: place for place in places}
    return {
        "competition": campaign.competition.spec.name,
        "metric": campaign.metric.name,
        "direction": campaign.metric.direction,
        "limit": limit,
        "named": [members[place].name for place in sorted(wanted)],
        "order": [members[place].name for place in near.order],
        "members": [
            {
                "id": member.name,
                "family": member.family,
                "source": member.source,
                "status": member.status,
                "score": member.score,
                "behind": standing[member.name].behind,
                "standing": standing[member.name].standing,
                "closest": _closest(maps, number),
            }
            for number, member in enumerate(members)
        ],
        "pairs": sorted(_pairs(maps, wanted), key=lambda pair: (-(pair["pearson"] or 0.0), pair["a"], pair["b"])),
        "clusters": [
            {
                "limit": limit,
                "keep": members[group.members[0]].name,
                "members": [members[place].name for place in group.members],
                "lowest": _rounded(group.low),
                "highest": _rounded(group.high),
            }
            for group in groups
            if not wanted or wanted & set(group.members)
        ],
    }


def _limit(rules: Rules) -> float | None:
    rule = rules["stacking-correlation"]
    return rule.number("max_correlation") if rule.active else None


def _places(pool: PoolMap, names: Sequence[str]) -> Iterator[int]:
    place = {member.name: number for number, member in enumerate(pool.members)}
    for name in names:
        known = name if name in place else experiment_name(name)
        if known not in place:
            close = difflib.get_close_matches(name, place, n=1)
            raise UsageError(
                f"{name} is not in the pool{f' (nearest: {close[0]})' if close else ''}.",
                hint="`autokaggle-tui correlate` without names lists what is. Blends are left out.",
            )
        yield place[known]


def _closest(maps: Maps, place: int) -> Row | None:
    pool = maps["pearson"]
    others = [
        (value, other)
        for other in range(len(pool))
        if other != place and (value := pool.value(place, other)) is not None
    ]
    if not others:
        return None
    _, other = max(others, key=lambda pair: pair[0])
    return {"id": pool.members[other].name, **_figures(maps, place, other)}


def _pairs(maps: Maps, wanted: set[int]) -> Iterator[Row]:
    members = maps["pearson"].members
    for b in range(len(members)):
        for a in range(b):
            if not wanted or a in wanted or b in wanted:
                yield {"a": members[a].name, "b": members[b].name, **_figures(maps, a, b)}


def _figures(maps: Maps, a: int, b: int) -> dict[str, Any]:
    return {measure: _rounded(maps[measure].value(a, b)) for measure in MEASURES}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
