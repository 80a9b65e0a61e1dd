"""What a search for weights minimises: the metric itself, evaluated fast, and which members are worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import mixes, objectives
from experiments.climbing import climb
from experiments.errors import MetricError
from experiments.fastmetrics import Kind, fast_kind
from experiments.folds import Folds
from experiments.gram import GramProblem
from experiments.metrics import Metric, get_metric, metrics_for
from experiments.objectives import Problem, SampleProblem, Walk, make_problem


def folds_of(n: int, k: int = 5) -> Folds:
    return Folds.from_assignment("kfold", np.random.default_rng(0).permutation(np.arange(n) % k))


def pool_of(task: str, n: int, m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and (m, n) or (m, n, 3) predictions that share much of their error."""
    random = np.random.default_rng(seed)
    shape = (n, 3) if task == "multiclass" else (n,)
    truth = random.standard_normal(shape)
    errors = [random.standard_normal(shape) for _ in range(4)]
    logits = np.stack(
        [truth + errors[j % 4] + random.uniform(0.3, 1.5) * random.standard_normal(shape) for j in range(m)]
    )
    if task == "regression":
        return truth + random.standard_normal(n), logits.astype(np.float32)
    if task == "binary":
        y = (random.random(n) < 1 / (1 + np.exp(1 - 2 * truth))).astype(np.int32)
        return y, (1 / (1 + np.exp(1 - logits))).astype(np.float32)
    powers = np.exp(logits)
    y = (2 * truth + random.gumbel(size=shape)).argmax(axis=1).astype(np.int32)
    return y, (powers / powers.sum(axis=2, keepdims=True)).astype(np.float32)


def problem_of(name: str, task: str, n: int, m: int) -> Problem:
    y, predictions = pool_of(task, n, m)
    return make_problem(predictions.__getitem__, m, y, folds_of(n), get_metric(name))


# ---- the metrics on hard input


FAST = [
    (task, name)
    for task, target in (
        ("binary", np.array([0, 1], dtype=np.int32)),
        ("multiclass", np.array([0, 2], dtype=np.int32)),
        ("regression", np.array([0.0, 3.0])),
    )
    for name in metrics_for(task)
    if "@" not in name and fast_kind(get_metric(name), target, 3 if task == "multiclass" else 1)
]


def cost_of(kind: Kind, y: np.ndarray, pred: np.ndarray) -> float:
    values = kind.reduce(pred, np.arange(len(y)), y)
    if kind.shift:
        values = values - min(float(values.min()), 0.0)
    return kind.cost(y if kind.target is None else kind.target(y), values.copy())


@st.composite
def rows_of(draw: st.DrawFn, task: str, tied: bool) -> tuple[np.ndarray, np.ndarray]:
    """A few rows, some of them several times, which is what an integer weight of a row is; perhaps of one class."""
    n = draw(st.integers(2, 25))
    codes = st.integers(0, {"binary": 1, "multiclass": 2, "regression": 5}[task])
    y = np.array(draw(st.lists(codes, min_size=n, max_size=n)))
    # Halves and ends are where labels change and logarithms end.
    grid = st.integers(0, 8).map(lambda eighth: eighth / 8)
    wide = 3 if task == "multiclass" else 1
    if tied:
        pred = np.array(draw(st.lists(grid, min_size=n * wide, max_size=n * wide)))
    else:
        pred = np.random.default_rng(draw(st.integers(0, 999))).random(n * wide)
    if task == "multiclass":
        pred = pred.reshape(n, wide) + 1e-3
        pred /= pred.sum(axis=1, keepdims=True)
    if task == "regression":
        pred = 6 * pred - 0.5
    weights = np.array(draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
    y = y.astype(float) if task == "regression" else y.astype(np.int32)
    return np.repeat(y, weights), np.repeat(pred.astype(np.float32), weights, axis=0)


@pytest.mark.parametrize(("task", "name"), FAST)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_fast_path_is_the_metric_with_ties_weights_and_lone_classes(
    task: str, name: str, data: st.DataObject
) -> None:
    metric = get_metric(name)
    # Spearman's fast path ranks equal predictions as they come; ``make_problem`` notices when that matters.
    y, pred = data.draw(rows_of(task, tied=name != "spearman" and data.draw(st.booleans())))
    if name == "spearman":
        _, places = np.unique(pred, return_index=True)
        y, pred = y[places], pred[places]
    kind = fast_kind(metric, y, pred.shape[1] if pred.ndim == 2 else 1)
    if kind is None:
        return
    try:
        score = metric.score(y, pred)
    except MetricError:
        return
    sign = -1 if metric.direction == "maximize" else 1
    assert cost_of(kind, y, pred) == pytest.approx(sign * score, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["roc_auc", "gini", "average_precision"])
def test_an_undefined_metric_costs_infinitely_much(name: str) -> None:
    y, predictions = np.zeros(40, dtype=np.int32), np.random.default_rng(0).random((2, 40), dtype=np.float32)
    problem = make_problem(predictions.__getitem__, 2, y, folds_of(40), get_metric(name))
    assert problem.walk().costs([0, 1]).tolist() == [np.inf, np.inf]
    assert problem.weighing().cost([0, 1], np.array([0.5, 0.5])) == np.inf


# ---- squared error


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e6, 1e25])
@pytest.mark.parametrize("offset", [0.0, 3e4])
def test_squared_error_keeps_its_digits_whatever_the_unit(scale: float, offset: float) -> None:
    y, predictions = pool_of("regression", 2000, 3)
    y, predictions = scale * (y + offset), (scale * (predictions.astype(float) + offset)).astype(np.float32)
    folds, metric = folds_of(2000), get_metric("rmse")
    problem = make_problem(predictions.__getitem__, 3, y, folds, metric)
    assert isinstance(problem, GramProblem)
    rows, weights = folds.splits[1][0], np.array([0.5, 0.2, 0.3])
    mix = np.tensordot(weights, predictions.astype(float), 1)
    assert problem.weighing([1]).cost([0, 1, 2], weights) == pytest.approx(metric.score(y[rows], mix[rows]), rel=1e-5)


def test_a_member_too_far_off_for_a_float32_square_is_costed_all_the_same() -> None:
    y, predictions = pool_of("regression", 500, 3)
    predictions[2, 7] = 1e30
    costs = make_problem(predictions.__getitem__, 3, y, folds_of(500), get_metric("rmse")).walk().costs([0, 1, 2])
    assert costs[:2].max() < 3
    assert costs[2] == pytest.approx(1e30 / np.sqrt(500), rel=1e-3)


# ---- what is worth a look


class Thorough:
    """A walk that looks at every candidate in every step."""

    def __init__(self, walk: Walk) -> None:
        self.walk, self.steps = walk, walk.steps
        self.costs, self.ties, self.take = walk.costs, walk.ties, walk.take

    def shortlist(self, candidates: Sequence[int]) -> Sequence[int]:
        return candidates


@pytest.mark.parametrize(
    ("name", "task", "share"),
    [
        ("roc_auc", "binary", 0.99),
        ("log_loss", "binary", 0.99),
        ("log_loss", "multiclass", 0.99),
        ("mae", "regression", 0.99),
        ("average_precision", "binary", 0.9),
        ("accuracy", "multiclass", 0.8),
    ],
)
def test_shortlists_find_what_looking_at_everything_finds(
    name: str, task: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixes, "FEW_VALUES", 0)
    monkeypatch.setattr(mixes, "STEPS", 40)
    monkeypatch.setattr(objectives, "WINDOW_ROWS", 1000)
    m = 40
    problem = problem_of(name, task, 4000, m)
    for without in ((), (0, 3)):
        singles = problem.walk(without).costs(range(m))
        order = [int(j) for j in np.argsort(singles)]
        quick, thorough = (
            problem.weighing(without).cost(range(m), counts / counts.sum())
            for counts in (
                climb(problem.walk(without), order, m, None),
                climb(Thorough(problem.walk(without)), order, m, None),
            )
        )
        assert singles.min() - quick >= share * (singles.min() - thorough) > 0


@pytest.mark.parametrize(("name", "task"), [("roc_auc", "binary"), ("log_loss", "multiclass"), ("mae", "regression")])
def test_slopes_tell_the_next_small_step(name: str, task: str) -> None:
    y, predictions = pool_of(task, 20_000, 6)
    kind = fast_kind(get_metric(name), y, 3 if task == "multiclass" else 1)
    assert kind is not None and kind.slope is not None
    target = y if kind.target is None else kind.target(y)
    values = np.stack([kind.reduce(one, np.arange(len(y)), y) for one in predictions])
    mix, step = values.mean(axis=0), 0.02
    slope = kind.slope(target, mix)
    for other in values:
        forth, back = (kind.cost(target, (mix + size * (other - mix)).astype(np.float32)) for size in (step, -step))
        told = float(slope.astype(float) @ (other - mix))
        assert told == pytest.approx((forth - back) / (2 * step), rel=0.05, abs=2e-3)


def test_a_climb_takes_no_more_members_than_allowed_and_repeats_none_unless_it_may() -> None:
    problem = problem_of("log_loss", "binary", 6000, 60)
    order = [int(j) for j in np.argsort(problem.walk().costs(range(60)))]
    assert np.count_nonzero(climb(problem.walk(), order, 60, 20)) <= 20
    assert climb(problem.walk(), order, 60, None, again=False).max() == 1


# ---- the sample


def test_of_a_rare_class_all_rows_are_searched_and_of_the_common_one_no_more_than_tell_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objectives, "MAX_VALUES", 30_000)
    random = np.random.default_rng(0)
    y = (random.random(40_000) < 0.005).astype(np.int32)
    predictions = random.random((2, 40_000), dtype=np.float32)
    problem = make_problem(predictions.__getitem__, 2, y, folds_of(40_000), get_metric("roc_auc"))
    assert isinstance(problem, SampleProblem)
    assert problem.y.sum() == y.sum()
    assert problem.rows == pytest.approx((objectives.MOST_COMMON + 1) * y.sum(), rel=0.02)


def test_walks_of_one_problem_do_not_disturb_each_other() -> None:
    metric: Metric = get_metric("roc_auc")
    y, predictions = pool_of("binary", 3000, 8)
    problem = make_problem(predictions.__getitem__, 8, y, folds_of(3000), metric)
    one, other = problem.walk(), problem.walk((2,))
    one.take(0)
    alone = problem.walk()
    alone.take(0)
    other.take(5)
    weighed = problem.weighing()
    weighed.cost([1, 2], np.array([0.5, 0.5]))
    assert one.costs([3]) == alone.costs([3])
    assert one.shortlist(range(8)) == alone.shortlist(range(8))
