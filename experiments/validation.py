"""Whether a submission file may be handed in. What is wrong is told, with the place; nothing is put right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.columns import as_text
from experiments.errors import DataError
from experiments.metrics import Metric
from experiments.submission import SubmissionFormat, check_range, decode_submission, read_numbers, some

if TYPE_CHECKING:
    from experiments.competition import Competition


def validate_submission(frame: pd.DataFrame, competition: Competition, metric: Metric | None = None) -> None:
    """Check a submission before it is handed in: columns, ids, order, duplicates, values; nothing is put right.

    Args:
        metric: Values below its floor are refused as well.

    Raises:
        DataError: Something is wrong; the message says what and where.
    """
    ids = competition.test_ids
    if ids is None:
        ids = pd.Series(np.arange(len(competition.test)))
    expected = ids.astype(str)
    _check_header(frame, competition.submission)
    decode_submission(frame, expected, competition.submission, competition.classes)
    given = as_text(frame[competition.submission.id_column], expected).astype(str)
    differs = np.flatnonzero(given.to_numpy() != expected.to_numpy())
    if len(differs):
        raise DataError(
            f"The rows of the submission are in another order than test: row {differs[0] + 1} has the id "
            f"{given.iloc[differs[0]]}, test has {expected.iloc[differs[0]]}.",
            hint="Write the predictions in the order of test.",
        )
    _check_values(frame, competition, metric)


def _check_header(frame: pd.DataFrame, form: SubmissionFormat) -> None:
    """Columns by name and in their order: not every platform goes by the names."""
    given = [str(name) for name in frame.columns]
    if sorted(given) == sorted(form.header) and given != form.header:
        raise DataError(
            f"The columns of the submission are in another order: {some(given)}.",
            hint=f"They must be {','.join(form.header)}.",
        )
    twice = [name for name in form.header if given.count(name) > 1]
    if twice:
        raise DataError(f"The submission has the column '{twice[0]}' more than once.")


def _check_values(frame: pd.DataFrame, competition: Competition, metric: Metric | None) -> None:
    """Values that can be read and still cannot be meant."""
    form = competition.submission
    rows = frame[list(form.columns)]
    if len(rows) > 1 and (rows.to_numpy() == rows.to_numpy()[0]).all():
        said = ", ".join(f"{name} {rows[name].iloc[0]}" for name in form.columns[:4])
        raise DataError(
            f"The submission says the same of all {len(rows)} rows: {said}.",
            hint="A constant prediction ranks nothing; look at the experiment's test prediction.",
        )
    if form.kind in ("probability", "class_probabilities"):
        # What is scored may be a hair beyond by rounding; what is written has no such excuse.
        check_range(rows.to_numpy(dtype=np.float64), form.columns, tolerance=0.0)
    if form.kind == "value":
        _check_floor(rows[form.columns[0]], competition, metric)


def _check_floor(column: pd.Series[Any], competition: Competition, metric: Metric | None) -> None:
    values = read_numbers(column, str(column.name))
    if metric is not None and metric.floor is not None and (values < metric.floor).any():
        row = int(np.argmax(values < metric.floor))
        raise DataError(
            f"The submission has {int((values < metric.floor).sum())} value(s) below {metric.floor:g}, which "
            f"{metric.name} does not take, first {values[row]:.6g} in row {row + 1}."
        )
    if metric is not None and metric.prediction == "label":
        low, high = float(competition.y.min()), float(competition.y.max())
        wrong = (values < low) | (values > high) | (values != np.rint(values))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"The submission has {int(wrong.sum())} value(s) that are no whole number from {low:g} to {high:g}, "
                f"first {values[row]:.6g} in row {row + 1}."
            )
