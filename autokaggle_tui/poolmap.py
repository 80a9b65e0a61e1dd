"""How alike the predictions of the pool are: all pairs, an order in which the alike are neighbours, and groups.

Standard library only.
"""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from autokaggle_tui.workspace import Workspace
from experiments.schema import open_viewer
from experiments.text import one_line

Measure = Literal["pearson", "spearman", "error"]
MEASURES: tuple[Measure, ...] = ("pearson", "spearman", "error")
"""Correlation of the predictions, of their ranks, and of what they miss the target by."""
ROWS_AT_ONCE = 20_000
"""A reader keeps the engine from committing, so the pairs of a large pool are read in many short statements."""


@dataclass(frozen=True)
class Member:
    """A prediction that a blend may choose."""

    name: str
    family: str
    status: str
    score: float | None
    started_at: float
    source: str = "round"


@dataclass(frozen=True)
class PoolMap:
    """The pool, oldest first, and a correlation of every pair.

    Attributes:
        values: Row after row; nan where a pair was never measured.
    """

    members: tuple[Member, ...] = ()
    values: Sequence[float] = ()

    def __len__(self) -> int:
        return len(self.members)

    def value(self, a: int, b: int) -> float | None:
        """The correlation of two members by their places, None when it was never measured."""
        found = self.values[a * len(self.members) + b]
        return None if math.isnan(found) else found

    def pairs(self) -> Iterator[float]:
        """The correlation of every pair that was measured, each once."""
        size = len(self.members)
        for row in range(size):
            for value in self.values[row * size + row + 1 : (row + 1) * size]:
                if not math.isnan(value):
                    yield value


@dataclass(frozen=True)
class Likeness:
    """An order in which the alike are neighbours.

    Attributes:
        order: Places of the members.
        groups: Runs of that order linked by correlations above the limit, the largest first.
    """

    order: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Cluster:
    """Near-duplicates.

    Attributes:
        members: Places, the best first: the one to keep.
        low, high: The least and greatest of the links above the limit that hold it together.
    """

    members: tuple[int, ...]
    low: float
    high: float


def load_maps(workspace: Workspace) -> Mapping[Measure, PoolMap]:
    """The pool as the registry has it, by measure.

    Raises:
        RegistryError: There is no registry, or one of another version.
    """
    with contextlib.closing(open_viewer(workspace.facts)) as connection:
        connection.row_factory = None
        members = tuple(
            Member(name, one_line(family), status, score, started_at, source)
            for name, family, status, score, started_at, source in connection.execute(
                "SELECT id, family, status, score, started_at, source FROM experiments "
                "WHERE in_pool AND kind != 'blend' ORDER BY started_at, id"
            )
        )
        place = {member.name: number for number, member in enumerate(members)}
        size = len(members)
        maps = {measure: array("d", [math.nan]) * (size * size) for measure in MEASURES}
        last = 0
        while True:
            rows = connection.execute(
                "SELECT rowid, a, b, pearson, spearman, error FROM correlations WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (last, ROWS_AT_ONCE),
            ).fetchall()
            for _, a, b, *figures in rows:
                if a in place and b in place:
                    i, j = place[a], place[b]
                    for values, figure in zip(maps.values(), figures, strict=True):
                        if figure is not None:
                            values[i * size + j] = values[j * size + i] = figure
            if len(rows) < ROWS_AT_ONCE:
                break
            last = rows[-1][0]
    for values in maps.values():
        for number in range(size):
            values[number * size + number] = 1.0
    return {measure: PoolMap(members, values) for measure, values in maps.items()}


def best_first(members: Sequence[Member], better: int) -> list[int]:
    """Places by score, those without one last; of equals the older first.

    Args:
        better: +1 when higher scores are better, else -1.
    """
    scores = [member.score for member in members]
    return sorted(range(len(scores)), key=lambda at: math.inf if (score := scores[at]) is None else -better * score)


def clusters(pool: PoolMap, found: Likeness, limit: float, better: int) -> tuple[Cluster, ...]:
    """The groups of :func:`likeness`, the largest first, each with its best member first."""
    rank = {place: number for number, place in enumerate(best_first(pool.members, better))}
    made = []
    for group in found.groups:
        # Two that lie side by side may be linked through a third only.
        links = [value for a, b in pairwise(group) if (value := pool.value(a, b)) is not None and value > limit]
        ends = (min(links), max(links)) if links else (limit, limit)
        made.append(Cluster(tuple(sorted(group, key=rank.__getitem__)), *ends))
    return tuple(made)


def likeness(pool: PoolMap, limit: float | None) -> Likeness:
    """Order the pool by single linkage: the closest pairs are joined first, each two runs end to end, the way round
    that brings the more alike ends together. So at any limit what is linked above it lies side by side.

    Args:
        limit: Of the groups; None for no groups.
    """
    size = len(pool)
    runs = {place: [place] for place in range(size)}
    home = list(range(size))
    groups: tuple[tuple[int, ...], ...] | None = None
    for value, a, b in sorted(_tree(pool), key=lambda link: -link[0]):
        if groups is None and (limit is None or value <= limit):
            groups = _groups(runs)
        first, second = runs[home[a]], runs[home[b]]
        if len(first) < len(second):
            first, second = second, first
        joined = _end_to_end(pool, first, second)
        target, gone = home[first[0]], home[second[0]]
        runs[target] = joined
        del runs[gone]
        for place in second:
            home[place] = target
    order = tuple(place for run in runs.values() for place in run)
    if limit is None:
        return Likeness(order, ())
    return Likeness(order, _groups(runs) if groups is None else groups)


def _tree(pool: PoolMap) -> list[tuple[float, int, int]]:
    """The links of a maximum spanning tree (Prim), a pair that was never measured being the last choice."""
    size = len(pool)
    if size < 2:
        return []
    values = pool.values
    links = []
    best = [-2.0] * size
    via = [0] * size
    left = list(range(1, size))
    at = 0
    while left:
        row = at * size
        for place in left:
            value = values[row + place]
            if value > best[place]:
                best[place], via[place] = value, at
        at = max(left, key=best.__getitem__)
        left.remove(at)
        links.append((best[at], via[at], at))
    return links


def _end_to_end(pool: PoolMap, first: list[int], second: list[int]) -> list[int]:
    def at(a: int, b: int) -> float:
        value = pool.value(a, b)
        return -2.0 if value is None else value

    ways = (
        (at(first[-1], second[0]), first, second),
        (at(first[-1], second[-1]), first, second[::-1]),
        (at(first[0], second[0]), first[::-1], second),
        (at(first[0], second[-1]), second, first),
    )
    _, head, tail = max(ways, key=lambda way: way[0])
    return head + tail


def _groups(runs: dict[int, list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(sorted((tuple(run) for run in runs.values() if len(run) > 1), key=lambda run: (-len(run), run)))
