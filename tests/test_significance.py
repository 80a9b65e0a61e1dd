"""Gains against the noise of their folds: Nadeau and Bengio's corrected t, few folds, no variance."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.folds import Folds
from experiments.significance import T_LIMIT, fold_noise, fold_sizes, paired_gain, required_t

SIZES = {"n_train": 800.0, "n_valid": 200.0}
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=10)


def test_the_variance_is_the_corrected_one() -> None:
    new, old = [0.81, 0.84, 0.80, 0.83, 0.82], [0.80, 0.82, 0.80, 0.81, 0.80]
    differences = np.subtract(new, old)
    gain = paired_gain(new, old, "maximize", **SIZES)
    assert gain.mean == pytest.approx(differences.mean())
    assert gain.se == pytest.approx(np.sqrt(differences.var(ddof=1) * (1 / 5 + 200 / 800)))
    assert gain.t == pytest.approx(gain.mean / gain.se)
    assert gain.n == 5
    # The plain paired t claims half as much again.
    assert stats.ttest_rel(new, old).statistic == pytest.approx(1.5 * gain.t)


@given(SCORES, st.randoms())
def test_positive_is_better_in_both_directions(new: list[float], random: Random) -> None:
    old = [random.random() for _ in new]
    up = paired_gain(new, old, "maximize", **SIZES)
    down = paired_gain(new, old, "minimize", **SIZES)
    assert down.mean == pytest.approx(-up.mean)
    assert down.t == pytest.approx(-up.t)
    assert paired_gain(old, new, "maximize", **SIZES).t == pytest.approx(-up.t)
    assert abs(up.t) <= T_LIMIT
    assert not (up.significant(1.0) and down.significant(1.0))


@given(SCORES)
def test_identical_scores_are_no_gain(scores: list[float]) -> None:
    gain = paired_gain(scores, list(scores), "maximize", **SIZES)
    assert (gain.mean, gain.t) == (0.0, 0.0)
    assert not gain.significant(0.0)


def test_the_same_gain_in_every_fold_is_beyond_doubt_but_finite() -> None:
    old = [0.7, 0.8, 0.9, 0.75, 0.85]
    gain = paired_gain([score + 0.01 for score in old], old, "maximize", **SIZES)
    assert gain.t == T_LIMIT
    assert gain.significant(2.0)
    assert paired_gain(old, [score + 0.01 for score in old], "maximize", **SIZES).t == -T_LIMIT


def test_differences_by_rounding_are_none() -> None:
    gain = paired_gain([0.1 + 0.2, 0.5], [0.3, 0.5], "maximize", **SIZES)
    assert gain.t == 0.0


def test_few_folds_must_show_more() -> None:
    five = 1 - stats.t.cdf(2.0, df=4)
    assert required_t(2.0, 5) == required_t(2.0, 10) == 2.0
    assert 1 - stats.t.cdf(required_t(2.0, 3), df=2) == pytest.approx(five)
    assert 1 - stats.t.cdf(required_t(2.0, 2), df=1) == pytest.approx(five)
    two = paired_gain([0.81, 0.823], [0.80, 0.81], "maximize", n_train=500, n_valid=500)
    assert two.t > 2.0
    assert two.significant(2.0) is (two.t >= required_t(2.0, 2))


@given(st.floats(0, 50), st.floats(0, 50), st.integers(2, 20))
def test_asking_for_more_asks_for_more(low: float, high: float, n: int) -> None:
    low, high = sorted((low, high))
    assert low <= required_t(low, n) <= required_t(high, n) <= T_LIMIT


def test_folds_without_a_score_are_left_out() -> None:
    gain = paired_gain([0.8, float("nan"), 0.9], [0.7, 0.8, 0.85], "maximize", **SIZES)
    assert gain.n == 2
    one = paired_gain([0.8, float("nan")], [0.7, 0.8], "maximize", **SIZES)
    assert (one.n, one.t, one.significant(0.0)) == (1, 0.0, False)
    assert paired_gain([], [], "maximize", **SIZES).n == 0
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_gain([0.8], [0.7, 0.8], "maximize", **SIZES)


def test_pure_noise_is_significant_about_as_rarely_as_it_should() -> None:
    """Differences that share a component between folds, as overlapping training sets make them."""
    random = np.random.default_rng(0)
    shared = 0.2 / 1.0  # correlation n_valid / (n_train + n_valid)
    found = 0
    for _ in range(2000):
        noise = np.sqrt(shared) * random.standard_normal() + np.sqrt(1 - shared) * random.standard_normal(5)
        found += paired_gain(list(noise), [0.0] * 5, "maximize", **SIZES).significant(2.0)
    assert found / 2000 < 0.07  # one-sided t with 4 degrees of freedom: 0.058


def test_fold_noise_is_the_spread_of_paired_differences() -> None:
    best = [0.70, 0.80, 0.75, 0.85]
    similar = [0.71, 0.80, 0.76, 0.85]
    hopeless = [0.1, 0.9, 0.5, 0.2]
    spread = float(np.std(np.subtract(similar, best), ddof=1))
    assert fold_noise(best, [similar]) == pytest.approx(spread)
    assert fold_noise(best, [similar, similar, hopeless]) == pytest.approx(spread)
    # The best itself and incomplete ones say nothing.
    assert fold_noise(best, [best, similar[:2], [float("nan")] * 4, similar]) == pytest.approx(spread)
    # Alone, its own spread over folds: larger, so it kills less.
    assert fold_noise(best) == pytest.approx(np.std(best, ddof=1))
    assert fold_noise([0.7]) == 0.0


def test_fold_sizes_are_means() -> None:
    folds = Folds.from_assignment("time", np.array([-1, -1, 0, 0, 1, 1, 1]))
    assert fold_sizes(folds) == (3.0, 2.5)
