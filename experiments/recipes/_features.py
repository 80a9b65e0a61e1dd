"""Features of the recipes: fitted on a fold's training rows, applied to its validation and test rows.

Rendering copies what a recipe uses into the experiment file, so this module may import numpy, pandas,
scikit-learn and the standard library, and nothing of ours but its fellow helper modules.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder


class Split(NamedTuple):
    """The same columns of the fold's three frames."""

    train: pd.DataFrame
    valid: pd.DataFrame
    test: pd.DataFrame

    def map(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Split:
        """Apply the same change to each frame."""
        return Split(change(self.train), change(self.valid), change(self.test))


class Target(NamedTuple):
    """The target as learners want it.

    Attributes:
        y: (n,) codes 0..k-1 of the classes present, or (n,) floats (log1p of them when ``log``).
        present: Codes of the classes present in the training rows; empty for regression.
        log: The learner sees log1p of the target.
    """

    y: np.ndarray
    present: np.ndarray
    log: bool

    @property
    def outputs(self) -> int:
        """Scores per row: the number of classes present of a multiclass target, else 1."""
        return len(self.present) if len(self.present) > 2 else 1


class Clock:
    """The share of a fold's time that a recipe allows itself."""

    def __init__(self, ctx: Any, share: float = 0.75) -> None:
        self.start = time.monotonic()
        self.seconds = share * min(max(float(ctx.time_left()), 0.0), 1e8)

    def left(self) -> float:
        """Seconds left of the share."""
        return self.seconds - self.used()

    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start


def read_target(train: pd.DataFrame, ctx: Any) -> Target:
    """The target of the training rows."""
    y = train[ctx.columns.target].to_numpy()
    if ctx.task_type == "regression":
        log = ctx.metric in ("rmsle", "msle") and bool(np.min(y) > -1)
        return Target(np.log1p(y.astype(np.float64)) if log else y.astype(np.float64), np.empty(0, int), log)
    present, codes = np.unique(y.astype(np.int64), return_inverse=True)
    return Target(codes, present, False)


def finish(scores: np.ndarray, target: Target, ctx: Any) -> np.ndarray:
    """Predictions in the shape that the engine expects.

    Args:
        scores: (n,) values for regression, else (n, k) probabilities of the classes present.
    """
    if ctx.task_type == "regression":
        low, high = float(target.y.min()), float(target.y.max())
        margin = 0.1 * (high - low)
        values = np.clip(np.nan_to_num(scores.astype(np.float64), nan=low), low - margin, high + margin)
        return np.maximum(np.expm1(values), 0.0) if target.log else values
    if ctx.task_type == "binary":
        if len(target.present) == 1:
            return np.full(len(scores), float(target.present[0]))
        return scores[:, 1]
    return np.asarray(ctx.align(scores, target.present))


def constant_answer(
    valid: pd.DataFrame, test: pd.DataFrame, target: Target, ctx: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """The prediction of a fold whose training rows hold one class or one value, else None."""
    if len(target.present) == 1:
        scores = [np.ones((len(frame), 1)) for frame in (valid, test)]
    elif ctx.task_type == "regression" and target.y.min() == target.y.max():
        scores = [np.full(len(frame), target.y[0]) for frame in (valid, test)]
    else:
        return None
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def inner_rows(ctx: Any, target: Target, n: int) -> tuple[np.ndarray, np.ndarray]:
    """``ctx.inner_split``, with every class that is present among the rows to fit on."""
    fit_rows, eval_rows = (np.asarray(part) for part in ctx.inner_split(n))
    if len(target.present):
        absent = ~np.isin(target.y[eval_rows], target.y[fit_rows])
        fit_rows = np.sort(np.concatenate([fit_rows, eval_rows[absent]]))
        eval_rows = eval_rows if absent.all() else eval_rows[~absent]
    return fit_rows, eval_rows


def select(train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, names: Iterable[str]) -> Split:
    """The named columns of all three frames, with a fresh row index."""
    columns = list(names)
    frames = (frame[columns].reset_index(drop=True) for frame in (train, valid, test))
    return Split(*frames)


def informative(split: Split) -> Split:
    """Without the columns that are constant (or empty) in the training rows."""
    keep = [name for name in split.train.columns if split.train[name].nunique(dropna=False) > 1]
    return split.map(lambda frame: frame[keep])


def join(parts: Sequence[Split]) -> Split:
    """Columns of several splits side by side, useless ones left out; never empty."""
    joined = informative(side_by_side(parts))
    if joined.train.shape[1]:
        return joined
    # Some learners refuse a table without a column that varies; this one says nothing about the target.
    return parts[0].map(lambda frame: pd.DataFrame({"nothing": np.arange(len(frame)) % 2.0}))


def side_by_side(parts: Sequence[Split]) -> Split:
    """The columns of several splits in one."""
    return Split(*(pd.concat(frames, axis=1) for frames in zip(*parts, strict=True)))


def numeric_part(split: Split) -> Split:
    """Numbers as float64; what is no finite number becomes missing."""

    def to_float(frame: pd.DataFrame) -> pd.DataFrame:
        columns = {
            name: pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            for name in frame.columns
        }
        table = pd.DataFrame(columns, index=frame.index)
        return table.mask(np.isinf(table))

    return split.map(to_float)


def missing_part(split: Split) -> Split:
    """How many cells of a row are missing."""
    return split.map(lambda frame: pd.DataFrame({"missing_cells": frame.isna().sum(axis=1)}, frame.index))


def date_part(split: Split) -> Split:
    """Calendar parts of every date column, and days since 1970 as a number."""

    def parts(frame: pd.DataFrame) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for name in frame.columns:
            stamps = read_dates(frame[name])
            days = (stamps - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
            columns[f"{name}__days"] = days
            columns[f"{name}__year"] = stamps.dt.year
            columns[f"{name}__month"] = stamps.dt.month
            columns[f"{name}__day"] = stamps.dt.day
            columns[f"{name}__weekday"] = stamps.dt.dayofweek
            columns[f"{name}__yearday"] = stamps.dt.dayofyear
            columns[f"{name}__hour"] = stamps.dt.hour + stamps.dt.minute / 60
        return pd.DataFrame(columns, index=frame.index).astype(np.float64)

    return split.map(parts)


def read_dates(column: pd.Series) -> pd.Series:
    """Stamps without a time zone; what cannot be read is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        stamps = pd.to_datetime(column, errors="coerce", utc=True)
        if column.dtype.kind in "OUT" and stamps.isna().sum() > column.isna().sum():
            stamps = pd.to_datetime(column, errors="coerce", utc=True, format="mixed")
    return stamps.dt.tz_localize(None)


def as_words(split: Split) -> Split:
    """Categories as plain strings; a missing one becomes the level ``(missing)``."""

    def words(frame: pd.DataFrame) -> pd.DataFrame:
        columns = {}
        for name in frame.columns:
            values = frame[name].astype(object)
            columns[name] = values.map(str).where(frame[name].notna(), "(missing)").astype(object)
        return pd.DataFrame(columns, index=frame.index)

    return split.map(words)


def code_part(words: Split, max_levels: int = 10_000, min_count: int = 1) -> Split:
    """Levels as numbers, most frequent first; rare and unseen ones share the last number."""
    tables: list[dict[str, Any]] = [{}, {}, {}]
    for name in words.train.columns:
        counts = words.train[name].value_counts()
        ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
        levels = [level for level, count in ranked[:max_levels] if count >= min_count]
        codes = {level: float(code) for code, level in enumerate(levels)}
        for table, frame in zip(tables, words, strict=True):
            table[name] = frame[name].map(codes).fillna(len(levels)).astype(np.float64)
    return Split(*(pd.DataFrame(t, index=f.index) for t, f in zip(tables, words, strict=True)))


def count_part(words: Split) -> Split:
    """How common each level is: log of its share of the training rows; 0 occurrences count as a half."""

    def counts(frame: pd.DataFrame) -> pd.DataFrame:
        columns = {}
        for name in frame.columns:
            seen = frame[name].map(words.train[name].value_counts()).astype(np.float64).fillna(0.5)
            columns[f"{name}__share"] = np.log(seen / len(words.train))
        return pd.DataFrame(columns, index=frame.index)

    return words.map(counts)


def target_part(words: Split, target: Target, seed: int, max_classes: int = 12) -> Split:
    """Mean target per level, cross-fitted within the training rows (sklearn's TargetEncoder).

    Empty for a multiclass target with more than ``max_classes`` classes: columns would multiply.
    """
    if not words.train.shape[1] or target.outputs > max_classes or len(target.y) < 20:
        return words.map(lambda frame: pd.DataFrame(index=frame.index))
    kind = "continuous" if not len(target.present) else "multiclass" if len(target.present) > 2 else "binary"
    arrays = [frame.to_numpy(object) for frame in words]
    encoder = TargetEncoder(target_type=kind).fit(arrays[0], target.y)
    tables = [encoder.transform(rows) for rows in arrays]
    # A row's own target must not reach its own feature: training rows are encoded by the others' targets.
    for rest, part in KFold(5, shuffle=True, random_state=seed).split(arrays[0]):
        if len(np.unique(target.y[rest])) == len(target.present) or not len(target.present):
            tables[0][part] = (
                TargetEncoder(target_type=kind).fit(arrays[0][rest], target.y[rest]).transform(arrays[0][part])
            )
    width = tables[0].shape[1] // words.train.shape[1]
    names = [f"{name}__target{k}" for name in words.train.columns for k in range(width)]
    return Split(*(pd.DataFrame(a, f.index, names) for a, f in zip(tables, words, strict=True)))


def text_part(split: Split, seed: int, components: int = 32, max_features: int = 20_000) -> Split:
    """TF-IDF of each text column, reduced by a truncated SVD, with lengths in characters and words."""
    parts = [split.map(lambda frame: pd.DataFrame(index=frame.index))]
    for name in split.train.columns:
        texts = [frame[name].astype(object).where(frame[name].notna(), "").map(str) for frame in split]
        sizes = [pd.DataFrame({f"{name}__length": t.str.len(), f"{name}__words": t.str.count(r"\S+")}) for t in texts]
        parts.append(Split(*sizes).map(lambda frame: frame.astype(np.float64)))
        matrices = text_matrices(texts, max_features)
        if matrices is None:
            continue
        rank = min(components, matrices[0].shape[1] - 1, matrices[0].shape[0] - 1)
        if rank < 1:
            continue
        svd = TruncatedSVD(rank, random_state=seed).fit(matrices[0])
        names = [f"{name}__topic{k}" for k in range(rank)]
        tables = [pd.DataFrame(svd.transform(m), columns=names) for m in matrices]
        parts.append(Split(*tables))
    return side_by_side(parts)


def text_matrices(texts: Sequence[pd.Series], max_features: int) -> list[Any] | None:
    """Sparse TF-IDF matrices of (train, valid, test), or None when the training rows hold no word."""
    vectorizer = TfidfVectorizer(
        max_features=max_features,
        ngram_range=(1, 2),
        min_df=2 if len(texts[0]) > 200 else 1,
        sublinear_tf=True,
        strip_accents="unicode",
        dtype=np.float32,
    )
    try:
        first = vectorizer.fit_transform(texts[0])
    except ValueError:  # scikit-learn's way of saying: empty vocabulary
        return None
    return [first, *(vectorizer.transform(text) for text in texts[1:])]


def feature_names(ctx: Any, role: str) -> list[str]:
    """Columns of a role; the group column is left out, since its values never recur in new rows."""
    return [name for name in getattr(ctx.columns, role) if name != ctx.columns.group]
