"""Values of unordered pairs of names, kept once per pair and read in both orders."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

UNKNOWN = math.nan


class Pairwise(Mapping[tuple[str, str], float]):
    """A symmetric mapping that grows by :meth:`add`: eight bytes a pair, 4 MB for the pairs of 1,000 names.

    A name's place is the order in which it was first seen; the row at place i holds its values with the
    i names before it, NaN where nothing is known.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._rows: list[array[float]] = []
        self._known = 0
        self._size = 0

    def add(self, one: str, other: str, value: float) -> None:
        """Set the value of a pair of two different names; it must not be NaN."""
        for name in (one, other):
            if name not in self._places:
                self._places[name] = len(self._rows)
                self._rows.append(array("d", [UNKNOWN]) * len(self._rows))
        later, earlier = self._order(self._places[one], self._places[other])
        self._known += math.isnan(self._rows[later][earlier])
        self._rows[later][earlier] = value
        self._size = len(self._rows)

    def snapshot(self) -> Pairwise:
        """What is known now, sharing memory: names added later do not show in it."""
        copy = Pairwise()
        copy._places, copy._rows = self._places, self._rows
        copy._known, copy._size = self._known, self._size
        return copy

    def lowest(self, names: Sequence[str]) -> float | None:
        """The least value among these names' pairs, or None when none is known."""
        places = np.sort([self._places[name] for name in names if self._place(name) is not None]).astype(np.intp)
        least = math.inf
        for count, place in enumerate(places):
            values = np.frombuffer(self._rows[place])[places[:count]] if count else np.empty(0)
            least = min(least, float(np.fmin.reduce(values, initial=math.inf)))
        return None if math.isinf(least) else least

    def __getitem__(self, pair: tuple[str, str]) -> float:
        one, other = self._place(pair[0]), self._place(pair[1])
        if one is None or other is None or one == other:
            raise KeyError(pair)
        later, earlier = self._order(one, other)
        value = self._rows[later][earlier]
        if math.isnan(value):
            raise KeyError(pair)
        return value

    def __iter__(self) -> Iterator[tuple[str, str]]:
        names = list(self._places)[: self._size]
        for later, name in enumerate(names):
            for earlier, value in enumerate(self._rows[later]):
                if not math.isnan(value):
                    yield names[earlier], name
                    yield name, names[earlier]

    def __len__(self) -> int:
        return 2 * self._known

    def _place(self, name: str) -> int | None:
        place = self._places.get(name)
        return place if place is not None and place < self._size else None

    @staticmethod
    def _order(one: int, other: int) -> tuple[int, int]:
        return (one, other) if one > other else (other, one)
