"""Submission files: from predictions to columns and back, and what is not accepted."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.competition import Competition, load_competition
from experiments.errors import DataError, PredictionError
from experiments.metrics import get_metric
from experiments.spec import Columns, Spec, TaskType
from experiments.submission import (
    SubmissionFormat,
    class_order,
    decode_submission,
    naming_note,
    submission_frame,
)
from experiments.validation import validate_submission

IDS = ["007", "8", "9"]


def competition(tmp_path: Path, labels: list[str], metric: str, sample: str | None = None) -> Competition:
    """Three test rows with the ids 007, 8, 9, and a train row for each label."""
    known = get_metric(metric)
    task: TaskType = "regression" if known.tasks == {"regression"} or metric == "qwk" else "binary"
    if task == "binary" and len(set(labels)) > 2:
        task = "multiclass"
    rows = "".join(f"t{i},{i},{label}\n" for i, label in enumerate(labels))
    (tmp_path / "train.csv").write_text(f"id,a,y\n{rows}")
    (tmp_path / "test.csv").write_text("id,a\n" + "".join(f"{name},1\n" for name in IDS))
    if sample is not None:
        (tmp_path / "sample_submission.csv").write_text(sample)
    return load_competition(Spec("t", task, known.name, known.direction, "y", id_column="id"), tmp_path)


def written(made: Competition, metric: str, pred: list[Any]) -> str:
    frame = submission_frame(made, get_metric(metric), np.asarray(pred, dtype=np.float32))
    validate_submission(frame, made)
    return frame.to_csv(index=False, lineterminator="\n")


def test_probabilities_keep_ids_as_spelled(tmp_path: Path) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc")
    assert written(made, "roc_auc", [0.25, 0.5, 0.203714]) == "id,y\n007,0.25\n8,0.5\n9,0.203714\n"


def test_the_column_is_named_as_in_the_sample(tmp_path: Path) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc", "id,prediction\n007,0\n8,0\n9,0\n")
    assert written(made, "roc_auc", [0, 1, 0]).startswith("id,prediction\n")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0", "1"], "0,1,0"),
        (["no", "yes"], "no,yes,no"),
        (["False", "True"], "False,True,False"),
        (["1.0", "2.0"], "1.0,2.0,1.0"),
        (["NA", "ok"], "NA,ok,NA"),
    ],
)
def test_labels_are_spelled_as_in_train(tmp_path: Path, labels: list[str], expected: str) -> None:
    made = competition(tmp_path, labels, "accuracy")
    lines = written(made, "accuracy", [0.1, 0.9, 0.5]).splitlines()[1:]
    assert ",".join(line.split(",")[1] for line in lines) == expected


def test_multiclass_labels_are_the_most_probable_class(tmp_path: Path) -> None:
    made = competition(tmp_path, ["10", "9", "2"], "accuracy")
    proba = [[0.1, 0.2, 0.7], [0.6, 0.2, 0.2], [0.3, 0.4, 0.3]]
    assert written(made, "accuracy", proba) == "id,y\n007,10\n8,2\n9,9\n"


def test_class_probabilities_follow_the_samples_columns(tmp_path: Path) -> None:
    sample = "id,Status_C,Status_A,Status_B\n007,0,0,0\n8,0,0,0\n9,0,0,0\n"
    made = competition(tmp_path, ["A", "B", "C"], "log_loss", sample)
    frame = submission_frame(made, get_metric("log_loss"), np.array([[0.5, 0.3, 0.2]] * 3))
    assert list(frame.columns) == ["id", "Status_C", "Status_A", "Status_B"]
    assert frame.iloc[0, 1:].tolist() == pytest.approx([0.2, 0.5, 0.3])


def test_two_columns_of_a_binary_target(tmp_path: Path) -> None:
    made = competition(tmp_path, ["no", "yes"], "log_loss", "id,yes,no\n007,0,0\n8,0,0\n9,0,0\n")
    frame = submission_frame(made, get_metric("log_loss"), np.array([0.25, 0.5, 1.0]))
    assert frame["yes"].tolist() == [0.25, 0.5, 1.0] and frame["no"].tolist() == [0.75, 0.5, 0.0]


def test_top_k_ranks_labels(tmp_path: Path) -> None:
    made = competition(tmp_path, ["A", "B", "C"], "map@2")
    assert written(made, "map@2", [[0.1, 0.2, 0.7], [0.6, 0.1, 0.3], [0.3, 0.4, 0.3]]) == (
        "id,y\n007,C B\n8,A C\n9,B A\n"
    )


def test_values_stay_in_the_metrics_range(tmp_path: Path) -> None:
    made = competition(tmp_path, ["1.5", "2"], "rmsle")
    assert written(made, "rmsle", [-1, 0.5, 3]) == "id,y\n007,0.0\n8,0.5\n9,3.0\n"
    made = competition(tmp_path, ["1", "3", "8"], "qwk")
    assert written(made, "qwk", [-1, 2.6, 30]) == "id,y\n007,1\n8,3\n9,8\n"


def test_labels_of_one_half_are_those_that_the_score_reads(tmp_path: Path) -> None:
    made = competition(tmp_path, ["no", "yes"], "accuracy")
    pred = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.5], dtype=np.float32)
    metric = get_metric("accuracy")
    frame = submission_frame(made, metric, pred)
    assert frame["y"].tolist() == ["no", "yes", "no"]
    codes = metric.as_submitted(pred, made.y)
    assert codes.tolist() == [0, 1, 0]
    handed_in = decode_submission(frame, pd.Series(IDS), made.submission, made.classes)
    assert metric.score(codes, pred) == metric.score(codes, handed_in) == 1.0


def test_a_metric_of_ones_own_says_its_floor_and_how_many_classes_it_reads(tmp_path: Path) -> None:
    head = "NAME = 'own'\nDIRECTION = 'maximize'\ndef score(t, p): return 0\n"
    (tmp_path / "metric.py").write_text(head + "PREDICTION = 'value'\nFLOOR = 0.5\n")
    floored = get_metric("own", metric_file=tmp_path / "metric.py")
    made = competition(tmp_path, ["1.5", "2"], "rmse")
    assert submission_frame(made, floored, np.array([-1.0, 0.75, 3.0]))["y"].tolist() == [0.5, 0.75, 3.0]
    (tmp_path / "metric.py").write_text(head + "PREDICTION = 'top_k'\nK = 1\n")
    top = get_metric("own", metric_file=tmp_path / "metric.py")
    made = competition(tmp_path, ["A", "B", "C"], "map@3")
    proba = np.array([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3], [0.3, 0.4, 0.3]])
    assert submission_frame(made, top, proba)["y"].tolist() == ["C", "A", "B"]


def test_a_ranking_may_leave_the_unit_interval_a_probability_may_not(tmp_path: Path) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc")
    frame = submission_frame(made, get_metric("roc_auc"), np.array([-4.0, 0.0, 4.0]))
    assert frame["y"].tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(PredictionError, match="reach from -4 to 4"):
        submission_frame(made, get_metric("log_loss"), np.array([-4.0, 0.0, 4.0]))


@pytest.mark.parametrize(
    ("pred", "said"),
    [
        (np.zeros(2), r"shape \(2,\), needed is \(3,\)"),
        (np.zeros((3, 2)), r"needed is \(3,\)"),
        (np.array([0.1, np.nan, np.inf]), "NaN or infinity in 2 place"),
    ],
)
def test_predictions_that_make_no_file(tmp_path: Path, pred: np.ndarray, said: str) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc")
    with pytest.raises(PredictionError, match=said):
        submission_frame(made, get_metric("roc_auc"), pred)


@pytest.mark.parametrize(
    ("columns", "classes", "order"),
    [
        (["A", "C", "B"], ["A", "B", "C"], (0, 2, 1)),
        (["Class_1", "Class_11", "Class_2"], [1, 2, 11], (0, 2, 1)),
        (["Class1", "Class3", "Class2"], [1, 2, 3], (0, 2, 1)),
        (["prob_high", "prob_very_high"], ["high", "very_high"], (0, 1)),
        (["P(b)", "P(a)"], ["a", "b"], (0, 1)),
        (["1", "0"], [0.0, 1.0], (1, 0)),
        (["STATUS_cl", "STATUS_d"], ["CL", "D"], (0, 1)),
        (["first", "second"], ["x", "y"], (0, 1)),
    ],
)
def test_columns_find_their_class(columns: list[str], classes: list[Any], order: tuple[int, ...]) -> None:
    assert class_order(columns, classes) == order


@pytest.mark.parametrize(
    ("columns", "kind", "classes", "said"),
    [
        (("y",), "probability", ("no", "yes"), None),
        (("p_yes",), "probability", ("no", "yes"), None),
        (("p_no",), "probability", ("no", "yes"), "named like the class no, but will hold the probability of yes"),
        (("pred",), "probability", ("no", "yes"), "'pred' is not called 'y'"),
        (("pred",), "value", None, "'pred' is not called 'y'"),
        (("p_b", "p_a", "p_c"), "class_probabilities", ("a", "b", "c"), None),
        (("x", "y", "z"), "class_probabilities", ("a", "b", "c"), "x, y, z do not name the classes"),
    ],
)
def test_columns_that_are_not_named_for_what_they_hold_are_pointed_out(
    columns: tuple[str, ...], kind: Any, classes: tuple[str, ...] | None, said: str | None
) -> None:
    note = naming_note(SubmissionFormat("id", columns, kind), classes, "y")
    assert note is None if said is None else note is not None and said in note


def test_another_number_of_columns_than_classes_is_refused() -> None:
    with pytest.raises(DataError, match=r"2 columns .* 3 classes \(1, 2, 3\)"):
        class_order(["a", "b"], [1, 2, 3])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id\n007\n8\n9\n", "lacks y"),
        ("id,y,z\n007,0,0\n8,0,0\n9,0,0\n", "has z too many"),
        ("id,y\n007,0\n8,0\n", "lacks 1 of 3 ids, e.g. 9"),
        ("id,y\n7,0\n8,0\n9,0\n", "lacks 1 of 3 ids, e.g. 007"),
        ("id,y\n007,0\n8,0\n9,0\n10,0\n", "1 id(s) that test has not, e.g. 10"),
        ("id,y\n007,0\n8,0\n8,0\n", "repeats 1 id(s), e.g. 8"),
        ("id,y\n007,0\n,0\n9,0\n", "without an id"),
        ("id,y\n007,0\n8,\n9,0\n", "1 empty value(s) in 'y'"),
        ("id,y\n007,0\n8,nan\n9,0\n", "no finite numbers, first nan in row 2"),
        ("id,y\n007,0\n8,inf\n9,0\n", "no finite numbers, first inf in row 2"),
        ("id,y\n007,0\n8,1.5\n9,-2\n", "2 probabilities outside [0, 1], first 1.5 in 'y'"),
        ("id,y\n8,0\n007,0\n9,0\n", "another order than test: row 1 has the id 8, test has 007"),
    ],
)
def test_wrong_submissions_are_told_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc")
    frame = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False, na_values=[""])
    with pytest.raises(DataError) as caught:
        validate_submission(frame, made)
    assert said in caught.value.message


def test_a_label_that_is_no_class_is_named(tmp_path: Path) -> None:
    made = competition(tmp_path, ["no", "yes"], "accuracy")
    with pytest.raises(DataError, match="'maybe' in row 3"):
        validate_submission(pd.DataFrame({"id": IDS, "y": ["no", "yes", "maybe"]}), made)


def test_decoding_follows_ids_not_rows() -> None:
    form = SubmissionFormat("id", ("y",), "probability")
    frame = pd.DataFrame({"id": ["9", "007", "8"], "y": ["0.9", "0.7", "0.8"]})
    assert decode_submission(frame, pd.Series(IDS), form, (0, 1)).tolist() == [0.7, 0.8, 0.9]


@given(
    rows=st.lists(st.permutations([1.0, 5.0, 20.0]), min_size=1, max_size=8),
    kind=st.sampled_from(["label", "class_probabilities", "top_k"]),
)
def test_what_is_written_scores_as_what_was_predicted(rows: list[list[float]], kind: Any) -> None:
    proba = np.asarray(rows) / 26.0
    classes = ("a", "b", "c")
    columns = ("p_c", "p_a", "p_b") if kind == "class_probabilities" else ("y",)
    form = SubmissionFormat("id", columns, kind)
    metric = get_metric({"label": "accuracy", "class_probabilities": "log_loss", "top_k": "map@3"}[kind])
    test = pd.DataFrame(index=pd.RangeIndex(len(rows)))
    spec = Spec("t", "multiclass", metric.name, metric.direction, "y")
    made = Competition(
        spec=spec,
        columns=Columns((), (), (), (), (), "y"),
        train=test,
        test=test,
        test_ids=pd.Series(test.index).astype(str),
        y=np.zeros(0, dtype=np.int32),
        classes=classes,
        groups=None,
        times=None,
        submission=form,
        data_hash="",
    )
    frame = submission_frame(made, metric, proba)
    back = decode_submission(frame, pd.Series(test.index).astype(str), form, classes)
    y = np.arange(len(rows)) % 3
    assert metric.score(y, back) == pytest.approx(metric.score(y, proba))


FORMS: dict[str, SubmissionFormat] = {
    "value": SubmissionFormat("id", ("y",), "value"),
    "probability": SubmissionFormat("id", ("y",), "probability"),
    "label": SubmissionFormat("id", ("y",), "label"),
    "class_probabilities": SubmissionFormat("id", ("p_c", "p_a", "p_b"), "class_probabilities"),
    "top_k": SubmissionFormat("id", ("y",), "top_k"),
}
METRICS = {
    "value": "rmsle",
    "probability": "roc_auc",
    "label": "accuracy",
    "class_probabilities": "log_loss",
    "top_k": "map@2",
}


def of_kind(kind: str, rows: int) -> Competition:
    """A competition with so many test rows whose submissions are of this kind."""
    classes = {"value": None, "probability": ("no", "yes")}.get(kind, ("a", "b", "c"))
    task: TaskType = "regression" if kind == "value" else "binary" if kind == "probability" else "multiclass"
    metric = get_metric(METRICS[kind])
    return Competition(
        spec=Spec("t", task, metric.name, metric.direction, "y", id_column="id"),
        columns=Columns((), (), (), (), (), "y"),
        train=pd.DataFrame(index=pd.RangeIndex(3)),
        test=pd.DataFrame(index=pd.RangeIndex(rows)),
        test_ids=pd.Series([f"r{row}" for row in range(rows)]),
        y=np.arange(3),
        classes=classes,
        groups=None,
        times=None,
        submission=FORMS[kind],
        data_hash="",
    )


SPOILT: dict[str, Any] = {
    "a column is missing": lambda frame, at: frame.drop(columns=frame.columns[at % len(frame.columns)]),
    "a column too many": lambda frame, at: frame.assign(extra=1),
    "a column twice": lambda frame, at: pd.concat([frame, frame.iloc[:, [at % len(frame.columns)]]], axis=1),
    "columns in another order": lambda frame, at: frame[frame.columns[::-1]],
    "another name of the id": lambda frame, at: frame.rename(columns={"id": "ID"}),
    "a row is missing": lambda frame, at: frame.drop(index=at % len(frame)),
    "a row twice": lambda frame, at: pd.concat([frame, frame.iloc[[at % len(frame)]]]),
    "a strange id": lambda frame, at: frame.assign(id=[*frame["id"][:-1], "other"]),
    "an id that is missing": lambda frame, at: frame.assign(id=[*frame["id"][:-1], None]),
    "rows in another order": lambda frame, at: frame.iloc[::-1],
    "a value that is missing": lambda frame, at: _with(frame, at, None),
    "a value that is no value": lambda frame, at: _with(frame, at, "nonsense"),
    "infinity": lambda frame, at: _with(frame, at, np.inf),
    "a value out of range": lambda frame, at: _with(frame, at, -0.5),
    "the same everywhere": lambda frame, at: pd.concat([frame[["id"]], _repeated(frame)], axis=1),
}


def _with(frame: pd.DataFrame, at: int, value: Any) -> pd.DataFrame:
    spoilt = frame.astype(object)
    spoilt.iloc[at % len(frame), 1 + at % (len(frame.columns) - 1)] = value
    return spoilt


def _repeated(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame.iloc[[0], 1:]] * len(frame), ignore_index=True)


@given(
    kind=st.sampled_from(list(FORMS)),
    spoilt=st.sampled_from(list(SPOILT)),
    rows=st.integers(2, 9),
    at=st.integers(0, 100),
    seed=st.integers(0, 1000),
)
def test_whatever_is_wrong_with_a_file_is_refused_and_the_file_is_left_as_it_is(
    kind: str, spoilt: str, rows: int, at: int, seed: int
) -> None:
    made, metric = of_kind(kind, rows), get_metric(METRICS[kind])
    rng = np.random.default_rng(seed)
    pred = rng.random(rows) if kind in ("value", "probability") else rng.dirichlet((1.0, 1.0, 1.0), rows)
    if kind in ("label", "top_k"):
        pred[0], pred[1] = (0.6, 0.3, 0.1), (0.1, 0.3, 0.6)
    frame = submission_frame(made, metric, pred)
    validate_submission(frame, made, metric)
    wrong = SPOILT[spoilt](frame, at)
    before = wrong.copy(deep=True)
    with pytest.raises(DataError):
        validate_submission(wrong, made, metric)
    pd.testing.assert_frame_equal(wrong, before)


def test_a_constant_prediction_is_named_with_its_value(tmp_path: Path) -> None:
    made = competition(tmp_path, ["0", "1"], "roc_auc")
    with pytest.raises(DataError, match=r"says the same of all 3 rows: y 0\.5"):
        written(made, "roc_auc", [0.5, 0.5, 0.5])


def test_values_that_the_metric_does_not_take_are_refused(tmp_path: Path) -> None:
    made = competition(tmp_path, ["1", "3", "8"], "qwk")
    with pytest.raises(DataError, match=r"2 value\(s\) that are no whole number from 1 to 8, first 2.5 in row 1"):
        validate_submission(pd.DataFrame({"id": IDS, "y": [2.5, 3, 9]}), made, get_metric("qwk"))
    made = competition(tmp_path, ["1.5", "2"], "rmsle")
    with pytest.raises(DataError, match=r"1 value\(s\) below 0, which rmsle does not take, first -1 in row 2"):
        validate_submission(pd.DataFrame({"id": IDS, "y": [2.5, -1, 9]}), made, get_metric("rmsle"))
