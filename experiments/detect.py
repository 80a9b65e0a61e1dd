"""What a competition is, guessed from its files: every choice comes with its reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from experiments.columns import is_text
from experiments.errors import DataError, MetricError
from experiments.metrics import Metric, default_metric
from experiments.spec import TaskType
from experiments.submission import Kind, SubmissionFormat, class_order
from experiments.target import Label, Target, parse_numbers

T = TypeVar("T")

MAX_INTEGER_CLASSES = 20
ROWS_PER_CLASS = 10
PLAIN_IDS = ("id", "row_id", "rowid")
_ID_NAME = re.compile(r"^(index|unnamed: 0|id|.*[ _-]id|.*[a-z0-9]I[dD]|(row|passenger|customer|user)id)$")


@dataclass(frozen=True)
class Choice(Generic[T]):
    """A decision and why it was taken."""

    value: T
    reason: str


def detect_id(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    sample: pd.DataFrame | None,
    *,
    exclude: Collection[str],
) -> Choice[str | None]:
    """The column that names the rows.

    The sample submission decides; without one, a column called ``id``, then one that is named like an id
    and differs in every row, then a first column that counts the rows or is a code.

    Args:
        exclude: Columns it cannot be: target, group, time.
    """
    frames = [train] if test is None else [train, test]
    if sample is not None:
        first = str(sample.columns[0])
        if first in frames[-1].columns and first not in exclude:
            return Choice(first, "the first column of the sample submission")
        if test is not None:
            return Choice(None, f"'{first}' of the sample submission is no column of test: rows match by position")
    names = [name for name in train.columns if name not in exclude and all(name in f.columns for f in frames)]
    for name in names:
        if name.casefold() in PLAIN_IDS:
            return Choice(name, "its name says so")
    for name in names:
        likely = _ID_NAME.match(name) or _ID_NAME.match(name.casefold())
        if likely and all(_identifies(frame[name]) for frame in frames):
            return Choice(name, "it is named like an id and differs in every row")
    if names and names[0] == train.columns[0] and _identifies(train[names[0]]):
        first, values = names[0], train[names[0]]
        if _counts(values):
            return Choice(first, "the first column, and it counts the rows")
        if is_text(values) and not values.astype(str).str.contains(r"\s").any():
            return Choice(first, "the first column, a code that differs in every row")
    return Choice(None, "no column is named like an id and differs in every row")


def detect_task(
    target: Target, *, metric: Metric | None = None, sample: pd.DataFrame | None = None
) -> Choice[TaskType]:
    """Binary, multiclass or regression, from the values, the metric and the sample submission.

    Raises:
        DataError: The target is text that differs in almost every row.
        MetricError: The metric scores classes, and the target is numbers that hardly repeat.
    """
    present = target.text[~target.missing]
    count = int(present.nunique())
    classes = f"{count} classes"
    task: TaskType = "binary" if count <= 2 else "multiclass"
    if metric is not None and metric.tasks == {"regression"}:
        return Choice("regression", f"{metric.name} scores numbers")
    if target.numbers is None:
        if count > max(2, len(present) // 2):
            raise DataError(
                f"The target '{target.name}' holds {count:,} different texts in {len(present):,} rows.",
                hint="Only classes and numbers can be predicted; choose another --target.",
            )
        return Choice(task, f"'{target.name}' holds {classes}, as text")
    numbers = target.numbers[~target.missing]
    whole = bool((numbers == np.rint(numbers)).all())
    if metric is not None and "regression" not in metric.tasks:
        rows_each = 2 if whole else ROWS_PER_CLASS
        if count > MAX_INTEGER_CLASSES and count * rows_each > len(numbers):
            raise MetricError(
                f"{metric.name} needs classes, and '{target.name}' holds {count:,} different numbers "
                f"in {len(numbers):,} rows.",
                hint="Choose a metric for numbers, e.g. --metric rmse, or another --target.",
            )
        return Choice(task, f"{metric.name} scores classes, and '{target.name}' has {count}")
    if sample is not None and sample.shape[1] > 2:
        return Choice(task, f"the sample submission has {sample.shape[1] - 1} columns to predict")
    if count <= 2:
        return Choice("binary", f"'{target.name}' has {'two values' if count == 2 else 'one value'}")
    if not whole:
        return Choice("regression", f"'{target.name}' holds numbers with decimals")
    if sample is not None and sample.shape[1] == 2 and _fractional(sample.iloc[:, 1]):
        return Choice("regression", f"'{target.name}' is numeric and the sample submission has decimals")
    if count <= MAX_INTEGER_CLASSES and count * ROWS_PER_CLASS <= len(numbers):
        return Choice(task, f"'{target.name}' holds {count} whole numbers over {len(numbers):,} rows")
    return Choice("regression", f"'{target.name}' holds {count:,} different whole numbers")


def detect_metric(task_type: TaskType, n_classes: int, form: SubmissionFormat | None, top: int = 3) -> Choice[str]:
    """The metric that fits the sample submission, or the usual one of the task without a sample.

    Args:
        form: As taken from the sample, or None.
        top: Labels per row of a ``top_k`` sample.
    """
    if form is None:
        return Choice(default_metric(task_type, n_classes), f"the usual one for {task_type}; --metric says otherwise")
    if form.kind == "value":
        return Choice("rmse", "the submission holds numbers; --metric says otherwise")
    if form.kind == "probability":
        return Choice("roc_auc", "the submission holds probabilities; --metric says otherwise")
    if form.kind == "class_probabilities":
        return Choice("log_loss", "the submission holds a probability per class; --metric says otherwise")
    if form.kind == "top_k":
        return Choice(f"map@{top}", f"the submission ranks {top} labels; --metric says otherwise")
    return Choice("accuracy", "the submission holds labels; --metric says otherwise")


def detect_format(
    task_type: TaskType,
    classes: Sequence[Label] | None,
    *,
    target: str,
    id_column: str | None,
    metric: Metric | None,
    sample: pd.DataFrame | None,
) -> Choice[SubmissionFormat]:
    """Columns and kind of a submission: from the sample, else from the metric.

    Args:
        metric: When known, it decides between labels and probabilities; a sample of zeros says little.
        sample: The sample submission as text, or None.

    Raises:
        DataError: The sample cannot belong to this target.
    """
    if sample is None:
        return _from_metric(task_type, classes, target=target, id_column=id_column, metric=metric)
    if sample.shape[1] < 2:
        raise DataError(
            f"The sample submission has one column only, '{sample.columns[0]}'.",
            hint="It needs an id column and at least one column to predict.",
        )
    ident = id_column if id_column in sample.columns else str(sample.columns[0])
    columns = tuple(str(name) for name in sample.columns if name != ident)

    def choose(kind: Kind, reason: str) -> Choice[SubmissionFormat]:
        return Choice(SubmissionFormat(str(ident), columns, kind), reason)

    if classes is None:
        if len(columns) > 1:
            raise DataError(
                f"The sample submission has {len(columns)} columns to predict ({', '.join(columns[:4])}).",
                hint="Competitions with several targets are not supported; give one target at a time.",
            )
        return choose("value", "the sample submission has one column, and the target is a number")
    if len(columns) > 1:
        class_order(columns, classes)
        return choose("class_probabilities", "the sample submission has a column per class")
    kind, reason = _single_column(sample[columns[0]], task_type, classes, metric)
    return choose(kind, reason)


def top_labels(values: pd.Series[Any]) -> int:
    """The most labels that a row of a ``top_k`` sample ranks."""
    return int(values.dropna().astype(str).str.count(" ").max()) + 1


def _from_metric(
    task_type: TaskType,
    classes: Sequence[Label] | None,
    *,
    target: str,
    id_column: str | None,
    metric: Metric | None,
) -> Choice[SubmissionFormat]:
    ident = id_column or ("id" if target != "id" else "row")
    wants = metric.prediction if metric is not None else "label"
    said = metric.name if metric is not None else "the metric"
    if classes is None:
        return Choice(SubmissionFormat(ident, (target,), "value"), "regression submits numbers")
    if wants == "top_k":
        return Choice(SubmissionFormat(ident, (target,), "top_k"), f"{said} takes ranked labels")
    if wants == "label":
        return Choice(SubmissionFormat(ident, (target,), "label"), f"{said} takes labels")
    if task_type == "binary":
        reason = f"{said} takes the probability of {classes[1]!s}"
        return Choice(SubmissionFormat(ident, (target,), "probability"), reason)
    columns = tuple(str(label) for label in classes)
    if ident in columns:
        columns = tuple(f"{target}_{label}" for label in columns)
    return Choice(SubmissionFormat(ident, columns, "class_probabilities"), f"{said} takes a probability per class")


def _single_column(
    values: pd.Series[Any], task_type: TaskType, classes: Sequence[Label], metric: Metric | None
) -> tuple[Kind, str]:
    present = values.dropna().astype(str)
    unique = set(present.unique())
    labels = {str(label) for label in classes}
    if metric is not None and metric.prediction == "label":
        return "label", f"{metric.name} takes labels"
    if metric is not None and metric.prediction == "top_k":
        return "top_k", f"{metric.name} takes ranked labels"
    if metric is not None and task_type == "binary":
        return "probability", f"{metric.name} takes the probability of {classes[1]!s}"
    if unique and unique <= labels:
        return "label", "the sample submission holds class labels"
    ranked = {part for text in unique for part in text.split(" ")}
    if any(" " in text for text in unique) and ranked <= labels:
        return "top_k", "the sample submission ranks several labels"
    numbers = parse_numbers(present) if len(present) else None
    if task_type == "binary" and numbers is not None and numbers.min() >= 0 and numbers.max() <= 1:
        example = present.iloc[0]
        return "probability", f"the sample submission holds probabilities (e.g. {example})"
    return "label", "the sample submission has one column for the class"


def _identifies(values: pd.Series[Any]) -> bool:
    whole = pd.api.types.is_integer_dtype(values.dtype) or is_text(values)
    return bool(whole and values.notna().all() and values.is_unique)


def _counts(values: pd.Series[Any]) -> bool:
    if not pd.api.types.is_integer_dtype(values.dtype):
        return False
    return bool((np.diff(values.to_numpy()) == 1).all())


def _fractional(values: pd.Series[Any]) -> bool:
    numbers = parse_numbers(values)
    if numbers is None:
        return False
    known = numbers[~np.isnan(numbers)]
    return bool((known != np.rint(known)).any())
