"""What a competition's files and pages say of it: metric, target, groups, time."""

import numpy as np
import pandas as pd
import pytest

from experiments.errors import DataError, MetricError
from experiments.evaluation import named_metric
from experiments.outline import detect_group, detect_target, detect_time


@pytest.mark.parametrize(
    ("label", "page", "name"),
    [
        ("Area Under Receiver Operating Characteristic Curve", "", "roc_auc"),
        ("Mean F-Score", "", "f1"),
        ("MAP@{K}", "Submissions are evaluated by Mean Average Precision @ 5 (MAP@5):", "map@5"),
        ("", "evaluated on [area under the ROC curve](https://w.example/rmse) of the probability", "roc_auc"),
        ("", "Submissions will be evaluated based on MAP@3, the Mean Average Precision @ 3.", "map@3"),
        ("", "Your score is the percentage of passengers you predict. This is known as accuracy.", "accuracy"),
        ("", "Submissions are evaluated using <em>multi-class logarithmic loss</em>.", "log_loss"),
        ("", "Submissions are evaluated using Spearman's rank correlation.", "spearman"),
        ("", "Scored on RMSE between the logarithm of the predicted value and the logarithm of the price.", "rmsle"),
        ("Root Mean Squared Error", "RMSE, not the MAE, since MAE forgives", "rmse"),
        ("", "Submissions are scored on the macro F1 score.\n\nPlain accuracy would favour some.", "f1_macro"),
    ],
)  # fmt: skip
def test_the_metric_is_read_from_label_or_page(label: str, page: str, name: str):
    assert named_metric(label, page).name == name


@pytest.mark.parametrize(
    ("label", "page", "message", "hint"),
    [
        ("Mean Columnwise RMSE", "", "calls its metric 'Mean Columnwise RMSE'", "metric.py"),
        ("", "Submissions are scored on the column-wise RMSE.", "names no metric", "--metric"),
        ("", "", "names no metric", "roc_auc, gini"),
        ("", "Scored on accuracy and on log loss.", "several metrics: accuracy, log_loss", "--metric log_loss"),
    ],
)
def test_a_metric_that_is_not_sure_is_asked_for(label: str, page: str, message: str, hint: str):
    with pytest.raises(MetricError) as caught:
        named_metric(label, page)
    assert message in caught.value.message and hint in caught.value.hint


def frames(train: str, test: str, sample: str | None) -> tuple:
    made = [pd.DataFrame({name: ["1", "2"] for name in text.split()}) for text in (train, test)]
    return (*made, None if sample is None else pd.DataFrame({name: ["0", "0"] for name in sample.split()}))


@pytest.mark.parametrize(
    ("train", "test", "sample", "target"),
    [
        ("id a y", "id a", "id y", "y"),
        ("id a y z", "id a", "id y", "y"),
        ("id a Exited", "id a", "id exited", "Exited"),
        ("id a y", "id a", "id prediction", "y"),
        ("id a y w", "id a", "id y_1 y_2", None),
        ("id a y", "id a", None, "y"),
        ("id a y z", "id a", None, None),
        ("id a y z", "id a", "id prediction", None),
        ("id a y z", "id a", "id y z", None),
        ("id a", "id a", "id y", None),
    ],
)
def test_the_target_is_what_test_lacks_and_the_sample_predicts(train: str, test: str, sample: str, target: str | None):
    files = frames(train, test, sample)
    if target is not None:
        assert detect_target(*files, "id").value == target
        return
    with pytest.raises(DataError) as caught:
        detect_target(*files, "id")
    assert "--target" in caught.value.hint or "several targets" in caught.value.hint


def test_columns_named_for_the_classes_tell_the_target():
    train, test, _ = frames("id a kind weight", "id a", None)
    train["kind"], train["weight"] = ["oak", "elm"], [1.5, 2.5]
    sample = pd.DataFrame({"id": ["1"], "Status_elm": ["0"], "Status_oak": ["0"]})
    assert detect_target(train, test, sample, "id").value == "kind"


def test_groups_are_taken_when_no_value_is_in_both_files_only():
    def rows(first: int, groups: int, each: int) -> pd.DataFrame:
        ids = np.repeat(np.arange(first, first + groups), each)
        return pd.DataFrame({"patient_id": ids, "age": ids % 7, "y": ids % 2})

    train = rows(0, 30, 4)
    found = detect_group(train, rows(100, 10, 3), {"y"})
    assert found is not None and found.value == "patient_id" and "30 values" in found.reason
    assert detect_group(train, rows(25, 10, 3), {"y"}) is None, "five of them are in both"
    assert detect_group(train, rows(100, 10, 1), {"y"}) is None, "one row each is an id"
    assert detect_group(train, rows(100, 10, 3), {"y", "patient_id"}) is None
    assert detect_group(rows(0, 5, 20), rows(100, 10, 3), {"y"}) is None, "too few to fold"


def test_time_counts_when_all_of_test_comes_later():
    days = pd.date_range("2020-01-01", periods=30).strftime("%Y-%m-%d")
    train, test = (pd.DataFrame({"day": part, "a": 1}) for part in (days[:20], days[20:]))
    found = detect_time(train, test, set())
    assert found is not None and found.value == "day" and "2020-01-21" in found.reason
    assert detect_time(train, train, set()) is None
    assert detect_time(train, test, {"day"}) is None
