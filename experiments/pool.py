"""The predictions that a blend is made of."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.errors import AutokaggleError
from experiments.folds import Folds
from experiments.ranks import mid_ranks

Mean = Literal["arithmetic", "rank"]

# Ranks cost a sort and are wanted several times; a large pool's would fill the memory.
RANKED_BYTES = 512 * 2**20


class BlendError(AutokaggleError):
    """No blend can be made of these predictions under these rules."""

    title = "Blend"


@dataclass(frozen=True)
class PoolMember:
    """A complete prediction.

    Attributes:
        oof: (n,) or (n, K), finite in every covered row; may be memory-mapped.
        test: (m,) or (m, K).
    """

    oof: np.ndarray
    test: np.ndarray


class Reader:
    """The predictions of the pool as one kind of mean sees them."""

    def __init__(self, pool: Mapping[str, PoolMember], names: Sequence[str], folds: Folds, mean: Mean) -> None:
        self.pool, self.names, self.folds, self.mean = pool, names, folds, mean
        self._ranked: dict[int, np.ndarray] = {}

    def oof(self, member: int) -> np.ndarray:
        """Out-of-fold prediction, (n,) or (n, K)."""
        values = self.pool[self.names[member]].oof
        if self.mean == "arithmetic":
            return values
        if member not in self._ranked:
            ranked = np.full(values.shape, np.nan, dtype=np.float32)
            ranked[self.folds.covered] = mid_ranks(np.asarray(values)[self.folds.covered])
            if (len(self._ranked) + 1) * ranked.nbytes > RANKED_BYTES and self._ranked:
                self._ranked.pop(next(iter(self._ranked)))
            self._ranked[member] = ranked
        return self._ranked[member]

    def test(self, member: int) -> np.ndarray:
        """Test prediction, (m,) or (m, K)."""
        values = np.asarray(self.pool[self.names[member]].test)
        return values if self.mean == "arithmetic" else mid_ranks(values)


def usable(pool: Mapping[str, PoolMember], folds: Folds, members: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the predictions that can be blended, and what is wrong with the others."""
    for name in members:
        if name not in pool:
            close = difflib.get_close_matches(name, pool, n=1)
            raise BlendError(
                f"{name} is not in the pool{f' (nearest: {close[0]})' if close else ''}.",
                hint=f"In the pool are {', '.join(sorted(pool)) or 'no predictions yet'}.",
            )
    wanted = list(dict.fromkeys(members)) or list(pool)
    shapes = [(pool[name].oof.shape, pool[name].test.shape) for name in wanted]
    usual = max(shapes, key=shapes.count) if shapes else ((), ())
    usable: list[str] = []
    problems: list[str] = []
    for name, shape in zip(wanted, shapes, strict=True):
        member = pool[name]
        if shape != usual or len(member.oof) != folds.n_rows:
            problems.append(f"{name} left out: shapes {shape[0]} and {shape[1]} do not fit the others'.")
            continue
        holes = sum(int((~np.isfinite(part)).sum()) for part in _covered_parts(member.oof, folds.covered))
        holes += int((~np.isfinite(np.asarray(member.test))).sum())
        if holes:
            problems.append(f"{name} left out: {holes} of its values are missing or infinite.")
            continue
        usable.append(name)
    if members and problems:
        raise BlendError(problems[0], hint="Name other members.")
    if len(usable) < 2:
        raise BlendError(
            f"{len(usable)} of {len(wanted)} predictions can be blended; two are needed."
            + "".join(f" {problem}" for problem in problems),
            hint="Run another model first.",
        )
    return usable, problems


def _covered_parts(oof: np.ndarray, covered: np.ndarray, rows: int = 1 << 18) -> Iterator[np.ndarray]:
    for start in range(0, len(covered), rows):
        yield np.asarray(oof[start : start + rows])[covered[start : start + rows]]
