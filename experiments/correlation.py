"""How alike predictions are: Pearson and Spearman, and Pearson of their errors; one pass over the pool, in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.errors import PredictionError

CHUNK = 8192
"""Rows at a time, at most."""
BLOCK, WIDE_BLOCK = 8 * CHUNK, 128 * CHUNK
"""Numbers in a block: half a megabyte, which stays in a core's cache, where one prediction is compared with many;
8 MB for all pairs, which is work enough for BLAS."""
# A spread this small against the size of the values is rounding, not information.
FLAT = 1e-12
NEW, TARGET = "the new prediction", "the target"


@dataclass(frozen=True)
class Closeness:
    """How alike two predictions are, each figure in [-1, 1].

    Attributes:
        pearson: Of the predictions.
        spearman: Of their ranks.
        error: Pearson of what they miss the target by. A blend gains where errors differ: two good models are
            alike by being right, and still may fail in different rows.
    """

    pearson: float
    spearman: float
    error: float


@dataclass(frozen=True)
class Matrices:
    """All pairs of some predictions: (m, m) float64, symmetric, 1 on the diagonals."""

    pearson: np.ndarray
    spearman: np.ndarray
    error: np.ndarray


def compare(
    new: np.ndarray,
    pool: Mapping[str, np.ndarray],
    covered: np.ndarray,
    y: np.ndarray,
    new_ranks: np.ndarray,
    ranks: Mapping[str, np.ndarray],
) -> dict[str, Closeness]:
    """One prediction against every member of a pool.

    Reads each member and its ranks once, in chunks, so both may be memory-mapped. All is summed in float64 after a
    shift to the first values seen: what is far from zero, and small errors of large numbers, keep nine places.

    Args:
        new: (n,) or (n, K), any numbers. NaN only where ``covered`` is False.
        pool: Predictions of the same shape by name.
        covered: (n,) bool, the rows that count.
        y: (n,) target: numbers, 0 and 1, or for K columns codes 0..K-1.
        new_ranks: From ``short_ranks``, like those of the pool in ``ranks``.

    Returns:
        By name. Multiclass: per class, averaged over the classes in which either prediction varies. What does not
        vary has no correlation (0/0); it counts as 0.0, "nothing in common".

    Raises:
        PredictionError: A member has another shape, or a covered row is not finite.
    """
    columns = {**pool, NEW: new}
    _check_shapes(columns, (len(covered), *new.shape[1:]))
    size = len(pool)
    sums = _moments([*columns.items(), (TARGET, _target(y, new))], (size, size + 1), covered)
    everything = np.ones(len(new_ranks), dtype=bool)
    ranked = _moments([*((name, ranks[name]) for name in pool), (NEW, new_ranks)], (size,), everything)
    figures = (moments.correlations()[:size, 0] for moments in (sums, ranked, sums.of_errors()))
    return {name: Closeness(*map(float, row)) for name, row in zip(pool, zip(*figures, strict=True), strict=True)}


def all_pairs(
    members: Mapping[str, np.ndarray], covered: np.ndarray, y: np.ndarray, ranks: Mapping[str, np.ndarray]
) -> Matrices:
    """Every figure of all pairs, in the order of ``members``: a pass over these and one over their ranks.

    Arguments, classes, constants and errors as in :func:`compare`.
    """
    if not members:
        return Matrices(*np.zeros((3, 0, 0)))
    first = next(iter(members.values()))
    _check_shapes(members, (len(covered), *first.shape[1:]))
    size = len(members)
    sums = _moments([*members.items(), (TARGET, _target(y, first))], range(size + 1), covered)
    everything = np.ones(len(ranks[next(iter(members))]), dtype=bool)
    ranked = _moments([(name, ranks[name]) for name in members], range(size), everything)
    figures = (moments.correlations()[:size, :size] for moments in (sums, ranked, sums.of_errors()))
    return Matrices(*map(_ones, figures))


def correlation_matrix(members: Sequence[np.ndarray], covered: np.ndarray) -> np.ndarray:
    """Pearson correlations of all pairs, in one pass.

    Args:
        members: Predictions of one shape, (n,) or (n, K); may be memory-mapped.
        covered: (n,) bool.

    Returns:
        (m, m) float64, symmetric, 1 on the diagonal. Classes and constants as in :func:`compare`.

    Raises:
        PredictionError: As :func:`compare`.
    """
    if not members:
        return np.zeros((0, 0))
    columns = [(f"prediction {number}", member) for number, member in enumerate(members)]
    _check_shapes(dict(columns), (len(covered), *members[0].shape[1:]))
    return _ones(_moments(columns, range(len(columns)), covered).correlations())


@dataclass(frozen=True)
class _Moments:
    """What is known of some columns, per class, and of each together with some of them.

    Attributes:
        mean, variance: (K, m).
        covariance: (K, m, q).
        chosen: (q,) places of the some among the m.
    """

    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray
    chosen: np.ndarray

    def of_errors(self) -> _Moments:
        """The same of each column less the last one, the target, which must be among the chosen.

        In float64 nothing is lost by it that counts: an error a thousand times smaller than the numbers it is an
        error of keeps ten places.
        """
        target = self.covariance[:, :, -1]
        spread = self.variance[:, -1:]
        variance = self.variance - 2 * target + spread
        variance[variance <= FLAT * (self.variance + spread)] = 0.0
        covariance = self.covariance - (target[:, :, None] + target[:, None, self.chosen]) + spread[:, :, None]
        return _Moments(self.mean - self.mean[:, -1:], variance, covariance, self.chosen)

    def correlations(self) -> np.ndarray:
        """(m, q), averaged over the classes that vary in either column."""
        varies = np.sqrt(self.variance) > FLAT * np.maximum(np.abs(self.mean), np.finfo(float).tiny)
        total, counted = np.zeros(self.covariance.shape[1:]), np.zeros(self.covariance.shape[1:], dtype=int)
        for covariance, variance, moves in zip(self.covariance, self.variance, varies, strict=True):
            scale = np.sqrt(variance[:, None] * variance[None, self.chosen])
            both = moves[:, None] & moves[None, self.chosen] & (scale > 0)
            total += np.divide(covariance, scale, out=np.zeros_like(total), where=both)
            counted += moves[:, None] | moves[None, self.chosen]
        return np.asarray(np.clip(total / np.maximum(counted, 1), -1.0, 1.0))


def _moments(columns: Sequence[tuple[str, np.ndarray]], chosen: Sequence[int], covered: np.ndarray) -> _Moments:
    """Moments over the covered rows, the columns of each class by themselves.

    Raises:
        PredictionError: With the name of a column whose covered rows are not finite.
    """
    sums = _AllPairs(columns) if len(chosen) == len(columns) else _SomePairs(columns, chosen)
    rows = 0
    # What is not finite is told below, once and by name.
    with np.errstate(invalid="ignore", over="ignore"):
        for chunk, count in _chunks(covered, sums.rows):
            sums.add(chunk, count)
            rows += count
    finite = np.isfinite(sums.total).all(axis=0)
    if not finite.all():
        raise PredictionError(
            f"{columns[int(np.argmin(finite))][0]} has missing or infinite values in rows that the folds cover.",
            hint="Take it out of the pool, or import a prediction that covers every validated row.",
        )
    places = np.asarray(chosen)
    mean = sums.total / max(rows, 1)
    covariance = sums.products / max(rows, 1)
    covariance -= mean[:, :, None] * mean[:, None, places]
    variance = np.maximum(sums.squares / max(rows, 1) - mean**2, 0.0)
    return _Moments(sums.shift + mean, variance, covariance, places)


class _AllPairs:
    """Running sums of columns and of all their products.

    Attributes:
        rows: That :meth:`add` may be given at a time.
        shift: (K, m) taken from each number before anything is done with it.
        total, products: (K, m) and (K, m, q), of what is left.
    """

    def __init__(self, columns: Sequence[tuple[str, np.ndarray]]) -> None:
        # Plain arrays: slicing a memmap costs more than what is done with a small slice.
        self.columns = [np.asarray(values) for _, values in columns]
        self.classes = self.columns[0].shape[1] if self.columns[0].ndim == 2 else 1
        size = len(columns)
        self.rows = min(max(WIDE_BLOCK // (self.classes * size), 256), CHUNK)
        self.block = np.empty((self.classes, size, self.rows))
        self.shift, self.total = np.zeros((2, self.classes, size))
        self.products = np.zeros((self.classes, size, size))
        self.fresh = True

    @property
    def squares(self) -> np.ndarray:
        """(K, m) sums of squares."""
        return np.diagonal(self.products, axis1=1, axis2=2)

    def add(self, chunk: slice | np.ndarray, count: int) -> None:
        """Add the rows of a chunk."""
        block = self.block[:, :, :count]
        for place, column in enumerate(self.columns):
            block[:, place] = _rows(column, chunk)
        if self.fresh:
            self.shift, self.fresh = block.mean(axis=2), False
        for number, part in enumerate(block):
            part -= self.shift[number][:, None]
            self.total[number] += part.sum(axis=1)
            self.products[number] += part @ part.T


class _SomePairs:
    """The same, with the products of each column and of a few of them alone."""

    def __init__(self, columns: Sequence[tuple[str, np.ndarray]], chosen: Sequence[int]) -> None:
        self.columns = [np.asarray(values) for _, values in columns]
        self.chosen = list(chosen)
        self.classes = self.columns[0].shape[1] if self.columns[0].ndim == 2 else 1
        self.rows = CHUNK
        self.group = max(BLOCK // (self.classes * CHUNK), 1)
        self.block = np.empty((self.classes, self.group, CHUNK))
        size = len(columns)
        self.shift, self.total, self.squares = np.zeros((3, self.classes, size))
        self.products = np.zeros((self.classes, size, len(self.chosen)))
        self.fresh = True

    def add(self, chunk: slice | np.ndarray, count: int) -> None:
        """Add the rows of a chunk."""
        few = np.empty((self.classes, len(self.chosen) + 1, count))
        for place, number in enumerate(self.chosen):
            few[:, place] = _rows(self.columns[number], chunk)
        # A column of ones sums the others.
        few[:, -1] = 1.0
        if self.fresh:
            for place, column in enumerate(self.columns):
                self.shift[:, place] = _rows(column, chunk).mean(axis=-1, dtype=np.float64)
            self.fresh = False
        few[:, :-1] -= self.shift[:, self.chosen, None]
        for start in range(0, len(self.columns), self.group):
            group = slice(start, min(start + self.group, len(self.columns)))
            block = self.block[:, : group.stop - start, :count]
            for place, column in enumerate(self.columns[group]):
                block[:, place] = _rows(column, chunk)
            block -= self.shift[:, group, None]
            found = block @ few.transpose(0, 2, 1)
            self.products[:, group] += found[:, :, :-1]
            self.total[:, group] += found[:, :, -1]
            for number, part in enumerate(block):
                for place, row in enumerate(part, start=start):
                    self.squares[number, place] += row @ row


def _rows(column: np.ndarray, chunk: slice | np.ndarray) -> np.ndarray:
    """(count,) or (K, count) of a column's values."""
    return column[chunk].T


def _chunks(covered: np.ndarray, rows: int) -> Iterator[tuple[slice | np.ndarray, int]]:
    for start in range(0, len(covered), rows):
        part = covered[start : start + rows]
        count = int(np.count_nonzero(part))
        if count == len(part):
            yield slice(start, start + count), count
        elif count:
            yield start + np.flatnonzero(part), count


def _target(y: np.ndarray, like: np.ndarray) -> np.ndarray:
    """What a prediction of this shape would be if it were never wrong."""
    return y if like.ndim == 1 else np.asarray(y)[:, None] == np.arange(like.shape[1])


def _ones(matrix: np.ndarray) -> np.ndarray:
    matrix = np.array(matrix)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _check_shapes(columns: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> None:
    for name, values in columns.items():
        if values.shape != shape or values.ndim not in (1, 2):
            raise PredictionError(f"{name} has shape {values.shape}, the folds need {shape}.")
