"""Feature columns: one dtype for train and test, and the role each plays."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from experiments.errors import DataError
from experiments.spec import Columns

Role = Literal["numeric", "categorical", "text", "datetime"]

SAMPLE = 2_000
TEXT_WORDS = 3.0
TEXT_LETTERS = 50.0
TEXT_UNIQUE = 0.5

_TIME = r"([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[AaPp][Mm])?( ?(Z|[+-]\d{2}:?\d{2}))?)?$"
_YEAR_FIRST = re.compile(r"^\d{4}([-/.])\d{1,2}(\1\d{1,2})?" + _TIME)
_YEAR_LAST = re.compile(r"^(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})" + _TIME)
_MONTH_NAMED = re.compile(
    r"^(\d{1,2}[ -][A-Za-z]{3,9}[ ,-]+\d{2,4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}|[A-Za-z]{3,9}[ -]\d{4})" + _TIME
)


def harmonise(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, tuple[str, ...]]:
    """Give every column the same dtype in both frames.

    Whole and broken numbers become float64; a column of numbers here and text there becomes text;
    infinite numbers become missing; text that parses as dates throughout becomes datetime64[us]; a
    column with no value in train is dropped.

    Args:
        train: Feature columns.
        test: The same columns; it may have no rows.

    Returns:
        Both frames, and a sentence for each column that was changed in earnest.
    """
    notes: list[str] = []
    left: dict[str, pd.Series[Any]] = {}
    right: dict[str, pd.Series[Any]] = {}
    for name in train.columns:
        a, b = train[name], test[name]
        if not a.notna().any():
            notes.append(f"'{name}' has no value in train: left out")
            continue
        a, b, note = _one_dtype(a, b)
        if note:
            notes.append(f"'{name}' {note}")
        left[name], right[name] = a, b
    return (
        pd.DataFrame(left, index=train.index, copy=False),
        pd.DataFrame(right, index=test.index, copy=False),
        tuple(notes),
    )


def find_roles(train: pd.DataFrame, *, target: str, group: str | None = None, time: str | None = None) -> Columns:
    """The role of each column of a harmonised frame of features."""
    roles: dict[Role, list[str]] = {"numeric": [], "categorical": [], "text": [], "datetime": []}
    for name in train.columns:
        roles[_role(train[name])].append(name)
    return Columns(
        features=tuple(train.columns),
        numeric=tuple(roles["numeric"]),
        categorical=tuple(roles["categorical"]),
        text=tuple(roles["text"]),
        datetime=tuple(roles["datetime"]),
        target=target,
        group=group,
        time=time,
    )


def is_text(values: pd.Series[Any]) -> bool:
    """Whether a column holds strings (pandas 2 and 3 spell that differently)."""
    return values.dtype == object or pd.api.types.is_string_dtype(values.dtype)


def is_date(values: pd.Series[Any]) -> bool:
    """Whether a column holds time stamps."""
    return pd.api.types.is_datetime64_any_dtype(values.dtype)


def as_text(values: pd.Series[Any], like: pd.Series[Any]) -> pd.Series[Any]:
    """Values spelled out, whole floats without a point, missing ones kept missing, dtype as ``like``."""
    if is_text(values):
        return values
    spelled = values.astype(object)
    if pd.api.types.is_float_dtype(values.dtype):
        spelled = spelled.map(lambda v: str(int(v)) if float(v).is_integer() else repr(float(v)), na_action="ignore")
    else:
        spelled = spelled.map(str, na_action="ignore")
    return spelled.astype(like.dtype)


def parse_dates(values: pd.Series[Any]) -> pd.Series[Any] | None:
    """Strings as datetime64[us] in UTC without a zone, or None unless every value is a date.

    Day or month first is decided once over the column: by a number above 12 where there is one, else
    by custom (``31.12.2020`` and ``31-12-2020`` day first, ``12/31/2020`` month first).
    """
    present = values.dropna()
    if present.empty or not all(_looks_like_date(str(text)) for text in present.iloc[:20]):
        return None
    unique = pd.Series(present.unique())
    if not all(_looks_like_date(str(text)) for text in unique):
        return None
    dates = _to_dates(unique)
    if dates is None:
        return None
    known = pd.Series(dates.to_numpy(), index=pd.Index(unique))
    mapped = known.reindex(pd.Index(values)).to_numpy()
    return pd.Series(mapped, index=values.index, name=values.name)


def parse_times(values: pd.Series[Any]) -> pd.Series[Any]:
    """Strings of a column that is known to hold times, as datetime64[us]; missing ones stay missing.

    Raises:
        DataError: A value is no time.
    """
    dates = parse_dates(values)
    if dates is not None:
        return dates
    unique = pd.Series(values.dropna().unique())
    # Without a digit pandas would still find a time zone or a month in a word.
    worded = ~unique.astype(str).str.contains(r"\d")
    stamps = None if worded.any() else _to_dates(unique)
    if stamps is None:
        wrong = unique[worded | _coerced(unique, format="mixed").isna()]
        raise DataError(
            f"The time column '{values.name}' holds values that are no dates, e.g. {str(wrong.iloc[0])!r}.",
            hint="Write dates as 2024-01-31 (or use numbers that grow with time).",
        )
    known = pd.Series(stamps.to_numpy(), index=pd.Index(unique))
    return pd.Series(known.reindex(pd.Index(values)).to_numpy(), index=values.index, name=values.name)


def _one_dtype(a: pd.Series[Any], b: pd.Series[Any]) -> tuple[pd.Series[Any], pd.Series[Any], str]:
    if not b.notna().any():
        b = pd.Series(np.nan, index=b.index, name=b.name) if _numeric(a) else b.astype(object).astype(a.dtype)
    if is_text(a) and is_text(b):
        return _dates_or_text(a, b)
    if is_date(a) or is_date(b):
        # Parquet keeps stamps or text as it was given either, where a CSV is parsed on reading.
        left, right = (parse_dates(values) if is_text(values) else values for values in (a, b))
        if left is not None and right is not None and is_date(left) and is_date(right):
            return left.astype("datetime64[us]"), right.astype("datetime64[us]"), ""
    if _numeric(a) and _numeric(b):
        return _numbers(a, b)
    like = a if is_text(a) else b if is_text(b) else pd.Series(["x"])
    kinds = [_kind(a), _kind(b)]
    note = f"holds {kinds[0]} in train and {kinds[1]} in test: read as text"
    return as_text(a, like), as_text(b, like), note


def _numeric(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype)


def _kind(values: pd.Series[Any]) -> str:
    return "text" if is_text(values) else "dates" if is_date(values) else "numbers"


def _numbers(a: pd.Series[Any], b: pd.Series[Any]) -> tuple[pd.Series[Any], pd.Series[Any], str]:
    if a.dtype != b.dtype:
        whole = all(pd.api.types.is_integer_dtype(s.dtype) for s in (a, b))
        wide = np.dtype(np.int64 if whole else np.float64)
        a, b = a.astype(wide), b.astype(wide)
    if not pd.api.types.is_float_dtype(a.dtype):
        return a, b, ""
    infinite = int(np.isinf(a.to_numpy()).sum() + np.isinf(b.to_numpy()).sum())
    if not infinite:
        return a, b, ""
    note = f"is infinite in {infinite} row(s): read as missing"
    return a.where(~np.isinf(a.to_numpy())), b.where(~np.isinf(b.to_numpy())), note


def _dates_or_text(a: pd.Series[Any], b: pd.Series[Any]) -> tuple[pd.Series[Any], pd.Series[Any], str]:
    dates = None
    if all(_looks_like_date(str(value)) for value in a.dropna().iloc[:20]):
        # Together, so that day and month cannot be read one way here and the other way there.
        dates = parse_dates(pd.concat([a, b], ignore_index=True))
    if dates is None:
        return a, b.astype(a.dtype), ""
    first, second = dates.iloc[: len(a)], dates.iloc[len(a) :]
    return first.set_axis(a.index), second.set_axis(b.index), ""


def _role(values: pd.Series[Any]) -> Role:
    if is_date(values):
        return "datetime"
    if not is_text(values):
        return "numeric"
    present = values.dropna()
    sample = present.iloc[:: max(1, len(present) // SAMPLE)].iloc[:SAMPLE]
    letters = float(sample.str.len().mean())
    words = float(sample.str.count(r"\s+").mean()) + 1.0
    # One word, however long, is a code and not prose.
    if words < 2.0 or (words < TEXT_WORDS and letters < TEXT_LETTERS):
        return "categorical"
    return "text" if present.nunique() > TEXT_UNIQUE * len(present) else "categorical"


def _looks_like_date(text: str) -> bool:
    text = text.strip()
    if _YEAR_FIRST.match(text):
        return True
    last = _YEAR_LAST.match(text)
    if last:
        # Two-digit years with points or dashes are as often version or part numbers.
        return len(last[4]) == 4 or last[2] == "/"
    return bool(_MONTH_NAMED.match(text))


def _day_first(texts: Sequence[str]) -> bool:
    found = [match for text in texts if (match := _YEAR_LAST.match(text.strip()))]
    if any(int(match[1]) > 12 for match in found):
        return True
    if any(int(match[3]) > 12 for match in found):
        return False
    return bool(found) and found[0][2] != "/"


def _to_dates(unique: pd.Series[Any]) -> pd.Series[Any] | None:
    for options in ({}, {"format": "mixed"}):
        dates = _coerced(unique, **options)
        if dates.notna().all():
            naive: pd.Series[Any] = dates.dt.tz_localize(None).astype("datetime64[us]")
            return naive
    return None


def _coerced(unique: pd.Series[Any], **options: Any) -> pd.Series[Any]:
    """Time stamps in UTC, NaT for what is none."""
    day_first = _day_first([str(text) for text in unique])
    with warnings.catch_warnings():
        # Pandas says when it takes each text by itself.
        warnings.simplefilter("ignore", UserWarning)
        text = unique.astype(str).str.strip()
        dates: pd.Series[Any] = pd.to_datetime(text, errors="coerce", dayfirst=day_first, utc=True, **options)
    return dates
