"""How alike two predictions are: Pearson and Spearman over the covered rows, one pass over the pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from experiments.errors import PredictionError

# 256 kB of float64 per array: the chunk stays in the cache between its three reductions.
CHUNK = 32_768
# A spread this small against the size of the values is rounding, not information.
FLAT = 1e-12


def correlate(new: np.ndarray, pool: Mapping[str, np.ndarray], covered: np.ndarray) -> dict[str, float]:
    """Pearson correlation of one prediction with every member of a pool.

    Reads each member once, in chunks, so members may be memory-mapped. Products are summed in float64
    after a shift to the first values seen, which keeps predictions far from zero accurate.

    Args:
        new: (n,) or (n, K); numbers of any float type. NaN only where ``covered`` is False.
        pool: Predictions of the same shape by name.
        covered: (n,) bool, the rows that count.

    Returns:
        By name, in [-1, 1]. Multiclass: per class, averaged over the classes in which either prediction
        varies. A constant prediction has no correlation (0/0); it counts as 0.0, "nothing in common".

    Raises:
        PredictionError: A member has another shape, or a covered row is not finite.
    """
    _check_shape("the new prediction", new, (len(covered), *new.shape[1:]))
    for name, member in pool.items():
        _check_shape(name, member, new.shape)
    result: dict[str, float] = {}
    for name, member in pool.items():
        sums = _Sums((new, member))
        for chunk in _chunks(covered):
            sums.add(chunk, ("the new prediction", name))
        result[name] = float(sums.correlations()[0, 1])
    return result


def correlation_matrix(members: Sequence[np.ndarray], covered: np.ndarray) -> np.ndarray:
    """Pearson correlations of all pairs, in one pass.

    Args:
        members: Predictions of one shape, (n,) or (n, K); may be memory-mapped.
        covered: (n,) bool.

    Returns:
        (m, m) float64, symmetric, 1 on the diagonal. Classes and constants as in ``correlate``.

    Raises:
        PredictionError: As ``correlate``.
    """
    for number, member in enumerate(members):
        _check_shape(f"prediction {number}", member, (len(covered), *members[0].shape[1:]))
    if not members:
        return np.zeros((0, 0))
    sums = _Sums(tuple(members))
    names = tuple(f"prediction {number}" for number in range(len(members)))
    for chunk in _chunks(covered):
        sums.add(chunk, names)
    matrix = sums.correlations()
    np.fill_diagonal(matrix, 1.0)
    return matrix


def spearman(new: np.ndarray, pool: Mapping[str, np.ndarray], covered: np.ndarray) -> dict[str, float]:
    """Spearman correlation of one prediction with every member of a pool: Pearson of mid-ranks.

    Arguments, result and errors as in ``correlate``. Sorting costs about ten times as much as Pearson.
    """
    _check_shape("the new prediction", new, (len(covered), *new.shape[1:]))
    for name, member in pool.items():
        _check_shape(name, member, new.shape)
    everything = np.ones(int(covered.sum()), dtype=bool)
    ranks = _ranks("the new prediction", new, covered)
    return {
        name: correlate(ranks, {name: _ranks(name, member, covered)}, everything)[name] for name, member in pool.items()
    }


class _Sums:
    """Running sums of some predictions and of all their products, per class, shifted by their first row."""

    def __init__(self, members: tuple[np.ndarray, ...]) -> None:
        self.members = members
        classes = members[0].shape[1] if members[0].ndim == 2 else 1
        self.shift: np.ndarray | None = None
        self.rows = 0
        self.total = np.zeros((classes, len(members)))
        self.products = np.zeros((classes, len(members), len(members)))

    def add(self, chunk: slice | np.ndarray, names: Sequence[str]) -> None:
        """Add some rows. Raises PredictionError with the member's name when a value is not finite."""
        first = np.asarray(self.members[0][chunk])
        block = np.empty((self.total.shape[0], len(self.members), len(first)))
        for number, member in enumerate(self.members):
            block[:, number, :] = np.asarray(member[chunk]).reshape(len(first), -1).T
        if self.shift is None:
            self.shift = block.mean(axis=2)
        block -= self.shift[:, :, None]
        self.rows += len(first)
        self.total += block.sum(axis=2)
        self.products += block @ block.transpose(0, 2, 1)
        if not np.isfinite(self.total).all():
            bad = int(np.argmin(np.isfinite(self.total).all(axis=0)))
            raise PredictionError(
                f"{names[bad]} has missing or infinite values in rows that the folds cover.",
                hint="Take it out of the pool, or import a prediction that covers every validated row.",
            )

    def correlations(self) -> np.ndarray:
        """(m, m) averaged over the classes that vary in either member."""
        rows = max(self.rows, 1)
        mean = self.total / rows
        cov = self.products / rows - mean[:, :, None] * mean[:, None, :]
        variance = np.maximum(np.diagonal(cov, axis1=1, axis2=2), 0.0)
        centre = np.zeros_like(mean) if self.shift is None else self.shift + mean
        varies = np.sqrt(variance) > FLAT * np.maximum(np.abs(centre), np.finfo(float).tiny)
        scale = np.sqrt(variance[:, :, None] * variance[:, None, :])
        both = varies[:, :, None] & varies[:, None, :] & (scale > 0)
        per_class = np.where(both, cov / np.where(both, scale, 1.0), 0.0)
        counted = (varies[:, :, None] | varies[:, None, :]).sum(axis=0)
        return np.asarray(np.clip(per_class.sum(axis=0) / np.maximum(counted, 1), -1.0, 1.0))


def _chunks(covered: np.ndarray) -> Iterator[slice | np.ndarray]:
    for start in range(0, len(covered), CHUNK):
        part = covered[start : start + CHUNK]
        if part.all():
            yield slice(start, start + len(part))
        elif part.any():
            yield start + np.flatnonzero(part)


def _ranks(name: str, values: np.ndarray, covered: np.ndarray) -> np.ndarray:
    rows = np.asarray(values)[covered]
    if not np.isfinite(rows).all():
        raise PredictionError(f"{name} has missing or infinite values in rows that the folds cover.")
    return np.asarray(rankdata(rows, axis=0), dtype=np.float64)


def _check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape or values.ndim not in (1, 2):
        raise PredictionError(f"{name} has shape {values.shape}, the folds need {shape}.")
