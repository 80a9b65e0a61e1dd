"""config.json: what is accepted, what follows from it, and how every mistake is answered."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autokaggle_tui.config import SCHEMA_FILE, Budget, Config, json_schema, load_config, save_config
from autokaggle_tui.durations import format_duration, parse_duration
from backends.models.names import check_model
from backends.models.settings import ModelSettings
from experiments.errors import AutokaggleError, ConfigError, ModelError, UsageError
from experiments.spec import Spec

ROOT = Path(__file__).resolve().parent.parent
MINIMAL = {"competition": "churn", "task_type": "binary", "metric": "auc_roc", "target_column": "Exited"}
OWN_METRIC = """
NAME = "profit"
DIRECTION = "maximize"
PREDICTION = "label"
TASKS = ("binary",)
def score(y_true, y_pred):
    return float((y_true * y_pred).sum())
"""


def write(workspace: Path, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (workspace / "config.json").write_text(text, encoding="utf-8")
    return workspace


def load(workspace: Path, **changes: Any) -> Config:
    return load_config(write(workspace, MINIMAL | changes))


def refusal(workspace: Path, content: Any) -> str:
    """What a person reads about a wrong file, message and hint."""
    with pytest.raises(ConfigError) as error:
        load_config(write(workspace, content))
    return str(error.value)


# --- what follows from few words


def test_four_keys_are_enough(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.spec() == Spec(
        name="churn",
        task_type="binary",
        metric="roc_auc",
        direction="maximize",
        target="Exited",
        cv_strategy="stratified",
    )
    assert config.platform == "local"
    assert set(config.models.names().values()) == {"playbook"}
    assert config.compute.fold_timeout == 1800.0
    assert config.budget == Budget(usd=None, tokens=None, time=None, rounds=None)
    assert (config.retro_every, config.respawn_after, config.seed) == (10, 15, 42)
    assert config.data_path(tmp_path) == tmp_path / "data"
    assert config.metric(tmp_path).score([0, 1], [0.2, 0.7]) == 1.0


@pytest.mark.parametrize(
    ("changes", "strategy"),
    [
        ({}, "stratified"),
        ({"task_type": "multiclass", "metric": "accuracy"}, "stratified"),
        ({"task_type": "regression", "metric": "rmse"}, "kfold"),
        ({"group_column": "customer"}, "group"),
        ({"time_column": "day"}, "time"),
        ({"time_column": "day", "cv_strategy": "kfold"}, "kfold"),
        ({"group_column": "customer", "time_column": "day", "cv_strategy": "time"}, "time"),
        ({"cv_strategy": None}, "stratified"),
    ],
)
def test_the_strategy_follows_from_task_and_columns(tmp_path: Path, changes: dict, strategy: str) -> None:
    assert load(tmp_path, **changes).cv_strategy == strategy


def test_null_is_the_same_as_leaving_an_optional_key_out(tmp_path: Path) -> None:
    nothing = dict.fromkeys(
        ("id_column", "group_column", "time_column", "deadline", "existing_oof_dir", "metric_direction")
    )
    assert load(tmp_path, **nothing).spec() == load(tmp_path).spec()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-03-31", "2026-03-31T23:59:00+00:00"),
        ("2026-03-31T12:00", "2026-03-31T12:00:00+00:00"),
        ("2026-03-31 12:00:30", "2026-03-31T12:00:30+00:00"),
        ("2026-03-31T12:00:00Z", "2026-03-31T12:00:00+00:00"),
        ("2026-03-31T12:00:00+05:30", "2026-03-31T06:30:00+00:00"),
    ],
)
def test_a_deadline_is_utc_and_a_date_lasts_until_its_end(tmp_path: Path, written: str, moment: str) -> None:
    deadline = load(tmp_path, deadline=written).deadline
    assert deadline == dt.datetime.fromisoformat(moment)
    assert deadline is not None and deadline.tzinfo is dt.UTC


def test_no_limit_on_submissions_is_null(tmp_path: Path) -> None:
    assert load(tmp_path, max_submissions_per_day=None).max_submissions_per_day is None
    assert load(tmp_path, max_submissions_per_day=0).max_submissions_per_day == 0


def test_paths_are_relative_to_the_workspace(tmp_path: Path) -> None:
    config = load(tmp_path, data_dir="files/raw", knowledge_files=["notes.md"])
    assert config.data_path(tmp_path) == tmp_path / "files" / "raw"
    assert config.path(tmp_path, config.knowledge_files[0]) == tmp_path / "notes.md"
    assert load(tmp_path, data_dir="/srv/data").data_path(tmp_path) == Path("/srv/data")
    assert load(tmp_path, data_dir="~/data").data_path(tmp_path) == Path.home() / "data"


# --- the metric


def test_a_metric_file_is_read_but_not_run_by_loading(tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text("raise SystemExit\n" + OWN_METRIC)
    config = load(tmp_path, metric="profit")
    assert (config.spec().metric, config.spec().direction) == ("profit", "maximize")


def test_a_metric_file_scores(tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(OWN_METRIC)
    assert load(tmp_path, metric="profit").metric(tmp_path).score([0, 1, 1], [0.9, 0.9, 0.1]) == 1.0


@pytest.mark.parametrize("content", ["NAME = 'profit'\n", "NAME = \n", OWN_METRIC.replace('"maximize"', "UP")])
def test_a_broken_metric_file_is_a_config_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "metric.py").write_text(content)
    said = refusal(tmp_path, MINIMAL | {"metric": "profit"})
    assert "metric: " in said and "metric.py" in said


def test_a_metric_file_under_a_built_in_name_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "metric.py").write_text(OWN_METRIC.replace("profit", "ROC-AUC"))
    for asked in ("auc", "log_loss"):
        said = refusal(tmp_path, MINIMAL | {"metric": asked})
        assert "metric: " in said and "metric.py: NAME 'ROC-AUC' is the built-in metric roc_auc" in said


# --- mistakes


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrc": "auc"}, "metrc: unknown key; did you mean 'metric'?"),
        ({"targetcolumn": "x"}, "targetcolumn: unknown key; did you mean 'target_column'?"),
        ({"metric_name": "auc"}, "metric_name: unknown key; did you mean"),
        ({"slots": 2}, "slots: unknown key here; it belongs inside 'compute'"),
        ({"compute": {"seed": 2}}, "compute.seed: unknown key here; it belongs at the top level"),
        ({"compute": {"slot": 2}}, "compute.slot: unknown key; did you mean 'slots'?"),
        ({"models": {"qqq": "x"}}, "models.qqq: unknown key; known here: researcher, builder, reviewer"),
        ({"\x1b[31mred": 1}, "\\u001b[31mred"),
        ({"competition": "https://www.kaggle.com/c/x"}, "last part of the competition's address"),
        ({"competition": "../x"}, "competition: "),
        ({"competition": ""}, "competition: "),
        ({"task_type": "binari"}, "did you mean 'binary'?"),
        ({"task_type": "object_detection"}, "'object_detection' is not built yet"),
        ({"task_type": "nlp_generation"}, "binary, multiclass, regression"),
        ({"metric": "roc_aux"}, "metric: unknown metric 'roc_aux'; did you mean roc_auc"),
        ({"metric": "map"}, 'write for example "map@3"'),
        ({"metric": "rmse"}, "rmse does not fit task_type 'binary'"),
        ({"metric": 3}, "metric: must be text in quotes, not 3"),
        ({"metric_direction": "minimize"}, 'roc_auc is to be maximized; write "maximize" or remove the key'),
        ({"metric_direction": "maximise"}, "did you mean 'maximize'?"),
        ({"metric": "neg_log_loss", "metric_direction": "maximize"}, "log_loss is to be minimized"),
        ({"target_column": ""}, "target_column: must not be empty"),
        ({"id_column": "Exited"}, "id_column: 'Exited' is the target_column"),
        ({"group_column": "Exited"}, "group_column: 'Exited' is the target_column"),
        ({"cv_strategy": "stratifed"}, "did you mean 'stratified'?"),
        ({"cv_strategy": "group"}, 'cv_strategy: "group" needs group_column'),
        ({"cv_strategy": "stratified_group"}, "needs group_column"),
        ({"cv_strategy": "time"}, "needs time_column"),
        ({"group_column": "a", "time_column": "b"}, "cv_strategy: is needed, since both"),
        (
            {"cv_strategy": "stratified", "task_type": "regression", "metric": "rmse"},
            'needs classes, and task_type is "regression": use "kfold"',
        ),
        ({"cv_folds": 1}, "cv_folds: must be 2 or more, not 1"),
        ({"cv_folds": 51}, "cv_folds: must be 50 or less, not 51"),
        ({"cv_folds": "5"}, 'cv_folds: must be a whole number, not "5"'),
        ({"cv_folds": 5.5}, "cv_folds: must be a whole number, not 5.5"),
        ({"cv_folds": True}, "cv_folds: must be a whole number, not true"),
        ({"deadline": "31.03.2026"}, "deadline: must be an ISO date or time"),
        ({"deadline": 1774915200}, "deadline: must be an ISO date or time"),
        ({"deadline": "0001-01-01T00:00+05:00"}, "deadline: must be an ISO date or time"),
        ({"max_submissions_per_day": -1}, "must be 0 or more"),
        ({"knowledge_files": "notes.md"}, 'knowledge_files: must be a list, [...], not "notes.md"'),
        ({"knowledge_files": ["a.md", 3]}, "knowledge_files[1]: must be text in quotes, not 3"),
        ({"platform": "kagle"}, "did you mean 'kaggle'?"),
        ({"models": "playbook"}, "models: must be an object"),
        ({"models": {"builder": "gpt-5"}}, "models.builder.model: no model 'gpt-5'; did you mean 'openai/gpt-5'?"),
        ({"models": {"builder": "playbok"}}, "did you mean 'playbook'?"),
        ({"compute": {"slots": 0}}, 'compute.slots: must be a whole number from 1 to 1024, or "auto"'),
        ({"compute": {"slots": "many"}}, 'or "auto"'),
        ({"compute": {"slots": True}}, 'or "auto"'),
        ({"compute": {"fold_timeout": "soon"}}, "compute.fold_timeout: 'soon' is not a span of time"),
        ({"budget": {"time": "-1h"}}, "budget.time: "),
        ({"budget": {"usd": -1}}, "budget.usd: must be 0 or more"),
        ({"budget": {"rounds": 0}}, "budget.rounds: must be 1 or more"),
        ({"seed": -1}, "seed: must be 0 or more"),
        ({"seed": 2**31}, "seed: must be 2147483647 or less"),
        ({"data_dir": "a\0b"}, "data_dir: "),
    ],
)
def test_a_wrong_value_names_its_key_and_the_cure(tmp_path: Path, changes: dict, said: str) -> None:
    answer = refusal(tmp_path, MINIMAL | changes)
    assert said in answer
    assert str(tmp_path / "config.json") in answer
    assert all(character.isprintable() or character == "\n" for character in answer)


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    answer = refusal(tmp_path, {"competition": "x", "task_type": "binary", "cv_folds": 1, "colour": "red"})
    assert answer.splitlines()[0] == f"{tmp_path / 'config.json'} has 4 problems:"
    assert [line.split(":")[0].strip() for line in answer.splitlines()[1:]] == [
        "metric",
        "target_column",
        "cv_folds",
        "colour",
    ]
    assert "metric: is missing" in answer


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"competition": "x",\n "metric" "auc"}', "line 2, column 11: "),
        ('{"competition": "x",\n}', "one too many before a closing bracket"),
        ('{"competition": "x", # mine\n}', "JSON has no comments"),
        ("{'competition': 'x'}", "double quotes"),
        ("", "the file is empty"),
        ("[]", "must be an object, {...}, not a list"),
        ("3", "must be an object"),
        ('{"seed": 1, "seed": 2}', "the key 'seed' is given twice"),
        ("[" * 100_000, "config.json: "),
        ('{"seed": ' + "9" * 5000 + "}", "config.json: "),
    ],
)
def test_broken_json_names_the_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*config\.json\n.*autokaggle-tui init.*demo"):
        load_config(tmp_path)


def test_a_file_that_is_not_utf8_or_not_a_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"competition": "caf\xe9"}')
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 20\)"):
        load_config(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(MINIMAL).encode())
    assert load_config(tmp_path).competition == "churn"
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
one_workspace = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@one_workspace
@given(key=st.sampled_from(sorted(json_schema()["properties"])), value=json_values)
def test_any_value_is_accepted_or_refused_in_words(tmp_path: Path, key: str, value: Any) -> None:
    try:
        load_config(write(tmp_path, MINIMAL | {key: value}))
    except ConfigError as error:
        str(error).encode()


@one_workspace
@given(st.binary(max_size=60))
def test_any_bytes_are_accepted_or_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError):
        load_config(tmp_path)


# --- writing


def test_saving_and_loading_is_the_identity_and_the_schema_comes_first(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        metric="AUC",
        deadline="2026-03-31",
        budget={"time": "1h30m"},
        compute={"fold_timeout": 90},
        max_submissions_per_day=None,
        **{"$schema": "config.schema.json"},
    )
    other = tmp_path / "other"
    other.mkdir()
    save_config(other, config)
    assert load_config(other) == config
    written = json.loads((other / "config.json").read_text())
    assert next(iter(written)) == "$schema"
    assert (written["metric"], written["metric_direction"], written["cv_strategy"]) == (
        "AUC",
        "maximize",
        "stratified",
    )
    assert written["budget"] == {"time": "1h30m"}
    assert written["compute"] == {"fold_timeout": "1m30s"}
    assert written["max_submissions_per_day"] is None
    assert "retro_every" not in written, "what was not set stays out of the file"
    assert list(other.iterdir()) == [other / "config.json"]


def test_saving_keeps_the_persons_order_and_nulls(tmp_path: Path) -> None:
    mine = {"target_column": "y", "id_column": None, "metric": "auc", "task_type": "binary", "competition": "c"}
    config = load_config(write(tmp_path, mine))
    save_config(tmp_path, config.with_model("builder", "playbook"))
    written = json.loads((tmp_path / "config.json").read_text())
    assert list(written)[:5] == list(mine)
    assert written["id_column"] is None
    assert written["models"] == {"builder": "playbook"}


def test_another_model_of_a_provider_keeps_its_endpoint(tmp_path: Path) -> None:
    mine = {"model": "openai/a", "api_base": "http://127.0.0.1:8080/v1", "temperature": 0.2, "input_price": 1.0}
    config = load(tmp_path, models={"builder": mine, "reviewer": "anthropic/b"})
    assert config.models.of("reviewer") == ModelSettings(model="anthropic/b")
    save_config(tmp_path, config.with_model("builder", "openai/c"))
    written = json.loads((tmp_path / "config.json").read_text())["models"]
    kept = {"model": "openai/c", "api_base": "http://127.0.0.1:8080/v1", "temperature": 0.2}
    assert written == {"builder": kept, "reviewer": "anthropic/b"}
    assert load_config(tmp_path).with_model("builder", "playbook").models.of("builder") == ModelSettings()


def test_a_model_that_does_not_exist_cannot_be_set(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'anthropic/claude-x'"):
        load(tmp_path).with_model("builder", "antropic/claude-x")
    with pytest.raises(ModelError, match="did you mean 'playbook'"):
        check_model("Playbook")


def test_a_config_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write"):
        save_config(tmp_path / "file", load(tmp_path))


# --- the shipped files


def test_the_shipped_schema_is_up_to_date() -> None:
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), "run `make schema`"


def test_every_field_of_the_schema_is_described() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            section = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            assert field.get("description") or section.get("description"), name


def test_the_repository_root_is_a_valid_workspace() -> None:
    config = load_config(ROOT)
    assert config.competition == "my-competition"
    assert config.schema_reference is not None and (ROOT / config.schema_reference) == SCHEMA_FILE


def test_reading_a_config_imports_no_science() -> None:
    code = (
        "import sys, pathlib, autokaggle_tui.config as c; c.load_config(pathlib.Path(sys.argv[1]));"
        "print(sorted({'numpy', 'scipy', 'pandas', 'sklearn', 'litellm', 'kaggle'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- spans of time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("300s", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        (" 1H 30min ", 5400),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        ("0.5", 0.5),
    ],
)
def test_spans_of_time(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "0", "1h30", "30m2h", "1e5", "inf", "9" * 400, "99999d", "h", "١", float("nan"), True]
)
def test_what_is_no_span_of_time_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="span of time"):
        parse_duration(text)


@given(st.integers(1, 10**8))
def test_a_span_of_time_is_written_as_it_is_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@given(st.text(max_size=20) | st.integers() | st.floats())
def test_any_span_is_positive_or_refused(text: Any) -> None:
    try:
        assert parse_duration(text) > 0
    except AutokaggleError:
        pass
