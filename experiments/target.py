"""The target column: what is missing in it, whether it is numbers, its classes and their spelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.errors import DataError
from experiments.spec import TaskType
from experiments.tables import MISSING_NUMBERS

Label = str | int | float | bool
MAX_CLASSES = 1000


@dataclass(frozen=True)
class Target:
    """A target column as it stands in the file.

    Attributes:
        text: (n,) spelling of every value, missing ones as NaN.
        numbers: (n,) float64 when every value is a number, else None.
        missing: (n,) bool. ``NA`` and its like count as missing among numbers; among words they are a class.
    """

    name: str
    text: pd.Series[Any]
    numbers: np.ndarray | None
    missing: np.ndarray

    @classmethod
    def read(cls, name: str, text: pd.Series[Any]) -> Target:
        """Look at a column that was read as text."""
        parsed = parse_numbers(text)
        missing = text.isna().to_numpy() if parsed is None else np.isnan(parsed)
        return cls(name, text, parsed, missing)

    def classes(self) -> tuple[Label, ...]:
        """The class labels, sorted: as numbers when all are, else as text.

        A label is an int, float or bool only if it is spelled as Python spells it, so ``str(label)`` is
        always the spelling of the file.
        """
        present = self.text[~self.missing]
        return typed_labels([str(value) for value in present.unique()])

    def encode(self, task_type: TaskType) -> tuple[np.ndarray, tuple[Label, ...] | None]:
        """Codes of the classes, or the numbers; call it on a column with nothing missing.

        Returns:
            ``(y, classes)``: (n,) int32 codes and the labels, or (n,) float64 and None for regression.

        Raises:
            DataError: The values do not fit the task.
        """
        self._check_finite()
        if task_type == "regression":
            return self._values(), None
        classes = self.classes()
        self._check_classes(classes, task_type)
        return encode_labels(self.text, classes), classes

    def _check_finite(self) -> None:
        infinite = np.flatnonzero(np.isinf(self.numbers) if self.numbers is not None else [])
        if len(infinite):
            rows = f"{len(infinite):,} row(s), first in row {infinite[0] + 1}"
            every = len(infinite) == len(self.text)
            raise DataError(
                f"The target '{self.name}' is infinite in {'every row' if every else rows}.",
                hint="Choose another --target." if every else "Remove those rows.",
            )

    def _values(self) -> np.ndarray:
        if self.numbers is None:
            row = first_word(self.text)
            raise DataError(
                f"The target '{self.name}' is {self.text.iloc[row]!r} in row {row + 1}, but regression needs numbers.",
                hint="Choose another --target, or a classification metric such as --metric accuracy.",
            )
        if np.ptp(self.numbers) == 0:
            raise DataError(
                f"The target '{self.name}' is {self.text.iloc[0]} in every row: there is nothing to predict.",
                hint="Choose another --target.",
            )
        return self.numbers

    def _check_classes(self, classes: Sequence[Label], task_type: TaskType) -> None:
        if len(classes) == 1:
            raise DataError(
                f"The target '{self.name}' has one class only: every row is {classes[0]!s}.",
                hint="Classification needs rows of at least two classes.",
            )
        if task_type == "binary" and len(classes) > 2:
            raise DataError(
                f"The target '{self.name}' has {len(classes)} classes, but the task is binary.",
                hint='Use "task_type": "multiclass".',
            )
        if len(classes) > MAX_CLASSES:
            raise DataError(
                f"The target '{self.name}' has {len(classes):,} different values: too many to be classes.",
                hint="Choose another --target; numbers can be predicted with --metric rmse.",
            )


def typed_labels(spellings: Sequence[str]) -> tuple[Label, ...]:
    """Sorted labels, typed where that keeps each one's spelling."""
    for kind in (int, float):
        typed = _typed(spellings, kind)
        if typed is not None:
            return tuple(sorted(typed))
    if set(spellings) <= {"True", "False"}:
        return tuple(sorted(text == "True" for text in spellings))
    numbers = _typed(spellings, float, exact=False)
    if numbers is not None:
        return tuple(text for _, text in sorted(zip(numbers, spellings, strict=True)))
    return tuple(sorted(spellings))


def _typed(spellings: Sequence[str], kind: type[int] | type[float], exact: bool = True) -> list[Any] | None:
    try:
        typed = [kind(text) for text in spellings]
    except (ValueError, OverflowError):
        return None
    if not all(np.isfinite(value) for value in typed):
        return None
    return typed if not exact or [str(value) for value in typed] == list(spellings) else None


def encode_labels(text: pd.Series[Any], classes: Sequence[Label]) -> np.ndarray:
    """(n,) int32 codes of labels as spelled; -1 for what is no class."""
    codes = pd.Index([str(label) for label in classes]).get_indexer(pd.Index(text.astype(str)))
    return np.asarray(codes, dtype=np.int32)


def parse_numbers(text: pd.Series[Any]) -> np.ndarray | None:
    """(n,) float64 with NaN for what is missing (``NA`` and its like too), or None when a word is among them.

    All missing counts as numbers.
    """
    if not pd.api.types.is_string_dtype(text.dtype) and text.dtype != object:
        return np.asarray(text.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    # Labels repeat: each spelling is parsed once.
    codes, unique = pd.factorize(text)
    spelled = pd.Series(unique)
    parsed = pd.to_numeric(spelled, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if not spelled[np.isnan(parsed)].isin(MISSING_NUMBERS).all():
        return None
    return np.append(parsed, np.nan)[codes]


def first_word(text: pd.Series[Any]) -> int:
    """Position of the first value that is neither a number nor missing."""
    parsed = pd.to_numeric(text, errors="coerce").isna() & text.notna() & ~text.isin(MISSING_NUMBERS)
    return int(np.argmax(parsed.to_numpy()))
