"""From the name of a competition to a submission, against the emulated Kaggle, in real processes where it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from autokaggle_tui.config import load_config
from autokaggle_tui.doctor_kaggle import check_competition, check_kaggle
from autokaggle_tui.enrolment import Wishes, enrol, enrol_on_kaggle
from autokaggle_tui.progress import download_progress
from autokaggle_tui.workspace import Workspace
from backends.platforms.kaggle.source import KaggleSource
from experiments.errors import AutokaggleError, PlatformError
from experiments.schema import open_viewer

from .conftest import change_config
from .emulators.kaggle import TOKEN, Fault, KaggleServer
from .kaggles import AT_ONCE, client_of, server

__all__ = ["server"]
ADDRESS = "https://www.kaggle.com/competitions/tumours-s1e1/overview"


@pytest.fixture(autouse=True)
def signed_in(server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process, and those that it starts, are Ada's, and take the emulator for Kaggle."""
    monkeypatch.setenv("AUTOKAGGLE_KAGGLE_URL", server.url)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    server.clock = lambda: datetime.now(UTC)
    server.deadline = datetime.now(UTC) + timedelta(days=10)


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autokaggle_tui", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def init(workspace: Path, name: str = "tumours-s1e1") -> list[str]:
    return list(enrol_on_kaggle(workspace, name, Wishes()))


def init_at_once(workspace: Path, server: KaggleServer) -> list[str]:
    """The same, with no pauses between tries."""
    source, bar = KaggleSource(client_of(server, AT_ONCE)), download_progress(Console(quiet=True))
    return list(enrol(workspace, server.task.slug, source, Wishes(), now=server.clock(), progress=bar))


def test_two_rounds_from_a_name_to_the_leaderboard(server: KaggleServer, tmp_path: Path):
    place = Workspace(tmp_path / "w")
    made = cli("init", ADDRESS, "--folds", "2", "-w", str(place.root))
    assert made.returncode == 0, made.stderr
    assert "account     the environment variable KAGGLE_API_TOKEN" in made.stdout
    assert "roc_auc (maximize): the competition is evaluated by 'Area Under Receiver" in made.stdout
    assert load_config(place.root).knowledge_files[0] == "knowledge/description.md"
    change_config(place, seed_repeats=0)
    played = cli("--no-ui", "--rounds", "2", "--time-limit", "20s", "--log-format", "json", "-w", str(place.root))
    assert played.returncode == 0, played.stderr
    said = [json.loads(line) for line in played.stdout.splitlines()]
    assert [row["data"]["new"] for row in said if row["kind"] == "mined"] == [8, 8]
    sent = server.ledger
    assert sent and all(one.scores is not None and one.scores.public > 0.9 for one in sent)
    assert len({one.sha256 for one in sent}) == len(sent), "each file once"
    connection = open_viewer(place.facts)
    states = [row["state"] for row in connection.execute("SELECT state FROM submissions")]
    connection.close()
    assert len(states) == len(sent) and not {"intent", "unknown", "failed"} & set(states)
    assert "| lightgbm | 16 |" in place.file(2, "research_raw.md").read_text()
    assert "do as I say" not in "".join(path.read_text() for path in (place.root / "research").rglob("*.json"))
    for text in (made.stdout, made.stderr, played.stdout, played.stderr):
        assert TOKEN not in text
    for path in place.root.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def test_rules_that_are_not_accepted_are_told_with_the_address_and_the_command_goes_on(
    server: KaggleServer, tmp_path: Path
):
    server.rules_accepted = False
    refused = cli("init", "tumours-s1e1", "-w", str(tmp_path))
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "The rules of tumours-s1e1 are not accepted yet" in refused.stderr
    assert "https://www.kaggle.com/competitions/tumours-s1e1/rules" in refused.stderr
    assert server.calls("DownloadDataFiles") == 0
    server.rules_accepted = True
    assert "written" in init(tmp_path)[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernels_only": True}, "from Kaggle notebooks alone"),
        ({"closed": True}, "tumours-s1e1 is closed"),
    ],
)
def test_what_takes_no_files_is_named_before_any_work(
    server: KaggleServer, tmp_path: Path, change: dict[str, bool], message: str
):
    for name, value in change.items():
        setattr(server, name, value)
    with pytest.raises(PlatformError, match=message):
        init(tmp_path)
    assert server.calls("DownloadDataFiles") == 0 and not list(tmp_path.iterdir())


def test_a_wrong_name_is_told(server: KaggleServer, tmp_path: Path):
    with pytest.raises(PlatformError, match="knows no competition 'tumors'") as caught:
        init(tmp_path, "tumors")
    assert "the last part of its address" in caught.value.hint
    with pytest.raises(AutokaggleError, match="not the name of a Kaggle competition"):
        init(tmp_path, "train.csv")


def test_a_download_that_was_cut_goes_on_where_it_ended(server: KaggleServer, tmp_path: Path):
    server.fail("Blob", *[Fault("cut", bytes=20_000 if n == 0 else 0) for n in range(20)])
    with pytest.raises(PlatformError):
        init_at_once(tmp_path, server)
    assert not (tmp_path / "config.json").exists() and (tmp_path / "knowledge/rules.md").exists()
    server.heal()
    assert "written" in init_at_once(tmp_path, server)[-1]
    ranges = [one.headers.get("range") for one in server.received if one.name == "Blob"]
    assert ranges[-1] == "bytes=20000-"
    assert not (tmp_path / "cache/download").exists()


def test_nobody_is_told_how_to_become_somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(PlatformError, match="No Kaggle credentials were found") as caught:
        init(tmp_path)
    assert "https://www.kaggle.com/settings/api" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "tumours-s1e1", "--train", "t.csv"), "--train cannot be given with it"),
        (("init", "tumours-s1e1", "--name", "x", "--test", "t.csv"), "--test and --name cannot be given with it"),
        (("init",), "needs the name of a Kaggle competition, or --train and --target; --train is missing"),
        (("init", "--train", "t.csv"), "--target is missing"),
    ],
)
def test_a_name_and_files_of_ones_own_exclude_each_other(tmp_path: Path, arguments: tuple[str, ...], said: str):
    done = cli(*arguments, "-w", str(tmp_path))
    assert done.returncode == 2 and said in done.stderr


def test_doctor_asks_kaggle_once_and_says_what_it_answers(server: KaggleServer, tmp_path: Path):
    init(tmp_path)
    credentials, competition = check_kaggle(load_config(tmp_path))
    assert (credentials.state, credentials.text) == ("ok", "the environment variable KAGGLE_API_TOKEN")
    assert (competition.state, competition.text) == ("ok", "tumours-s1e1: 0 of 5 submissions of today are used")
    server.fail("GetSubmissionLimits", Fault("status", 503))
    assert check_competition("tumours-s1e1").state == "fail"
    server.tokens.clear()
    found = check_competition("tumours-s1e1")
    assert "does not accept the credentials" in found.text and TOKEN not in found.text + found.cure


def test_doctor_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    [found] = check_kaggle(None)
    assert found.state == "ok"
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    [found] = check_kaggle(None)
    assert found.state == "ok" and "only competitions on Kaggle need them" in found.text
