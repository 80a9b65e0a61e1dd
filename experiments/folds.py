"""The folds of a competition: fixed once, hashed, the same for every experiment."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from experiments.arrays import read_archive
from experiments.errors import DataError
from experiments.files import write_atomic
from experiments.spec import CvStrategy, Spec, TaskType

REGRESSION_BINS = 10
UNCOVERED = -1
MOST_FOLDS = 1_000
MOST_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Folds:
    """Which rows train and which validate, fold by fold.

    Attributes:
        strategy: How they were made.
        splits: ``(train_rows, valid_rows)`` per fold, each sorted int64 row numbers.
        covered: (n,) bool, rows that some fold validates; all of them except the early rows of ``time``.
        digest: sha256 over the strategy and all row numbers.
    """

    strategy: CvStrategy
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    covered: np.ndarray
    digest: str

    @property
    def n_folds(self) -> int:
        """How many folds there are."""
        return len(self.splits)

    @property
    def n_rows(self) -> int:
        """How many rows the folds were made over."""
        return len(self.covered)

    @property
    def assignment(self) -> np.ndarray:
        """(n,) int32: the fold that validates each row, -1 where none does."""
        found = np.full(self.n_rows, UNCOVERED, dtype=np.int32)
        for number, (_, valid) in enumerate(self.splits):
            found[valid] = number
        return found

    @classmethod
    def from_assignment(cls, strategy: CvStrategy, assignment: np.ndarray) -> Folds:
        """Build the folds from the fold number of each row.

        ``time`` trains a fold on all rows of smaller numbers, the other strategies on all other rows.
        """
        splits = []
        for number in range(int(assignment.max()) + 1):
            train = assignment < number if strategy == "time" else assignment != number
            splits.append((np.flatnonzero(train), np.flatnonzero(assignment == number)))
        return cls(strategy, tuple(splits), assignment != UNCOVERED, _digest(strategy, splits))

    def save(self, path: Path) -> None:
        """Write them as one compressed .npz, atomically."""
        write_atomic(
            path,
            lambda file: np.savez_compressed(
                file,
                strategy=np.array(self.strategy),
                digest=np.array(self.digest),
                assignment=self.assignment,
            ),
        )

    @classmethod
    def load(cls, path: Path) -> Folds:
        """Read what ``save`` wrote.

        Raises:
            DataError: The file is missing or damaged (its digest no longer fits its rows).
        """
        hint = "Restore the file from a backup; without it old and new scores cannot be compared."
        try:
            stored = read_archive(path, most=MOST_BYTES, links=True)
            strategy: Any = str(stored["strategy"])
            digest = str(stored["digest"])
            folds = cls.from_assignment(strategy, _checked_assignment(stored["assignment"]))
        except FileNotFoundError:
            raise DataError(f"The folds file {path} is missing.", hint=hint) from None
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"The folds file {path} cannot be read: {error}", hint=hint) from None
        if folds.digest != digest:
            raise DataError(f"The folds file {path} is damaged: its rows do not fit its digest.", hint=hint)
        return folds


def _checked_assignment(values: np.ndarray) -> np.ndarray:
    """An assignment that may be one.

    Raises:
        ValueError: It is none.
    """
    if values.ndim != 1 or values.dtype.kind != "i" or not len(values):
        raise ValueError("it holds no assignment of rows")
    if values.min() < UNCOVERED or not 0 <= values.max() < MOST_FOLDS:
        raise ValueError("it holds impossible fold numbers")
    return values


def make_folds(
    spec: Spec,
    y: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Folds:
    """Make the folds that ``spec`` asks for; the same arguments always give the same folds.

    ``stratified`` spreads the rows of a class over as many folds as it has rows, and stratifies
    regression by ten quantile bins. ``group`` keeps equal groups together. ``time`` makes expanding
    windows: fold k validates the k-th of the later stretches and trains on all that came before; rows
    of equal time are never split, and the first stretch is validated by no fold.

    Args:
        spec: Strategy, number of folds, task and seed.
        y: (n,) encoded target.
        groups: (n,) group of each row, of any type; needed by the group strategies.
        times: (n,) numbers, stamps or date strings; needed by ``time``.

    Raises:
        DataError: The data do not allow these folds.
    """
    n_rows = len(y)
    if spec.cv_folds < 2:
        raise DataError(f"cv_folds is {spec.cv_folds}; at least 2 folds are needed.")
    if n_rows < 2 * spec.cv_folds:
        raise DataError(
            f"{n_rows} training rows are too few for {spec.cv_folds} folds.",
            hint=f"Set cv_folds to at most {max(2, n_rows // 2)} in config.json.",
        )
    assignment = assign_folds(
        spec.cv_strategy,
        spec.task_type,
        spec.cv_folds,
        spec.seed,
        np.asarray(y),
        groups=None if groups is None else group_codes(groups, n_rows, spec.group_column),
        times=None if times is None else time_ranks(times, n_rows, spec.time_column),
    )
    folds = Folds.from_assignment(spec.cv_strategy, assignment)
    _check_usable(folds, spec, np.asarray(y))
    return folds


def fold_key(code_sha: str, folds_digest: str, data_hash: str, fold: int, seed: int) -> str:
    """The key of one fold of one experiment: equal keys are the same work, done once."""
    parts = (code_sha, folds_digest, data_hash, str(fold), str(seed))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def group_codes(groups: np.ndarray, n_rows: int, column: str | None = None) -> np.ndarray:
    """(n,) integer code of each row's group, in order of first appearance.

    Raises:
        DataError: Another length than the target, or missing values.
    """
    _check_length(groups, n_rows, "group", column)
    codes, _ = pd.factorize(np.asarray(groups))
    _check_complete(codes < 0, "group", column, "Give every row a group: a row without one could leak.")
    return np.asarray(codes, dtype=np.int64)


def time_ranks(times: np.ndarray, n_rows: int, column: str | None = None) -> np.ndarray:
    """(n,) rank of each row's time among the distinct times: 0 is the earliest, ties are equal.

    Raises:
        DataError: Another length than the target, missing values, or text that is no date.
    """
    _check_length(times, n_rows, "time", column)
    values = pd.Series(times)
    if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_datetime64_any_dtype(values)):
        missing = values.isna()
        try:
            values = pd.to_datetime(values, errors="raise")
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(
                f"The time column{_named(column)} holds values that are no dates: {error}",
                hint="Write dates as 2024-01-31 (or use numbers that grow with time).",
            ) from None
        values = values.where(~missing)
    empty = np.array(values.isna(), dtype=bool)
    if pd.api.types.is_float_dtype(values):
        empty |= ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
    _check_complete(empty, "time", column, "Every row needs a time to be put in order.")
    return np.asarray(values.rank(method="dense").to_numpy() - 1, dtype=np.int64)


def assign_folds(
    strategy: CvStrategy,
    task_type: TaskType,
    n_folds: int,
    seed: int,
    y: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """(n,) int32 fold number of each row, -1 for rows that ``time`` leaves uncovered.

    Args:
        groups: (n,) int64 codes as from ``group_codes``.
        times: (n,) int64 ranks as from ``time_ranks``.

    Raises:
        DataError: The data do not allow these folds.
    """
    if strategy == "time":
        if times is None:
            raise DataError("cv_strategy is time, but there is no time column.", hint="Set time_column.")
        return _time_assignment(times, n_folds)
    rows = np.zeros((len(y), 1), dtype=np.int8)
    strata = _strata(y, task_type, n_folds)
    if strategy in ("group", "stratified_group"):
        if groups is None:
            raise DataError(f"cv_strategy is {strategy}, but there is no group column.", hint="Set group_column.")
        groups = _shuffled_groups(groups, n_folds, seed)
    else:
        groups = None
    splitter: Any
    if strategy == "kfold":
        splitter = KFold(n_folds, shuffle=True, random_state=seed)
    elif strategy == "group":
        splitter = GroupKFold(n_folds)
    else:
        _check_strata(strata, n_folds, strategy)
        kind = StratifiedKFold if strategy == "stratified" else StratifiedGroupKFold
        splitter = kind(n_folds, shuffle=True, random_state=seed)
    assignment = np.full(len(y), UNCOVERED, dtype=np.int32)
    with warnings.catch_warnings():
        # A class rarer than the folds is dealt to as many folds as it has rows: what is wanted here.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for number, (_, valid) in enumerate(splitter.split(rows, strata, groups)):
            assignment[valid] = number
    return assignment


def _time_assignment(ranks: np.ndarray, n_folds: int) -> np.ndarray:
    """Cut the rows, in order of time, into n_folds + 1 stretches; the first is validated by none."""
    counts = np.bincount(ranks)
    edges = np.cumsum(counts)[:-1]
    if len(edges) < n_folds:
        raise DataError(
            f"{len(counts)} distinct times are too few for {n_folds} time folds.",
            hint=f"Set cv_folds to at most {max(2, len(edges))}: each needs a later time of its own.",
        )
    cuts: list[int] = []
    first = 0
    for number in range(1, n_folds + 1):
        ideal = len(ranks) * number / (n_folds + 1)
        last = len(edges) - (n_folds - number)
        cut = first + int(np.argmin(np.abs(edges[first:last] - ideal)))
        cuts.append(cut)
        first = cut + 1
    return np.asarray(np.searchsorted(np.array(cuts), ranks, side="left") - 1, dtype=np.int32)


def _strata(y: np.ndarray, task_type: TaskType, n_folds: int) -> np.ndarray:
    if task_type != "regression":
        return y
    bins = max(2, min(REGRESSION_BINS, len(y) // n_folds))
    ranks = np.empty(len(y), dtype=np.int64)
    ranks[np.argsort(y, kind="stable")] = np.arange(len(y))
    return np.asarray(ranks * bins // len(y))


def _check_strata(strata: np.ndarray, n_folds: int, strategy: str) -> None:
    largest = int(np.bincount(np.unique(strata, return_inverse=True)[1]).max())
    if largest < n_folds:
        raise DataError(
            f"Every class has fewer rows than the {n_folds} folds of {strategy}.",
            hint=f"Set cv_folds to at most {max(2, largest)}, or cv_strategy to kfold.",
        )


def _shuffled_groups(groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Group codes in a seeded order, so that the order of names in the file does not decide the folds."""
    n_groups = int(groups.max()) + 1
    if n_groups < n_folds:
        raise DataError(
            f"{n_groups} groups are too few for {n_folds} folds.",
            hint=f"Set cv_folds to at most {max(2, n_groups)} in config.json."
            if n_groups > 1
            else "The group column holds one value only: choose another, or cv_strategy kfold.",
        )
    return np.asarray(np.random.default_rng(seed).permutation(n_groups)[groups])


def _check_usable(folds: Folds, spec: Spec, y: np.ndarray) -> None:
    for number, (train, valid) in enumerate(folds.splits, start=1):
        if not len(train) or not len(valid):
            raise DataError(
                f"Fold {number} of {spec.cv_strategy} has no rows.", hint="Set cv_folds to a smaller number."
            )
        if spec.task_type == "regression":
            continue
        parts = [("training", train)]
        if spec.task_type == "binary":
            parts.append(("validation", valid))
        for name, rows in parts:
            if (y[rows] == y[rows[0]]).all():
                raise DataError(
                    f"The {name} rows of fold {number} of {spec.cv_strategy} hold one class only.",
                    hint=_one_class_hint(spec.cv_strategy),
                )


def _one_class_hint(strategy: CvStrategy) -> str:
    if strategy == "time":
        return "Set cv_folds to a smaller number: early rows hold too few of the rare class."
    other = {"kfold": "stratified", "group": "stratified_group"}.get(strategy)
    return f"Set cv_folds to a smaller number{f', or cv_strategy to {other}' if other else ''}."


def _check_length(values: np.ndarray, n_rows: int, kind: str, column: str | None) -> None:
    if len(values) != n_rows:
        raise DataError(f"The {kind} column{_named(column)} has {len(values)} rows, the target {n_rows}.")


def _check_complete(missing: np.ndarray, kind: str, column: str | None, hint: str) -> None:
    if missing.any():
        first = int(np.argmax(missing))
        raise DataError(
            f"The {kind} column{_named(column)} is missing in {int(missing.sum())} of {len(missing)} rows"
            f" (first: data row {first + 1}).",
            hint=hint,
        )


def _named(column: str | None) -> str:
    return f" {column!r}" if column else ""


def _digest(strategy: str, splits: list[tuple[np.ndarray, np.ndarray]]) -> str:
    state = hashlib.sha256(strategy.encode())
    for split in splits:
        for rows in split:
            state.update(f"|{len(rows)}|".encode())
            state.update(np.ascontiguousarray(rows, dtype="<i8").data)
    return state.hexdigest()
