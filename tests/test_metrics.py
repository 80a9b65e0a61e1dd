"""Metrics: names, directions, and scores equal to scikit-learn's."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, permutations
from pathlib import Path
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
    builtin_called,
    canonical_name,
    default_metric,
    describe_metric,
    get_metric,
    metric_names,
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


# --- names and directions


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("auc_roc", "roc_auc"),
        ("ROC AUC", "roc_auc"),
        ("roc-auc", "roc_auc"),
        ("AUC", "roc_auc"),
        ("logloss", "log_loss"),
        ("Log Loss", "log_loss"),
        ("neg_log_loss", "log_loss"),
        ("Root Mean Squared Error", "rmse"),
        ("neg_root_mean_squared_error", "rmse"),
        ("rmsle", "rmsle"),
        ("mae", "mae"),
        ("medae", "medae"),
        ("r2", "r2"),
        ("mape", "mape"),
        ("SMAPE", "smape"),
        ("accuracy_score", "accuracy"),
        ("balanced_accuracy", "balanced_accuracy"),
        ("f1", "f1"),
        ("f1_binary", "f1"),
        ("macro f1", "f1_macro"),
        ("f1_micro", "f1_micro"),
        ("f1-weighted", "f1_weighted"),
        ("matthews_corrcoef", "mcc"),
        ("Quadratic Weighted Kappa", "qwk"),
        ("average_precision", "average_precision"),
        ("gini", "gini"),
        ("brier_score_loss", "brier"),
        ("spearmanr", "spearman"),
        ("MAP@3", "map@3"),
        ("map_at_12", "map@12"),
        ("map3", "map@3"),
        ("Mean Average Precision @ 5", "map@5"),
        ("ndcg@10", "ndcg@10"),
        ("ndcg_5", "ndcg@5"),
        ("MAP@{3}", "map@3"),
        ("mapat5", "map@5"),
        ("crossentropy", "log_loss"),
        ("balancedaccuracy", "balanced_accuracy"),
        ("meanabsoluteerror", "mae"),
        ("negrmse", "rmse"),
        ("neg_mean_absolute_error", "mae"),
        ("R^2", "r2"),
        ("R²", "r2"),
        ("R-Squared", "r2"),
        ("F-Score (Micro)", "f1_micro"),
        ("F-Score (Macro)", "f1_macro"),
        ("Spearman Correlation Coefficient", "spearman"),
        ("Normalized Gini Index", "gini"),
        ("quadratic kappa", "qwk"),
        ("cohen_kappa_quadratic", "qwk"),
        # scikit-learn's cohen_kappa_score has no weights.
        ("cohen_kappa", "cohen_kappa"),
        ("Cohen's Kappa", "cohen_kappa"),
    ],
)
def test_kaggles_and_sklearns_spellings_name_one_metric(written: str, name: str) -> None:
    assert canonical_name(written) == name
    assert get_metric(written).name == name


def test_every_spelling_leads_to_its_metric_and_none_to_two() -> None:
    seen: dict[str, str] = {}
    for name, aliases, direction in metric_names():
        for spelling in (name, *aliases):
            assert seen.setdefault(spelling, name) == name
            assert builtin_called(spelling) == name
            if "@" not in name:
                metric = get_metric(spelling)
                assert (metric.name, metric.direction) == (name, direction)


def test_directions() -> None:
    lower = {name for name, _, direction in metric_names() if direction == "minimize"}
    assert lower == {"log_loss", "brier", "rmse", "rmsle", "mse", "mae", "medae", "mape", "smape"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("roc_aux", "did you mean roc_auc"),
        ("rsme", "did you mean .*rmse"),
        ("nonsense", "known: roc_auc"),
        ("map", 'write for example "map@3"'),
        ("map@k", "needs a number"),
        ("map@0", "between 1 and 1000"),
        ("neg", "unknown metric"),
        ("accuracy@3", "unknown metric"),
        ("", "unknown metric"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, reason: str) -> None:
    with pytest.raises(MetricError) as error:
        canonical_name(name)
    assert error.match(reason)


@given(st.text(max_size=30))
def test_any_text_is_a_name_or_a_clear_refusal(text: str) -> None:
    try:
        assert get_metric(canonical_name(text)).name == canonical_name(text)
    except MetricError:
        pass


def test_the_better_score_follows_the_direction() -> None:
    auc, rmse = get_metric("roc_auc"), get_metric("rmse")
    assert auc.better(0.9, 0.8) and not auc.better(0.8, 0.9) and not auc.better(0.8, 0.8)
    assert rmse.better(0.8, 0.9) and not rmse.better(0.9, 0.8)
    assert auc.gain(0.9, 0.8) == pytest.approx(0.1)
    assert rmse.gain(0.9, 0.8) == pytest.approx(-0.1)
    for metric in (auc, rmse):
        assert metric.better(0.0, metric.worst)
        assert not metric.better(metric.worst, metric.worst)
        assert not metric.better(math.nan, 0.5)


def test_the_default_metric_fits_its_task() -> None:
    assert default_metric("binary", 2) == "roc_auc"
    assert default_metric("multiclass", 26) == "accuracy"
    assert default_metric("regression") == "rmse"
    for task in ("binary", "multiclass", "regression"):
        assert default_metric(task, 3) in metrics_for(task)


def test_naming_a_metric_imports_no_science() -> None:
    code = (
        "import sys, experiments.metrics as m; m.get_metric('auc');"
        "print(sorted({'numpy', 'scipy', 'pandas', 'sklearn', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- metric.py

WITHIN = '''
"""Share of predictions within ten percent."""
import numpy as np

NAME = "within_10_percent"
DIRECTION = "maximize"
PREDICTION = "value"
BOUNDED = True

def score(y_true, y_pred):
    return np.mean(np.abs(y_pred - y_true) <= 0.1 * np.abs(y_true))
'''


def written(folder: Path, text: str) -> Path:
    path = folder / "metric.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_metric_file_adds_a_metric(tmp_path: Path) -> None:
    path = written(tmp_path, WITHIN)
    metric = get_metric("Within 10 percent", metric_file=path)
    assert (metric.name, metric.direction, metric.tasks) == (
        "within_10_percent",
        "maximize",
        frozenset({"regression"}),
    )
    assert metric.bounded
    assert metric.score([10.0, 10.0, 10.0], [10.5, 12.0, np.nan], mask=np.array([True, True, False])) == 0.5
    assert get_metric("rmse", metric_file=path).name == "rmse"
    assert list(tmp_path.iterdir()) == [path]


def test_a_metric_file_gets_labels_codes_and_top_classes_as_it_asks(tmp_path: Path) -> None:
    label = "NAME='own'\nDIRECTION='maximize'\nPREDICTION='label'\ndef score(t, p): return (t == p).mean()\n"
    assert get_metric("own", metric_file=written(tmp_path, label)).score([0, 1], [0.2, 0.9]) == 1.0
    top = (
        "NAME='hit'\nDIRECTION='maximize'\nPREDICTION='top_k'\nK=2\n"
        "def score(t, p): return (p == t[:, None]).any(axis=1).mean()\n"
    )
    metric = get_metric("hit", metric_file=written(tmp_path, top))
    assert metric.tasks == {"multiclass"}
    assert metric.score([0, 1], [[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]]) == 0.5


def test_a_score_function_may_change_what_it_is_given(tmp_path: Path) -> None:
    text = """NAME='own'; DIRECTION='maximize'; PREDICTION='ranking'; TASKS=('binary', 'regression')
def score(t, p):
    t[:] = p[:] = 7
    return 1
"""
    metric = get_metric("own", metric_file=written(tmp_path, text))
    for y, p in (
        (np.array([0, 1]), np.array([0.25, 0.75])),
        (np.array([0.5, 1.5]), np.array([0.25, 0.75])),
    ):
        expected = y.tolist(), p.tolist()
        assert metric.score(y, p) == metric.score(y, p, mask=np.array([True, True])) == 1.0
        assert (y.tolist(), p.tolist()) == expected
        # Also where neither may be written to, as in an array mapped from a file.
        y.flags.writeable = p.flags.writeable = False
        assert metric.score(y, p) == 1.0


@pytest.mark.parametrize("name", ["rmse", "R-MSE", "AUC", "map", "MAP@3", "neg_log_loss"])
@pytest.mark.parametrize("asked", ["rmse", "own"])
def test_a_metric_file_cannot_take_a_built_in_name(tmp_path: Path, name: str, asked: str) -> None:
    path = written(
        tmp_path, f"NAME = '{name}'\nDIRECTION = 'minimize'\nPREDICTION = 'value'\ndef score(t, p): return 0\n"
    )
    for find in (get_metric, describe_metric):
        with pytest.raises(MetricError, match=f"metric.py: NAME '{name}' is the built-in metric") as error:
            find(asked, metric_file=path)
        assert "choose another name" in error.value.hint


def test_a_script_that_names_no_metric_leaves_the_built_in_ones_alone(tmp_path: Path) -> None:
    assert get_metric("rmse", metric_file=written(tmp_path, "NAMES = open('x')\n")).name == "rmse"
    with pytest.raises(MetricError, match="line 1"):
        get_metric("rmse", metric_file=written(tmp_path, "NAME =\n"))


@pytest.mark.parametrize(
    "arguments", ["", "y_true", "y_true, y_pred, weight", "*, y_true, y_pred", "y_true, *, y_pred"]
)
def test_a_score_that_does_not_take_two_arguments_is_told_when_loaded(tmp_path: Path, arguments: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score({arguments}): return 0\n"
    with pytest.raises(MetricError) as error:
        get_metric("own", metric_file=written(tmp_path, text))
    assert f"metric.py: score({arguments}) cannot be called with two values" in error.value.message


@pytest.mark.parametrize("arguments", ["t, p", "t, p, weight=None", "*both", "t, /, p"])
def test_a_score_that_takes_two_arguments_is_loaded(tmp_path: Path, arguments: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score({arguments}): return 0\n"
    assert get_metric("own", metric_file=written(tmp_path, text)).score([1.0], [2.0]) == 0.0
    wrapped = text + "import functools\nscore = functools.partial(score)\n"
    assert get_metric("own", metric_file=written(tmp_path, wrapped)).score([1.0], [2.0]) == 0.0


def test_a_metric_file_is_described_without_running_it(tmp_path: Path) -> None:
    path = written(tmp_path, "raise SystemExit('ran')\n" + WITHIN)
    assert describe_metric("within_10_percent", metric_file=path).direction == "maximize"
    with pytest.raises(MetricError, match="line 1: SystemExit: ran"):
        get_metric("within_10_percent", metric_file=path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def score(:", "line 1"),
        ("NAME = 'a'\nDIRECTION = 'maximize'\nPREDICTION = 'value'\n", "no function score"),
        (WITHIN.replace('"within_10_percent"', "3"), "NAME must be"),
        (WITHIN.replace('"within_10_percent"', "'--'"), "NAME must be"),
        (WITHIN.replace('"within_10_percent"', '"AUC"'), "built-in metric roc_auc"),
        (WITHIN.replace('"within_10_percent"', "str(1)"), "line 5: NAME must be a literal"),
        (WITHIN.replace('"maximize"', '"up"'), 'DIRECTION must be one of "maximize", "minimize"'),
        (WITHIN.replace('"value"', '"score"'), "PREDICTION must be one of"),
        (WITHIN.replace('"value"', '"top_k"'), "K, a whole number"),
        (WITHIN + "\nK = 3\n", "K, a whole number"),
        (WITHIN + "\nTASKS = ('detection',)\n", "TASKS must name"),
        (WITHIN + "\nTASKS = [['binary']]\n", "TASKS must name"),
        (WITHIN + "\nFLOOR = 'zero'\n", "FLOOR is a number"),
        (WITHIN + "\nBOUNDED = 1\n", "BOUNDED must be"),
        (WITHIN + "\nimport nowhere_at_all\n", "line 13: ModuleNotFoundError"),
        (WITHIN + "\nscore = 3\n", "score is not a function"),
    ],
)
def test_a_wrong_metric_file_says_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(MetricError, match=reason):
        get_metric("within_10_percent", metric_file=written(tmp_path, text))


def test_a_metric_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "metric.py"
    path.write_bytes(b"NAME = '\xff'\n")
    with pytest.raises(MetricError, match="not UTF-8"):
        get_metric("own", metric_file=path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "line 3: score failed: ZeroDivisionError"),
        ("return 'high'", "must return a number, not str"),
        ("return float('nan')", "undefined on these 2 rows"),
    ],
)
def test_a_failing_score_function_is_a_metric_error(tmp_path: Path, body: str, reason: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score(t, p):\n    {body}\n"
    metric = get_metric("own", metric_file=written(tmp_path, text))
    with pytest.raises(MetricError, match=reason):
        metric.score([1.0, 2.0], [1.0, 2.0])


def test_the_name_in_a_metric_file_is_offered_when_it_is_near(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="did you mean within_10_percent"):
        get_metric("within_10_percnt", metric_file=written(tmp_path, WITHIN))
