"""Loading a competition: roles, encoding, ids, hashes, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.columns import harmonise, parse_dates
from experiments.competition import load_competition, time_values
from experiments.detect import detect_format, detect_id, detect_metric, detect_task
from experiments.dummy import check_metric
from experiments.errors import DataError, MetricError
from experiments.metrics import Metric, get_metric, metrics_for
from experiments.spec import Spec
from experiments.target import Target, typed_labels

BINARY = Spec("t", "binary", "roc_auc", "maximize", "y", id_column="id", cv_strategy="stratified")


def folder(tmp_path: Path, train: str, test: str, sample: str | None = None) -> Path:
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "test.csv").write_text(test)
    if sample is not None:
        (tmp_path / "sample_submission.csv").write_text(sample)
    return tmp_path


def refusal(spec: Spec, data: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_competition(spec, data)
    assert caught.value.hint
    return caught.value


def text(*values: str | None) -> Any:
    return pd.Series(list(values), dtype="str")


def test_a_competition_is_features_codes_and_ids(tmp_path: Path) -> None:
    data = folder(
        tmp_path,
        "id,a,s,y\n01,1,u,no\n02,2,v,yes\n03,3,u,no\n",
        "s,id,a\nw,04,1.5\nu,05,\n",
    )
    competition = load_competition(BINARY, data)
    assert competition.columns.features == ("a", "s")
    assert competition.columns.numeric == ("a",) and competition.columns.categorical == ("s",)
    assert competition.classes == ("no", "yes")
    assert competition.y.dtype == np.int32 and competition.y.tolist() == [0, 1, 0]
    assert competition.train["y"].tolist() == [0, 1, 0]
    assert list(competition.test.columns) == ["a", "s"]
    assert competition.test_ids is not None and competition.test_ids.tolist() == ["04", "05"]
    assert competition.train["a"].dtype == competition.test["a"].dtype == np.float64


def test_regression_targets_are_floats_and_have_no_classes(tmp_path: Path) -> None:
    spec = replace(BINARY, task_type="regression", metric="rmse", direction="minimize")
    competition = load_competition(spec, folder(tmp_path, "id,a,y\n1,1,2\n2,2,3.5\n", "id,a\n3,1\n"))
    assert competition.y.dtype == np.float64 and competition.classes is None
    assert competition.submission.kind == "value"


@pytest.mark.parametrize(
    ("spellings", "labels"),
    [
        (["1", "0"], (0, 1)),
        (["10", "9", "2"], (2, 9, 10)),
        (["1.0", "0.0"], (0.0, 1.0)),
        (["True", "False"], (False, True)),
        (["yes", "no"], ("no", "yes")),
        (["01", "2", "10"], ("01", "2", "10")),
        (["None", "NA", "a"], ("NA", "None", "a")),
        (["true", "false"], ("false", "true")),
    ],
)
def test_labels_keep_their_spelling_and_sort_as_what_they_are(spellings: list[str], labels: tuple[Any, ...]) -> None:
    assert typed_labels(spellings) == labels
    assert sorted(map(str, labels)) == sorted(spellings)


def test_na_is_a_class_among_words_and_missing_among_numbers() -> None:
    words = Target.read("y", text("NA", "None", "x", None))
    assert words.classes() == ("NA", "None", "x") and words.missing.tolist() == [False, False, False, True]
    numbers = Target.read("y", text("1", "NA", "0"))
    assert numbers.classes() == (0, 1) and numbers.missing.tolist() == [False, True, False]


def test_rows_without_a_target_are_dropped_and_said(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,a,y\n1,1,0\n2,2,\n3,3,1\n", "id,a\n4,1\n")
    competition = load_competition(BINARY, data)
    assert competition.train["a"].tolist() == [1, 3]
    assert isinstance(competition.train.index, pd.RangeIndex)
    assert "1 of 3 rows of train have no 'y'" in competition.notes[0]


def test_group_and_time_columns_may_be_known_of_train_only(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,a,g,t,y\n1,1,u,31/01/2020,0\n2,2,v,01/02/2020,1\n", "id,a,g\n3,1,w\n")
    spec = replace(BINARY, group_column="g", time_column="t")
    competition = load_competition(spec, data)
    assert competition.columns.features == ("a", "g")
    assert competition.columns.group == "g" and competition.columns.time is None
    assert competition.groups is not None and competition.groups.tolist() == ["u", "v"]
    assert competition.times is not None
    assert competition.times.tolist() == [
        pd.Timestamp("2020-01-31").to_datetime64().astype("M8[us]").item(),
        pd.Timestamp("2020-02-01").to_datetime64().astype("M8[us]").item(),
    ]


def test_the_sample_names_the_id_when_the_spec_does_not(tmp_path: Path) -> None:
    data = folder(tmp_path, "k,a,y\n1,1,0\n2,2,1\n", "k,a\n3,1\n4,2\n", "k,y\n4,0.5\n3,0.5\n")
    competition = load_competition(replace(BINARY, id_column=None), data)
    assert competition.columns.features == ("a",)
    assert competition.test_ids is not None and competition.test_ids.tolist() == ["3", "4"]


def test_without_any_id_the_rows_are_numbered_or_take_the_samples_ids(tmp_path: Path) -> None:
    spec = replace(BINARY, id_column=None)
    data = folder(tmp_path, "a,y\n1,0\n2,1\n", "a\n1\n2\n")
    plain = load_competition(spec, data)
    assert plain.test_ids is not None and plain.test_ids.tolist() == ["0", "1"]
    sampled = load_competition(spec, folder(tmp_path, "a,y\n1,0\n2,1\n", "a\n1\n2\n", "row,y\n100,0\n101,0\n"))
    assert sampled.test_ids is not None and sampled.test_ids.tolist() == ["100", "101"]
    assert sampled.submission.header == ["row", "y"]


@pytest.mark.parametrize(
    ("train", "test", "said", "hint"),
    [
        ("id,a,Y\n1,1,0\n2,2,1\n", "id,a\n3,1\n", "no column 'y' (the target)", "'Y'"),
        ("id,a,y\n1,1,0\n2,2,1\n", "a\n1\n", "no column 'id' (the id)", "columns are 'a'"),
        ("id,a,b,y\n1,1,1,0\n2,2,2,1\n", "id,a,c\n3,1,1\n", "lacks 'b' and has 'c', which train has not", "agree"),
        ("id,a,y\n1,1,0\n2,2,1\n", "id,a,y\n3,1,1\n", "contains the target 'y'", "Drop the column"),
        (
            "id,a,y\n1,1,0\n1,2,1\n",
            "id,a\n3,1\n",
            "duplicate ids: 1 row(s) repeat an earlier 'id', e.g. 1 in rows 1 and 2",
            "--group",
        ),
        ("id,a,y\n1,1,0\n2,2,1\n", "id,a\n3,1\n3,1\n", "test.csv has duplicate ids", "--group"),
        ("id,a,y\n1,1,0\n,2,1\n", "id,a\n3,1\n", "1 row(s) without an id", "--id"),
        ("id,a,y\n1,1,0\n2,2,0\n", "id,a\n3,1\n", "one class only: every row is 0", "two classes"),
        ("id,a,y\n1,1,\n2,2,NA\n", "id,a\n3,1\n", "missing in all 2 rows", "--target"),
        ("id,a,y\n1,1,0\n2,2,1\n3,3,2\n", "id,a\n3,1\n", "has 3 classes, but the task is binary", "multiclass"),
        ("id,y\n1,0\n2,1\n", "id\n3\n", "no features", "whole file"),
    ],
)
def test_wrong_files_are_refused_each_in_its_own_words(
    tmp_path: Path, train: str, test: str, said: str, hint: str
) -> None:
    error = refusal(BINARY, folder(tmp_path, train, test))
    assert said in error.message and hint in error.hint


def test_a_word_in_a_regression_target_is_named_with_its_row(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,a,y\n1,1,2\n2,2,NA\n3,3,high\n", "id,a\n3,1\n")
    assert "'high' in row 3" in refusal(replace(BINARY, task_type="regression", metric="rmse"), data).message


@pytest.mark.parametrize(("infinite", "said"), [("inf", "in every row"), ("1", "in 2 row(s), first in row 1")])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_an_infinite_target_is_named_as_such(tmp_path: Path, task: Any, infinite: str, said: str) -> None:
    data = folder(tmp_path, f"id,a,y\n1,1,inf\n2,2,{infinite}\n3,3,inf\n", "id,a\n4,1\n")
    error = refusal(replace(BINARY, task_type=task, metric="rmse"), data)
    assert f"The target 'y' is infinite {said}" in error.message


def test_columns_that_are_all_empty_are_no_features(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,a,y\n1,,0\n2,,1\n", "id,a\n3,1\n")
    assert "No feature is left" in refusal(BINARY, data).message


@pytest.mark.parametrize(
    ("task", "metric", "targets", "said"),
    [
        ("regression", "rmsle", "-3.5 1 2", "rmsle needs targets from 0 up; the lowest is -3.5"),
        ("regression", "qwk", "0 1 2.5", "whole-number targets"),
        ("regression", "qwk", "0 1 5000", "too many grades"),
        ("binary", "f1_of_my_own", "0 1 0", "score failed"),
    ],
)
def test_a_metric_that_can_never_be_computed_is_refused(
    tmp_path: Path, task: Any, metric: str, targets: str, said: str
) -> None:
    # The one row that matters is among many, of which a sample is scored.
    values = targets.split() + targets.split()[1:2] * 5_000
    rows = "".join(f"{row},{row},{value}\n" for row, value in enumerate(values))
    data = folder(tmp_path, f"id,a,y\n{rows}", "id,a\n9999,1\n")
    own = tmp_path / "metric.py"
    own.write_text(
        "NAME = 'f1_of_my_own'\nDIRECTION = 'maximize'\nPREDICTION = 'label'\ndef score(t, p): return 1 / 0\n"
    )
    found = get_metric(metric, metric_file=own if "own" in metric else None)
    spec = replace(BINARY, task_type=task, metric=metric, direction=found.direction)
    with pytest.raises(MetricError) as caught:
        load_competition(spec, data, metric=found)
    assert f"{metric} cannot score the target 'y'" in caught.value.message and said in caught.value.message
    assert caught.value.hint


def test_a_metric_that_says_nothing_of_a_constant_is_accepted() -> None:
    def correlation(truth: Any, pred: Any) -> float:
        return float("nan") if np.ptp(pred) == 0 else float(np.corrcoef(truth, pred)[0, 1])

    own = Metric("r", "maximize", frozenset({"regression", "binary"}), "value", function=correlation)
    check_metric(own, np.arange(50.0), None, "y")
    check_metric(own, np.arange(50, dtype=np.int32) % 2, 2, "y")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_built_in_metric_can_score_a_target_it_fits(task: str) -> None:
    y = np.arange(6_000) % 3
    y = y.astype(np.float64) if task == "regression" else (y if task == "multiclass" else y % 2).astype(np.int32)
    n_classes = {"binary": 2, "multiclass": 3, "regression": None}[task]
    for name in metrics_for(task):
        check_metric(get_metric(name.replace("@k", "@2")), y, n_classes, "y")


def test_labels_with_a_space_cannot_be_ranked(tmp_path: Path) -> None:
    spec = replace(BINARY, task_type="multiclass", metric="map@2")
    data = folder(tmp_path, "id,a,y\n1,1,very high\n2,2,low\n3,3,mid\n", "id,a\n4,1\n")
    error = refusal(spec, data)
    assert "hold a space (e.g. 'very high')" in error.message and "with _" in error.hint
    assert load_competition(replace(spec, metric="accuracy"), data).submission.kind == "label"


@pytest.mark.parametrize("stamps_in", ["train", "test"])
def test_dates_are_dates_whatever_the_format_of_the_file(tmp_path: Path, stamps_in: str) -> None:
    days = ["2020-01-31", "2020-02-29", "2020-03-01"]
    train = pd.DataFrame({"id": [1, 2, 3], "d": days, "y": [0, 1, 0]})
    test = pd.DataFrame({"id": [4, 5, 6], "d": days})
    for name, frame in (("train", train), ("test", test)):
        kept = frame.assign(d=pd.to_datetime(frame["d"])) if name == stamps_in else frame
        kept.to_parquet(tmp_path / f"{name}.parquet")
    competition = load_competition(BINARY, tmp_path)
    assert competition.columns.datetime == ("d",) and not competition.notes
    assert competition.train["d"].tolist() == competition.test["d"].tolist() == [pd.Timestamp(day) for day in days]


def test_text_beside_dates_stays_text(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,d,y\n1,2020-01-31,0\n2,2020-02-29,1\n", "id,d\n3,soon\n")
    assert "holds dates in train and text in test" in load_competition(BINARY, data).notes[0]


@pytest.mark.filterwarnings("error")
def test_a_time_column_of_words_is_refused_without_a_warning(tmp_path: Path) -> None:
    data = folder(tmp_path, "id,a,t,y\n1,1,2020-01-05,0\n2,2,b,1\n", "id,a,t\n3,1,b\n")
    error = refusal(replace(BINARY, time_column="t", cv_strategy="time"), data)
    assert "The time column 't' holds values that are no dates, e.g. 'b'" in error.message
    clock = time_values(pd.Series(["10:20", None, "09:30"], dtype="str"))
    assert clock[2] < clock[0] and np.isnat(clock[1])


def test_an_empty_target_column_of_test_is_ignored(tmp_path: Path) -> None:
    competition = load_competition(BINARY, folder(tmp_path, "id,a,y\n1,1,0\n2,2,1\n", "id,a,y\n3,1,\n4,2,\n"))
    assert "empty column 'y'" in competition.notes[0]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ("id,y\n3,0\n9,0\n", "1 ids of test are not in it (e.g. 4) and 1 of its ids are not in test (e.g. 9)"),
        ("id,y\n3,0\n", "1 ids of test are not in it"),
        ("id,y\n3,0\n3,0\n", "duplicate ids"),
        ("id\n3\n4\n", "one column only"),
        ("id,A,B,C\n3,0,0,0\n4,0,0,0\n", "3 columns of probabilities (A, B, C) but the target has 2 classes (0, 1)"),
    ],
)
def test_a_sample_submission_must_belong_to_the_test(tmp_path: Path, sample: str, said: str) -> None:
    data = folder(tmp_path, "id,a,y\n1,1,0\n2,2,1\n", "id,a\n3,1\n4,2\n", sample)
    assert said in refusal(BINARY, data).message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "holds no train.csv" in refusal(BINARY, tmp_path).message


def test_the_data_hash_follows_content_only(tmp_path: Path) -> None:
    def digest(name: str, train: str, test: str) -> str:
        (tmp_path / name).mkdir()
        return load_competition(BINARY, folder(tmp_path / name, train, test)).data_hash

    test = "id,a,s\n3,1,u\n"
    same = [digest(name, "id,a,s,y\n1,1,u,0\n2,2,,1\n", test) for name in "ab"]
    assert same[0] == same[1] and len(same[0]) == 64
    others = [
        digest("c", "id,a,s,y\n1,1,u,0\n2,3,,1\n", test),
        digest("d", "id,a,s,y\n1,1,u,1\n2,2,,0\n", test),
        digest("e", "id,a,t,y\n1,1,u,0\n2,2,,1\n", "id,a,t\n3,1,u\n"),
        digest("f", "id,a,s,y\n1,1,u,0\n2,2,,1\n", "id,a,s\n3,1,v\n"),
        digest("g", "id,a,s,y\n1,1,u,0\n2,2,v,1\n", test),
    ]
    assert len({same[0], *others}) == 6


def test_columns_get_one_dtype_over_train_and_test() -> None:
    train = pd.DataFrame(
        {"i": [1, 2], "m": [1, 2], "b": [True, False], "e": [np.nan, np.nan], "x": [1.0, np.inf], "s": ["u", None]}
    )
    test = pd.DataFrame(
        {"i": [0.5, np.nan], "m": ["7", "?"], "b": [True, True], "e": [1, 2], "x": [1, 2], "s": [np.nan, np.nan]}
    )
    a, b, notes = harmonise(train, test)
    assert (a.dtypes == b.dtypes).all()
    assert "e" not in a and a["i"].dtype == np.float64 and a["b"].dtype == np.bool_
    assert a["m"].tolist() == ["1", "2"] and b["m"].tolist() == ["7", "?"]
    assert np.isnan(a["x"].iloc[1]) and b["s"].isna().all()
    assert [note.split(" ")[0] for note in notes] == ["'m'", "'e'", "'x'"]


def test_roles_tell_prose_from_names_and_codes(tmp_path: Path) -> None:
    rows = 40
    frame = pd.DataFrame(
        {
            "id": range(rows),
            "CustomerId": np.arange(rows) + 15_000_000,
            "Surname": [f"Name{i}" for i in range(rows)],
            "code": [f"AX-{i:04d}-{i % 7}" for i in range(rows)],
            "review": [f"this one is number {i} and was quite good" for i in range(rows)],
            "motto": ["we do what we can every day"] * rows,
            "day": [f"{i % 28 + 1:02d}/{i % 12 + 1:02d}/2020" for i in range(rows)],
            "stamp": [f"2020-01-{i % 28 + 1:02d}" for i in range(rows)],
            "flag": [bool(i % 2) for i in range(rows)],
            "y": [i % 2 for i in range(rows)],
        }
    )
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.drop(columns="y").to_csv(tmp_path / "test.csv", index=False)
    competition = load_competition(BINARY, tmp_path)
    assert competition.columns.numeric == ("CustomerId", "flag")
    assert competition.columns.categorical == ("Surname", "code", "motto")
    assert competition.columns.text == ("review",)
    assert competition.columns.datetime == ("day", "stamp")
    assert competition.train["day"].iloc[27] == pd.Timestamp("2020-04-28"), "day first: 28 is no month"


@pytest.mark.parametrize(
    ("values", "first"),
    [
        (["2020-01-05", "2020-02-01"], "2020-01-05"),
        (["01.02.2020", "03.04.2021"], "2020-02-01"),
        (["01/02/2020", "03/04/2021"], "2020-01-02"),
        (["01/02/2020", "13/04/2021"], "2020-02-01"),
        (["Jan 5, 2020", "March 6, 2021"], "2020-01-05"),
        (["5-Jan-20", None], "2020-01-05"),
        (["2020-01-01 10:00", "2020-01-01T10:30:00Z"], "2020-01-01 10:00"),
        (["1.2.3", "1.2.4"], None),
        (["192.168.0.1"], None),
        (["2020-13-45"], None),
        (["2020-01-05", "unknown"], None),
        (["10:20"], None),
        ([None], None),
    ],
)
def test_dates_are_recognised_by_whole_columns(values: list[str | None], first: str | None) -> None:
    dates = parse_dates(text(*values))
    assert (None if dates is None else dates.iloc[0]) == (None if first is None else pd.Timestamp(first))


class TestDetection:
    """Every choice, by what shows it."""

    train = pd.DataFrame({"PassengerId": [1, 2, 3], "a": [5, 5, 6], "y": [0, 1, 0]})

    def ident(self, train: pd.DataFrame, **more: Any) -> str | None:
        options: dict[str, Any] = {"test": None, "sample": None, "exclude": {"y"}} | more
        choice = detect_id(train, **options)
        assert choice.reason
        return choice.value

    def test_id_by_sample_name_or_counting(self) -> None:
        assert self.ident(self.train) == "PassengerId"
        assert self.ident(self.train, sample=pd.DataFrame({"a": ["1"], "y": ["0"]})) == "a"
        assert self.ident(self.train.rename(columns={"PassengerId": "n"})) == "n", "it counts the rows"
        assert self.ident(self.train.assign(PassengerId=[1, 1, 2])) is None
        assert self.ident(self.train.assign(PassengerId=[1, 1, 2]).rename(columns={"PassengerId": "ID"})) == "ID"
        assert self.ident(self.train[["a", "y"]]) is None

    def test_a_sample_whose_id_test_lacks_matches_by_position(self) -> None:
        test = self.train[["PassengerId", "a"]]
        assert self.ident(self.train, test=test, sample=pd.DataFrame({"row": ["1"], "y": ["0"]})) is None

    @pytest.mark.parametrize(
        ("values", "metric", "sample", "task"),
        [
            (["0", "1"] * 50, None, None, "binary"),
            (["no", "yes"] * 50, None, None, "binary"),
            (["a", "b", "c"] * 50, None, None, "multiclass"),
            ([str(i % 5) for i in range(100)], None, None, "multiclass"),
            ([str(i % 5) for i in range(100)], "rmse", None, "regression"),
            ([str(i % 5) for i in range(100)], None, ["1", "2.5"], "regression"),
            ([str(i % 5) for i in range(20)], None, None, "regression"),
            ([str(i) for i in range(100)], None, None, "regression"),
            ([str(i) for i in range(30)] * 2, "accuracy", None, "multiclass"),
            (["0.5", "1.5", "2.25"] * 20, None, None, "regression"),
            (["True", "False"] * 20, None, None, "binary"),
        ],
    )
    def test_task(self, values: list[str], metric: str | None, sample: list[str] | None, task: str) -> None:
        frame = None if sample is None else pd.DataFrame({"id": ["1"] * len(sample), "y": sample}, dtype="str")
        choice = detect_task(
            Target.read("y", text(*values)), metric=get_metric(metric) if metric else None, sample=frame
        )
        assert choice.value == task and choice.reason

    @pytest.mark.parametrize("step", [1.0, 0.37])
    def test_numbers_that_hardly_repeat_are_no_classes(self, step: float) -> None:
        values = text(*[f"{i * step:g}" for i in range(600)])
        with pytest.raises(MetricError, match="roc_auc needs classes, and 'a' holds 600 different numbers") as caught:
            detect_task(Target.read("a", values), metric=get_metric("roc_auc"))
        assert "--metric rmse" in caught.value.hint

    def test_prose_is_no_target(self) -> None:
        with pytest.raises(DataError, match="30 different texts in 30 rows"):
            detect_task(Target.read("y", text(*[f"text {i}" for i in range(30)])))

    @pytest.mark.parametrize(
        ("classes", "values", "metric", "kind", "suggested"),
        [
            ((0, 1), ["0.203714"], None, "probability", "roc_auc"),
            ((0, 1), ["0", "1"], None, "label", "accuracy"),
            ((0, 1), ["0", "0"], "roc_auc", "probability", "roc_auc"),
            ((0, 1), ["0.0"], None, "probability", "roc_auc"),
            ((0, 1), ["0.5"], "accuracy", "label", "accuracy"),
            (("A", "B", "C"), ["A"], None, "label", "accuracy"),
            (("A", "B", "C"), ["A C", "B A"], None, "top_k", "map@2"),
            (None, ["1.5"], None, "value", "rmse"),
        ],
    )
    def test_kind_and_metric_from_a_sample(
        self, classes: tuple[Any, ...] | None, values: list[str], metric: str | None, kind: str, suggested: str
    ) -> None:
        sample = pd.DataFrame({"id": [str(i) for i in range(len(values))], "pred": values}, dtype="str")
        task: Any = "regression" if classes is None else "binary" if len(classes) == 2 else "multiclass"
        form = detect_format(
            task,
            classes,
            target="y",
            id_column="id",
            metric=get_metric(metric) if metric else None,
            sample=sample,
        ).value
        assert form.kind == kind and form.columns == ("pred",)
        if metric is None:
            assert detect_metric(task, len(classes or ()), form, top=2).value == suggested

    @pytest.mark.parametrize(
        ("classes", "metric", "kind", "columns"),
        [
            ((0, 1), "roc_auc", "probability", ("y",)),
            ((0, 1), "f1", "label", ("y",)),
            ((1, 2, 3), "log_loss", "class_probabilities", ("1", "2", "3")),
            ((1, 2, 3), "accuracy", "label", ("y",)),
            ((1, 2, 3), "map@3", "top_k", ("y",)),
            (None, "rmsle", "value", ("y",)),
        ],
    )
    def test_kind_from_the_metric_alone(
        self, classes: tuple[int, ...] | None, metric: str, kind: str, columns: tuple[str, ...]
    ) -> None:
        task: Any = "regression" if classes is None else "binary" if len(classes) == 2 else "multiclass"
        form = detect_format(task, classes, target="y", id_column="id", metric=get_metric(metric), sample=None).value
        assert (form.kind, form.columns) == (kind, columns)


def test_a_sample_of_one_column_says_nothing_of_decimals() -> None:
    target = Target.read("y", pd.Series([str(number) for number in range(60)]))
    assert detect_task(target, sample=pd.DataFrame({"id": ["1"]})).value == "regression"
