"""Whole feature tables, put together from the parts: one for trees, one for smooth learners."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, SplineTransformer

from experiments.recipes._features import (
    Split,
    Target,
    as_words,
    code_part,
    count_part,
    date_part,
    feature_names,
    join,
    missing_part,
    numeric_part,
    select,
    target_part,
    text_matrices,
    text_part,
)
from experiments.recipes._interactions import neighbour_part, pair_part


class TreeTable(NamedTuple):
    """Numbers for a tree learner.

    Attributes:
        split: float64 columns; missing cells are NaN.
        categorical: Names of the columns that hold category codes.
    """

    split: Split
    categorical: list[str]


def tree_table(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, target: Target, ctx: Any, params: Any
) -> TreeTable:
    """Numbers as they are, categories as codes, shares and (asked for or many levels) target means.

    Args:
        params: Reads ``target_encoding`` (``"auto"``: columns with over ``max_levels`` levels, ``"all"``, ``"none"``),
            ``max_levels``, ``pairs`` and ``neighbours`` (numeric columns to combine; 0 for none) and
            ``text_components``.
    """
    numeric = numeric_part(select(train, valid, test, feature_names(ctx, "numeric")))
    words = as_words(select(train, valid, test, feature_names(ctx, "categorical")))
    levels = words.train.nunique()
    many = [name for name in words.train.columns if levels[name] > params["max_levels"]]
    few = [name for name in words.train.columns if levels[name] <= params["max_levels"]]
    encoded = {"auto": many, "all": list(words.train.columns), "none": []}[params["target_encoding"]]
    codes = code_part(words.map(lambda frame: frame[few]), min_count=2)
    raw = select(train, valid, test, feature_names(ctx, "features"))
    parts = [
        numeric,
        codes,
        code_part(words.map(lambda frame: frame[many]), min_count=2).map(lambda f: f.add_suffix("__code")),
        count_part(words.map(lambda frame: frame[many])),
        target_part(words.map(lambda frame: frame[encoded]), target, ctx.seed),
        date_part(select(train, valid, test, feature_names(ctx, "datetime"))),
        text_part(select(train, valid, test, feature_names(ctx, "text")), ctx.seed, params["text_components"]),
        missing_part(raw),
    ]
    if params["pairs"]:
        parts.append(pair_part(numeric, target, ctx.seed, params["pairs"]))
    if params["neighbours"]:
        parts.append(neighbour_part(numeric, target, ctx.seed, params["neighbours"]))
    table = join(parts)
    return TreeTable(table, [name for name in few if name in table.train.columns])


def word_table(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, target: Target, ctx: Any, params: Any
) -> TreeTable:
    """Numbers as they are and categories as strings, for a learner that encodes them itself.

    Args:
        params: Reads ``pairs`` and ``neighbours`` (numeric columns to combine; 0 for none) and ``text_components``.
    """
    numeric = numeric_part(select(train, valid, test, feature_names(ctx, "numeric")))
    words = as_words(select(train, valid, test, feature_names(ctx, "categorical")))
    parts = [
        numeric,
        words,
        date_part(select(train, valid, test, feature_names(ctx, "datetime"))),
        text_part(select(train, valid, test, feature_names(ctx, "text")), ctx.seed, params["text_components"]),
        missing_part(select(train, valid, test, feature_names(ctx, "features"))),
    ]
    if params["pairs"]:
        parts.append(pair_part(numeric, target, ctx.seed, params["pairs"]))
    if params["neighbours"]:
        parts.append(neighbour_part(numeric, target, ctx.seed, params["neighbours"]))
    table = join(parts)
    return TreeTable(table, [name for name in words.train.columns if name in table.train.columns])


class SmoothTable(NamedTuple):
    """Matrices for a smooth learner: no missing cells, columns of about unit scale.

    Attributes:
        numeric: How many of the leading columns are numbers (the rest are indicators, codes and words).
    """

    train: Any
    valid: Any
    test: Any
    numeric: int


def smooth_table(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, target: Target, ctx: Any, params: Any
) -> SmoothTable:
    """Numbers made smooth, categories one-hot and (many levels) by target means; sparse only with raw text.

    Args:
        params: Reads ``scaling`` (``"spline"``, ``"quantile"`` or ``"standard"``), ``knots``,
            ``max_levels``, ``text`` (``"sparse"`` TF-IDF or ``"svd"``), ``text_components`` and ``neighbours`` (numeric
            columns to combine; 0 for none).
    """
    raw = select(train, valid, test, feature_names(ctx, "features"))
    words = as_words(select(train, valid, test, feature_names(ctx, "categorical")))
    levels = words.train.nunique()
    many = [name for name in words.train.columns if levels[name] > params["max_levels"]]
    frequent = words.map(lambda frame: frame[many])
    texts = select(train, valid, test, feature_names(ctx, "text"))
    plain = numeric_part(select(train, valid, test, feature_names(ctx, "numeric")))
    numeric_parts = [
        plain,
        date_part(select(train, valid, test, feature_names(ctx, "datetime"))),
        count_part(frequent),
        target_part(frequent, target, ctx.seed),
        missing_part(raw),
    ]
    if params["neighbours"]:
        numeric_parts.append(neighbour_part(plain, target, ctx.seed, params["neighbours"]))
    if params["text"] == "svd":
        numeric_parts.append(text_part(texts, ctx.seed, params["text_components"]))
    numbers = join(numeric_parts)
    blocks = [smooth_numbers(numbers, params["scaling"], params["knots"], ctx.seed)]
    width = blocks[0][0].shape[1]
    blocks.append(missing_flags(numbers))
    blocks.append(one_hot(words, max_levels=params["max_levels"]))
    if params["text"] == "sparse":
        for name in texts.train.columns:
            matrices = text_matrices(
                [frame[name].astype(object).where(frame[name].notna(), "").map(str) for frame in texts], 20_000
            )
            if matrices is not None:
                blocks.append(matrices)
    stacked = [stack(part) for part in zip(*blocks, strict=True)]
    return SmoothTable(stacked[0], stacked[1], stacked[2], width)


def stack(blocks: Any) -> Any:
    """Matrices side by side: dense float32, or CSR when one of them is sparse."""
    if any(sparse.issparse(block) for block in blocks):
        return sparse.hstack([sparse.csr_matrix(block) for block in blocks], format="csr", dtype=np.float32)
    return np.hstack(blocks).astype(np.float32)


def smooth_numbers(numbers: Split, scaling: str, knots: int, seed: int) -> list[np.ndarray]:
    """Numbers without gaps (median filled) and of like scale; splines or bins spread each over several columns."""
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    filled = [imputer.fit_transform(numbers.train), *(imputer.transform(frame) for frame in numbers[1:])]
    quantile = QuantileTransformer(
        n_quantiles=min(1000, len(filled[0])), output_distribution="normal", random_state=seed
    )
    scaler: Any = RobustishScaler() if scaling == "standard" else quantile
    scaled = [scaler.fit_transform(filled[0]), *(scaler.transform(rows) for rows in filled[1:])]
    scaled = [np.clip(rows, -4.0, 4.0) for rows in scaled]
    if scaling == "spline":
        spline = SplineTransformer(n_knots=knots, degree=3, knots="quantile", extrapolation="linear")
        curves = [spline.fit_transform(scaled[0]), *(spline.transform(rows) for rows in scaled[1:])]
        return [np.hstack(pair) for pair in zip(scaled, curves, strict=True)]
    return scaled


def missing_flags(numbers: Split) -> list[np.ndarray]:
    """One 0/1 column for each number with missing training cells."""
    gaps = [name for name in numbers.train.columns if numbers.train[name].isna().any()]
    return [frame[gaps].isna().to_numpy(np.float32) for frame in numbers]


def one_hot(words: Split, max_levels: int) -> list[np.ndarray]:
    """0/1 columns of the most frequent levels; rare and unseen ones share a column."""
    if not words.train.shape[1]:
        return [np.empty((len(frame), 0), np.float32) for frame in words]
    encoder = OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        min_frequency=max(2, min(10, len(words.train) // 200)),
        max_categories=max_levels + 1,
        sparse_output=False,
        dtype=np.float32,
    )
    with warnings.catch_warnings():
        # An unseen level of a column without infrequent ones gives zeros: what we want, no news.
        warnings.simplefilter("ignore", UserWarning)
        first = encoder.fit_transform(words.train.to_numpy(object))
        return [first, *(encoder.transform(frame.to_numpy(object)) for frame in words[1:])]


class RobustishScaler:
    """Centre by the median, scale by the spread between the quartiles (or the deviation where that is 0)."""

    def fit_transform(self, rows: np.ndarray) -> np.ndarray:
        """Learn and apply."""
        low, self.centre, high = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        spread = (high - low) / 1.349
        deviation = rows.std(axis=0)
        self.scale = np.where(spread > 0, spread, np.where(deviation > 0, deviation, 1.0))
        return self.transform(rows)

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Apply, with a soft clip: values beyond three spreads are drawn in."""
        z = (rows - self.centre) / self.scale
        return np.asarray(z / np.sqrt(1 + (z / 3) ** 2))
