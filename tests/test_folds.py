"""Folds: every strategy, its promises, and what it refuses."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.errors import DataError
from experiments.folds import Folds, fold_key, make_folds
from experiments.spec import CvStrategy, Spec

RNG = np.random.default_rng(0)
BINARY = Spec("c", "binary", "auc_roc", "maximize", "y", cv_strategy="stratified")
MULTI = replace(BINARY, task_type="multiclass")
REGRESSION = replace(BINARY, task_type="regression", cv_strategy="kfold")


def labels(n: int, share: float = 0.3) -> np.ndarray:
    return (np.random.default_rng(1).random(n) < share).astype(np.int32)


@pytest.mark.parametrize("strategy", ["kfold", "stratified", "group", "stratified_group", "time"])
def test_every_row_is_validated_once_and_never_trains_its_own_fold(strategy: CvStrategy) -> None:
    n = 300
    groups = np.array([f"g{code}" for code in RNG.integers(0, 40, n)])
    times = RNG.permutation(n)
    folds = make_folds(replace(BINARY, cv_strategy=strategy), labels(n), groups=groups, times=times)
    assert folds.n_folds == 5
    seen = np.zeros(n, dtype=int)
    for train, valid in folds.splits:
        assert train.dtype == valid.dtype == np.int64
        assert (np.diff(train) > 0).all() and (np.diff(valid) > 0).all()
        assert not np.intersect1d(train, valid).size
        seen[valid] += 1
    assert ((seen == 1) == folds.covered).all()
    assert seen.max() == 1
    assert folds.covered.all() == (strategy != "time")
    if "group" in strategy:
        for train, valid in folds.splits:
            assert not set(groups[train]) & set(groups[valid])


def test_the_same_arguments_give_the_same_digest_and_others_another() -> None:
    y = labels(200)
    first = make_folds(BINARY, y)
    assert make_folds(BINARY, y).digest == first.digest
    assert make_folds(replace(BINARY, seed=43), y).digest != first.digest
    assert make_folds(replace(BINARY, cv_folds=4), y).digest != first.digest


def test_the_order_of_group_names_does_not_decide_the_folds() -> None:
    n = 200
    codes = np.repeat(np.arange(20), 10)
    spec = replace(BINARY, cv_strategy="group")
    a = make_folds(spec, labels(n), groups=codes)
    b = make_folds(spec, labels(n), groups=np.array([f"{99 - code}" for code in codes]))
    assert a.digest == b.digest


def test_stratified_keeps_the_share_of_each_class() -> None:
    y = labels(1000, 0.05)
    for _, valid in make_folds(BINARY, y).splits:
        assert abs(y[valid].mean() - y.mean()) < 0.006


def test_stratified_regression_keeps_the_quantiles() -> None:
    y = np.random.default_rng(3).exponential(size=500)
    for _, valid in make_folds(replace(REGRESSION, cv_strategy="stratified"), y).splits:
        assert abs(np.median(y[valid]) - np.median(y)) < 0.1


def test_a_class_rarer_than_the_folds_is_spread_without_a_warning() -> None:
    y = np.array([0] * 60 + [1] * 50 + [2] * 3 + [3], dtype=np.int32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = make_folds(MULTI, y)
    assert sorted(folds.assignment[y == 2].tolist()) == sorted(set(folds.assignment[y == 2].tolist()))


def test_a_binary_class_rarer_than_the_folds_is_refused_with_the_cure() -> None:
    y = np.zeros(100, dtype=np.int32)
    y[:3] = 1
    with pytest.raises(DataError, match=r"validation rows of fold \d of stratified hold one class") as info:
        make_folds(BINARY, y)
    assert "cv_folds" in info.value.hint


def test_unstratified_folds_without_a_class_point_to_stratification() -> None:
    y = np.repeat([0, 1], 50).astype(np.int32)
    with pytest.raises(DataError) as info:
        make_folds(replace(BINARY, cv_strategy="group", cv_folds=2), y, groups=np.repeat([0, 1], 50))
    assert "stratified_group" in info.value.hint


def test_more_folds_than_groups_is_refused() -> None:
    for strategy in ("group", "stratified_group"):
        spec = replace(BINARY, cv_strategy=strategy)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="3 groups are too few for 5 folds"):
            make_folds(spec, labels(90), groups=np.repeat([1, 2, 3], 30))


def test_more_folds_than_rows_is_refused() -> None:
    with pytest.raises(DataError, match="8 training rows are too few"):
        make_folds(REGRESSION, np.arange(8.0))


def test_every_class_rarer_than_the_folds_is_refused() -> None:
    with pytest.raises(DataError, match="Every class has fewer rows"):
        make_folds(MULTI, np.repeat(np.arange(10), 3).astype(np.int32))


@pytest.mark.parametrize(
    "groups",
    [
        np.array([1.0] * 50 + [2.0] * 49 + [np.nan]),
        pd.Series(["a"] * 50 + ["b"] * 49 + [None]).to_numpy(),
    ],
)
def test_a_missing_group_is_refused(groups: np.ndarray) -> None:
    spec = replace(BINARY, cv_strategy="group", group_column="site", cv_folds=2)
    with pytest.raises(DataError, match=r"group column 'site' is missing in 1 of 100 rows \(first: data row 100\)"):
        make_folds(spec, labels(100), groups=groups)


@pytest.mark.parametrize("missing", [np.nan, np.inf, np.datetime64("NaT", "D"), None])
def test_a_missing_time_is_refused(missing: object) -> None:
    kind = type(missing)
    times: np.ndarray
    if kind is float:
        times = np.arange(100.0)
        times[7] = missing
    elif missing is None:
        times = np.array(["2024-01-01"] * 100, dtype=object)
        times[7] = None
    else:
        times = np.datetime64("2024-01-01") + np.arange(100)
        times[7] = missing
    with pytest.raises(DataError, match="data row 8"):
        make_folds(replace(BINARY, cv_strategy="time"), labels(100), times=times)


def test_text_that_is_no_date_is_refused_and_dates_as_text_are_ordered() -> None:
    spec = replace(BINARY, cv_strategy="time", time_column="when")
    with pytest.raises(DataError, match="'when' holds values that are no dates"):
        make_folds(spec, labels(100), times=np.array(["soon"] * 100, dtype=object))
    days = pd.date_range("2024-01-01", periods=100)
    as_text = make_folds(spec, labels(100), times=days.strftime("%Y-%m-%d").to_numpy())
    assert as_text.digest == make_folds(spec, labels(100), times=days.to_numpy()).digest


@pytest.mark.parametrize(("strategy", "column"), [("group", "group_column"), ("time", "time_column")])
def test_a_strategy_without_its_column_says_which(strategy: CvStrategy, column: str) -> None:
    with pytest.raises(DataError) as info:
        make_folds(replace(BINARY, cv_strategy=strategy), labels(100))
    assert column in info.value.hint


def test_time_trains_on_the_past_only_and_grows() -> None:
    times = np.random.default_rng(5).permutation(600)
    folds = make_folds(replace(REGRESSION, cv_strategy="time"), np.arange(600.0), times=times)
    for train, valid in folds.splits:
        assert times[train].max() < times[valid].min()
        assert len(valid) == 100
    assert [len(train) for train, _ in folds.splits] == [100, 200, 300, 400, 500]
    assert (times[~folds.covered] < 100).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=24, max_size=120), st.integers(2, 5))
def test_equal_times_are_never_split(values: list[int], n_folds: int) -> None:
    times = np.array(values)
    spec = replace(REGRESSION, cv_strategy="time", cv_folds=n_folds)
    if len(set(values)) <= n_folds:
        with pytest.raises(DataError, match="distinct times are too few"):
            make_folds(spec, np.zeros(len(times)), times=times)
        return
    folds = make_folds(spec, np.zeros(len(times)), times=times)
    assert folds.n_folds == n_folds
    for train, valid in folds.splits:
        assert times[train].max() < times[valid].min()


def test_folds_survive_a_file(tmp_path: Path) -> None:
    for strategy in ("stratified", "time"):
        spec = replace(BINARY, cv_strategy=strategy)  # type: ignore[arg-type]
        folds = make_folds(spec, labels(200), times=np.arange(200))
        folds.save(tmp_path / "folds.npz")
        read = Folds.load(tmp_path / "folds.npz")
        assert (read.strategy, read.digest) == (folds.strategy, folds.digest)
        for a, b in zip(read.splits, folds.splits, strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])
        np.testing.assert_array_equal(read.covered, folds.covered)


def test_a_missing_or_damaged_file_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "folds.npz"
    with pytest.raises(DataError, match="is missing"):
        Folds.load(path)
    make_folds(BINARY, labels(200)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        Folds.load(path)
    other = make_folds(replace(BINARY, seed=1), labels(200))
    np.savez(
        path,
        strategy="stratified",
        digest=other.digest,
        assignment=make_folds(BINARY, labels(200)).assignment,
    )
    with pytest.raises(DataError, match="damaged"):
        Folds.load(path)


def test_a_fold_key_changes_with_each_of_its_parts() -> None:
    base = ("code", "folds", "data", 0, 42)
    others = [
        ("c", *base[1:]),
        ("code", "f", *base[2:]),
        (*base[:2], "d", 0, 42),
        (*base[:3], 1, 42),
        (*base[:4], 7),
    ]
    assert len({fold_key(*key) for key in [base, *others]}) == 6
    assert fold_key(*base) == fold_key(*base)
