"""Holding back a private test: which rows of train nobody sees the labels of."""

from __future__ import annotations

import numpy as np

from experiments.errors import DataError
from experiments.spec import TaskType

SHARE = 0.25
MIN_ROWS = 8
MIN_OF_CLASS = 2


def hold_out(
    y: np.ndarray,
    task_type: TaskType,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    times: np.ndarray | None = None,
    share: float = SHARE,
) -> np.ndarray:
    """(n,) bool: the rows to hold back, about ``share`` of all.

    With times the latest rows (ties stay together), with groups whole groups, else by chance, for classes
    in proportion; a class always keeps most of its rows in train.

    Args:
        y: (n,) codes of the classes, or float64.
        groups: (n,) int64 codes.
        times: (n,) int64 ranks.

    Raises:
        DataError: There are too few rows to spare any.
    """
    wanted = round(len(y) * share)
    if wanted < MIN_ROWS:
        raise DataError(
            f"{len(y)} rows are too few to hold back a private test ({wanted} rows).", hint="Give a --test file."
        )
    rng = np.random.default_rng(seed)
    why = f"no class has more than {MIN_OF_CLASS} rows"
    if times is not None:
        why = "all times are the same"
        held = np.asarray(times > np.sort(times)[len(y) - wanted - 1])
        if not held.any():
            held = times == times.max()
    elif groups is not None:
        why = "all rows are of one group"
        held = _whole_groups(groups, wanted, rng)
    elif task_type == "regression":
        held = np.zeros(len(y), dtype=bool)
        held[rng.permutation(len(y))[:wanted]] = True
    else:
        held = _stratified(y, share, rng)
    _check(held, y, task_type, why)
    return held


def _stratified(y: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """In a shuffled order sorted by class, every fourth row: rounding errors do not add up over classes."""
    shuffled = rng.permutation(len(y))
    order = shuffled[np.argsort(y[shuffled], kind="stable")]
    position = np.arange(len(y))
    held = np.zeros(len(y), dtype=bool)
    held[order] = np.floor((position + 1) * share) > np.floor(position * share)
    # Of a class with a row or two none can be spared.
    rare = np.flatnonzero(np.bincount(y) <= MIN_OF_CLASS)
    held[np.isin(y, rare)] = False
    return held


def _whole_groups(groups: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    sizes = np.bincount(groups)
    order = rng.permutation(len(sizes))
    total = np.cumsum(sizes[order])
    count = int(np.searchsorted(total, wanted)) + 1
    return np.isin(groups, order[: min(count, len(sizes) - 1)])


def _check(held: np.ndarray, y: np.ndarray, task_type: TaskType, why: str) -> None:
    if not held.any() or held.all():
        raise DataError(f"No rows can be held back: {why}.", hint="Give a --test file.")
    if task_type == "regression":
        return
    lost = np.setdiff1d(y, y[~held])
    if len(lost):
        raise DataError(
            f"Holding back a private test would take every row of {len(lost)} class(es) out of train.",
            hint="Give a --test file.",
        )
    counts = np.bincount(y[held], minlength=int(y.max()) + 1)
    if task_type == "binary" and counts.min() < MIN_OF_CLASS:
        raise DataError(
            f"A private test would hold {counts.min()} row(s) of the rarer class: too few to score.",
            hint="Give a --test file.",
        )
