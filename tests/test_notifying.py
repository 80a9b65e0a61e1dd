"""Notifications: what deserves one, the deadline's, and the command that makes a phone ring."""

import asyncio
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autokaggle_tui.config import load_config
from autokaggle_tui.notifying import WAITING, Notifier, notice, notifications, watch_deadline
from autokaggle_tui.workspace import Workspace
from experiments.errors import ConfigError
from experiments.registry import Registry

from .conftest import change_config

LEADER = {"id": "R07", "family": "lightgbm", "score": 0.97312}
RECORDER = """
import json, os, sys
with open("rung.jsonl", "a") as file:
    told = {key: os.environ["AUTOKAGGLE_" + key.upper()] for key in ("event", "text", "workspace")}
    file.write(json.dumps([sys.argv[1:], told]) + "\\n")
"""


def event(kind: str, **data: Any) -> Mapping[str, Any]:
    return {"id": 1, "at": 0.0, "run": "r", "round": 7, "kind": kind, "data": data}


def ended(status: str, reason: str, champion: Any = LEADER) -> Mapping[str, Any]:
    return event("run_ended", status=status, reason=reason, elapsed=1.0, champion=champion, submission=None)


@pytest.mark.parametrize(
    ("happened", "kind", "severity", "said"),
    [
        (event("command", verb="pause", state="done", result="", args={}), "paused", "information", "pauses"),
        (event("champion", experiment="R07", score=0.97312, gain=0.00021), "champion", "information", "+0.00021"),
        (
            event("champion", experiment="R01", score=0.9, gain=None),
            "champion",
            "information",
            "R01 leads with 0.90000.",
        ),
        (ended("failed", "No space left."), "failed", "error", "The run failed: No space left."),
        (ended("finished", "the time limit is reached"), "budget", "warning", "R07 leads with 0.97312."),
        (ended("finished", "3 rounds played"), "budget", "warning", "3 rounds played"),
        (ended("finished", "the budget of $5.00 is spent", None), "budget", "warning", "Nothing was scored."),
        (ended("finished", "3 rounds in a row were blocked; last: x"), "ended", "warning", "blocked"),
        (
            event("held", text="disk 0.4 GB free", until="1.2 GB are free"),
            "held",
            "warning",
            "pauses: disk 0.4 GB free",
        ),
        (event("released", text="enough disk again"), "released", "information", "goes on"),
        (event("deadline", at=1.8e9, hours=24), "deadline", "warning", "2027-01-15 08:00 UTC"),
        (event("deadline", at=1.8e9, hours=1), "deadline", "warning", "less than 1 hour away"),
        (event("deadline", at=1.8e9, hours=0), "deadline", "error", "has passed"),
    ],
)
def test_what_deserves_to_be_known_at_once(happened: Mapping[str, Any], kind: str, severity: str, said: str):
    told = notice(happened)
    assert told is not None
    assert (told.kind, told.severity) == (kind, severity)
    assert said in told.text and told.title


@pytest.mark.parametrize(
    "happened",
    [
        event("command", verb="pause", state="refused", result="", args={}),
        event("command", verb="resume", state="done", result="", args={}),
        event("fold_done", fold=1),
        event("warning", text="a model did not answer"),
        event("submission", experiment="R07", state="accepted"),
        ended("stopped", "stopped by command"),
    ],
)
def test_everything_else_is_left_to_the_screen(happened: Mapping[str, Any]):
    assert notice(happened) is None


def test_text_from_outside_cannot_disturb_who_shows_it():
    told = notice(ended("failed", "\x1b]0;owned\x07the\nmodel said\x1b[2J " + "very " * 200))
    assert told is not None
    assert told.text.isprintable() and "owned" not in told.text and len(told.text) <= 300


def test_a_deadline_is_told_a_day_and_an_hour_before_and_when_it_passed(tmp_path: Path):
    registry = Registry(tmp_path / "autokaggle.db")
    told: list[int] = []
    registry.on_event = lambda row: told.append(row["data"]["hours"])
    deadline = datetime(2027, 1, 1, tzinfo=UTC)
    for hours in (48, 25, 24, 23, 1.5, 1, 0.5, -0.1, -100):
        watch_deadline(registry, deadline, deadline - timedelta(hours=hours))
    watch_deadline(registry, None, deadline)
    assert told == [24, 1, 0]
    # A person moved it: it is another deadline.
    watch_deadline(registry, deadline + timedelta(days=9), deadline + timedelta(days=8, hours=23, minutes=30))
    assert told == [24, 1, 0, 1]
    registry.close()


def rung(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "rung.jsonl").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a campaign"
    folder.mkdir()
    (folder / "ring.py").write_text(RECORDER)
    (folder / "ring").write_text(f"#!/bin/sh\nexec '{sys.executable}' ring.py \"$@\"\n")
    (folder / "hang").write_text("#!/bin/sh\nsleep 600\n")
    for name in ("ring", "hang"):
        (folder / name).chmod(0o700)
    return folder


def test_the_command_runs_in_the_workspace_without_a_shell(folder: Path):
    warnings: list[str] = []

    async def run() -> None:
        notifier = Notifier("./ring --to 'my phone' $HOME", folder, warnings.append)
        notifier(event("fold_done"))
        notifier(event("champion", experiment="R07", score=0.97312, gain=None))
        await notifier.close()

    asyncio.run(run())
    text = "R07 leads with 0.97312."
    told = {"event": "champion", "text": text, "workspace": str(folder)}
    assert rung(folder) == [[["--to", "my phone", "$HOME", text], told]]
    assert warnings == []


def test_one_at_a_time_and_the_newest_of_many(folder: Path):
    """The loop goes on at once; what came first runs, and of those that wait the oldest gave way."""

    async def run() -> None:
        notifier = Notifier("./ring", folder, lambda text: None)
        for number in range(3 * WAITING):
            notifier(event("champion", experiment=f"R{number:02d}", score=0.9, gain=None))
        assert not (folder / "rung.jsonl").exists()
        await notifier.close()

    asyncio.run(run())
    told = [arguments[0].split()[0] for arguments, _ in rung(folder)]
    assert told == [f"R{number:02d}" for number in range(2 * WAITING, 3 * WAITING)]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("./nowhere -x secret", "./nowhere cannot be started: No such file or directory"),
        ("false", "false ended with exit code 1"),
        ("./hang", "./hang took longer than 0.2 s and was killed"),
    ],
)
def test_a_failing_command_is_one_warning(folder: Path, command: str, said: str):
    """The warning names the program alone: what follows it may be a secret."""
    warnings: list[str] = []

    async def run() -> None:
        notifier = Notifier(command, folder, warnings.append, patience=0.2)
        for name in ("R01", "R02"):
            notifier(event("champion", experiment=name, score=0.9, gain=None))
        await notifier.close()

    asyncio.run(run())
    assert warnings == [f"notify: {said}"]


def test_what_the_engine_tells_reaches_the_command(folder: Path):
    heard: list[str] = []

    async def run() -> None:
        registry = Registry(folder / "autokaggle.db")
        registry.on_event = lambda row: heard.append(row["kind"])
        async with notifications(registry, "./ring", folder):
            registry.event("note", text="nothing much")
            registry.event("run_ended", status="failed", reason="the disk is full", elapsed=1.0, champion=None)
        registry.event("run_ended", status="failed", reason="later", elapsed=1.0, champion=None)
        async with notifications(registry, "false", folder), notifications(registry, None, folder):
            registry.event("run_ended", status="failed", reason="again", elapsed=1.0, champion=None)
        registry.close()

    asyncio.run(run())
    assert [arguments for arguments, _ in rung(folder)] == [["The run failed: the disk is full."]]
    assert heard == ["note", "run_ended", "run_ended", "run_ended", "warning"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"notify": "curl 'unclosed"}, "notify: cannot be split into words"),
        ({"notify": " "}, "notify: must name a program"),
        ({"notify": 7}, "notify: must be text"),
        ({"keys": {"pause": ""}}, "keys.pause: must name keys"),
        ({"keys": {"pause": "p,"}}, "keys.pause: must name keys"),
        ({"keys": ["p"]}, "keys: must be an object"),
    ],
)
def test_settings_that_cannot_be_are_named(workspace: Workspace, changes: dict[str, Any], said: str):
    change_config(workspace, **changes)
    with pytest.raises(ConfigError, match=r"config\.json") as error:
        load_config(workspace.root)
    assert said in str(error.value)


def test_settings_of_a_person(workspace: Workspace):
    change_config(workspace, notify="curl -d", keys={"pause": "p", "retro": "t,f5"})
    config = load_config(workspace.root)
    assert config.notify == "curl -d" and config.keys == {"pause": "p", "retro": "t,f5"}
