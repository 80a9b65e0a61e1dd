"""Submission files: from stored predictions to the columns a competition wants, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from experiments.columns import as_text, is_text
from experiments.errors import DataError, PredictionError
from experiments.metrics import Metric, predicted_codes, top_codes
from experiments.target import Label, encode_labels

if TYPE_CHECKING:
    from experiments.competition import Competition

Kind = Literal["value", "probability", "label", "class_probabilities", "top_k"]
TOLERANCE = 1e-5
DEFAULT_TOP = 3


@dataclass(frozen=True)
class SubmissionFormat:
    """What a submission file looks like.

    Attributes:
        id_column: Name of the first column.
        columns: Names of the prediction columns; one, or one per class.
        kind: ``value`` (a number), ``probability`` (of the positive class), ``label`` (a class as spelled in
            train), ``class_probabilities`` (a column per class), ``top_k`` (labels, best first, joined by a space).
    """

    id_column: str
    columns: tuple[str, ...]
    kind: Kind

    @property
    def header(self) -> list[str]:
        """All columns in file order."""
        return [self.id_column, *self.columns]


def class_order(columns: Sequence[str], classes: Sequence[Label]) -> tuple[int, ...]:
    """The class that each column of probabilities stands for.

    Columns are matched by their name, or by how it ends (``Class_1``, ``prob_A``, ``Status_C``); when that does
    not settle every column, they are taken in the order of the classes.

    Returns:
        One index into ``classes`` per column.

    Raises:
        DataError: There are more or fewer columns than classes.
    """
    if len(columns) != len(classes):
        raise DataError(
            f"The submission has {len(columns)} columns of probabilities ({some(columns)}) "
            f"but the target has {len(classes)} classes ({some([str(label) for label in classes])}).",
            hint="Check that train and the sample submission belong together.",
        )
    found = named_order(columns, classes)
    return found if found is not None else tuple(range(len(classes)))


def named_order(columns: Sequence[str], classes: Sequence[Label]) -> tuple[int, ...] | None:
    """The class that each column is named for; None when the names do not settle every column."""
    labels = [str(label) for label in classes]
    for key in (str, str.casefold, _number):
        found = _matched([key(name) for name in columns], [key(label) for label in labels])
        if found is not None:
            return found
    return _matched([_ending(name, labels) for name in columns], labels)


def check_labels(form: SubmissionFormat, classes: Sequence[Label] | None, target: str) -> None:
    """Check that every class can be told apart in a submission.

    Raises:
        DataError: Labels are to be joined by spaces, and one holds a space itself.
    """
    if form.kind != "top_k":
        return
    spaced = [str(label) for label in classes or () if " " in str(label)]
    if spaced:
        raise DataError(
            f"{len(spaced)} class(es) of the target '{target}' hold a space (e.g. {spaced[0]!r}), "
            "but a submission of ranked labels joins them with spaces.",
            hint="Write those labels without spaces, e.g. with _, or choose another metric than map@k or ndcg@k.",
        )


def naming_note(form: SubmissionFormat, classes: Sequence[Label] | None, target: str) -> str | None:
    """What to say of a sample submission whose columns are named for neither the target nor its class."""
    labels = [str(label) for label in classes or ()]
    if form.kind == "class_probabilities":
        if named_order(form.columns, classes or ()) is not None:
            return None
        return (
            f"the sample submission's columns {some(form.columns)} do not name the classes: "
            f"taken in the order {some(labels)}"
        )
    name = form.columns[0]
    if name == target:
        return None
    if form.kind == "probability":
        if _ending(name, labels) == labels[1]:
            return None
        if _ending(name, labels) == labels[0]:
            return (
                f"the sample submission's column '{name}' is named like the class {labels[0]}, "
                f"but will hold the probability of {labels[1]}"
            )
    return f"the sample submission's column '{name}' is not called '{target}': taken for it"


def submission_frame(competition: Competition, metric: Metric, pred: np.ndarray) -> pd.DataFrame:
    """The submission file for a test prediction.

    Args:
        pred: (m,) for regression and binary (probability of class 1), (m, K) for multiclass, in row order of test.

    Raises:
        PredictionError: The prediction has another shape, holds NaN or infinity, or no probabilities.
    """
    form, classes = competition.submission, competition.classes
    ids = competition.test_ids
    if ids is None:
        ids = pd.Series(np.arange(len(competition.test)))
    _check_shape(competition, pred)
    columns: dict[str, Any] = {form.id_column: ids.to_numpy()}
    if classes is None:
        columns[form.columns[0]] = _values(competition, metric, pred)
    elif form.kind == "probability":
        columns[form.columns[0]] = _probability(pred, metric)
    elif form.kind == "class_probabilities":
        proba = _class_probabilities(pred, metric)
        for name, code in zip(form.columns, class_order(form.columns, classes), strict=True):
            columns[name] = proba[:, code]
    else:
        labels = np.array([str(label) for label in classes], dtype=object)
        if form.kind == "top_k":
            best = top_codes(_both(pred), metric.k or DEFAULT_TOP)
            columns[form.columns[0]] = [" ".join(row) for row in labels[best]]
        else:
            columns[form.columns[0]] = labels[predicted_codes(pred)]
    return pd.DataFrame(columns)


def decode_submission(
    frame: pd.DataFrame, ids: pd.Series[Any], form: SubmissionFormat, classes: Sequence[Label] | None
) -> np.ndarray:
    """The prediction in a submission file, in the order of ``ids``.

    Args:
        frame: Any dtypes; text as read from a file will do.
        ids: (m,) spelled ids of the test rows.
        classes: Labels of the classes, or None for regression.

    Returns:
        (m,) or (m, K) float64 as metrics take it; labels become 0/1, top_k becomes falling scores.

    Raises:
        DataError: Columns, ids or values are not as they must be.
    """
    rows = _rows(frame, ids, form)
    if form.kind == "label":
        return _decode_labels(frame[form.columns[0]], rows, _known(classes))
    if form.kind == "top_k":
        return _decode_top(frame[form.columns[0]], rows, _known(classes))
    values = np.column_stack([read_numbers(frame[name], name)[rows] for name in form.columns])
    if form.kind == "value":
        return values[:, 0]
    check_range(values, form.columns)
    if form.kind == "probability":
        return values[:, 0]
    if (values.sum(axis=1) <= 0).any():
        raise DataError("A row of probabilities sums to 0.", hint="Give every row at least one class.")
    proba = np.empty_like(values)
    proba[:, list(class_order(form.columns, _known(classes)))] = values
    proba = proba / proba.sum(axis=1, keepdims=True)
    return np.asarray(proba if proba.shape[1] > 2 else proba[:, 1])


def _check_shape(competition: Competition, pred: np.ndarray) -> None:
    rows, classes = len(competition.test), competition.classes
    multiclass = competition.spec.task_type == "multiclass"
    wanted = (rows, len(classes)) if multiclass and classes else (rows,)
    if pred.shape != wanted:
        raise PredictionError(f"The test prediction has the shape {pred.shape}, needed is {wanted}.")
    broken = int((~np.isfinite(pred)).sum())
    if broken:
        raise PredictionError(f"The test prediction holds NaN or infinity in {broken} place(s).")


def _values(competition: Competition, metric: Metric, pred: np.ndarray) -> np.ndarray:
    y = competition.y
    if metric.prediction == "label":
        return np.asarray(np.clip(np.rint(pred), y.min(), y.max()), dtype=np.int64)
    return pred if metric.floor is None else np.asarray(np.maximum(pred, metric.floor))


def _probability(pred: np.ndarray, metric: Metric) -> np.ndarray:
    low, high = float(pred.min()), float(pred.max())
    if low >= 0.0 and high <= 1.0:
        return pred
    if metric.prediction == "ranking":
        # Only the order counts, and platforms refuse what is not a probability.
        wide = pred.astype(np.float64)
        scaled: np.ndarray = (wide - low) / (high - low) if high > low else np.full_like(wide, 0.5)
        return scaled
    if low < -TOLERANCE or high > 1.0 + TOLERANCE:
        raise PredictionError(f"Probabilities must lie in [0, 1]; these reach from {low:.6g} to {high:.6g}.")
    return np.asarray(np.clip(pred, 0.0, 1.0))


def _class_probabilities(pred: np.ndarray, metric: Metric) -> np.ndarray:
    if pred.ndim == 1:
        positive = _probability(pred, metric)
        return np.column_stack([1.0 - positive, positive])
    low, high = float(pred.min()), float(pred.max())
    if low < -TOLERANCE or high > 1.0 + TOLERANCE:
        raise PredictionError(f"Probabilities must lie in [0, 1]; these reach from {low:.6g} to {high:.6g}.")
    clipped = np.clip(pred, 0.0, 1.0)
    total = clipped.sum(axis=1, keepdims=True)
    if (total <= 0).any():
        raise PredictionError(f"The probabilities of {int((total <= 0).sum())} row(s) sum to 0.")
    scaled: np.ndarray = clipped / total
    return scaled


def _both(pred: np.ndarray) -> np.ndarray:
    return np.column_stack([1.0 - pred, pred]) if pred.ndim == 1 else pred


def _matched(keys: Sequence[object], labels: Sequence[object]) -> tuple[int, ...] | None:
    where = {label: code for code, label in enumerate(labels) if label is not None}
    if len(where) != len(labels) or set(keys) != set(where) or len(set(keys)) != len(keys):
        return None
    return tuple(where[key] for key in keys)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _ending(name: str, labels: Sequence[str]) -> str | None:
    """The longest label that the name ends with, at a border between words or between letters and digits."""
    fitting = []
    for label in labels:
        if label and name.casefold().endswith(label.casefold()):
            before = name[: len(name) - len(label)][-1:]
            border = not before.isalnum() or before.isdigit() != label[0].isdigit()
            if border:
                fitting.append(label)
    return max(fitting, key=len, default=None)


def some(names: Sequence[str], shown: int = 4) -> str:
    """The first of them, with commas."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def _known(classes: Sequence[Label] | None) -> Sequence[Label]:
    if classes is None:
        raise DataError("A submission of labels needs a classification target.")
    return classes


def _rows(frame: pd.DataFrame, ids: pd.Series[Any], form: SubmissionFormat) -> np.ndarray:
    """Positions in the frame of each id, after checking the header and the ids."""
    missing = [name for name in form.header if name not in frame.columns]
    extra = [str(name) for name in frame.columns if name not in form.header]
    if missing or extra:
        said = [f"lacks {some(missing)}"] if missing else []
        said += [f"has {some(extra)} too many"] if extra else []
        raise DataError(f"The submission {' and '.join(said)}.", hint=f"Its columns must be {','.join(form.header)}.")
    given = frame[form.id_column]
    if given.isna().any():
        raise DataError(f"The submission has {int(given.isna().sum())} row(s) without an id.")
    index = pd.Index(as_text(given, ids).astype(str))
    if index.has_duplicates:
        again = index[index.duplicated()]
        raise DataError(f"The submission repeats {len(again)} id(s), e.g. {again[0]}.")
    rows = np.asarray(index.get_indexer(pd.Index(ids.astype(str))))
    lost = int((rows < 0).sum())
    if lost:
        raise DataError(f"The submission lacks {lost} of {len(ids)} ids, e.g. {ids.iloc[int(np.argmin(rows))]}.")
    if len(index) > len(ids):
        unknown = index.difference(pd.Index(ids.astype(str)))
        raise DataError(f"The submission has {len(unknown)} id(s) that test has not, e.g. {unknown[0]}.")
    return rows


def read_numbers(values: pd.Series[Any], name: str) -> np.ndarray:
    """A column as (m,) float64.

    Raises:
        DataError: A value is missing, or no finite number.
    """
    if values.isna().any():
        raise DataError(f"The submission has {int(values.isna().sum())} empty value(s) in '{name}'.")
    parsed = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(parsed))
    if len(bad):
        raise DataError(
            f"The submission has {len(bad)} value(s) in '{name}' that are no finite numbers, "
            f"first {values.iloc[bad[0]]!s} in row {bad[0] + 1}."
        )
    return np.asarray(parsed, dtype=np.float64)


def check_range(values: np.ndarray, columns: Sequence[str], tolerance: float = TOLERANCE) -> None:
    """Refuse what is no probability.

    Raises:
        DataError: A value lies outside [0, 1] by more than the tolerance.
    """
    outside = (values < -tolerance) | (values > 1.0 + tolerance)
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise DataError(
            f"The submission has {int(outside.sum())} probabilities outside [0, 1], "
            f"first {values[row, column]:.6g} in '{columns[column]}'."
        )


def _spelled(values: pd.Series[Any], name: str) -> pd.Series[Any]:
    if values.isna().any():
        raise DataError(f"The submission has {int(values.isna().sum())} empty value(s) in '{name}'.")
    return values.astype(str) if is_text(values) else as_text(values, pd.Series(["x"])).astype(str)


def _decode_labels(values: pd.Series[Any], rows: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    text = _spelled(values, str(values.name))
    codes = encode_labels(text, classes)
    unknown = np.flatnonzero(codes < 0)
    if len(unknown):
        raise DataError(
            f"The submission has {len(unknown)} label(s) that are no class, first {text.iloc[unknown[0]]!r} "
            f"in row {unknown[0] + 1}.",
            hint=f"The classes are {some([str(label) for label in classes], 12)}.",
        )
    codes = codes[rows]
    return np.asarray(codes.astype(np.float64) if len(classes) == 2 else np.eye(len(classes))[codes])


def _decode_top(values: pd.Series[Any], rows: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    text = _spelled(values, str(values.name)).iloc[rows].reset_index(drop=True)
    ranked = text.str.split(" ").explode()
    codes = encode_labels(ranked, classes)
    if (codes < 0).any():
        first = int(np.argmax(codes < 0))
        raise DataError(f"The submission ranks {ranked.iloc[first]!r}, which is no class.")
    place = ranked.groupby(level=0).cumcount().to_numpy()
    scores = np.zeros((len(text), len(classes)))
    # The first mention of a label counts: later ones are written first.
    order = np.argsort(-place, kind="stable")
    scores[ranked.index.to_numpy()[order], codes[order]] = 1.0 / (1.0 + place[order])
    return scores if len(classes) > 2 else np.asarray(scores[:, 1] / scores.sum(axis=1))
