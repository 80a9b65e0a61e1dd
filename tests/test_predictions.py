"""Predictions: joined, checked, matched to rows and classes, kept on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.alignment import align_prediction
from experiments.errors import PredictionError
from experiments.folds import make_folds
from experiments.predictions import (
    array_sha,
    check_prediction,
    join_oof,
    join_test,
    load_array,
    save_array,
)
from experiments.spec import Spec

SPEC = Spec("c", "regression", "rmse", "minimize", "y", cv_folds=3)
TIME = Spec("c", "regression", "rmse", "minimize", "y", cv_strategy="time", cv_folds=3)
INDEX = pd.Index([2, 5, 9])


def test_out_of_fold_parts_return_to_their_rows() -> None:
    folds = make_folds(SPEC, np.arange(30.0))
    parts = {number: valid.astype(np.float64) for number, (_, valid) in enumerate(folds.splits)}
    joined = join_oof(folds, parts, 30)
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, np.arange(30))


def test_rows_that_no_fold_covers_are_nan() -> None:
    folds = make_folds(TIME, np.arange(40.0), times=np.arange(40))
    parts = {number: np.ones((len(valid), 4)) for number, (_, valid) in enumerate(folds.splits)}
    joined = join_oof(folds, parts, 40)
    assert joined.shape == (40, 4)
    np.testing.assert_array_equal(np.isnan(joined).any(axis=1), ~folds.covered)


def test_test_predictions_are_averaged_but_time_takes_the_last() -> None:
    parts = {0: np.array([1.0, 2.0]), 1: np.array([2.0, 2.0]), 2: np.array([6.0, 2.0])}
    np.testing.assert_array_equal(join_test(make_folds(SPEC, np.arange(30.0)), parts), [3, 2])
    times = make_folds(TIME, np.arange(40.0), times=np.arange(40))
    np.testing.assert_array_equal(join_test(times, parts), [6, 2])


def test_a_missing_fold_or_a_wrong_part_is_refused() -> None:
    folds = make_folds(SPEC, np.arange(30.0))
    with pytest.raises(PredictionError, match="fold 1, 2 are missing"):
        join_oof(folds, {0: np.zeros(10)}, 30)
    with pytest.raises(PredictionError, match="Fold 1 predicts shape"):
        join_oof(folds, {0: np.zeros(10), 1: np.zeros(9), 2: np.zeros(10)}, 30)
    with pytest.raises(PredictionError, match="folds are over 30 rows"):
        join_oof(folds, {}, 31)


def test_arrays_survive_a_file(tmp_path: Path) -> None:
    path = tmp_path / "R01_oof.npy"
    values = np.arange(12, dtype=np.float32).reshape(6, 2)
    save_array(path, values)
    read = load_array(path)
    assert isinstance(read, np.memmap) and not read.flags.writeable
    np.testing.assert_array_equal(read, values)
    assert type(load_array(path, mmap=False)) is np.ndarray
    assert array_sha(read) == array_sha(values)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with pytest.raises(PredictionError, match="is missing"):
        load_array(path)
    np.save(path, np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(PredictionError):
        load_array(path)
    np.save(path, np.array(["a"]))
    with pytest.raises(PredictionError, match="no numeric array"):
        load_array(path)
    save_array(path, np.zeros(1000))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(PredictionError):
        load_array(path)
    np.savez(tmp_path / "z.npz", a=np.zeros(3))
    (tmp_path / "z.npz").rename(path)
    with pytest.raises(PredictionError, match=r"no readable \.npy array"):
        load_array(path)


def test_the_sha_knows_type_shape_and_values() -> None:
    base = np.arange(6, dtype=np.float32)
    others = [base.astype(np.float64), base.reshape(2, 3), base[::-1], base]
    assert len({array_sha(values) for values in others}) == 4
    assert array_sha(base.reshape(2, 3).T) == array_sha(np.ascontiguousarray(base.reshape(2, 3).T))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.1, np.nan, 0.2], "is NaN in 1 of 3 rows"),
        ([0.1, np.inf, 0.2], "is infinite"),
        ([0.1, 1.2, 0.2], r"outside 0 to 1 \(from 0.1 to 1.2\)"),
        ([0.1, 0.2], r"has shape \(2,\), expected \(3,\)"),
    ],
)
def test_a_bad_binary_prediction_gives_its_reason(values: list[float], reason: str) -> None:
    with pytest.raises(PredictionError, match=reason):
        check_prediction(np.array(values), 3, 1, "binary")


def test_values_too_large_for_float32_are_refused() -> None:
    with pytest.raises(PredictionError, match="too large"):
        check_prediction(np.array([1e300, 0.0]), 2, 1, "regression")


def test_rounding_is_forgiven() -> None:
    clipped = check_prediction(np.array([-1e-9, 1 + 1e-9]), 2, 1, "binary")
    np.testing.assert_array_equal(clipped, [0, 1])
    scaled = check_prediction(np.array([[0.5, 0.5005, 0.0]]), 1, 3, "multiclass")
    assert scaled.sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(PredictionError, match="do not sum to 1"):
        check_prediction(np.array([[0.5, 0.6, 0.0]]), 1, 3, "multiclass")


def test_a_series_is_matched_by_its_index() -> None:
    shuffled = pd.Series([9.0, 2.0, 5.0], index=[9, 2, 5])
    np.testing.assert_array_equal(align_prediction(shuffled, INDEX, 1, None, "regression"), [2, 5, 9])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pd.Series([1.0, 2.0, 3.0]), "index is not that of the rows to predict"),
        (pd.Series([1.0, 2.0, 3.0], index=[2, 2, 9]), "repeats labels"),
        (pd.Series([1.0, 2.0], index=[2, 5]), "Series of 2 rows, expected 3"),
        (["a", "b", "c"], "expected numbers"),
        (None, "is None"),
        (np.array([1j, 2, 3]), "complex"),
        (np.zeros((3, 2)), r"shape \(3, 2\)"),
        ([[1.0], [2.0, 3.0], [4.0]], "no array of numbers"),
        (np.float64(1), r"shape \(\)"),
    ],
)
def test_what_cannot_be_matched_is_refused(value: object, reason: str) -> None:
    with pytest.raises(PredictionError, match=reason):
        align_prediction(value, INDEX, 1, None, "regression")


def test_class_columns_are_matched_by_label_or_code() -> None:
    proba = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    frame = pd.DataFrame(proba, index=INDEX, columns=["a", "b", "c"])
    for columns in (["a", "b", "c"], [0, 1, 2]):
        renamed = frame.set_axis(columns, axis=1)
        mixed = renamed.iloc[[2, 0, 1], [1, 2, 0]]
        found = align_prediction(mixed, INDEX, 3, ["a", "b", "c"], "multiclass")
        np.testing.assert_allclose(found, proba, rtol=1e-6)
    with pytest.raises(PredictionError, match=r"expected the classes \['a', 'b', 'c'\]"):
        align_prediction(frame.rename(columns={"a": "x"}), INDEX, 3, ["a", "b", "c"], "multiclass")
    with pytest.raises(PredictionError, match="one per class"):
        align_prediction(frame[["a", "b"]], INDEX, 3, ["a", "b", "c"], "multiclass")


def test_binary_takes_class_1_of_both_columns() -> None:
    both = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    expected = np.float32([0.1, 0.8, 0.5])
    for value in (
        both,
        both[:, [1]],
        pd.DataFrame(both[:, ::-1], index=INDEX, columns=["yes", "no"]),
        pd.DataFrame({"p": both[:, 1]}, index=INDEX),
    ):
        np.testing.assert_array_equal(align_prediction(value, INDEX, 1, ["no", "yes"], "binary"), expected)
    with pytest.raises(PredictionError, match="return the probability of class 1"):
        align_prediction(both * 2, INDEX, 1, ["no", "yes"], "binary")


def test_other_kinds_of_arrays_are_taken() -> None:
    for value in (
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], dtype=object),
        pd.Series([1, 2, 3], index=INDEX, dtype="Int64"),
    ):
        np.testing.assert_array_equal(align_prediction(value, INDEX, 1, None, "regression"), [1, 2, 3])
