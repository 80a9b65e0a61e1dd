"""What the engine remembers of its registry, so that a round reads only what is new."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from backends.models.tasks import ExperimentView
from experiments.pairwise import Pairwise
from experiments.registry import Registry
from experiments.schema import Row

CLOSEST = 10
# Rows fetched at a time: a registry opened again may hold half a million pairs.
_PAGE = 20_000


@dataclass(frozen=True)
class Close:
    """Another prediction and how alike it is; None where it was not measured."""

    name: str
    pearson: float
    spearman: float | None
    error: float | None


Near = tuple[Close, ...]


@dataclass(eq=False)
class Remembered:
    """One experiment as last read.

    Attributes:
        row: Of the experiments table.
        place: In the order they began in; by it and not by times, for a clock may be set back.
        folds: (fold, status, score) in the order of the folds.
        view: The same for a strategist.
    """

    row: Row
    place: int
    folds: tuple[tuple[int, str, float | None], ...]
    view: ExperimentView
    _texts: dict[str, tuple[Any, str]] = field(default_factory=dict, repr=False)

    @property
    def open(self) -> bool:
        """Still running: its row will change."""
        return self.row["status"] == "running" or self.row["ended_at"] is None

    def text(self, name: str, about: Any, write: Callable[[], str]) -> str:
        """What ``write`` makes of this experiment, written again only when ``about`` is another."""
        found = self._texts.get(name)
        if found is None or found[0] != about:
            found = self._texts[name] = (about, write())
        return found[1]


class Memory:
    """Experiments, folds and correlations of one registry, brought up to date by :meth:`refresh`.

    It rests on what the engine promises: rows are never deleted, a settled experiment changes only together
    with its ``ended_at``, its folds are final, and a pair is written once, with the later of its experiments.

    Attributes:
        correlations: Pearson by pair of ids.
    """

    def __init__(self) -> None:
        self.correlations = Pairwise()
        self._known: dict[str, Remembered] = {}
        self._order: list[Remembered] = []
        self._closest: dict[str, Near] = {}
        self._last_row = 0
        self._last_end = 0.0
        self._last_pair = 0

    @property
    def experiments(self) -> list[Remembered]:
        """Every experiment, oldest first."""
        return self._order

    def closest(self, name: str) -> Near:
        """The ten experiments of the highest Pearson correlation, closest first."""
        return self._closest.get(name, ())

    def refresh(self, registry: Registry) -> None:
        """Read what is new or not settled yet."""
        self._read_experiments(registry)
        self._read_pairs(registry)

    def _read_experiments(self, registry: Registry) -> None:
        waiting = [known.row["id"] for known in self._known.values() if known.open]
        rows = registry.rows(
            "SELECT rowid AS place, * FROM experiments WHERE rowid > ? OR status = 'running' OR ended_at IS NULL "
            "OR ended_at >= ? OR id IN (SELECT value FROM json_each(?))",
            [self._last_row, self._last_end, json.dumps(waiting)],
        )
        folds: dict[str, list[tuple[int, str, float | None]]] = {row["id"]: [] for row in rows}
        for fold in registry.rows(
            "SELECT experiment, fold, status, score FROM folds WHERE experiment IN (SELECT value FROM json_each(?)) "
            "ORDER BY experiment, fold",
            [json.dumps(list(folds))],
        ):
            folds[fold["experiment"]].append((fold["fold"], fold["status"], fold["score"]))
        for row in rows:
            place = row.pop("place")
            self._last_row = max(self._last_row, place)
            self._last_end = max(self._last_end, row["ended_at"] or 0.0)
            self._take(row, place, tuple(folds[row["id"]]))
        self._order = sorted(self._known.values(), key=lambda known: known.place)

    def _take(self, row: Row, place: int, folds: tuple[tuple[int, str, float | None], ...]) -> None:
        before = self._known.get(row["id"])
        if before is None or before.row != row or before.folds != folds:
            self._known[row["id"]] = Remembered(row, place, folds, _view(row, folds))

    def _read_pairs(self, registry: Registry) -> None:
        while True:
            pairs = registry.rows(
                "SELECT rowid AS place, * FROM correlations WHERE rowid > ? ORDER BY rowid LIMIT ?",
                [self._last_pair, _PAGE],
            )
            for pair in pairs:
                one, other, figures = pair["a"], pair["b"], (pair["pearson"], pair["spearman"], pair["error"])
                self.correlations.add(one, other, pair["pearson"])
                self._approach(one, Close(other, *figures))
                self._approach(other, Close(one, *figures))
            if pairs:
                self._last_pair = pairs[-1]["place"]
            if len(pairs) < _PAGE:
                return

    def _approach(self, name: str, other: Close) -> None:
        near = self._closest.get(name, ())
        if len(near) == CLOSEST and other.pearson <= near[-1].pearson:
            return
        place = bisect_right(near, -other.pearson, key=lambda close: -close.pearson)
        self._closest[name] = (*near[:place], other, *near[place:])[:CLOSEST]


_memories: WeakKeyDictionary[Registry, Memory] = WeakKeyDictionary()


def recall(registry: Registry) -> Memory:
    """The one memory of an open registry, brought up to date."""
    memory = _memories.setdefault(registry, Memory())
    memory.refresh(registry)
    return memory


def _view(row: Row, folds: Iterable[tuple[int, str, float | None]]) -> ExperimentView:
    return ExperimentView(
        id=row["id"],
        round=row["round"],
        kind=row["kind"],
        family=row["family"],
        parent=row["parent"],
        status=row["status"],
        score=row["score"],
        fold_scores={fold: score for fold, status, score in folds if status == "ok" and score is not None},
        seconds=row["seconds"],
        params=row["params"],
        idea=row["idea"],
        in_pool=bool(row["in_pool"]),
        members=tuple((name, weight) for name, weight in row["members"]),
    )
