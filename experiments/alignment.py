"""What an experiment returned, matched to the rows and classes it was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import PredictionError
from experiments.predictions import SUM_TOLERANCE, check_prediction
from experiments.spec import TaskType


def align_prediction(
    value: Any,
    index: pd.Index,
    n_outputs: int,
    classes: Sequence[Any] | None,
    task_type: TaskType,
) -> np.ndarray:
    """Bring a returned prediction into row and class order, and check it.

    A Series or DataFrame is matched by its index, whose labels must be exactly those of ``index``; class
    columns by label or by code. Of anything else the shape decides. Binary: (n,) or (n, 1) is the
    probability of class 1; of both class columns (rows summing to 1) class 1 is taken.

    Returns:
        (n,) when n_outputs is 1, else (n, n_outputs); float32.

    Raises:
        PredictionError: A reason that continues a sentence, e.g. ``has shape (3,), expected (4,)``.
    """
    if isinstance(value, pd.Series | pd.DataFrame):
        value = _match_rows(value, index)
    if isinstance(value, pd.DataFrame) and classes is not None and value.shape[1] > 1:
        value = _match_classes(value, classes)
    values = _numbers(value)
    if n_outputs == 1 and values.ndim == 2:
        if values.shape[1] == 1:
            values = values[:, 0]
        elif task_type == "binary" and values.shape[1] == 2 and _sums_to_one(values):
            values = values[:, 1]
    if n_outputs == 1 and values.ndim == 2 and task_type == "binary" and values.shape[1] == 2:
        raise PredictionError(
            f"has shape {values.shape} and rows that do not sum to 1; return the probability of class 1"
        )
    return check_prediction(values, len(index), n_outputs, task_type)


def _match_rows(value: pd.Series | pd.DataFrame, index: pd.Index) -> pd.Series | pd.DataFrame:
    if value.index.equals(index):
        return value
    kind = type(value).__name__
    if len(value) != len(index):
        raise PredictionError(f"is a {kind} of {len(value)} rows, expected {len(index)}")
    if not value.index.is_unique:
        raise PredictionError(f"is a {kind} whose index repeats labels")
    where = value.index.get_indexer(index)
    if (where < 0).any():
        raise PredictionError(
            f"is a {kind} whose index is not that of the rows to predict"
            f" (row {index[int(np.argmax(where < 0))]} is not in it); return a numpy array, or keep the index"
        )
    return value.iloc[where]


def _match_classes(value: pd.DataFrame, classes: Sequence[Any]) -> pd.DataFrame:
    columns = list(value.columns)
    if len(columns) != len(classes) or len(set(columns)) != len(columns):
        raise PredictionError(f"has the columns {_names(columns)}, expected one per class {_names(classes)}")
    for labels in (list(classes), list(range(len(classes)))):
        if set(columns) == set(labels):
            return value[labels]
    raise PredictionError(f"has the columns {_names(columns)}, expected the classes {_names(classes)}")


def _numbers(value: Any) -> np.ndarray:
    if value is None:
        raise PredictionError("is None")
    try:
        values = np.asarray(value)
        if values.dtype.kind not in "fiub":
            if values.dtype.kind != "O":
                raise PredictionError(f"holds values of type {values.dtype}, expected numbers")
            values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise PredictionError(f"is a {type(value).__name__} that is no array of numbers") from None
    return values


def _sums_to_one(values: np.ndarray) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE).all())


def _names(labels: Sequence[Any]) -> str:
    shown = ", ".join(repr(label) for label in list(labels)[:8])
    return f"[{shown}{', ...' if len(labels) > 8 else ''}]"
