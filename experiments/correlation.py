"""How alike predictions are: Pearson and Spearman, and Pearson of their errors; one pass over the pool, in float64."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from experiments.blas import one_thread
from experiments.errors import PredictionError

CHUNK = 8192
"""Rows at a time, at most."""
BLOCK, WIDE_BLOCK = 8 * CHUNK, 128 * CHUNK
"""Numbers in a block: half a megabyte, which stays in a core's cache, where one prediction is compared with many;
8 MB for all pairs, which is work enough for BLAS."""
MOST_THREADS, LEAST_CHUNKS, MOST_BYTES = 4, 16, 64 * 2**20
"""Each thread has so many chunks at least, and sums of its own: where these are large, one does it all."""
# A spread this small against the size of the values is rounding, not information.
FLAT = 1e-12
_Chunk = tuple[slice | np.ndarray, int]
"""Rows, and how many they are."""
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
    # Plain arrays: slicing a memmap costs more than what is done with a small slice.
    arrays = [np.asarray(values) for _, values in columns]
    kind = _AllPairs if len(chosen) == len(columns) else _SomePairs
    chunks = list(_chunks(covered, kind.rows(arrays)))
    shift = _shift(arrays, chunks)
    most = MOST_THREADS if len(chosen) * shift.nbytes <= MOST_BYTES else 1
    sums = _added(chunks, lambda: kind(arrays, chosen, shift), most)
    finite = np.isfinite(sums.total).all(axis=0)
    if not finite.all():
        raise PredictionError(
            f"{columns[int(np.argmin(finite))][0]} has missing or infinite values in rows that the folds cover.",
            hint="Take it out of the pool, or import a prediction that covers every validated row.",
        )
    rows, places = max(int(np.count_nonzero(covered)), 1), np.asarray(chosen)
    mean = sums.total / rows
    covariance = sums.products / rows
    covariance -= mean[:, :, None] * mean[:, None, places]
    return _Moments(shift + mean, np.maximum(sums.squares / rows - mean**2, 0.0), covariance, places)


def _shift(columns: Sequence[np.ndarray], chunks: Sequence[_Chunk]) -> np.ndarray:
    """(K, m) about the means, to be taken from all numbers before anything is done with them."""
    if not chunks:
        return np.zeros((_classes(columns), len(columns)))
    with np.errstate(invalid="ignore", over="ignore"):
        first = [np.atleast_2d(_rows(column, chunks[0][0])).mean(axis=1, dtype=np.float64) for column in columns]
    return np.stack(first, axis=1)


def _added(chunks: Sequence[_Chunk], fresh: Callable[[], _AllPairs | _SomePairs], most: int) -> _AllPairs | _SomePairs:
    """Sums over all chunks; where there are many, up to ``most`` cores take a share of them, each by itself."""

    def work(share: Sequence[_Chunk]) -> _AllPairs | _SomePairs:
        sums = fresh()
        # What is not finite is told once, by name, when all is summed.
        with np.errstate(invalid="ignore", over="ignore"):
            for chunk, count in share:
                sums.add(chunk, count)
        return sums

    threads = max(min(most, os.cpu_count() or 1, len(chunks) // LEAST_CHUNKS), 1)
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        first, *others = pool.map(work, [chunks[start::threads] for start in range(threads)])
    for other in others:
        first.total += other.total
        first.products += other.products
        first.squares += other.squares
    return first


class _AllPairs:
    """Running sums of columns and of all their products.

    Attributes:
        total, squares: (K, m) of what is left after the shift.
        products: (K, m, m).
    """

    def __init__(self, columns: Sequence[np.ndarray], chosen: Sequence[int], shift: np.ndarray) -> None:
        self.columns, self.shift = columns, shift
        self.block = np.empty((*shift.shape, self.rows(columns)))
        self.total, self.squares = np.zeros((2, *shift.shape))
        self.products = np.zeros((*shift.shape, len(chosen)))

    @staticmethod
    def rows(columns: Sequence[np.ndarray]) -> int:
        """Rows that :meth:`add` is given at a time, at most."""
        return min(max(WIDE_BLOCK // (_classes(columns) * len(columns)), 256), CHUNK)

    def add(self, chunk: slice | np.ndarray, count: int) -> None:
        """Add the rows of a chunk."""
        block = self.block[:, :, :count]
        for place, column in enumerate(self.columns):
            block[:, place] = _rows(column, chunk)
        for number, part in enumerate(block):
            part -= self.shift[number][:, None]
            self.total[number] += part.sum(axis=1)
            found = part @ part.T
            self.products[number] += found
            self.squares[number] += np.diagonal(found)


class _SomePairs:
    """The same with the products of each column and of the chosen ones alone, (K, m, q)."""

    def __init__(self, columns: Sequence[np.ndarray], chosen: Sequence[int], shift: np.ndarray) -> None:
        self.columns, self.chosen, self.shift = columns, list(chosen), shift
        self.group = max(BLOCK // (len(shift) * CHUNK), 1)
        self.block = np.empty((len(shift), self.group, CHUNK))
        # A column of ones sums the others.
        self.few = np.ones((len(shift), len(chosen) + 1, CHUNK))
        self.total, self.squares = np.zeros((2, *shift.shape))
        self.products = np.zeros((*shift.shape, len(chosen)))

    @staticmethod
    def rows(columns: Sequence[np.ndarray]) -> int:  # noqa: ARG004
        """Rows that :meth:`add` is given at a time, at most."""
        return CHUNK

    def add(self, chunk: slice | np.ndarray, count: int) -> None:
        """Add the rows of a chunk."""
        few = self.few[:, :, :count]
        for place, number in enumerate(self.chosen):
            few[:, place] = _rows(self.columns[number], chunk)
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


def _classes(columns: Sequence[np.ndarray]) -> int:
    return columns[0].shape[1] if columns[0].ndim == 2 else 1


def _rows(column: np.ndarray, chunk: slice | np.ndarray) -> np.ndarray:
    """(count,) or (K, count) of a column's values."""
    return column[chunk].T


def _chunks(covered: np.ndarray, rows: int) -> Iterator[_Chunk]:
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
