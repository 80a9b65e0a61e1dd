"""Predictions: joined over folds, checked, kept as plain .npy files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.arrays import map_array
from experiments.errors import PredictionError
from experiments.files import write_atomic
from experiments.folds import Folds
from experiments.spec import TaskType

RANGE_TOLERANCE = 1e-6
SUM_TOLERANCE = 1e-3


def join_oof(folds: Folds, valid_parts: Mapping[int, np.ndarray], n_rows: int) -> np.ndarray:
    """Put the validation predictions of all folds in row order.

    Args:
        valid_parts: By fold number, (n_valid,) or (n_valid, K) in the order of the fold's rows.
        n_rows: Training rows of the competition.

    Returns:
        (n_rows,) or (n_rows, K) float32, NaN in rows that no fold covers.

    Raises:
        PredictionError: A fold is missing, or a part has another shape than its rows.
    """
    if n_rows != folds.n_rows:
        raise PredictionError(f"The folds are over {folds.n_rows} rows, the data have {n_rows}.")
    parts = _all_parts(folds, valid_parts)
    joined = np.full((n_rows, *parts[0].shape[1:]), np.nan, dtype=np.float32)
    for number, ((_, rows), part) in enumerate(zip(folds.splits, parts, strict=True)):
        if part.shape != (len(rows), *parts[0].shape[1:]):
            raise PredictionError(f"Fold {number} predicts shape {part.shape} for {len(rows)} rows.")
        joined[rows] = part
    return joined


def join_test(folds: Folds, parts: Mapping[int, np.ndarray]) -> np.ndarray:
    """The test prediction of an experiment: the mean over folds; for ``time`` the last fold alone.

    The last window of ``time`` trains on the most, and on the latest, rows.

    Raises:
        PredictionError: A fold is missing, or the shapes differ.
    """
    found = _all_parts(folds, parts)
    if folds.strategy == "time":
        return np.asarray(found[-1], dtype=np.float32)
    total = np.zeros(found[0].shape, dtype=np.float64)
    for number, part in enumerate(found):
        if part.shape != total.shape:
            raise PredictionError(f"Fold {number} predicts shape {part.shape}, fold 0 {total.shape}.")
        total += part
    return np.asarray(total / len(found), dtype=np.float32)


def check_prediction(values: np.ndarray, n_rows: int, n_outputs: int, task_type: TaskType) -> np.ndarray:
    """The one check that every prediction passes, in the worker and again in the engine.

    Probabilities within 1e-6 of [0, 1] are clipped; class rows that sum to 1 within 1e-3 are scaled to it.

    Returns:
        (n_rows,) when n_outputs is 1, else (n_rows, n_outputs); float32, contiguous.

    Raises:
        PredictionError: With a reason a person can act on.
    """
    shape = (n_rows,) if n_outputs == 1 else (n_rows, n_outputs)
    if values.shape != shape:
        raise PredictionError(f"has shape {values.shape}, expected {shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(values, dtype=np.float32)
    bad = ~np.isfinite(result)
    if bad.any():
        rows = bad if result.ndim == 1 else bad.any(axis=1)
        kind = "NaN" if np.isnan(result).any() else "infinite (or too large for float32)"
        raise PredictionError(f"is {kind} in {int(rows.sum())} of {n_rows} rows")
    if task_type == "regression":
        return result
    low, high = (float(result.min()), float(result.max())) if result.size else (0.0, 0.0)
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise PredictionError(f"holds probabilities outside 0 to 1 (from {low:.6g} to {high:.6g})")
    result = np.clip(result, 0, 1)
    if n_outputs > 1:
        sums = result.sum(axis=1, dtype=np.float64)
        worst = float(sums[np.argmax(np.abs(sums - 1))]) if len(sums) else 1.0
        if abs(worst - 1) > SUM_TOLERANCE:
            raise PredictionError(f"has rows of class probabilities that do not sum to 1 (one sums to {worst:.6g})")
        result = np.asarray(result / sums[:, None], dtype=np.float32)
    return result


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array as .npy, atomically and durably, without pickle."""
    write_atomic(path, lambda file: np.save(file, values, allow_pickle=False))


def load_array(path: Path, mmap: bool = True) -> np.ndarray:
    """Read a numeric .npy array; memory-mapped (read-only) unless told otherwise.

    Raises:
        PredictionError: The file is missing, no .npy, holds anything but numbers, or is cut short.
    """
    try:
        values = map_array(path, links=True)
    except FileNotFoundError:
        raise PredictionError(f"{path} is missing.") from None
    except OSError as error:
        raise PredictionError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise PredictionError(f"{path} is no readable .npy array: {error}") from None
    return values if mmap else np.array(values)


def array_sha(values: np.ndarray) -> str:
    """sha256 over type, shape and values of an array (in row order, little-endian)."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    state = hashlib.sha256(f"{plain.dtype.str}{values.shape}".encode())
    state.update(plain.reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def _all_parts(folds: Folds, parts: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    missing = [number for number in range(folds.n_folds) if number not in parts]
    if missing:
        raise PredictionError(f"Predictions of fold {', '.join(map(str, missing))} are missing.")
    return [np.asarray(parts[number]) for number in range(folds.n_folds)]
