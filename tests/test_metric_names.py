"""Metrics by name: spellings, directions, the nearest of an unknown one."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.errors import MetricError
from experiments.metrics import (
    builtin_called,
    canonical_name,
    default_metric,
    get_metric,
    metric_names,
    metrics_for,
)

# Scoring warns of nothing: degenerate rows have a defined score, or are refused.
pytestmark = pytest.mark.filterwarnings("error")


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
