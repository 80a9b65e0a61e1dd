"""Blends: chosen under the rules, scored on rows they were not fitted on, never flattering themselves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from experiments import fastmetrics, objectives
from experiments.blending import Blend, BlendError, PoolMember, survey_blends
from experiments.fastmetrics import auc, average_precision, fast_kind
from experiments.folds import Folds
from experiments.gatemix import mix_gain
from experiments.metrics import Metric, get_metric, metrics_for
from experiments.objectives import GramProblem, make_problem
from experiments.rules import BlendLimits

ALL = frozenset({"stacking-correlation", "diversity-threshold", "small-blends"})
FREE = BlendLimits(max_correlation=None, max_gap=None, max_gap_share=None, max_members=None)


def folds_of(n: int, k: int = 5, seed: int = 0) -> Folds:
    random = np.random.default_rng(seed)
    return Folds.from_assignment("kfold", random.permutation(np.arange(n) % k))


def member(oof: np.ndarray) -> PoolMember:
    """A prediction whose test rows happen to look like its last training rows."""
    oof = oof.astype(np.float32)
    return PoolMember(oof, oof[-7:])


def fit_blend(pool: dict[str, PoolMember], y: np.ndarray, folds: Folds, metric: Metric, **how: Any) -> Blend:
    """The blend that a survey takes; where it takes none, its reason as an error."""
    found = survey_blends(pool, y, folds, metric, **how)
    if found.blend is None:
        raise BlendError(found.reason)
    return found.blend


def regression_pool(n: int, errors: dict[str, float], seed: int = 0) -> tuple[np.ndarray, dict[str, PoolMember]]:
    """Independent errors of the given sizes around one target."""
    random = np.random.default_rng(seed)
    y = 100 + 10 * random.standard_normal(n)
    return y, {name: member(y + size * random.standard_normal(n)) for name, size in errors.items()}


def pool_for(metric: Metric, task: str, n: int, m: int, seed: int) -> tuple[np.ndarray, dict[str, PoolMember]]:
    random = np.random.default_rng(seed)
    pool: dict[str, PoolMember] = {}
    if task == "regression":
        y = random.integers(1, 7, n).astype(float)
    else:
        y = random.permutation(np.arange(n) % (2 if task == "binary" else 4)).astype(np.int32)
    for j in range(m):
        noise = random.uniform(1, 2)
        if task == "regression":
            oof = np.abs(y + noise * random.standard_normal(n))
        elif task == "binary":
            oof = 1 / (1 + np.exp(-(2 * y - 1 + noise * random.standard_normal(n))))
        else:
            logits = noise * random.standard_normal((n, 4))
            logits[np.arange(n), y] += 1
            oof = np.exp(logits)
            oof /= oof.sum(axis=1, keepdims=True)
        pool[f"R{j:02d}"] = member(oof)
    return y, pool


CASES = [(task, name) for task in ("binary", "multiclass", "regression") for name in metrics_for(task)]


def metric_of(name: str) -> Metric:
    return get_metric(name.replace("@k", "@3"))


# ---- what every blend promises


@pytest.mark.parametrize(("task", "name"), CASES)
def test_whatever_the_metric_a_blend_keeps_its_promises(task: str, name: str) -> None:
    metric = metric_of(name)
    y, pool = pool_for(metric, task, 160, 4, seed=3)
    folds = folds_of(160)
    blend = fit_blend(pool, y, folds, metric, limits=FREE)
    assert_promises(blend, pool, y, folds, metric)


def assert_promises(blend: Blend, pool: dict[str, PoolMember], y: np.ndarray, folds: Folds, metric: Metric) -> None:
    assert len(blend.members) == len(set(blend.members)) == len(blend.weights) >= 2
    assert sum(blend.weights) == pytest.approx(1)
    assert min(blend.weights) > 0
    assert all(a >= b for a, b in pairwise(blend.weights))
    assert blend.oof.dtype == blend.test.dtype == np.float32
    assert np.isfinite(blend.oof[folds.covered]).all()
    assert np.isnan(blend.oof[~folds.covered]).all()
    assert blend.score == pytest.approx(metric.score(y, blend.oof, mask=folds.covered))
    assert len(blend.fold_scores) == folds.n_folds
    assert metric.gain(blend.in_sample, blend.score) == pytest.approx(blend.optimism)
    for name in (*blend.members, blend.best):
        alone = metric.score(y, pool[name].oof, mask=folds.covered)
        assert metric.gain(blend.in_sample, alone) >= -1e-6
    assert metric.gain(blend.cross_fitted, blend.score) == pytest.approx(
        metric.gain(blend.in_sample, blend.score) - metric.gain(blend.in_sample, blend.cross_fitted)
    )
    if blend.mean == "arithmetic" and blend.method in ("equal", "climb", "optimised") and blend.post is None:
        mixed = sum(w * pool[name].test for name, w in zip(blend.members, blend.weights, strict=True))
        assert np.allclose(blend.test, mixed, atol=1e-5)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["roc_auc", "log_loss", "accuracy", "rmse", "mae"]),
    st.integers(2, 6),
    st.integers(0, 10_000),
    st.sampled_from([BlendLimits(), BlendLimits(lift=ALL), FREE, BlendLimits(max_members=2)]),
)
def test_in_sample_a_blend_is_never_worse_than_its_best_member(
    name: str, m: int, seed: int, limits: BlendLimits
) -> None:
    metric = get_metric(name)
    task = "regression" if name in ("rmse", "mae") else "binary"
    y, pool = pool_for(metric, task, 120, m, seed)
    folds = folds_of(120, seed=seed)
    try:
        blend = fit_blend(pool, y, folds, metric, limits=limits)
    except BlendError:
        return
    assert_promises(blend, pool, y, folds, metric)
    if not blend.lifted and limits.max_members is not None:
        assert len(blend.members) <= limits.max_members


def test_a_folds_own_labels_have_no_say_in_its_prediction() -> None:
    y, pool = regression_pool(400, {"a": 1.0, "b": 1.1, "c": 1.2, "d": 3.0})
    folds = folds_of(400)
    metric = get_metric("rmse")
    first = folds.splits[0][1]
    other = y.copy()
    other[first] = np.random.default_rng(1).permutation(other[first])
    before = fit_blend(pool, y, folds, metric, limits=FREE)
    after = fit_blend(pool, other, folds, metric, limits=FREE)
    assert np.array_equal(before.oof[first], after.oof[first])
    assert not np.array_equal(before.oof, after.oof)


def test_a_blend_of_pure_noise_shows_no_gain_but_in_sample() -> None:
    """Random predictions of random labels: only the fitted rows believe in the weights."""
    metric = get_metric("roc_auc")
    honest, flattered = [], []
    for seed in range(6):
        random = np.random.default_rng(seed)
        y = random.integers(0, 2, 600).astype(np.int32)
        pool = {f"N{j}": member(random.random(600)) for j in range(6)}
        blend = fit_blend(pool, y, folds_of(600, seed=seed), metric, limits=FREE)
        honest.append(blend.score - 0.5)
        flattered.append(blend.in_sample - 0.5)
        assert blend.optimism > 0
    # One score has a standard error of 0.024; the mean of six of 0.01.
    assert abs(np.mean(honest)) < 0.03
    assert np.mean(flattered) > 0.03


def test_real_models_blend_to_more_than_their_best(tmp_path: Path) -> None:
    """Neighbours and a linear model on real data; predictions memory-mapped, as the registry keeps them."""
    x, y = load_diabetes(return_X_y=True)
    folds = folds_of(len(y))
    models = {
        "linear": make_pipeline(StandardScaler(), Ridge(alpha=10)),
        "neighbours": make_pipeline(StandardScaler(), KNeighborsRegressor(25)),
        "stump": ExtraTreesRegressor(10, max_depth=1, random_state=0),
    }
    pool = {}
    for name, model in models.items():
        oof = cross_val_predict(model, x, y, cv=list(folds.splits)).astype(np.float32)
        np.save(tmp_path / f"{name}.npy", oof)
        mapped = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        pool[name] = PoolMember(mapped, mapped[:50])
    metric = get_metric("rmse")
    blend = fit_blend(pool, y, folds, metric, limits=FREE)
    assert set(blend.members) == {"linear", "neighbours"}
    assert blend.best == "linear"
    assert metric.better(blend.score, blend.best_score)
    assert blend.gain.mean > 0


# ---- the rules


def test_of_near_duplicates_only_the_better_one_joins() -> None:
    y, pool = regression_pool(2000, {"a": 5.0, "b": 5.0})
    twin = pool["a"].oof + np.random.default_rng(9).normal(0, 0.1, 2000)
    pool = {"twin": member(twin), **pool}
    limits = BlendLimits(max_gap_share=0.2)
    blend = fit_blend(pool, y, folds_of(2000), get_metric("rmse"), limits=limits)
    assert blend.method != "equal"
    assert set(blend.members) in ({"a", "b"}, {"twin", "b"})


def test_when_all_are_near_duplicates_they_are_averaged_plainly() -> None:
    y, _ = regression_pool(2000, {})
    random = np.random.default_rng(5)
    shared = y + 3 * random.standard_normal(2000)
    pool = {name: member(shared + 0.3 * random.standard_normal(2000)) for name in "abcdef"}
    blend = fit_blend(pool, y, folds_of(2000), get_metric("rmse"))
    assert blend.method == "equal"
    assert len(blend.members) == 4
    assert set(blend.weights) == {0.25}
    assert any("plain average" in note for note in blend.notes)


def test_a_diverse_but_weak_model_stays_out_until_evidence_lifts_the_rule() -> None:
    y, pool = regression_pool(3000, {"strong": 3.0, "second": 3.005, "weak": 4.0})
    folds, metric = folds_of(3000), get_metric("rmse")
    limits = BlendLimits(max_gap_share=0.1)
    ruled = fit_blend(pool, y, folds, metric, limits=limits)
    assert set(ruled.members) == {"strong", "second"}
    assert ruled.lifted == ()
    lifted = fit_blend(pool, y, folds, metric, limits=replace(limits, lift=ALL))
    assert set(lifted.members) == set(pool)
    assert lifted.lifted == ("diversity-threshold",)
    assert lifted.evidence is not None and lifted.evidence.t >= limits.min_t
    assert metric.better(lifted.score, ruled.score)
    strict = fit_blend(pool, y, folds, metric, limits=replace(limits, lift=ALL, min_t=1000.0))
    assert strict.members == ruled.members and strict.lifted == ()
    assert strict.evidence is not None


def test_more_than_four_members_need_evidence() -> None:
    y, pool = regression_pool(3000, {f"m{j}": 3.0 for j in range(8)})
    folds, metric = folds_of(3000), get_metric("rmse")
    limits = BlendLimits(max_gap_share=0.5)
    assert len(fit_blend(pool, y, folds, metric, limits=limits).members) == 4
    more = fit_blend(pool, y, folds, metric, limits=replace(limits, lift=ALL))
    assert len(more.members) == 8
    assert more.lifted == ("small-blends",)


def test_members_named_in_a_plan_are_the_only_choice() -> None:
    y, pool = regression_pool(500, {"a": 1.0, "b": 1.0, "c": 0.9})
    folds, metric = folds_of(500), get_metric("rmse")
    blend = fit_blend(pool, y, folds, metric, limits=FREE, members=("a", "b"))
    assert set(blend.members) == {"a", "b"}
    with pytest.raises(BlendError, match="R9 is not in the pool"):
        fit_blend(pool, y, folds, metric, members=("a", "R9"))


# ---- what cannot be blended


def test_unusable_predictions_are_left_out_and_named() -> None:
    y, pool = regression_pool(500, {"a": 1.0, "b": 1.0, "holes": 1.0, "short": 1.0})
    pool["holes"].oof[300] = np.nan
    pool["short"] = PoolMember(pool["short"].oof[:-1], pool["short"].test)
    folds, metric = folds_of(500), get_metric("rmse")
    blend = fit_blend(pool, y, folds, metric, limits=FREE)
    assert set(blend.members) == {"a", "b"}
    assert any("holes left out: 1 of its values" in note for note in blend.notes)
    assert any("short left out" in note for note in blend.notes)
    with pytest.raises(BlendError, match="holes left out"):
        fit_blend(pool, y, folds, metric, members=("a", "holes"))


def test_fewer_than_two_are_refused() -> None:
    y, pool = regression_pool(100, {"a": 1.0, "b": 50.0})
    folds, metric = folds_of(100), get_metric("rmse")
    for some in ({}, {"a": pool["a"]}):
        with pytest.raises(BlendError, match="two are needed"):
            fit_blend(some, y, folds, metric)
    # Two, but one is far too weak for the rules, and no help without them.
    with pytest.raises(BlendError, match="better than a alone"):
        fit_blend(pool, y, folds, metric, limits=BlendLimits(lift=ALL))


def test_rows_that_no_fold_covers_stay_empty() -> None:
    y, pool = regression_pool(600, {"a": 1.0, "b": 1.0})
    folds = Folds.from_assignment("time", np.repeat([-1, 0, 1, 2], 150))
    for one in pool.values():
        one.oof[:150] = np.nan
    blend = fit_blend(pool, y, folds, get_metric("mae"), limits=FREE)
    assert np.isnan(blend.oof[:150]).all()
    assert np.isfinite(blend.oof[150:]).all()
    assert len(blend.fold_scores) == 3


def test_ranks_are_averaged_when_models_speak_on_different_scales() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 4000).astype(np.int32)
    signal = [y + 1.2 * random.standard_normal(4000) for _ in range(2)]
    # One is calibrated, the other says everything within a hair, cubed.
    pool = {"wide": member(1 / (1 + np.exp(-signal[0]))), "narrow": member(1e-4 * signal[1] ** 3 + 0.5)}
    blend = fit_blend(pool, y, folds_of(4000), get_metric("roc_auc"), limits=FREE)
    assert blend.mean == "rank"
    assert 0 < blend.test.min() < blend.test.max() < 1
    assert not any("rank" in note for note in fit_blend(pool, y, folds_of(4000), get_metric("log_loss"), limits=FREE).notes)  # fmt: skip  # noqa: E501


# ---- a mix as evidence at the gate


def test_a_weaker_model_that_helps_is_told_from_one_that_does_not() -> None:
    random = np.random.default_rng(0)
    metric = get_metric("roc_auc")
    y = random.integers(0, 2, 2000).astype(np.int32)
    best = y + 1.0 * random.standard_normal(2000)
    helpful = y + 1.5 * random.standard_normal(2000)
    copy = best + 0.5 * random.standard_normal(2000)
    assert metric.score(y, helpful) < metric.score(y, best)
    assert mix_gain(helpful, best, y, metric).significant(2.0)
    assert not mix_gain(copy, best, y, metric).significant(2.0)
    assert mix_gain(helpful[:20], best[:20], y[:20], metric).n == 0


# ---- fast paths


SCORES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=60)


@given(SCORES)
def test_fast_ranking_metrics_equal_the_metric_with_ties(rows: list[tuple[int, bool]]) -> None:
    score = np.array([value / 12 for value, _ in rows], dtype=np.float32)
    y = np.array([label for _, label in rows], dtype=np.int32)
    if len(set(y)) < 2:
        assert np.isnan(auc(y, score))
        return
    expected = get_metric("roc_auc").score(y, score)
    assert auc(y, score) == pytest.approx(expected, abs=1e-12)
    precision = get_metric("average_precision").score(y, score)
    assert average_precision(y, score) == pytest.approx(precision, abs=1e-9)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_search_sees_the_metric_itself(task: str, name: str) -> None:
    """The cost of a mean of two members, over all folds but one, is the metric of that mean."""
    metric = metric_of(name)
    y, pool = pool_for(metric, task, 300, 3, seed=1)
    folds = folds_of(300)
    arrays = [one.oof for one in pool.values()]
    walk = make_problem(arrays.__getitem__, 3, y, folds, metric).walk([2])
    walk.take(0)
    walk.take(1)
    rows = folds.splits[2][0]
    mean = (arrays[0] + arrays[1] + arrays[2]) / 3
    sign = -1 if metric.direction == "maximize" else 1
    assert walk.costs([2])[0] == pytest.approx(sign * metric.score(y[rows], mean[rows]), rel=1e-4, abs=1e-6)
    assert np.isfinite(walk.ties([2])).all()


@pytest.mark.parametrize(("task", "name"), CASES)
def test_weights_cost_what_a_walk_of_as_many_steps_costs(task: str, name: str) -> None:
    metric = metric_of(name)
    y, pool = pool_for(metric, task, 300, 4, seed=2)
    arrays = [one.oof for one in pool.values()]
    problem = make_problem(arrays.__getitem__, 4, y, folds_of(300), metric)
    for without in ((), (1, 3)):
        walk, weighing = problem.walk(without), problem.weighing(without)
        for taken in (0, 2, 0):
            walk.take(taken)
        members, weights = [0, 1, 2, 3], np.array([0.5, 0.0, 0.25, 0.25])
        assert weighing.cost(members, weights) == pytest.approx(walk.costs([3])[0], rel=1e-5, abs=1e-6)
        assert weighing.tie(members, weights) == pytest.approx(walk.ties([3])[0], rel=1e-5, abs=1e-6)
        assert weighing.cost([1], np.ones(1)) == pytest.approx(problem.walk(without).costs([1])[0], rel=1e-5)


def test_the_gram_matrix_of_some_folds_is_that_of_their_residuals() -> None:
    y, pool = regression_pool(400, {"a": 1.0, "b": 2.0, "c": 3.0})
    arrays, folds = [one.oof for one in pool.values()], folds_of(400)
    problem = make_problem(arrays.__getitem__, 3, y, folds, get_metric("rmse"))
    assert isinstance(problem, GramProblem)
    used = np.isin(folds.assignment, [0, 2, 4])
    residuals = np.stack([array.astype(float) - y for array in arrays])[:, used]
    assert np.allclose(problem.gram((1, 3)), residuals @ residuals.T)


def test_common_metrics_have_a_fast_path() -> None:
    codes, values = np.array([0, 1], dtype=np.int32), np.array([0.0, 1.0])
    for name in ("roc_auc", "gini", "average_precision", "log_loss", "accuracy", "f1", "f1_macro", "mcc", "qwk"):
        assert fast_kind(get_metric(name), codes, 1) is not None, name
    for name in ("mae", "spearman"):
        assert fast_kind(get_metric(name), values, 1) is not None, name
    y, pool = regression_pool(50, {"a": 1.0, "b": 2.0})
    arrays = [one.oof for one in pool.values()]
    for name in ("rmse", "mse", "r2"):
        problem = make_problem(arrays.__getitem__, 2, y, folds_of(50), get_metric(name))
        assert isinstance(problem, GramProblem), name


def test_an_imposter_of_a_known_name_is_scored_by_itself() -> None:
    """A workspace's metric that happens to be called as a built-in one."""
    own = replace(get_metric("mae"), function=lambda y, pred: float(np.abs(y - pred).max()))
    y, pool = regression_pool(300, {"a": 1.0, "b": 2.0})
    arrays = [one.oof for one in pool.values()]
    walk = make_problem(arrays.__getitem__, 2, y, folds_of(300), own).walk()
    assert walk.costs([0])[0] == pytest.approx(np.abs(arrays[0] - y).max(), rel=1e-5)


def test_large_pools_are_searched_on_a_sample_and_scored_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "MAX_VALUES", 3000)
    random = np.random.default_rng(0)
    y = (random.random(5000) < 0.02).astype(np.int32)
    pool = {name: member(1 / (1 + np.exp(2 - 2 * y - random.standard_normal(5000)))) for name in "abc"}
    folds, metric = folds_of(5000), get_metric("roc_auc")
    blend = fit_blend(pool, y, folds, metric, limits=FREE)
    assert any("searched on 1000 of 5000 rows" in note for note in blend.notes)
    assert blend.score == pytest.approx(metric.score(y, blend.oof))
    # For an AUC the rare class is kept whole.
    problem = make_problem([one.oof for one in pool.values()].__getitem__, 3, y, folds, metric)
    assert isinstance(problem, objectives.SampleProblem)
    assert problem.y.sum() == y.sum()
    assert fastmetrics.MAX_ROWS > 5000


def test_where_time_is_short_the_choice_is_not_held_out_and_that_is_said() -> None:
    y, pool = regression_pool(400, {"a": 1.0, "b": 1.1})
    found = survey_blends(pool, y, folds_of(400), get_metric("rmse"), limits=FREE, seconds=0)
    assert found.blend is not None and found.blend.score == found.blend.cross_fitted
    assert any("time was short" in note for note in found.blend.notes)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_few_folds_and_many_are_held_out_as_far_as_they_go(k: int) -> None:
    y, pool = regression_pool(600, {"a": 1.0, "b": 1.1, "c": 1.2})
    blend = fit_blend(pool, y, folds_of(600, k), get_metric("rmse"), limits=FREE)
    assert len(blend.fold_scores) == k and np.isfinite(blend.oof).all()
    assert any("takes three folds" in note for note in blend.notes) == (k == 2)


def test_where_the_others_would_have_taken_nothing_the_best_single_model_stands() -> None:
    """A lifted rule that needs more evidence than four folds have: held out, that is no gain of the blend's."""
    metric = get_metric("rmse")
    taken = 0
    for seed in range(6):
        y, pool = regression_pool(300, {"a": 1.0, "b": 1.25}, seed=seed)
        limits = BlendLimits(max_gap_share=1e-4, lift=ALL, min_t=4.0)
        folds = folds_of(300, seed=seed)
        found = survey_blends(pool, y, folds, metric, limits=limits)
        if found.blend is None:
            continue
        taken += 1
        inside = [bool(np.allclose(found.blend.oof[rows], pool[found.best].oof[rows])) for _, rows in folds.splits]
        assert found.blend.score == pytest.approx(metric.score(y, found.blend.oof))
        assert any(inside) or found.blend.score == pytest.approx(found.blend.cross_fitted, rel=1e-3)
    assert taken, "some seed takes a blend"


def test_predictions_that_nobody_vouches_for_set_no_bar() -> None:
    y, pool = regression_pool(1000, {"leaky": 0.1, "a": 1.0, "b": 1.0})
    folds, metric = folds_of(1000), get_metric("rmse")
    limits = BlendLimits(max_gap_share=0.1)
    found = survey_blends(pool, y, folds, metric, limits=limits, imported=["leaky"])
    assert found.best in ("a", "b") and found.blend is not None
    assert survey_blends(pool, y, folds, metric, limits=limits, imported=list(pool)).best == "leaky"


def test_what_keeps_the_rules_is_decided_on_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "MAX_VALUES", 2_400)
    y, pool = regression_pool(20_000, {f"m{j}": 1.0 + 0.004 * j for j in range(6)})
    folds, metric = folds_of(20_000), get_metric("mae")
    limits = BlendLimits(max_gap_share=0.012)
    found = survey_blends(pool, y, folds, metric, limits=limits)
    scores = {name: metric.score(y, one.oof) for name, one in pool.items()}
    assert found.best == min(scores, key=lambda name: scores[name])
    assert found.blend is not None
    margin = limits.margin(scores[found.best], metric.bounded)
    assert all(scores[name] - scores[found.best] <= margin for name in found.blend.members)
