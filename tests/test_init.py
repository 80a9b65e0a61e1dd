"""init and demo: what they choose and say, what they write where, and what they never touch."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_wine

from autokaggle_tui.config import load_config
from autokaggle_tui.setup import demo_workspace, init_local
from backends.platforms.local_platform import LocalPlatform
from backends.platforms.local_store import LocalCompetition
from experiments.competition import Competition, load_competition
from experiments.errors import AutokaggleError, ConfigError, DataError, MetricError, UsageError, WorkspaceError
from experiments.files import sha256_file
from experiments.holdout import hold_out
from experiments.learnings import master_copy
from experiments.metrics import get_metric
from experiments.submission import submission_frame
from experiments.validation import validate_submission


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hidden labels of these tests stay in their own folder."""
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder called churn with train.csv, test.csv and sample_submission.csv."""
    folder = tmp_path / "churn"
    folder.mkdir()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": range(100, 300),
            "age": rng.integers(18, 80, 200),
            "city": rng.choice(["NA", "Oslo", "Rome"], 200),
            "left": rng.choice(["no", "yes"], 200, p=[0.7, 0.3]),
        }
    )
    frame.iloc[:150].to_csv(folder / "train.csv", index=False)
    frame.iloc[150:].drop(columns="left").to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame({"id": frame["id"].iloc[150:], "left": 0.3})
    sample.to_csv(folder / "sample_submission.csv", index=False)
    return folder


def loaded(workspace: Path) -> Competition:
    config = load_config(workspace)
    return load_competition(config.spec(), config.data_path(workspace))


def said(lines: list[str], label: str) -> str:
    return next(line for line in lines if line.startswith(label))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_three_files_become_a_workspace(source: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    lines = init_local(
        workspace, source / "train.csv", source / "test.csv", source / "sample_submission.csv", target="left"
    )
    assert "id: the first column of the sample submission" in said(lines, "id")
    assert "binary: 'left' holds 2 classes" in said(lines, "task")
    assert "roc_auc (maximize): the submission holds probabilities" in said(lines, "metric")
    assert "no, yes; the positive one is yes" in said(lines, "classes")
    assert "150 rows of train, 50 of test; 2 features: 1 numeric, 1 categorical" in said(lines, "data")
    config = load_config(workspace)
    assert (config.competition, config.target_column, config.id_column) == ("churn", "left", "id")
    spec = config.spec()
    assert (spec.task_type, spec.metric, spec.cv_strategy) == ("binary", "roc_auc", "stratified")
    assert snapshot(workspace / "data") == snapshot(source), "files are copied byte for byte"
    assert sorted(path.name for path in workspace.iterdir()) == ["LEARNINGS.md", "config.json", "data"]
    assert (workspace / "LEARNINGS.md").read_text() == master_copy()
    assert "config.json, LEARNINGS.md, data/sample_submission.csv" in said(lines, "written")
    assert not [line for line in lines if line.startswith(("note", "scale"))]


def test_without_a_test_a_quarter_is_held_back_outside_the_workspace(source: Path, tmp_path: Path, home: Path) -> None:
    workspace = tmp_path / "w"
    lines = init_local(workspace, source / "train.csv", target="left")
    whole = pd.read_csv(source / "train.csv", keep_default_na=False)
    train = pd.read_csv(workspace / "data/train.csv", keep_default_na=False)
    test = pd.read_csv(workspace / "data/test.csv", keep_default_na=False)
    assert "held back" in said(lines, "test") and str(home) in said(lines, "labels")
    assert len(test) == pytest.approx(150 / 4, abs=1)
    assert "left" not in test
    both = pd.concat([train, test.merge(whole[["id", "left"]])]).sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(both, whole)
    assert train["left"].eq("yes").mean() == pytest.approx(whole["left"].eq("yes").mean(), abs=0.02)

    competition = loaded(workspace)
    hidden = LocalCompetition.open("churn").labels
    assert hidden is not None
    truth = whole.set_index("id")["left"].loc[test["id"]].eq("yes").to_numpy()
    assert (hidden[0] == truth).all()
    metric = get_metric("roc_auc")
    frame = submission_frame(competition, metric, np.linspace(0, 1, len(test)))
    validate_submission(frame, competition)
    frame.to_csv(tmp_path / "s.csv", index=False)
    receipt = LocalPlatform("churn", metric=metric).submit(
        tmp_path / "s.csv", "token", sha256_file(tmp_path / "s.csv"), datetime.now(UTC)
    )
    assert receipt.state == "accepted" and receipt.public_score is not None


def test_the_hold_out_is_the_same_every_time(source: Path, tmp_path: Path) -> None:
    for name in "ab":
        init_local(tmp_path / name, source / "train.csv", target="left")
    assert snapshot(tmp_path / "a/data") == snapshot(tmp_path / "b/data")
    assert load_config(tmp_path / "b").competition == "churn-2", "yet each has a ledger of its own"


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_the_format_of_the_files_is_kept(source: Path, tmp_path: Path, suffix: str) -> None:
    frame = pd.read_csv(source / "train.csv", keep_default_na=False)
    file = source / f"train{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False)
    workspace = tmp_path / "w"
    init_local(workspace, file, target="left")
    assert {path.name for path in (workspace / "data").iterdir()} == {
        f"train{suffix}",
        f"test{suffix}",
        "sample_submission.csv",
    }
    assert len(loaded(workspace).train) + len(loaded(workspace).test) == 150


@pytest.mark.parametrize(
    ("task", "metric", "header", "strategy"),
    [
        ("multiclass", None, "id,target", "stratified"),
        ("multiclass", "log_loss", "id,0,1,2", "stratified"),
        ("multiclass", "map@2", "id,target", "stratified"),
        ("regression", None, "id,target", "kfold"),
    ],
)
def test_the_metric_decides_the_submission_when_there_is_no_sample(
    tmp_path: Path, task: str, metric: str | None, header: str, strategy: str
) -> None:
    bunch = load_wine(as_frame=True) if task == "multiclass" else load_diabetes(as_frame=True)
    bunch.frame.to_csv(tmp_path / "t.csv", index=False)
    workspace = tmp_path / "w"
    lines = init_local(workspace, tmp_path / "t.csv", target="target", metric=metric)
    assert said(lines, "task").startswith(f"task        {task}")
    assert (workspace / "data/sample_submission.csv").read_text().splitlines()[0] == header
    config = load_config(workspace)
    assert (config.cv_strategy, config.id_column) == (strategy, None)
    competition = loaded(workspace)
    sample = pd.read_csv(workspace / "data/sample_submission.csv")
    with pytest.raises(DataError, match="says the same of all"):
        validate_submission(sample, competition)
    assert sample["id"].tolist() == list(range(len(competition.test))), "rows without ids are numbered"


def test_a_sample_without_a_test_gives_the_columns(source: Path, tmp_path: Path) -> None:
    (source / "sample.csv").write_text("id,probability\n1,0.5\n")
    init_local(tmp_path / "w", source / "train.csv", sample=source / "sample.csv", target="left")
    assert loaded(tmp_path / "w").submission.columns == ("probability",)


def test_rows_without_a_target_are_left_out_with_a_word(source: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(source / "train.csv", keep_default_na=False)
    frame.loc[[3, 5], "left"] = ""
    frame.to_csv(source / "train.csv", index=False)
    held = init_local(tmp_path / "a", source / "train.csv", target="left")
    copied = init_local(tmp_path / "b", source / "train.csv", source / "test.csv", target="left")
    for lines in (held, copied):
        assert "2 of 150 rows" in said(lines, "note")
    assert len(loaded(tmp_path / "b").train) == 148


def test_group_and_time_set_the_folds_and_the_hold_out(source: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(source / "train.csv", keep_default_na=False)
    frame["shop"] = [f"s{i % 15}" for i in range(150)]
    frame["day"] = pd.date_range("2020-01-01", periods=150)[::-1].strftime("%d.%m.%Y")
    frame.to_csv(source / "train.csv", index=False)
    init_local(tmp_path / "g", source / "train.csv", target="left", group_column="shop")
    by_group = loaded(tmp_path / "g")
    assert by_group.spec.cv_strategy == "stratified_group"
    assert not set(by_group.train["shop"]) & set(by_group.test["shop"])
    init_local(tmp_path / "t", source / "train.csv", target="left", time_column="day")
    by_time = loaded(tmp_path / "t")
    assert by_time.spec.cv_strategy == "time"
    assert by_time.train["day"].max() < by_time.test["day"].min()


def test_rare_classes_stay_in_train() -> None:
    y = np.array([0] * 40 + [1] * 32 + [2] * 2 + [3])
    held = hold_out(y, "multiclass", seed=1)
    assert np.bincount(y[held], minlength=4).tolist() == [10, 8, 0, 0]


@pytest.mark.parametrize(
    ("content", "options", "error", "message"),
    [
        ("id,a,y\n1,2,0\n2,3,1\n", {"target": "z"}, DataError, "no column 'z' (the target)"),
        ("id,a,y\n1,2,0\n2,3,1\n", {"target": "y", "id_column": "k"}, DataError, "no column 'k' (the id)"),
        ("id,a,y\n1,2,0\n2,3,1\n", {"target": "y", "group_column": "k"}, DataError, "no column 'k' (the group)"),
        ("id,a,y\n1,2,0\n1,3,1\n", {"target": "y"}, DataError, "duplicate ids"),
        ("id,a,y\n1,2,0\n2,3,0\n", {"target": "y"}, DataError, "one class only"),
        ("id,a,y\n1,2,\n2,3,\n", {"target": "y"}, DataError, "missing in all 2 rows"),
        ("id,a,y\n1,2,0\n2,3,1\n", {"target": "y"}, DataError, "too few to hold back"),
        ("id,a,y\n1,2,0\n2,3,1\n", {"target": "y", "metric": "aucc"}, MetricError, "aucc"),
        ("id,a,y\n1,2,0\n2,3,1\n3,2,2\n", {"target": "y", "metric": "f1"}, MetricError, "the task is multiclass"),
        ("", {"target": "y"}, DataError, "is empty"),
        ("id,y\n1,0\n2,1\n", {"target": "y"}, DataError, "/t.csv has no features: only the id and the target"),
        ("a,y\n" + "1,-2\n2,3.5\n" * 9, {"target": "y", "metric": "rmsle"}, MetricError, "the lowest is -2"),
        (
            "a,y\n" + "1,u v\n2,w\n3,x\n" * 9,
            {"target": "y", "metric": "map@2"},
            DataError,
            "hold a space (e.g. 'u v')",
        ),
        ("a,y\n" + "1,inf\n" * 9, {"target": "y"}, DataError, "infinite in every row"),
    ],
)
def test_wrong_input_is_told_and_leaves_nothing_behind(
    tmp_path: Path, home: Path, content: str, options: dict[str, Any], error: type[AutokaggleError], message: str
) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(error) as caught:
        init_local(tmp_path / "w", tmp_path / "t.csv", **options)
    assert message in caught.value.message
    assert not (tmp_path / "w").exists() or snapshot(tmp_path / "w") == {}
    assert not home.exists() or snapshot(home) == {}


def test_what_config_json_may_not_hold_is_told_as_such_and_leaves_nothing_behind(
    source: Path, tmp_path: Path, home: Path
) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: cv_folds: must be 50 or less, not 51"):
        init_local(tmp_path / "w", source / "train.csv", source / "test.csv", target="left", folds=51, metric="auc")
    assert snapshot(tmp_path / "w") == {}
    assert not list((tmp_path / "w").iterdir())
    assert snapshot(home) == {}


def test_a_test_with_the_target_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains the target 'left'") as caught:
        init_local(tmp_path / "w", source / "train.csv", source / "train.csv", target="left")
    assert "Drop the column" in caught.value.hint


def test_a_sample_of_another_competition_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "sample.csv").write_text("id,left\n1,0.5\n")
    with pytest.raises(DataError, match="50 ids of test are not in it") as caught:
        init_local(tmp_path / "w", source / "train.csv", source / "test.csv", source / "sample.csv", target="left")
    assert str(source / "sample.csv") in caught.value.message


@pytest.mark.parametrize("there", ["rounds/R01_plan.md", "autokaggle.db", "config.json", "data/train.csv"])
def test_nothing_is_ever_overwritten(source: Path, tmp_path: Path, home: Path, there: str) -> None:
    workspace = tmp_path / "w"
    file = workspace / there
    file.parent.mkdir(parents=True)
    file.write_text('{"competition": "mine"}')
    before = snapshot(workspace)
    with pytest.raises(WorkspaceError) as caught:
        init_local(workspace, source / "train.csv", target="left")
    assert caught.value.hint
    assert snapshot(workspace) == before
    assert not home.exists()


def test_the_untouched_template_is_filled_in(source: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    (workspace / "rounds").mkdir(parents=True)
    (workspace / "rounds/.gitkeep").touch()
    (workspace / "config.json").write_text(json.dumps({"competition": "my-competition"}))
    init_local(workspace, source / "train.csv", target="left")
    assert load_config(workspace).competition == "churn"
    with pytest.raises(WorkspaceError, match="configured already"):
        init_local(workspace, source / "train.csv", target="left")


def test_an_init_that_was_killed_before_its_config_is_run_again(source: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    init_local(workspace, source / "train.csv", target="left")
    before = snapshot(workspace / "data")
    (workspace / "config.json").unlink()
    (workspace / ".tmp-init-0").mkdir()
    init_local(workspace, source / "train.csv", target="left")
    assert snapshot(workspace / "data") == before
    assert sorted(path.name for path in workspace.iterdir()) == ["LEARNINGS.md", "config.json", "data"]


def test_rules_of_ones_own_are_kept(source: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "LEARNINGS.md").write_text("# Mine\n")
    lines = init_local(workspace, source / "train.csv", target="left")
    assert (workspace / "LEARNINGS.md").read_text() == "# Mine\n"
    assert "LEARNINGS.md" not in said(lines, "written")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "churn: after the file or its folder, 'churn'"),
        ("sales-2", "sales-2"),
        ("My sales/π", "my-sales: from 'My sales/π'; a name is lower-case letters, digits and dashes"),
        ("taken", "taken-2: from 'taken'; 'taken' is taken"),
    ],
)
def test_the_name_that_was_chosen_is_said(source: Path, tmp_path: Path, name: str | None, expected: str) -> None:
    init_local(tmp_path / "other", source / "train.csv", target="left", name="taken")
    lines = init_local(tmp_path / "w", source / "train.csv", target="left", name=name)
    assert lines[0] == f"name        {expected}"
    assert load_config(tmp_path / "w").competition == expected.split(":")[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id_column": "left"}, "--id and --target name the same column, 'left'"),
        ({"group_column": "left"}, "--group and --target name the same column"),
        ({"time_column": "left"}, "--time and --target name the same column"),
        ({"group_column": "city", "time_column": "age"}, "--group and --time cannot be given together"),
        ({"id_column": ""}, "--id is empty"),
        ({"folds": 1}, "1 folds are too few"),
        ({"seed": -1}, "The seed -1 is out of range"),
        ({"seed": 2**40}, "is out of range"),
    ],
)
def test_options_that_contradict_each_other_are_wrong_usage(
    source: Path, tmp_path: Path, home: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        init_local(tmp_path / "w", source / "train.csv", target="left", **options)
    assert said in caught.value.message and caught.value.hint
    assert not (tmp_path / "w").exists() and not home.exists()


def test_the_order_that_qwk_takes_words_in_is_said(tmp_path: Path) -> None:
    grades = ["poor", "fair", "good"]
    frame = pd.DataFrame(
        {"a": range(60), "grade": [grades[i % 3] for i in range(60)], "level": [i % 3 for i in range(60)]}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = init_local(tmp_path / "w", tmp_path / "t.csv", target="grade", metric="qwk")
    assert "fair < good < poor: qwk takes the classes in alphabetical order" in said(words, "scale")
    numbers = init_local(tmp_path / "n", tmp_path / "t.csv", target="level", metric="qwk")
    assert not [line for line in numbers if line.startswith("scale")]


def test_what_is_odd_about_a_sample_is_noted(source: Path, tmp_path: Path) -> None:
    sample = source / "sample_submission.csv"
    frame = pd.read_csv(sample).rename(columns={"left": "prediction"})
    frame.to_csv(sample, index=False)
    lines = init_local(tmp_path / "t", source / "train.csv", source / "test.csv", sample, target="left")
    assert "column 'prediction' is not called 'left'" in said(lines, "note")
    lines = init_local(tmp_path / "h", source / "train.csv", sample=sample, target="left")
    assert any("none of the 50 ids ('id') of the sample submission are in train" in line for line in lines)
    frame.assign(id=range(100, 150)).to_csv(sample, index=False)
    lines = init_local(tmp_path / "k", source / "train.csv", sample=sample, target="left")
    assert not any("are in train" in line for line in lines)


def test_numbers_are_no_classes_and_the_metric_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pd.DataFrame({"a": rng.normal(size=600), "b": range(600)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(MetricError, match="roc_auc needs classes, and 'a' holds 600 different numbers in 600 rows"):
        init_local(tmp_path / "w", tmp_path / "t.csv", target="a", metric="roc_auc")


def test_too_few_groups_are_answered_with_the_option_that_helps(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 groups are too few for 5 folds") as caught:
        init_local(tmp_path / "w", source / "train.csv", source / "test.csv", target="left", group_column="city")
    assert caught.value.hint == "Give --folds 3."
    lines = init_local(
        tmp_path / "w", source / "train.csv", source / "test.csv", target="left", group_column="city", folds=3
    )
    assert "3, stratified_group" in said(lines, "folds")


def test_files_may_lie_in_the_data_folder_already_if_nothing_is_hidden(source: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    source.rename(workspace / "data")
    data = workspace / "data"
    before = snapshot(data)
    with pytest.raises(WorkspaceError, match="the labels to hide could be read"):
        init_local(workspace, data / "train.csv", target="left")
    init_local(workspace, data / "train.csv", data / "test.csv", data / "sample_submission.csv", target="left")
    assert snapshot(data) == before


def test_a_train_file_inside_the_workspace_is_warned_about(source: Path) -> None:
    lines = init_local(source, source / "train.csv", target="left")
    assert "better move it away" in said(lines, "note")


def test_the_demo_is_made_once_and_then_continued(tmp_path: Path) -> None:
    workspace = demo_workspace(tmp_path / "demo")
    before = snapshot(workspace)
    assert demo_workspace(tmp_path / "demo") == workspace
    assert snapshot(workspace) == before
    competition = loaded(workspace)
    assert competition.classes == ("benign", "malignant") and len(competition.train) == 427
    assert LocalCompetition.open(load_config(workspace).competition).labels is not None


def test_the_demo_can_be_deleted_and_made_again(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        workspace = demo_workspace(tmp_path / "demo")
        names.append(load_config(workspace).competition)
        for file in sorted(workspace.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
    assert names == ["breast-cancer", "breast-cancer-2"]


def test_the_demo_leaves_other_workspaces_alone(source: Path, tmp_path: Path) -> None:
    init_local(tmp_path / "w", source / "train.csv", target="left")
    with pytest.raises(WorkspaceError, match="another competition"):
        demo_workspace(tmp_path / "w")


def test_importing_setup_loads_no_science() -> None:
    code = (
        "import sys, autokaggle_tui.setup; print(sorted({'pandas', 'numpy', 'sklearn', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
