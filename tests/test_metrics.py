"""Metrics: names, directions, and scores equal to scikit-learn's."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn import metrics as skm

from experiments.errors import MetricError
from experiments.metrics import (
    get_metric,
    metrics_for,
)

property_test = settings(max_examples=25, deadline=None)
# Scoring warns of nothing: degenerate rows have a defined score, or are refused.
pytestmark = pytest.mark.filterwarnings("error")


def reference(function: Any, *args: Any, **kwargs: Any) -> float:
    """scikit-learn's own value, without its warnings about degenerate rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*args, **kwargs))


# Few distinct values, so that ties, constants and exact 0 and 1 are common.
tied = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5000001, 0.75, 1.0])
smooth = st.floats(0, 1, width=32)


@st.composite
def binary(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    y = draw(hnp.arrays(np.int32, n, elements=st.integers(0, 1)))
    return y, draw(hnp.arrays(np.float32, n, elements=draw(st.sampled_from([tied, smooth])).map(np.float32)))


@st.composite
def multiclass(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, k = draw(st.integers(2, 30)), draw(st.integers(3, 6))
    y = draw(hnp.arrays(np.int32, n, elements=st.integers(0, k - 1)))
    p = draw(hnp.arrays(np.float64, (n, k), elements=draw(st.sampled_from([tied, smooth]))))
    p[p.sum(axis=1) == 0] = 1.0
    return y, p / p.sum(axis=1, keepdims=True)


@st.composite
def regression(draw: st.DrawFn, lowest: float = -1e6) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(2, 40))
    values = draw(st.sampled_from([st.integers(max(-3, int(lowest)), 3).map(float), st.floats(lowest, 1e6, width=32)]))
    return draw(hnp.arrays(np.float64, n, elements=values)), draw(hnp.arrays(np.float64, n, elements=values))


# --- scores equal scikit-learn's


@property_test
@given(binary())
def test_binary_probability_metrics_equal_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case[0], case[1].astype(np.float64)
    assert get_metric("log_loss").score(y, p) == pytest.approx(reference(skm.log_loss, y, p, labels=[0, 1]), abs=1e-12)
    assert get_metric("brier").score(y, p) == pytest.approx(reference(skm.brier_score_loss, y, p, pos_label=1))


@property_test
@given(binary())
def test_binary_ranking_metrics_equal_sklearns_and_refuse_one_class(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    y, p = case
    for name in ("roc_auc", "gini", "average_precision"):
        if len(set(y)) == 1:
            with pytest.raises(MetricError, match="of class"):
                get_metric(name).score(y, p)
            continue
        auc = reference(skm.roc_auc_score, y, p)
        expected = {
            "roc_auc": auc,
            "gini": 2 * auc - 1,
            "average_precision": reference(skm.average_precision_score, y, p),
        }
        assert get_metric(name).score(y, p) == pytest.approx(expected[name])


@property_test
@given(binary())
def test_binary_label_metrics_equal_sklearns_at_one_half(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    labels = (p > 0.5).astype(int)
    for name, function, options in (
        ("accuracy", skm.accuracy_score, {}),
        ("balanced_accuracy", skm.balanced_accuracy_score, {}),
        ("mcc", skm.matthews_corrcoef, {}),
        ("f1", skm.f1_score, {"zero_division": 0}),
        ("f1_macro", skm.f1_score, {"average": "macro", "zero_division": 0}),
        ("f1_micro", skm.f1_score, {"average": "micro", "zero_division": 0}),
        ("f1_weighted", skm.f1_score, {"average": "weighted", "zero_division": 0}),
    ):
        assert get_metric(name).score(y, p) == pytest.approx(reference(function, y, labels, **options)), name


@property_test
@given(multiclass())
def test_multiclass_metrics_equal_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    k = p.shape[1]
    labels = p.argmax(axis=1)
    codes = list(range(k))
    one_hot = np.eye(k)[y]
    for name, expected in (
        ("log_loss", reference(skm.log_loss, y, p, labels=codes)),
        ("brier", float(((p - one_hot) ** 2).sum(axis=1).mean())),
        ("accuracy", reference(skm.accuracy_score, y, labels)),
        ("balanced_accuracy", reference(skm.balanced_accuracy_score, y, labels)),
        ("mcc", reference(skm.matthews_corrcoef, y, labels)),
        ("f1_macro", reference(skm.f1_score, y, labels, average="macro", zero_division=0)),
        ("f1_micro", reference(skm.f1_score, y, labels, average="micro", zero_division=0)),
        ("f1_weighted", reference(skm.f1_score, y, labels, average="weighted", zero_division=0)),
        ("ndcg@2", reference(skm.ndcg_score, one_hot, p, k=2)),
        (f"ndcg@{k}", reference(skm.ndcg_score, one_hot, p, k=k)),
        ("ndcg@50", reference(skm.ndcg_score, one_hot, p, k=50)),
    ):
        assert get_metric(name).score(y, p) == pytest.approx(expected, abs=1e-12), name


@property_test
@given(multiclass())
def test_multiclass_ranking_metrics_equal_sklearns_where_it_defines_them(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    y, p = case
    y[: p.shape[1]] = np.arange(min(p.shape[1], len(y)))
    assume(len(set(y)) == p.shape[1])
    assert get_metric("roc_auc").score(y, p) == pytest.approx(
        reference(skm.roc_auc_score, y, p, multi_class="ovr", average="macro")
    )
    assert get_metric("average_precision").score(y, p) == pytest.approx(reference(skm.average_precision_score, y, p))


@pytest.mark.parametrize(("name", "weights"), [("cohen_kappa", None), ("qwk", "quadratic")])
@property_test
@given(case=multiclass())
def test_kappas_equal_sklearns_over_all_grades(case: tuple[np.ndarray, np.ndarray], name: str, weights: Any) -> None:
    y, p = case
    expected = reference(skm.cohen_kappa_score, y, p.argmax(axis=1), labels=list(range(p.shape[1])), weights=weights)
    if math.isnan(expected):
        with pytest.raises(MetricError, match="undefined"):
            get_metric(name).score(y, p)
    else:
        assert get_metric(name).score(y, p) == pytest.approx(expected, abs=1e-12)


@property_test
@given(regression())
def test_regression_metrics_equal_sklearns(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    for name, function in (
        ("rmse", skm.root_mean_squared_error),
        ("mse", skm.mean_squared_error),
        ("mae", skm.mean_absolute_error),
        ("medae", skm.median_absolute_error),
        ("r2", skm.r2_score),
        ("mape", skm.mean_absolute_percentage_error),
    ):
        assert get_metric(name).score(y, p) == pytest.approx(reference(function, y, p)), name


@property_test
@given(regression(lowest=0.0))
def test_rmsle_equals_sklearns_and_raises_predictions_to_zero(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    expected = reference(skm.root_mean_squared_log_error, y, p)
    metric = get_metric("rmsle")
    assert metric.score(y, p) == pytest.approx(expected)
    assert metric.score(y, np.where(p == 0, -5.0, p)) == pytest.approx(expected)
    assert metric.as_submitted([-5.0, 2.0], y).tolist() == [0.0, 2.0]


@property_test
@given(regression())
def test_spearman_equals_scipys_is_0_for_a_constant_prediction_and_refuses_a_constant_target(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    y, p = case
    if len(set(y)) == 1:
        with pytest.raises(MetricError, match="undefined: every target"):
            get_metric("spearman").score(y, p)
    elif len(set(p)) == 1:
        assert get_metric("spearman").score(y, p) == 0.0
    else:
        expected = float(stats.spearmanr(y, p).statistic)
        assert get_metric("spearman").score(y, p) == pytest.approx(expected, abs=1e-12)


def kaggles_gini(actual: np.ndarray, pred: np.ndarray) -> float:
    """As the evaluation pages of insurance competitions give it, before it is normalised."""
    ordered = actual[np.lexsort((np.arange(len(actual)), -pred))]
    return float((ordered.cumsum().sum() / ordered.sum() - (len(actual) + 1) / 2) / len(actual))


def test_gini_of_a_regression_is_kaggles() -> None:
    random = np.random.default_rng(3)
    y = random.poisson(1.5, 200) * random.gamma(2.0, size=200)
    p = y + random.normal(size=200)
    metric = get_metric("gini")
    assert metric.tasks == {"binary", "regression"}
    assert metric.score(y, p) == pytest.approx(kaggles_gini(y, p) / kaggles_gini(y, y))
    assert metric.score(y, y) == pytest.approx(1.0)
    assert metric.score(y, -y) == pytest.approx(-1.0)
    assert metric.score(y, np.zeros(200)) == pytest.approx(0.0)
    # Targets 0 and 1 may come as codes or as numbers.
    both = (y > 1).astype(np.int32)
    assert metric.score(both, p) == pytest.approx(metric.score(both.astype(np.float64), p))


@property_test
@given(regression())
def test_smape_is_a_percentage_of_the_mean_size(case: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = case
    terms = [0.0 if a == b == 0 else 200 * abs(a - b) / (abs(a) + abs(b)) for a, b in zip(y, p, strict=True)]
    assert get_metric("smape").score(y, p) == pytest.approx(sum(terms) / len(terms))


@property_test
@given(multiclass(), st.integers(1, 6))
def test_map_at_k_is_the_mean_over_every_order_of_the_ties(case: tuple[np.ndarray, np.ndarray], k: int) -> None:
    y, p = case[0][:3], case[1][:3]
    expected = []
    for code, row in zip(y, p, strict=True):
        orders = [order for order in permutations(range(len(row))) if all(row[a] >= row[b] for a, b in pairwise(order))]
        ranks = [order.index(code) + 1 for order in orders]
        expected.append(np.mean([1 / r if r <= k else 0.0 for r in ranks]))
    assert get_metric(f"map@{k}").score(y, p) == pytest.approx(np.mean(expected))


def test_a_regression_is_rounded_to_the_grades_for_kappa() -> None:
    y = np.array([1.0, 2, 3, 4, 5, 5])
    p = np.array([0.2, 2.4, 2.6, 4.4, 9.9, 4.6])
    metric = get_metric("qwk")
    assert metric.as_submitted(p, y).tolist() == [1, 2, 3, 4, 5, 5]
    assert metric.score(y, p) == 1.0
    # The grades are those of all rows, also where the scored ones lack the extremes.
    mask = np.array([False, True, True, True, False, False])
    assert metric.score(y, np.array([1, 2, 3, 5.0, 5, 5]), mask=mask) == pytest.approx(
        skm.cohen_kappa_score([2, 3, 4], [2, 3, 5], labels=[1, 2, 3, 4, 5], weights="quadratic")
    )
    with pytest.raises(MetricError, match="whole-number"):
        metric.score(y + 0.5, p)
    with pytest.raises(MetricError, match="too many grades"):
        metric.score(y * 1e6, p)


# --- what a prediction must be


def test_only_masked_rows_count() -> None:
    y = np.array([1.0, 2.0, 3.0])
    p = np.array([np.nan, 2.0, 5.0])
    assert get_metric("mae").score(y, p, mask=np.array([False, True, True])) == 1.0


def test_a_class_that_no_row_has_is_left_out_of_the_mean() -> None:
    y = np.array([0, 1, 0, 1])
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    assert get_metric("roc_auc").score(y, p) == 1.0
    assert get_metric("average_precision").score(y, p) == 1.0


def test_rows_of_probabilities_are_rescaled() -> None:
    y = np.array([0, 1, 2])
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]])
    metric = get_metric("log_loss")
    assert metric.score(y, 0.5 * p) == pytest.approx(skm.log_loss(y, p))
    assert metric.as_submitted(0.5 * p, y) == pytest.approx(p)


@pytest.mark.parametrize(
    ("metric", "y", "pred", "mask", "reason"),
    [
        ("roc_auc", [0, 0, 0], [0.1, 0.2, 0.3], None, "roc_auc is undefined: all 3 rows are of class 0"),
        ("roc_auc", [0, 0], [[0.5, 0.2, 0.3]] * 2, None, "all 2 rows are of class 0"),
        ("r2", [1.0], [1.0], None, "undefined on these 1 rows"),
        ("mae", [1.0, 2.0], [1.0, np.nan], None, "1 of the 2 predicted values are missing"),
        ("mae", [1.0, np.nan], [1.0, 2.0], None, "a target is missing"),
        ("mae", [1.0, 2.0], [1.0, np.inf], None, "missing or infinite"),
        ("mae", [], [], None, "no row to score"),
        ("mae", [1.0, 2.0], [1.0, 2.0], [False, False], "no row to score"),
        ("mae", [1.0, 2.0], [1.0, 2.0], [1, 0], "mask must be booleans"),
        ("mae", [1.0, 2.0], [1.0, 2.0], [True], "mask must be booleans"),
        ("mae", [1.0, 2.0], [1.0, 2.0, 3.0], None, "shape"),
        ("mae", [1.0, 2.0], [[1.0, 2.0], [1.0, 2.0]], None, "one number for each row"),
        ("rmsle", [-0.5, 1.0], [0.0, 1.0], None, "rmsle needs targets from 0 up; the lowest is -0.5"),
        ("gini", [2.5, 2.5], [0.0, 1.0], None, "gini is undefined: all 2 rows are 2.5"),
        ("log_loss", [0, 1], [0.1, 1.5], None, r"probabilities in \[0, 1\]"),
        ("log_loss", [0, 1], [[0.0, 0.0, 0.0], [0.1, 0.1, 0.8]], None, "sums to 0"),
        ("accuracy", [0, 2], [0.1, 0.9], None, "do not fit predictions for 2 classes"),
        ("accuracy", [0.5, 1.0], [0.1, 0.9], None, "class codes"),
        ("accuracy", ["a", "b"], [0.1, 0.9], None, "must be numbers"),
        ("f1", [0, 2], [[0.2, 0.3, 0.5]] * 2, None, "use f1_macro"),
        ("map@3", [0, 1], [0.1, 0.9], None, "a probability for each class"),
        ("qwk", [1, 1], [0.9, 0.8], None, "undefined"),
        ("mse", [0.0, 1.0], [1e200, 0.0], None, "it came out as inf"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_reason(
    metric: str, y: Any, pred: Any, mask: Any, reason: str
) -> None:
    with pytest.raises(MetricError, match=reason):
        get_metric(metric).score(y, pred, mask=None if mask is None else np.array(mask))


def test_a_submission_holds_what_the_metric_reads() -> None:
    y = np.array([0, 1, 2])
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]])
    assert get_metric("accuracy").as_submitted(p, y).tolist() == [1, 0]
    assert get_metric("map@2").as_submitted(p, y).tolist() == [[1, 2], [0, 1]]
    assert get_metric("map@9").as_submitted(p, y).shape == (2, 3)
    assert get_metric("accuracy").as_submitted([0.5, 0.51], [0, 1]).tolist() == [0, 1]
    assert get_metric("roc_auc").as_submitted([0.5, 0.51], [0, 1]).tolist() == [0.5, 0.51]


@pytest.mark.parametrize("name", ["accuracy", "f1", "f1_macro", "mcc", "balanced_accuracy"])
def test_one_half_is_class_0_as_among_two_equal_classes(name: str) -> None:
    y, p = np.array([0, 1, 0, 1]), np.array([0.5, np.nextafter(0.5, 1), 0.2, 0.9])
    metric = get_metric(name)
    assert metric.as_submitted(p, y).tolist() == [0, 1, 0, 1]
    assert metric.as_submitted(np.column_stack([1 - p, p]), y).tolist() == [0, 1, 0, 1]
    assert metric.score(y, p) == 1.0


def test_scoring_in_threads_leaves_the_processes_warning_filters_alone() -> None:
    random = np.random.default_rng(0)
    y, p = random.integers(0, 2, 50), random.random(50)
    before = list(warnings.filters)
    names = [name for name in metrics_for("binary") for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(lambda name: get_metric(name).score(y, p), names))
    assert scores == [get_metric(name).score(y, p) for name in names]
    assert list(warnings.filters) == before
