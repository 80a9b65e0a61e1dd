"""Correlations equal NumPy's and SciPy's, over the covered rows, whatever the scale, the storage and the order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from experiments import correlation
from experiments.correlation import Closeness, Matrices, all_pairs, compare, correlation_matrix
from experiments.errors import PredictionError
from experiments.ranks import LEVELS, RankFiles, mid_ranks, short_ranks

NUMBERS = st.floats(-100, 100, width=32)
VALUES = hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(3, 60)), elements=NUMBERS)
TIED = hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(3, 60)), elements=st.integers(-3, 3))
CLASSES = hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(3, 40), st.just(3)), elements=NUMBERS)


def everything(n: int) -> np.ndarray:
    return np.ones(n, dtype=bool)


def compared(
    new: np.ndarray, pool: Mapping[str, np.ndarray], covered: np.ndarray, y: np.ndarray
) -> dict[str, Closeness]:
    ranks = {name: short_ranks(name, member, covered) for name, member in pool.items()}
    return compare(new, pool, covered, y, short_ranks("the new prediction", new, covered), ranks)


def matrices(pool: Mapping[str, np.ndarray], covered: np.ndarray, y: np.ndarray) -> Matrices:
    return all_pairs(pool, covered, y, {name: short_ranks(name, member, covered) for name, member in pool.items()})


def spread(*columns: np.ndarray) -> bool:
    """Whether NumPy's own two passes have something to say of these."""
    return all(column.std() > 1e-3 for column in columns)


@given(st.one_of(VALUES, TIED))
def test_pearson_spearman_and_error_equal_numpy_and_scipy(values: np.ndarray) -> None:
    a, b, y = values.astype(np.float64)
    found = compared(values[0], {"b": values[1]}, everything(len(a)), y)["b"]
    for figure in (found.pearson, found.spearman, found.error):
        assert -1 <= figure <= 1
    if spread(a, b):
        assert found.pearson == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-9)
        assert found.spearman == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    if spread(a - y, b - y):
        assert found.error == pytest.approx(np.corrcoef(a - y, b - y)[0, 1], abs=1e-9)


@given(CLASSES, st.integers(0, 2**32 - 1))
def test_multiclass_is_the_mean_over_classes_of_errors_as_well(values: np.ndarray, seed: int) -> None:
    a, b, _ = values.astype(np.float64)
    y = np.random.default_rng(seed).integers(0, 3, len(a))
    truth = np.eye(3)[y]
    if not all(spread(a[:, k], b[:, k], (a - truth)[:, k], (b - truth)[:, k]) for k in range(3)):
        return
    found = compared(values[0], {"b": values[1]}, everything(len(a)), y)["b"]

    def mean(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.mean([np.corrcoef(one[:, k], other[:, k])[0, 1] for k in range(3)]))

    assert found.pearson == pytest.approx(mean(a, b), abs=1e-9)
    assert found.error == pytest.approx(mean(a - truth, b - truth), abs=1e-9)
    ranked = [stats.spearmanr(a[:, k], b[:, k]).statistic for k in range(3)]
    assert found.spearman == pytest.approx(np.mean(ranked), abs=1e-9)


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 5), st.integers(3, 40)), elements=NUMBERS))
def test_all_pairs_at_once_are_each_new_one_against_those_before_it(values: np.ndarray) -> None:
    y, covered = np.linspace(0, 1, values.shape[1]), everything(values.shape[1])
    pool = {f"R{number}": row for number, row in enumerate(values)}
    whole = matrices(pool, covered, y)
    names = list(pool)
    for place, name in enumerate(names):
        before = {other: pool[other] for other in names[:place]}
        for other, found in compared(pool[name], before, covered, y).items():
            at = place, names.index(other)
            assert (whole.pearson[at], whole.spearman[at], whole.error[at]) == pytest.approx(
                (found.pearson, found.spearman, found.error), abs=1e-9
            )
    for matrix in (whole.pearson, whole.spearman, whole.error):
        assert (np.diag(matrix) == 1).all()
        assert np.array_equal(matrix, matrix.T)
    assert correlation_matrix(list(values), covered) == pytest.approx(whole.pearson, abs=1e-12)


def test_far_from_zero_and_with_small_errors_nothing_is_lost() -> None:
    """Prices around 200,000 that differ by tens, off the mark by hundredths: float32 sums would lose both."""
    random = np.random.default_rng(0)
    y = 200_000 + 30 * random.standard_normal(100_000)
    shared = random.standard_normal(100_000)
    a, b = (y + 0.05 * (shared + random.standard_normal(100_000)) for _ in range(2))
    found = compared(a, {"b": b}, everything(len(a)), y)["b"]
    assert found.pearson == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert found.error == pytest.approx(np.corrcoef(a - y, b - y)[0, 1], abs=1e-7)
    whole = matrices({"a": a, "b": b}, everything(len(a)), y)
    assert whole.pearson[0, 1] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert whole.error[0, 1] == pytest.approx(np.corrcoef(a - y, b - y)[0, 1], abs=1e-7)


def test_only_covered_rows_count_and_the_pool_may_be_memory_mapped(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    n = 2 * correlation.CHUNK + 17
    covered = random.random(n) < 0.7
    covered[: n // 3] = False
    y = random.integers(0, 2, n)
    pool: dict[str, np.ndarray] = {}
    for name in ("R01", "R02"):
        values = random.random(n).astype(np.float32)
        values[~covered] = np.nan
        np.save(tmp_path / f"{name}.npy", values)
        pool[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    new = np.where(covered, pool["R01"] + random.random(n), np.nan).astype(np.float32)
    found = compared(new, pool, covered, y)
    whole = matrices({"new": new, **pool}, covered, y)
    for place, (name, values) in enumerate(pool.items(), start=1):
        own, other, truth = new[covered].astype(float), values[covered].astype(float), y[covered]
        assert found[name].pearson == pytest.approx(np.corrcoef(own, other)[0, 1], abs=1e-9)
        assert found[name].spearman == pytest.approx(stats.spearmanr(own, other).statistic, abs=1e-9)
        assert found[name].error == pytest.approx(np.corrcoef(own - truth, other - truth)[0, 1], abs=1e-9)
        assert whole.error[0, place] == pytest.approx(found[name].error, abs=1e-9)


def test_more_members_and_classes_than_fit_into_a_block() -> None:
    random = np.random.default_rng(2)
    pool = {f"R{number}": random.random((500, 20)).astype(np.float32) for number in range(25)}
    y = random.integers(0, 20, 500)
    new = random.random((500, 20)).astype(np.float32)
    found, whole = compared(new, pool, everything(500), y), matrices({"new": new, **pool}, everything(500), y)
    for place, name in enumerate(pool, start=1):
        both = [np.corrcoef(new[:, k], pool[name][:, k])[0, 1] for k in range(20)]
        assert found[name].pearson == pytest.approx(np.mean(both), abs=1e-6)
        assert whole.pearson[0, place] == pytest.approx(found[name].pearson, abs=1e-12)


def test_a_class_that_nobody_predicts_does_not_count() -> None:
    random = np.random.default_rng(2)
    a, b = random.random((2, 500, 4))
    a[:, 3] = b[:, 3] = 0.0
    expected = np.mean([np.corrcoef(a[:, k], b[:, k])[0, 1] for k in range(3)])
    assert compared(a, {"b": b}, everything(500), random.integers(0, 3, 500))["b"].pearson == pytest.approx(expected)


def test_a_constant_prediction_has_nothing_in_common_with_any() -> None:
    random = np.random.default_rng(3)
    constant = np.full(1000, 0.1, dtype=np.float32)
    y = random.random(1000)
    pool: dict[str, np.ndarray] = {"varies": random.random(1000), "constant": constant, "right": y}
    found = compared(constant, pool, everything(1000), y)
    assert [(other.pearson, other.spearman) for other in found.values()][:2] == [(0.0, 0.0), (0.0, 0.0)]
    # It misses the target as any other constant does; what is never wrong has no error to share.
    assert found["constant"].error == pytest.approx(1.0)
    assert found["right"].error == 0.0


def test_an_empty_pool_has_no_pairs() -> None:
    new, covered = np.arange(3.0), everything(3)
    assert compared(new, {}, covered, new) == {}
    assert correlation_matrix([], covered).shape == (0, 0)
    assert matrices({}, covered, new).error.shape == (0, 0)


def test_what_cannot_be_compared_is_named() -> None:
    good = np.random.default_rng(5).random(10)
    ranks = short_ranks("good", good, everything(10))

    def against(name: str, member: np.ndarray) -> None:
        compare(good, {"R01": good, name: member}, everything(10), good, ranks, {"R01": ranks, name: ranks})

    with pytest.raises(PredictionError, match=r"R02 has shape \(9,\)"):
        against("R02", good[:9])
    holed = good.copy()
    holed[3] = np.nan
    with pytest.raises(PredictionError, match="R03 has missing"):
        against("R03", holed)
    with pytest.raises(PredictionError, match="prediction 1 has missing"):
        correlation_matrix([good, holed], everything(10))
    with pytest.raises(PredictionError, match="R03 has missing"):
        short_ranks("R03", holed, everything(10))


class TestRanks:
    @given(st.one_of(VALUES, TIED))
    def test_they_are_mid_ranks(self, values: np.ndarray) -> None:
        expected = stats.rankdata(values[0]) - 0.5
        assert (mid_ranks(values[0]) * len(expected)).tolist() == pytest.approx(expected.tolist(), rel=1e-6)
        assert short_ranks("a", values[0], everything(len(expected))).tolist() == (2 * expected).tolist()

    @pytest.mark.parametrize(
        ("ties", "error"),
        [pytest.param(0.0, 1e-7, id="continuous"), pytest.param(0.9999, 1e-5, id="nearly one tie")],
    )
    def test_with_more_rows_than_levels_they_are_nearly_that(self, ties: float, error: float) -> None:
        random = np.random.default_rng(6)
        n = 4 * LEVELS
        a = random.standard_normal(n)
        b = a + 0.3 * random.standard_normal(n)
        for values in (a, b):
            values[random.random(n) < ties] = 0.0
        expected = stats.spearmanr(a.astype(np.float32), b.astype(np.float32)).statistic
        assert compared(a, {"b": b}, everything(n), a)["b"].spearman == pytest.approx(expected, abs=error)

    def test_files_are_read_again_only_for_the_same_prediction(self, tmp_path: Path) -> None:
        random = np.random.default_rng(7)
        a, b = random.random((2, 50))
        covered = random.random(50) < 0.8
        files = RankFiles(tmp_path / "ranks", covered)
        expected = short_ranks("a", a, covered)
        assert np.array_equal(files.of("a", "1" * 64, a), expected)
        (kept,) = (tmp_path / "ranks").iterdir()
        # The file answers for its sha, whatever the values are: no sort is done again.
        assert np.array_equal(files.of("a", "1" * 64, b), expected)
        assert np.array_equal(files.of("b", "2" * 64, b), short_ranks("b", b, covered))
        kept.write_bytes(b"damaged")
        assert np.array_equal(files.of("a", "1" * 64, a), expected)
        np.save(kept, expected[:9])
        assert np.array_equal(files.of("a", "1" * 64, a), expected)
        files.keep({"2" * 64})
        assert not kept.exists()
        assert len(list((tmp_path / "ranks").iterdir())) == 1

    def test_who_only_looks_leaves_no_file(self, tmp_path: Path) -> None:
        a = np.arange(5.0)
        found = RankFiles(tmp_path / "ranks", everything(5), writing=False).of("a", "1" * 64, a)
        assert found.tolist() == [1, 3, 5, 7, 9]
        assert not (tmp_path / "ranks").exists()

    def test_a_place_without_room_is_done_without(self, tmp_path: Path) -> None:
        (tmp_path / "ranks").write_text("in the way")
        assert RankFiles(tmp_path / "ranks", everything(3)).of("a", "1" * 64, np.arange(3.0)).tolist() == [1, 3, 5]
