"""Engines that viewers start: detached, one per workspace, with last words; what they carry out; exit codes."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from autokaggle_tui.bench import open_bench
from autokaggle_tui.commands import ask
from autokaggle_tui.launching import Launch, Start, ensure_engine, last_options, last_words, start_engine
from autokaggle_tui.workspace import Workspace
from experiments.errors import RegistryError, WorkspaceError
from experiments.predictions import save_array
from experiments.registry import Registry
from experiments.schema import Row, open_viewer

from .conftest import change_config

HEAVY = ("pandas", "numpy", "sklearn", "litellm", "lightgbm", "sqlite_utils")


def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autokaggle_tui", *arguments]
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=60,
        check=False,
    )


def rows(workspace: Workspace, sql: str) -> list[Row]:
    connection = open_viewer(workspace.facts)
    try:
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


def until(holds: Callable[[], object], alive: Callable[[], bool] = lambda: True) -> None:
    """Look again and again until it holds; ``alive`` says that it still can."""
    deadline = time.monotonic() + 60
    while not holds():
        assert alive() and time.monotonic() < deadline
        time.sleep(0.02)


def runs(workspace: Workspace) -> list[str]:
    try:
        return [row["status"] for row in rows(workspace, "SELECT status FROM runs ORDER BY rowid")]
    except RegistryError:
        return []


@pytest.fixture
def start(workspace: Workspace) -> Iterator[Callable[..., Launch]]:
    """Starts engines with one slot, which come up sooner; what a test leaves running is killed."""
    change_config(workspace, compute={"slots": 1})
    begun: list[Launch] = []

    def begin(how: Start | None = None) -> Launch:
        begun.append(start_engine(workspace, how))
        return begun[-1]

    yield begin
    for launch in begun:
        if launch.exit_code is None:
            os.kill(launch.pid, signal.SIGKILL)
            launch.wait(60)


def test_an_engine_outlives_who_started_it_and_is_continued_by_whoever_starts_it_again(
    workspace: Workspace, start: Callable[..., Launch]
):
    """The viewer's terminal hangs up, and all of its session with it; the engine plays on until it is killed."""
    limit = 600.1 + 1e-9
    viewer = (
        "import sys\n"
        "from pathlib import Path\n"
        "from autokaggle_tui.launching import Start, start_engine\n"
        "from autokaggle_tui.workspace import Workspace\n"
        f"workspace = Workspace(Path({str(workspace.root)!r}))\n"
        f"launch = start_engine(workspace, Start(rounds=1, time_limit={limit!r}, models={{'builder': 'playbook'}}))\n"
        "print(launch.pid, launch.state(), launch.wait_until_up(60), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", viewer],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pid, *states = process.stdout.readline().split()
    assert states == ["starting", "up"]
    os.killpg(process.pid, signal.SIGHUP)
    process.communicate()
    assert process.returncode == -signal.SIGHUP
    until(lambda: runs(workspace) == ["running"])
    told = "SELECT data FROM events WHERE kind = 'run_started' ORDER BY id"
    played = "SELECT count(*) AS n FROM phases"
    until(lambda: rows(workspace, played)[0]["n"] > 0)
    assert workspace.engine_pid() == int(pid) and ensure_engine(workspace) is None
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: workspace.engine_pid() is None)
    assert "run begins" in last_words(workspace)
    again = last_options(workspace)
    assert again == Start(1, limit)
    launch = start(again)
    until(lambda: len(rows(workspace, told)) == 2, lambda: launch.exit_code is None)
    assert json.loads(rows(workspace, told)[1]["data"])["continued"] and runs(workspace) == ["running"]


def test_the_last_words_of_an_engine_that_fails_at_once(workspace: Workspace, start: Callable[..., Launch]):
    change_config(workspace, cv_fold=5)
    launch = start(Start(rounds=1))
    assert launch.wait(60) == 1
    assert (launch.state(), launch.wait_until_up(60), launch.exit_code) == ("ended", "ended", 1)
    said = last_words(workspace)
    assert said.startswith("Config: ") and "cv_folds" in said
    assert last_options(workspace) is None


def test_last_words_are_few_and_harmless(workspace: Workspace):
    assert last_words(workspace) == ""
    lines = [f"line {number}" for number in range(400_000)]
    workspace.engine_out.write_bytes("\n".join([*lines, "\x1b[2J\x1b]0;x\x07a\tb\x9b", "y" * 5_000, ""]).encode())
    said = last_words(workspace).splitlines()
    assert said[:10] == lines[-10:] and said[10] == "a   b" and len(said[11]) == 300
    workspace.engine_out.write_bytes(b"\xff\xfe\x00 one endless line " * 100_000)
    assert "endless" in last_words(workspace)


def test_the_last_words_of_a_bug_show_where_it_was(workspace: Workspace):
    log = workspace.root / "engine.log"
    log.write_text("Traceback (most recent call last):\n" + "  call\n" * 50 + "ValueError: odd\n")
    workspace.engine_out.write_text("R01  fold 1/5\nBug: this is a bug\n")
    assert last_words(workspace).splitlines() == ["  call"] * 5 + ["ValueError: odd", "R01  fold 1/5"] + [
        "Bug: this is a bug"
    ]
    os.utime(log, (0, 0))
    workspace.engine_out.write_text("R01  fold 1/5\n")
    assert last_words(workspace) == "R01  fold 1/5"


def test_an_engine_in_a_terminal_is_not_given_the_words_of_an_earlier_one(workspace: Workspace):
    workspace.engine_out.write_text("run finished\n")
    os.utime(workspace.engine_out, (1.0, 1.0))
    (workspace.root / "engine.pid").write_text("1\n")
    assert last_words(workspace) == ""


def test_two_that_start_at_once_are_one_engine(workspace: Workspace, start: Callable[..., Launch]):
    first, second = start(), start()
    states = {first.wait_until_up(60): first, second.wait_until_up(60): second}
    loser, winner = states["ended"], states["up"]
    assert loser.wait(60) == 1
    assert winner.state() == "up" and workspace.engine_pid() == winner.pid
    assert f"another engine (pid {winner.pid})" in loser.said
    assert winner.state() == "up" and "another engine" not in workspace.engine_out.read_text()
    assert [path.name for path in workspace.root.glob("*engine.out")] == ["engine.out"]
    os.kill(winner.pid, signal.SIGTERM)
    assert winner.wait(60) == 130
    assert not Path(f"/proc/{winner.pid}").exists(), "no zombie is left"


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path):
    with pytest.raises(WorkspaceError, match=r"engine\.out"):
        start_engine(Workspace(tmp_path / "nowhere"))


def scored(registry: Registry, workspace: Workspace, name: str, round: int | None) -> None:
    """An experiment with a complete prediction, as another process might have left it."""
    rows = len((workspace.root / "data" / "test.csv").read_text().splitlines()) - 1
    save_array(workspace.rounds / f"{name}_test.npy", np.linspace(0.1, 0.9, rows).astype(np.float32))
    about = {"kind": "model", "family": "own", "seed": 42, "status": "keep", "score": 0.9, "started_at": 1.0}
    registry.insert("experiments", id=name, round=round, source="round" if round else "try", **about)
    registry.insert("predictions", experiment=name, oof="", test=f"{name}_test.npy", oof_sha="", test_sha="", at=1.0)


def test_the_engine_carries_out_submissions_and_probes(workspace: Workspace, start: Callable[..., Launch]):
    """The Reviewer vetoed the champion's submission; then the person decides, with one submission a day."""
    registry = Registry(workspace.facts)
    workspace.rounds.mkdir(exist_ok=True)
    registry.insert("runs", id="r", status="finished", rounds=1, first_round=1, pid=1, started_at=1.0)
    for number in (0, 1):
        registry.insert("rounds", round=number, run="r", status="done", started_at=1.0)
    scored(registry, workspace, "R01", 1)
    scored(registry, workspace, "T01", None)
    registry.insert("champions", experiment="R01", score=0.9, at=1.0)
    registry.insert(
        "verdicts", round=1, phase="verify", author="reviewer", verdict="REJECT", reason="REJECT: not yet", at=1.0
    )
    registry.insert("commands", uuid="old", run=None, verb="submit", args={}, state="accepted", at=0.0)
    registry.close()
    change_config(workspace, max_submissions_per_day=1)
    launch = start()
    until(lambda: runs(workspace)[-1] == "running", lambda: launch.exit_code is None)

    def answer(verb: str, **args: str) -> tuple[str, str]:
        said = ask(workspace, verb, args)
        return said.state, said.result

    assert answer("pause")[0] == "done"
    old = rows(workspace, "SELECT state, result FROM commands WHERE uuid = 'old'")[0]
    assert old["state"] == "refused" and "the engine ended before it was done" in old["result"]
    assert answer("probe-model", model="playbook") == ("done", "playbook answers offline, no key needed")
    state, reason = answer("probe-model", model="gpt-9")
    assert state == "refused" and "openai/gpt-9" in reason
    assert answer("submit", experiment="R77") == ("refused", "there is no experiment 'R77'")
    state, reason = answer("submit")
    assert state == "refused" and "REJECT: not yet (name R01 to submit it all the same)" in reason
    accepted = cli("submit", "r1", "-w", str(workspace.root))
    assert accepted.returncode == 0 and accepted.stdout.startswith("R01 was accepted: roc_auc")
    assert answer("submit", experiment="R01") == ("refused", "R01 was submitted before: it was accepted")
    state, said = answer("submit", experiment="T01")
    assert state == "done" and said.startswith("T01 waits in the queue: the daily limit of 1 is used up")
    found = json.loads(cli("submissions", "--json", "-w", str(workspace.root)).stdout)
    listed = found["submissions"]
    assert [(row["experiment"], row["state"], row["by"]) for row in found["queue"]] == [("T01", "waiting", "person")]
    assert [(sent["experiment"], sent["state"], sent["file"]) for sent in listed] == [
        ("R01", "accepted", "R01_submission.csv")
    ]
    told = rows(workspace, "SELECT data FROM events WHERE kind = 'command' ORDER BY id")
    states = [data["state"] for row in told if (data := json.loads(row["data"]))["verb"] == "submit"]
    carried_out = ["accepted", "refused", "accepted", "done", "refused", "accepted", "done"]
    assert states == ["refused", "refused", *carried_out]
    assert answer("stop")[0] == "done"
    assert launch.wait(60) == 0


def test_a_submission_needs_no_engine(workspace: Workspace):
    """Whoever asks is the engine for a moment: the same rules and the same ledger, and what a crash left open first."""
    registry = Registry(workspace.facts)
    workspace.rounds.mkdir(exist_ok=True)
    registry.insert("runs", id="r", status="running", rounds=1, first_round=1, pid=1, started_at=1.0)
    registry.insert("rounds", round=1, run="r", status="done", started_at=1.0)
    scored(registry, workspace, "R01", 1)
    scored(registry, workspace, "T01", None)
    registry.insert("champions", experiment="R01", score=0.9, at=1.0)
    lost = {"experiment": "R01", "file": "R01_submission.csv", "sha256": "0", "token": "t", "at": 1.0}
    registry.insert("submissions", competition="demo", state="intent", **lost)
    registry.insert("commands", uuid="old", run=None, verb="submit", args={"experiment": "T01"}, at=1.0)
    change_config(workspace, max_submissions_per_day=1)
    for arguments, code, said in (
        (["R77"], 1, "no experiment 'R77'"),
        ([], 0, "R01 was accepted: roc_auc"),
        (["1"], 1, "R01 was submitted before: it was accepted"),
        (["T01"], 0, "T01 waits in the queue: the daily limit of 1 is used up"),
    ):
        done = cli("submit", *arguments, "-w", str(workspace.root))
        assert done.returncode == code and said in done.stdout + done.stderr, done.stderr
    sent = registry.rows("SELECT experiment, state FROM submissions ORDER BY id")
    left = registry.value("SELECT state FROM commands WHERE uuid = 'old'")
    registry.close()
    assert [(row["experiment"], row["state"]) for row in sent] == [("R01", "refused"), ("R01", "accepted")]
    assert left == "queued", "nobody waits for its answer; the next engine refuses it"
    assert workspace.engine_pid() is None


def test_a_submission_that_cannot_be_made_is_refused_with_the_reason(workspace: Workspace):
    Registry(workspace.facts).close()
    (workspace.root / "data" / "train.csv").unlink()
    done = cli("submit", "-w", str(workspace.root))
    assert done.returncode == 1 and "submit was refused" in done.stderr and "train" in done.stderr


def test_what_an_engine_left_unfinished_is_refused_by_whoever_asks_next(workspace: Workspace):
    registry = Registry(workspace.facts)
    for name in ("submit", "probe-model"):
        registry.insert("commands", uuid=name, run=None, verb=name, args={}, state="accepted", at=0.0)
    assert ask(workspace, "retro").state == "done"
    answers = registry.rows("SELECT state, result FROM commands ORDER BY id")
    registry.close()
    assert [row["state"] for row in answers] == ["refused", "refused", "done"]
    assert "submissions" in answers[0]["result"]


def test_what_is_being_carried_out_at_the_end_is_waited_for_or_refused(workspace: Workspace):
    answers: list[str] = []

    async def run() -> None:
        async with open_bench(workspace, lambda row: None) as bench:
            registry = bench.campaign.registry
            for patience in (0.0, 60.0):
                registry.insert("commands", uuid=str(patience), verb="probe-model", args={"model": "playbook"}, at=0.0)
                bench.commander.obey()
                await bench.commander.close(patience)
            answers.extend(row["result"] for row in registry.rows("SELECT result FROM commands ORDER BY id"))

    asyncio.run(run())
    assert answers == ["the engine ended before it was done", "playbook answers offline, no key needed"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "--no-ui"),
        (["attach"], 1, "nothing has run"),
        (["submit"], 1, "nothing has run"),
    ],
)
def test_wrong_use_is_a_message_and_an_exit_code(workspace: Workspace, arguments: list[str], code: int, said: str):
    done = cli("-w", str(workspace.root), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr
    assert workspace.engine_pid() is None


def test_a_broken_config_comes_before_the_screen(workspace: Workspace):
    change_config(workspace, cv_fold=5)
    for command in ([], ["demo"], ["serve"]):
        done = cli(*command, "-w", str(workspace.root))
        assert done.returncode == 1 and "cv_folds" in done.stderr
    assert not workspace.engine_out.exists()


def test_a_dumb_terminal_gets_no_screen(workspace: Workspace):
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", "-w", str(workspace.root)],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TERM": "dumb"},
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == 2 and "the screen needs a terminal" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--rounds", "3", "--time-limit", "1h", "--model", "builder=playbook"], "Start(3, 3600.0, builder=playbook)"),
        (["demo"], "Start(3, None)"),
    ],
)
def test_the_screen_opens_without_anything_heavy(workspace: Workspace, arguments: list[str], shown: str):
    """A stand-in for the app, so that this is about the command line alone."""
    code = (
        "import sys, types\n"
        "class AutokaggleApp:\n"
        "    return_code = 3\n"
        "    def __init__(self, workspace, start):\n"
        "        self.start = start\n"
        "    def run(self):\n"
        "        start = self.start\n"
        "        models = [f', {role}={name}' for role, name in start.models.items()]\n"
        "        print(f'Start({start.rounds}, {start.time_limit}' + ''.join(models) + ')')\n"
        f"        print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "stand_in = types.ModuleType('autokaggle_tui.ui.app')\n"
        "stand_in.AutokaggleApp = AutokaggleApp\n"
        "sys.modules['autokaggle_tui.ui.app'] = stand_in\n"
        "from autokaggle_tui.cli import main\n"
        f"sys.argv = ['autokaggle-tui', *{arguments!r}, '-w', {str(workspace.root)!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"TEXTUAL_DRIVER": "a browser's"},
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()) == (3, [shown, "[]"]), done.stderr


def test_ctrl_c_while_the_command_line_loads_is_quiet():
    code = (
        "import os, runpy, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "runpy.run_module('autokaggle_tui', run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")
