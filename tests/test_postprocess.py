"""Treatments of a finished prediction, second levels and optimal weights: fitted on rows, applied to others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.folds import Folds
from experiments.metrics import get_metric
from experiments.objectives import make_problem
from experiments.postprocess import Post, fit_post, treatments
from experiments.stacking import fit_stack, levels
from experiments.weights import optimal_weights

PROBA = st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=4, max_size=80)


@given(PROBA, st.floats(0.01, 0.99))
def test_a_threshold_moves_the_label_and_nothing_else(rows: list[tuple[int, bool]], cut: float) -> None:
    pred = np.array([value / 40 for value, _ in rows], dtype=np.float32)
    moved = Post("threshold", (cut,)).apply(pred)
    assert moved.dtype == np.float32 and (moved >= 0).all() and (moved <= 1).all()
    # The metric's own reading of a label, on either side of the threshold.
    assert np.array_equal(moved > 0.5, pred.astype(np.float64) > cut)
    order = np.argsort(pred, kind="stable")
    assert (np.diff(moved[order]) >= 0).all()


@pytest.mark.parametrize("name", ["f1", "mcc", "balanced_accuracy"])
def test_a_rare_class_gets_a_threshold_of_its_own(name: str) -> None:
    random = np.random.default_rng(0)
    metric = get_metric(name)
    y = (random.random(6000) < 0.08).astype(np.int32)
    # Well ranked, but hardly ever above one half.
    pred = (1 / (1 + np.exp(3.2 - 2.2 * y - random.standard_normal(6000)))).astype(np.float32)
    fit, fresh = slice(0, 3000), slice(3000, 6000)
    assert treatments(metric, y, pred.shape) == ("threshold",)
    post = fit_post("threshold", metric, y[fit], pred[fit])
    assert post.values[0] < 0.4
    assert metric.score(y[fresh], post.apply(pred[fresh])) > metric.score(y[fresh], pred[fresh]) + 0.05


@pytest.mark.parametrize("positives", [30, 150])
def test_a_very_rare_class_is_found_among_the_first_rows(positives: int) -> None:
    random = np.random.default_rng(0)
    metric = get_metric("f1")
    y = np.zeros(60_000, dtype=np.int32)
    y[:positives] = 1
    pred = (0.05 * random.random(60_000) + 0.2 * y * random.uniform(0.8, 1.0, 60_000)).astype(np.float32)
    treated = fit_post("threshold", metric, y, pred).apply(pred)
    assert metric.score(y, treated) > 0.95


def test_grades_get_cut_points() -> None:
    random = np.random.default_rng(1)
    metric = get_metric("qwk")
    y = random.integers(0, 5, 4000).astype(float)
    # A regression that shrinks towards the middle, as they do.
    pred = (2 + 0.5 * (y - 2) + 0.35 * random.standard_normal(4000)).astype(np.float32)
    fit, fresh = slice(0, 2000), slice(2000, 4000)
    post = fit_post("cuts", metric, y[fit], pred[fit])
    assert list(post.values[1:]) == sorted(post.values[1:])
    assert set(np.unique(post.apply(pred))) <= set(range(5))
    assert metric.score(y[fresh], post.apply(pred[fresh])) > metric.score(y[fresh], pred[fresh]) + 0.05


def test_class_weights_lift_the_rare_class_and_stay_probabilities() -> None:
    random = np.random.default_rng(2)
    metric = get_metric("f1_macro")
    y = random.choice(3, 4000, p=[0.85, 0.1, 0.05]).astype(np.int32)
    logits = random.standard_normal((4000, 3)) + np.log([0.85, 0.1, 0.05])
    logits[np.arange(4000), y] += 1.5
    pred = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fit, fresh = slice(0, 2000), slice(2000, 4000)
    post = fit_post("class_weights", metric, y[fit], pred[fit])
    treated = post.apply(pred[fresh])
    assert np.allclose(treated.sum(axis=1), 1, atol=1e-5)
    assert metric.score(y[fresh], treated) > metric.score(y[fresh], pred[fresh]) + 0.02


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.sampled_from(["clip", "round"]))
def test_values_stay_within_the_targets(values: list[float], kind: str) -> None:
    treated = Post(kind, (-3.0, 7.0)).apply(np.array(values, dtype=np.float32))  # type: ignore[arg-type]
    assert (treated >= -3).all() and (treated <= 7).all()
    if kind == "round":
        assert (treated == np.rint(treated)).all()


def test_only_what_a_metric_rewards_is_tried() -> None:
    codes, whole, real = np.array([0, 1, 1]), np.array([1.0, 2.0, 5.0]), np.array([0.5, 2.0])
    assert treatments(get_metric("roc_auc"), codes, (3,)) == ()
    assert treatments(get_metric("log_loss"), codes, (3, 4)) == ()
    assert treatments(get_metric("accuracy"), codes, (3,)) == ()
    assert treatments(get_metric("rmse"), real, (2,)) == ("clip",)
    assert treatments(get_metric("mae"), whole, (3,)) == ("clip", "round")
    assert treatments(get_metric("qwk"), codes, (3, 4)) == ("cuts",)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_second_level_learns_how_its_members_err(classes: int) -> None:
    random = np.random.default_rng(3)
    n = 12_000
    if classes == 0:
        y = 50 + 5 * random.standard_normal(n)
        parts = [0.3 * y + random.standard_normal(n), y + 6 * random.standard_normal(n)]
        score = get_metric("rmse")
    else:
        y = random.integers(0, classes, n).astype(np.int32)
        parts = []
        for strength in (0.6, 1.2):
            logits = random.standard_normal((n, classes))
            logits[np.arange(n), y] += strength
            # Far too sure of itself.
            proba = np.exp(4 * logits) / np.exp(4 * logits).sum(axis=1, keepdims=True)
            parts.append(proba[:, 1] if classes == 2 else proba)
        score = get_metric("log_loss")
    fit, fresh = slice(0, n // 2), slice(n // 2, n)
    for level in levels(y, parts[0].shape, n // 2, 2):
        stack = fit_stack(level, [part[fit] for part in parts], y[fit])
        assert stack is not None and sum(stack.shares) == pytest.approx(1) and min(stack.shares) > 0
        pred = stack.predict([part[fresh] for part in parts])
        assert pred.dtype == np.float32 and pred.shape == parts[0][fresh].shape
        mean = (parts[0][fresh] + parts[1][fresh]) / 2
        assert score.better(score.score(y[fresh], pred), score.score(y[fresh], mean)), level


def test_few_rows_get_no_trees_and_one_class_no_second_level() -> None:
    y = np.zeros(100, dtype=np.int32)
    assert "gbdt" not in levels(y, (100,), 100, 3)
    assert levels(y, (100, 200), 100, 3) == ()
    assert fit_stack("logistic", [np.full(100, 0.3), np.full(100, 0.4)], y) is None


@given(st.integers(0, 10_000), st.sampled_from(["rmse", "mae", "roc_auc", "log_loss"]))
def test_optimal_weights_are_weights_and_never_worse_than_the_start(seed: int, name: str) -> None:
    random = np.random.default_rng(seed)
    metric = get_metric(name)
    n, m = 150, 3
    if name in ("rmse", "mae"):
        y = random.standard_normal(n)
        pool = [(y + random.uniform(0.5, 2) * random.standard_normal(n)).astype(np.float32) for _ in range(m)]
    else:
        y = random.permutation(np.arange(n) % 2).astype(np.int32)
        pool = [(1 / (1 + np.exp(-(2 * y - 1) - 2 * random.standard_normal(n)))).astype(np.float32) for _ in range(m)]
    folds = Folds.from_assignment("kfold", np.arange(n) % 3)
    problem = make_problem(pool.__getitem__, m, y, folds, metric)
    start = random.dirichlet(np.ones(m))
    found = optimal_weights(problem, range(m), start, (1,))
    assert found.min() >= 0 and found.sum() == pytest.approx(1)
    weighing = problem.weighing((1,))
    assert weighing.cost(range(m), found) <= weighing.cost(range(m), start) + 1e-9


def test_least_squares_find_the_known_optimum() -> None:
    random = np.random.default_rng(0)
    y = 1e5 + random.standard_normal(5000)
    errors = (1.0, 2.0, 4.0)
    pool = [(y + size * random.standard_normal(5000)) for size in errors]
    folds = Folds.from_assignment("kfold", np.arange(5000) % 5)
    problem = make_problem(pool.__getitem__, 3, y, folds, get_metric("rmse"))
    found = optimal_weights(problem, range(3), np.full(3, 1 / 3))
    expected = np.array([1 / size**2 for size in errors])
    assert found == pytest.approx(expected / expected.sum(), abs=0.03)
