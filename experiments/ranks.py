"""Ranks of predictions: one sort of integers, ties sharing their mean; short ones are kept for rank correlations."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from experiments.arrays import map_array
from experiments.errors import PredictionError
from experiments.predictions import save_array

LEVELS = 65_535
"""Short ranks are exact up to half as many rows. With more, each is off by half a level at most: Spearman's correlation
by less than 1e-7 where predictions are continuous, and by less than 1e-5 where all but 10 of a million rows are one
tie (measured)."""


def mid_ranks(values: np.ndarray) -> np.ndarray:
    """(n,) mid-ranks of float32 values scaled into (0, 1), float32."""
    order, doubled = _doubled(values)
    ranks = np.empty(len(order), dtype=np.float32)
    ranks[order] = doubled / (2 * len(order))
    return ranks


def short_ranks(name: str, values: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Mid-ranks of the covered rows in 65,536 levels; the correlation of two of them is Spearman's.

    Args:
        name: Whose they are, for errors.
        values: (n,) or (n, K), ranked as float32.
        covered: (n,) bool.

    Returns:
        (rows,) or (rows, K) uint16, the covered rows alone; each class is ranked by itself.

    Raises:
        PredictionError: A covered row is not finite.
    """
    rows = np.asarray(values[covered], dtype=np.float32)
    if not np.isfinite(rows).all():
        raise PredictionError(f"{name} has missing or infinite values in rows that the folds cover.")
    ranks = np.empty(rows.shape, dtype=np.uint16)
    exact = 2 * len(rows) <= LEVELS
    for column in np.ndindex(rows.shape[1:]):
        order, doubled = _doubled(rows[:, *column])
        ranks[order, *column] = doubled if exact else np.rint(doubled * (LEVELS / (2 * len(rows))))
    return ranks


def _doubled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the values in ascending order, and for each of these twice its mid-rank, counted from a half."""
    bits = (np.ascontiguousarray(values, dtype=np.float32) + np.float32(0)).view(np.int32).astype(np.int64)
    # Negative floats sort backwards by their bits.
    bits[bits < 0] ^= 0x7FFFFFFF
    keys = (bits << 32) | np.arange(len(bits))
    keys.sort()
    starts = np.flatnonzero(np.diff(keys >> 32, prepend=np.iinfo(np.int64).min))
    ends = np.append(starts[1:], len(keys))
    return keys & 0xFFFFFFFF, np.repeat(starts + ends, ends - starts)


class RankFiles:
    """Short ranks in files named by the sha of the prediction: disposable, and made again where one is missing.

    Args:
        folder: Where they are; made when needed.
        covered: (n,) bool, the rows that are ranked.
        writing: Without it files are read and none is made.
    """

    def __init__(self, folder: Path, covered: np.ndarray, *, writing: bool = True) -> None:
        self.folder, self.covered, self.writing = folder, covered, writing

    def of(self, name: str, sha: str, values: np.ndarray) -> np.ndarray:
        """The short ranks of a prediction, memory-mapped where they were kept.

        Raises:
            PredictionError: As :func:`short_ranks`.
        """
        path = self._path(sha)
        with contextlib.suppress(OSError, ValueError):
            kept = map_array(path)
            if kept.dtype == np.uint16 and kept.shape == (int(self.covered.sum()), *values.shape[1:]):
                return kept
        ranks = short_ranks(name, values, self.covered)
        if self.writing:
            # A disk without room for what can be made again is no reason to stop here.
            with contextlib.suppress(OSError):
                save_array(path, ranks)
        return ranks

    def keep(self, shas: Collection[str]) -> None:
        """Remove the files of all other predictions."""
        wanted = {self._path(sha) for sha in shas}
        for path in set(self.folder.glob("*.npy")) - wanted:
            path.unlink(missing_ok=True)

    def _path(self, sha: str) -> Path:
        return self.folder / f"{sha[:32]}.npy"
