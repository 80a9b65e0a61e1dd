"""Correlations equal NumPy's and SciPy's, over the covered rows, whatever the scale and the storage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from experiments import correlation
from experiments.correlation import correlate, correlation_matrix, spearman
from experiments.errors import PredictionError

VALUES = hnp.arrays(np.float32, st.tuples(st.just(2), st.integers(3, 60)), elements=st.floats(-100, 100, width=32))


def everything(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


@given(VALUES)
def test_pearson_equals_numpy(values: np.ndarray) -> None:
    a, b = values.astype(np.float64)
    found = correlate(values[0], {"b": values[1]}, everything(len(a)))["b"]
    if a.std() < 1e-3 or b.std() < 1e-3:
        assert -1 <= found <= 1
    else:
        assert found == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)


@given(VALUES)
def test_spearman_equals_scipy_with_ties(values: np.ndarray) -> None:
    a, b = np.round(values / 20)
    if len(set(a)) < 2 or len(set(b)) < 2:
        return
    expected = stats.spearmanr(a, b).statistic
    assert spearman(a, {"b": b}, everything(len(a)))["b"] == pytest.approx(expected, abs=1e-9)


def test_far_from_zero_nothing_is_lost() -> None:
    """A price around a million that differs by tens: the sums of squares alone would lose it in float32."""
    random = np.random.default_rng(0)
    a = (1e6 + 30 * random.standard_normal(100_000)).astype(np.float32)
    b = (a + 10 * random.standard_normal(100_000)).astype(np.float32)
    expected = np.corrcoef(a.astype(np.float64), b.astype(np.float64))[0, 1]
    assert correlate(a, {"b": b}, everything(len(a)))["b"] == pytest.approx(expected, abs=1e-9)


def test_only_covered_rows_count_and_the_pool_may_be_memory_mapped(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    n = 2 * correlation.CHUNK + 17
    covered = random.random(n) < 0.7
    covered[: n // 3] = False
    pool: dict[str, np.ndarray] = {}
    for name in ("R01", "R02"):
        values = random.random(n).astype(np.float32)
        values[~covered] = np.nan
        np.save(tmp_path / f"{name}.npy", values)
        pool[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    new = np.where(covered, pool["R01"] + random.random(n), np.nan).astype(np.float32)
    found = correlate(new, pool, covered)
    for name, values in pool.items():
        assert found[name] == pytest.approx(np.corrcoef(new[covered], values[covered])[0, 1], abs=1e-6)


def test_multiclass_is_the_mean_over_classes_that_vary() -> None:
    random = np.random.default_rng(2)
    a, b = random.random((2, 500, 4))
    a[:, 3] = b[:, 3] = 0.0  # a class that nobody predicts
    expected = np.mean([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)])
    assert correlate(a, {"b": b}, everything(500))["b"] == pytest.approx(expected)


def test_a_constant_prediction_has_nothing_in_common_with_any() -> None:
    random = np.random.default_rng(3)
    constant = np.full(1000, 0.1, dtype=np.float32)
    pool: dict[str, np.ndarray] = {"varies": random.random(1000), "constant": constant}
    assert correlate(constant, pool, everything(1000)) == {"varies": 0.0, "constant": 0.0}
    assert spearman(constant, pool, everything(1000)) == {"varies": 0.0, "constant": 0.0}


def test_the_matrix_holds_every_pair() -> None:
    random = np.random.default_rng(4)
    members = [random.random((300, 3)).astype(np.float32) for _ in range(4)]
    matrix = correlation_matrix(members, everything(300))
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1.0)
    pairs = correlate(members[0], {str(j): members[j] for j in range(4)}, everything(300))
    assert matrix[0] == pytest.approx(list(pairs.values()), abs=1e-12)
    assert correlation_matrix([], everything(3)).shape == (0, 0)


def test_what_cannot_be_compared_is_named() -> None:
    good = np.random.default_rng(5).random(10)
    with pytest.raises(PredictionError, match=r"R02 has shape \(9,\)"):
        correlate(good, {"R02": good[:9]}, everything(10))
    holed = good.copy()
    holed[3] = np.nan
    with pytest.raises(PredictionError, match="R03 has missing"):
        correlate(good, {"R01": good, "R03": holed}, everything(10))
    with pytest.raises(PredictionError, match="R03 has missing"):
        spearman(good, {"R03": holed}, everything(10))
