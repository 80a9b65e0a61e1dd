"""What train, test and the sample submission say together: the target, and whether rows hang together."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from experiments.columns import as_text, is_date, is_text, parse_dates
from experiments.detect import Choice
from experiments.errors import DataError
from experiments.submission import named_order

FEWEST_GROUPS = 20
FEWEST_TEST_GROUPS = 5
ROWS_PER_GROUP = 2.0
_GROUP_NAME = re.compile(r"(^|[ _-])(id|group|subject|patient|user|customer|session)$|[a-z0-9]I[dD]$")
_SHOWN = 12


def detect_target(
    train: pd.DataFrame, test: pd.DataFrame, sample: pd.DataFrame | None, ident: str | None
) -> Choice[str]:
    """The column to predict: one that train has and test lacks, which the sample submission predicts.

    Args:
        ident: The column that names the rows, if it is known.

    Raises:
        DataError: None can be it, or several can; the hint names them.
    """
    absent = [name for name in train.columns if name not in test.columns or not test[name].notna().any()]
    absent = [name for name in absent if name != ident]
    if sample is None:
        if len(absent) == 1:
            return Choice(absent[0], "the one column of train that test lacks")
        raise _undecided(absent, "there is no sample submission")
    predicted = _predicted(sample, ident)
    named = {name.casefold(): name for name in absent}
    hits = [named[name.casefold()] for name in predicted if name.casefold() in named]
    if len(predicted) == 1 and hits:
        return Choice(hits[0], "the sample submission predicts it, and test lacks it")
    if len(hits) > 1:
        raise DataError(
            f"The sample submission predicts {len(hits)} columns of train ({_some(hits)}).",
            hint="Competitions with several targets are not built yet: this version predicts one column.",
        )
    if len(predicted) > 1:
        fitting = [name for name in absent if _names_classes(predicted, train[name])]
        if len(fitting) == 1:
            return Choice(fitting[0], "the sample submission has a column for each of its values")
    if len(absent) == 1:
        called = f"; the sample submission calls it '{predicted[0]}'" if len(predicted) == 1 else ""
        return Choice(absent[0], f"the one column of train that test lacks{called}")
    raise _undecided(absent, f"the sample submission predicts {_some(predicted)}")


def detect_group(train: pd.DataFrame, test: pd.DataFrame, exclude: Collection[str]) -> Choice[str] | None:
    """A column whose values come in several rows each and never in both files; None unless that is certain.

    Whoever made the files kept those rows together, so the folds have to.

    Args:
        exclude: Columns it cannot be: target, id.
    """
    for name in train.columns:
        if name in exclude or name not in test.columns or not _GROUP_NAME.search(name):
            continue
        left, right = train[name].dropna(), test[name].dropna()
        if pd.api.types.is_float_dtype(left.dtype) or is_date(left):
            continue
        groups, others = left.unique(), right.unique()
        enough = len(groups) >= FEWEST_GROUPS and len(others) >= FEWEST_TEST_GROUPS
        several = len(left) >= ROWS_PER_GROUP * len(groups) and len(right) >= ROWS_PER_GROUP * len(others)
        if enough and several and not set(as_text(left, left)) & set(as_text(right, left)):
            reason = f"its {len(groups):,} values fill several rows each, and no row of test has one of them"
            return Choice(name, reason)
    return None


def detect_time(train: pd.DataFrame, test: pd.DataFrame, exclude: Collection[str]) -> Choice[str] | None:
    """A column of dates in which all of test comes after all of train; None without one."""
    for name in train.columns:
        if name in exclude or name not in test.columns:
            continue
        before, after = (_dates(frame[name]) for frame in (train, test))
        if before is not None and after is not None and before.max() < after.min():
            return Choice(name, f"test begins on {after.min():%Y-%m-%d}, after train ends ({before.max():%Y-%m-%d})")
    return None


def _dates(values: pd.Series[Any]) -> pd.Series[Any] | None:
    if is_date(values):
        return values.dropna() if values.notna().any() else None
    return parse_dates(values.dropna()) if is_text(values) else None


def _predicted(sample: pd.DataFrame, ident: str | None) -> list[str]:
    names = [str(name) for name in sample.columns]
    key = ident if ident in names else names[0]
    return [name for name in names if name != key]


def _names_classes(columns: Sequence[str], values: pd.Series[Any]) -> bool:
    labels = as_text(values.dropna(), pd.Series(["x"])).unique()
    return len(labels) == len(columns) and named_order(columns, [str(label) for label in labels]) is not None


def _undecided(candidates: Sequence[str], why: str) -> DataError:
    if not candidates:
        return DataError(
            "No column can be the target: test has all columns of train.",
            hint="Say which it is with --target; if test holds it, the competition is of a kind that is not built yet.",
        )
    return DataError(
        f"Which column is the target cannot be told: {why}, and test lacks {_some(candidates)}.",
        hint=f"Say which with --target: {_some(candidates)}.",
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
