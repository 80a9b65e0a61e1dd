"""A competition's data, checked and ready: features, encoded target, ids, and the shape of a submission."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.columns import find_roles, harmonise, is_text, parse_times
from experiments.detect import detect_format
from experiments.dummy import check_metric
from experiments.errors import DataError, MetricError
from experiments.metrics import Metric, get_metric
from experiments.spec import Columns, Spec
from experiments.submission import SubmissionFormat, check_labels
from experiments.tables import find_table, read_table, read_text, table_suffix
from experiments.target import Label, Target

SAMPLE = "sample_submission"


@dataclass(frozen=True)
class Competition:
    """What the engine knows about a competition's data.

    Attributes:
        train: (n,) rows of the features and the encoded target, RangeIndex.
        test: (m,) rows of the features, same dtypes, RangeIndex.
        test_ids: (m,) ids as spelled in the file.
        y: (n,) int32 codes of the classes, or float64.
        classes: Labels by code, sorted; the positive class of a binary target is the second. None for regression.
        groups: (n,) values of the group column, or None.
        times: (n,) values of the time column, or None.
        data_hash: sha256 over all values, names and dtypes.
        notes: What was changed on the way in, one sentence each.
    """

    spec: Spec
    columns: Columns
    train: pd.DataFrame
    test: pd.DataFrame
    test_ids: pd.Series[Any] | None
    y: np.ndarray
    classes: tuple[Label, ...] | None
    groups: np.ndarray | None
    times: np.ndarray | None
    submission: SubmissionFormat
    data_hash: str
    notes: tuple[str, ...] = ()


def load_competition(spec: Spec, data_dir: Path, *, metric: Metric | None = None) -> Competition:
    """Read train, test and the sample submission of a folder.

    Args:
        data_dir: Holds ``train.*`` and ``test.*``, and perhaps ``sample_submission.*``.
        metric: Needed only when it comes from a metric file; else it is found by ``spec.metric``.

    Raises:
        DataError: A file is missing or cannot be used; the message says which, where and why.
        MetricError: The metric cannot be computed on this target.
    """
    sample_path = find_table(data_dir, SAMPLE)
    return read_competition(spec, _table(data_dir, "train"), _table(data_dir, "test"), sample_path, metric=metric)


def data_files(folder: Path) -> list[Path]:
    """The data files of a competition that are there: train, test and sample submission.

    Raises:
        DataError: There are several of one.
    """
    found = (find_table(folder, stem) for stem in ("train", "test", SAMPLE))
    return [path for path in found if path is not None]


def read_competition(
    spec: Spec, train_path: Path, test_path: Path, sample_path: Path | None, *, metric: Metric | None = None
) -> Competition:
    """Read a competition from files of any name.

    Rows of train without a target are dropped, with a note.

    Raises:
        DataError: A file is missing or cannot be used; the message says which, where and why.
        MetricError: The metric cannot be computed on this target.
    """
    sample = read_text(sample_path) if sample_path else None
    ident = spec.id_column or (str(sample.columns[0]) if sample is not None else None)
    spelled = [spec.target, *([ident] if ident else [])]
    train, test = read_table(train_path, text=spelled), read_table(test_path, text=spelled)
    if ident is not None and ident not in test.columns and spec.id_column is None:
        ident = None
    test, dropped_target = drop_empty_target(test, spec.target)
    check_columns(train, test, spec, ident, train_path, test_path)
    target = Target.read(spec.target, train[spec.target])
    train, notes = drop_missing_target(train, target)
    y, classes = Target.read(spec.target, train[spec.target]).encode(spec.task_type)

    extra = [name for name in (spec.group_column, spec.time_column) if name and name not in test.columns]
    features = [name for name in train.columns if name not in (spec.target, ident, *extra)]
    absent = [name for name in features if name not in test.columns]
    features = [name for name in features if name in test.columns]
    train_features, test_features, changes = harmonise(train[features], test[features])
    if train_features.empty:
        raise DataError(
            "No feature is left: the other columns of train are empty, or test lacks them.", hint="Give the whole file."
        )
    group, time = spec.group_column, spec.time_column
    columns = find_roles(
        train_features,
        target=spec.target,
        group=group if group in train_features.columns else None,
        time=time if time in train_features.columns else None,
    )
    metric = metric or _metric(spec.metric)
    form = detect_format(
        spec.task_type, classes, target=spec.target, id_column=ident, metric=metric, sample=sample
    ).value
    check_labels(form, classes, spec.target)
    if metric is not None:
        check_metric(metric, y, None if classes is None else len(classes), spec.target)
    test_ids = _test_ids(test, sample, ident, form, sample_path)
    return Competition(
        spec=spec,
        columns=columns,
        train=train_features.assign(**{spec.target: y}),
        test=test_features,
        test_ids=test_ids,
        y=y,
        classes=classes,
        groups=train[group].to_numpy() if group else None,
        times=time_values(train[time]) if time else None,
        submission=form,
        data_hash=data_hash(train_features, test_features, y, (spec.target, *map(str, classes or ()))),
        notes=(*dropped_target, *notes, *_left_out(absent), *changes),
    )


def check_columns(
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    spec: Spec,
    ident: str | None,
    train_path: Path,
    test_path: Path | None,
) -> None:
    """Check that both files have the columns they must have, and ids that name one row each.

    Raises:
        DataError: A column is missing, test has one that train has not, there is no feature, or an id occurs twice.
    """
    named = [("target", spec.target), ("group", spec.group_column), ("time", spec.time_column)]
    if test is None:
        named.append(("id", spec.id_column))
    for role, name in named:
        if name and name not in train.columns:
            raise missing_column(name, role, train.columns, train_path)
    if ident and ident in train.columns:
        check_ids(train[ident], train_path)
    if set(train.columns) <= {spec.target, ident}:
        only = "the id and the target" if ident in train.columns else "the target"
        raise DataError(f"{train_path} has no features: only {only}.", hint="Give the whole file.")
    if test is None:
        return
    if spec.target in test.columns:
        raise DataError(
            f"{test_path} contains the target '{spec.target}': the labels to predict would be known.",
            hint=f"Drop the column '{spec.target}' from it, or leave the file out to hold back rows of train.",
        )
    if ident:
        if ident not in test.columns:
            raise missing_column(ident, "id", test.columns, test_path)
        check_ids(test[ident], test_path)
    aside = {spec.target, ident, spec.group_column, spec.time_column}
    lacking = [name for name in train.columns if name not in test.columns and name not in aside]
    unknown = [name for name in test.columns if name not in train.columns and name != ident]
    # What train alone has can be no feature and is left out; what test alone has looks like another name for it.
    if unknown:
        said = [f"lacks {_quoted(lacking)}"] if lacking else []
        said += [f"has {_quoted(unknown)}, which train has not"] if unknown else []
        raise DataError(
            f"{test_path} does not have the columns of {train_path}: it {' and '.join(said)}.",
            hint="Drop or rename those columns so that both files agree.",
        )


def missing_column(name: str, role: str, columns: Sequence[str] | pd.Index[Any], path: Path | None) -> DataError:
    """The error for a column that is not there, with the nearest names that are."""
    names = [str(column) for column in columns]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    near = near or [other for other in names if other.casefold() == name.casefold()]
    hint = f"Did you mean {_quoted(near)}?" if near else f"Its columns are {_quoted(names)}."
    return DataError(f"{path} has no column '{name}' (the {role}).", hint=hint)


def check_ids(ids: pd.Series[Any], path: Path | None) -> None:
    """Check that every row has an id of its own.

    Raises:
        DataError: Ids are missing or occur twice.
    """
    missing = int(ids.isna().sum())
    if missing:
        first = int(np.argmax(ids.isna().to_numpy())) + 1
        raise DataError(
            f"{path} has {missing} row(s) without an id in '{ids.name}', first row {first}.",
            hint="Remove those rows, or choose another column with --id.",
        )
    again = ids.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax((ids == ids.iloc[row]).to_numpy()))
        raise DataError(
            f"{path} has duplicate ids: {int(again.sum())} row(s) repeat an earlier '{ids.name}', "
            f"e.g. {ids.iloc[row]} in rows {first + 1} and {row + 1}.",
            hint=f"Remove the repeated rows; if it names groups of rows, use --group {ids.name} and another --id.",
        )


def drop_empty_target(test: pd.DataFrame, target: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Drop a target column of test that holds nothing."""
    if target not in test.columns or test[target].notna().any():
        return test, ()
    return test.drop(columns=target), (f"test has an empty column '{target}': left out",)


def drop_missing_target(train: pd.DataFrame, target: Target) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Drop the rows of train that have no target.

    Raises:
        DataError: No row has one.
    """
    missing = int(target.missing.sum())
    if not missing:
        return train, ()
    if missing == len(train):
        raise DataError(
            f"The target '{target.name}' is missing in all {missing:,} rows of train.",
            hint="Choose another --target, or give the file with the labels.",
        )
    kept = train[~target.missing].reset_index(drop=True)
    return kept, (f"{missing:,} of {len(train):,} rows of train have no '{target.name}': left out",)


def data_hash(train: pd.DataFrame, test: pd.DataFrame, y: np.ndarray, names: Sequence[str]) -> str:
    """sha256 over the content of both frames, their names and dtypes, the target and its labels."""
    state = hashlib.sha256()

    def add(content: bytes | np.ndarray) -> None:
        data = content if isinstance(content, bytes) else np.ascontiguousarray(content).view(np.uint8).data
        state.update(len(content).to_bytes(8, "little"))
        state.update(data)

    for text in names:
        add(text.encode())
    add(y)
    for frame in (train, test):
        for name, values in frame.items():
            add(f"{name}".encode())
            if is_text(values):
                # Hashed by pandas (SipHash of each text), missing ones apart: NaN and None are the same.
                add(values.isna().to_numpy())
                add(np.asarray(pd.util.hash_pandas_object(values.fillna("").astype(object), index=False)))
            elif pd.api.types.is_datetime64_any_dtype(values.dtype):
                add(values.to_numpy().astype("datetime64[us]").astype(np.int64))
            else:
                add(str(values.dtype).encode())
                add(values.to_numpy())
    return state.hexdigest()


def _table(folder: Path, stem: str) -> Path:
    path = find_table(folder, stem)
    if path is None:
        raise DataError(
            f"{folder} holds no {stem}.csv, {stem}.csv.gz or {stem}.parquet.",
            hint="Run `autokaggle-tui init`, or set data_dir in config.json.",
        )
    table_suffix(path)
    return path


def _metric(name: str) -> Metric | None:
    try:
        return get_metric(name)
    except MetricError:
        return None


def time_values(values: pd.Series[Any]) -> np.ndarray:
    """(n,) numbers or stamps of a time column; text becomes stamps.

    Raises:
        DataError: A text is no time.
    """
    return (parse_times(values) if is_text(values) else values).to_numpy()


def _test_ids(
    test: pd.DataFrame,
    sample: pd.DataFrame | None,
    ident: str | None,
    form: SubmissionFormat,
    sample_path: Path | None,
) -> pd.Series[Any]:
    """Ids of the test rows: from test, else from the sample by position, else row numbers."""
    if sample is None:
        return test[ident] if ident else pd.Series(np.arange(len(test)).astype(str), name=form.id_column)
    given = sample[form.id_column]
    check_ids(given, sample_path)
    if ident is None or ident not in sample.columns:
        if len(given) != len(test):
            raise DataError(
                f"{sample_path} has {len(given):,} rows, test has {len(test):,}.",
                hint="Give the sample submission that belongs to this test file.",
            )
        return test[ident] if ident else given
    ids = test[ident]
    if ids.tolist() == given.tolist():
        return ids
    lost = ids[pd.Index(given).get_indexer(pd.Index(ids)) < 0]
    extra = given[pd.Index(ids).get_indexer(pd.Index(given)) < 0]
    if len(lost) or len(extra):
        said = [f"{len(lost):,} ids of test are not in it (e.g. {lost.iloc[0]})"] if len(lost) else []
        said += [f"{len(extra):,} of its ids are not in test (e.g. {extra.iloc[0]})"] if len(extra) else []
        raise DataError(
            f"{sample_path} does not fit test: {' and '.join(said)}.",
            hint="Give the sample submission that belongs to this test file.",
        )
    return ids


def _left_out(absent: Sequence[str]) -> tuple[str, ...]:
    if not absent:
        return ()
    return (f"test lacks {_quoted(absent)}, so no model may use {'it' if len(absent) == 1 else 'them'}: left out",)


def _quoted(names: Sequence[str], shown: int = 8) -> str:
    said = ", ".join(f"'{name}'" for name in names[:shown])
    return f"{said} and {len(names) - shown} more" if len(names) > shown else said
