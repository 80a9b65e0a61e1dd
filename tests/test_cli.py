"""The command line: fast where it must be, clear when used wrongly, JSON for programs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace

from .conftest import change_config, play

HEAVY = ("pandas", "numpy", "sklearn", "litellm", "lightgbm", "sqlite_utils")


def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=120,
    )


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace in which a round was played, and the user's data beside it."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOKAGGLE_DATA_HOME", str(folder / "home"))
        play(Workspace(demo_workspace(folder / "demo")), 1)
    return folder


@pytest.fixture
def played(once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy of it that a test may change."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    return Workspace(tmp_path / "demo")


@pytest.mark.parametrize(
    "command", [["--help"], ["status"], ["rounds"], ["show", "R01"], ["init", "--help"], ["status", "--json"]]
)
def test_light_commands_import_nothing_heavy(played: Workspace, command: list[str]):
    code = (
        "import sys\n"
        "from autokaggle_tui.cli import main\n"
        f"sys.argv = ['autokaggle-tui', '-w', {str(played.root)!r}, *{command!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--bogus"], 2, "No such option"),
        (["--rounds", "0"], 2, "rounds"),
        (["--no-ui", "--time-limit", "soon"], 2, "soon"),
        (["--no-ui", "--model", "builder"], 2, "ROLE=MODEL"),
        (["--no-ui", "--model", "builder=gpt-9"], 2, "openai/gpt-9"),
        (["--no-ui", "--log-format", "xml"], 2, "xml"),
        (["show", "R99"], 2, "R99"),
        (["try", "nothing.py"], 2, "nothing.py"),
        (["pause"], 1, "nothing to pause"),
        (["init", "--train", "nothing.csv", "--target", "y"], 1, "holds the registry"),
    ],
)
def test_wrong_use_is_a_message_and_an_exit_code(played: Workspace, arguments: list[str], code: int, said: str):
    done = cli("-w", str(played.root), *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_says_what_to_do(tmp_path: Path):
    for arguments, said in (
        (["--no-ui"], "autokaggle-tui init"),
        (["status"], "nothing has run"),
        (["hint", "x"], "nothing"),
    ):
        done = cli("-w", str(tmp_path), *arguments)
        assert done.returncode == 1
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_json_is_json(played: Workspace):
    status = json.loads(cli("status", "--json", "-w", str(played.root)).stdout)
    assert status["round"] == 1 and status["run"]["status"] == "finished"
    rounds = json.loads(cli("rounds", "--json", "-w", str(played.root)).stdout)
    assert rounds[0]["id"] == "R01" and isinstance(rounds[0]["cv_score"], float)
    shown = json.loads(cli("show", "1", "--json", "-w", str(played.root)).stdout)
    assert [fold["status"] for fold in shown["folds"]] == ["ok"] * 5


def test_events_come_as_one_json_object_a_line(workspace: Workspace):
    done = cli("--no-ui", "--rounds", "1", "--log-format", "json", "-w", str(workspace.root))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["kind"] == "run_started" and events[-1]["kind"] == "run_ended"
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)


def test_a_person_tries_an_experiment_of_their_own(played: Workspace, tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import StandardScaler\n\n"
        "def fit_predict(train, valid, test, ctx):\n"
        "    columns = list(ctx.columns.numeric)\n"
        "    model = make_pipeline(StandardScaler(), LogisticRegression())\n"
        "    model.fit(train[columns], train[ctx.columns.target])\n"
        "    return model.predict_proba(valid[columns])[:, 1], model.predict_proba(test[columns])[:, 1]\n"
    )
    done = cli("try", str(file), "-w", str(played.root))
    assert done.returncode == 0, done.stderr
    assert "T01" in done.stdout
    again = cli("try", str(file), "-w", str(played.root))
    assert again.returncode == 0 and "ran before as T01" in again.stdout
    file.write_text("def fit_predict(train, valid, test, ctx):\n    raise RuntimeError('oops')\n")
    failed = cli("try", str(file), "-w", str(played.root))
    assert failed.returncode == 1
    assert "oops" in failed.stdout and "Traceback" not in failed.stderr
    file.write_text("print('no function')\n")
    assert cli("try", str(file), "-w", str(played.root)).returncode == 2


def test_a_broken_config_names_the_key(workspace: Workspace):
    change_config(workspace, cv_fold=5)
    done = cli("--no-ui", "-w", str(workspace.root))
    assert done.returncode == 1
    assert "cv_fold" in done.stderr and "cv_folds" in done.stderr and "config.json" in done.stderr
