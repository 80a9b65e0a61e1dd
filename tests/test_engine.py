"""The engine as a process: signals, lost terminals, full disks, bugs; commands that reach it at any time."""

import asyncio
import fcntl
import json
import os
import pty
import resource
import signal
import sqlite3
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from autokaggle_tui.bench import open_bench
from autokaggle_tui.commands import Answer, ask
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.headless import Printer
from autokaggle_tui.live import Live
from autokaggle_tui.loop.imports import import_predictions
from autokaggle_tui.status import load_status
from autokaggle_tui.trying import try_experiment
from autokaggle_tui.workspace import Workspace
from experiments.errors import ConfigError
from experiments.registry import Registry
from experiments.schema import Row, open_viewer

from .conftest import change_config, kinds, play

Start = Callable[..., subprocess.Popen[str]]
ENDLESS = "def fit_predict(train, valid, test, ctx):\n    while True:\n        pass\n"
WAITS_WHEN_SCORING = """
import threading
from pathlib import Path
NAME = "patience"
DIRECTION = "maximize"
PREDICTION = "ranking"

def score(y_true, y_pred):
    if Path({told!r}).exists():
        Path({marker!r}).touch()
        threading.Event().wait()
    return float(y_pred.mean())
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "autokaggle_tui", *arguments]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a command in a session of its own; what a failed test leaves running is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


def events_of(process: subprocess.Popen[str]) -> Iterator[Row]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def wait_for(events: Iterator[Row], kind: str) -> Row:
    return next(event for event in events if event["kind"] == kind)


def last_run(workspace: Workspace) -> Row:
    connection = open_viewer(workspace.facts)
    try:
        return dict(connection.execute("SELECT * FROM runs ORDER BY rowid DESC LIMIT 1").fetchone())
    finally:
        connection.close()


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    file = tmp_path / "endless.py"
    file.write_text(ENDLESS)
    return file


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_closed_pipe_does_not_stop_the_loop(workspace: Workspace, start: Start, log_format: str):
    process = start("--no-ui", "--rounds", "1", "--log-format", log_format, "-w", str(workspace.root))
    assert process.stdout is not None and process.stderr is not None
    for _ in range(2):
        process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert last_run(workspace)["status"] == "finished"


def test_a_dead_terminal_does_not_stop_the_loop(workspace: Workspace):
    """The terminal goes away with a hangup, its own progress bar on it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command("--no-ui", "--rounds", "1", "-w", str(workspace.root)),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    seen = b""
    while b"fold" not in seen.partition(b"accepted")[2]:
        seen += os.read(master, 4096)
    os.close(master)
    assert process.wait() == 0
    assert last_run(workspace)["status"] == "finished"


def test_ctrl_c_while_the_data_are_read_does_not_wait(workspace: Workspace, start: Start, tmp_path: Path):
    """Before the run begins one Ctrl-C is enough: the first thing a metric of one's own is asked for never ends."""
    told, marker = tmp_path / "told", tmp_path / "scoring"
    told.touch()
    (workspace.root / "metric.py").write_text(WAITS_WHEN_SCORING.format(told=str(told), marker=str(marker)))
    change_config(workspace, metric="patience")
    process = start("--no-ui", "-w", str(workspace.root))
    while not marker.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate() == ("", "")
    assert process.returncode == 130
    assert not workspace.facts.exists() and workspace.engine_pid() is None


@pytest.mark.parametrize("module", ["autokaggle_tui.config", "autokaggle_tui.engine", "numpy"])
def test_ctrl_c_while_the_program_loads_is_quiet(workspace: Workspace, module: str):
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        f"sys.argv = ['autokaggle-tui', '--no-ui', '-w', {str(workspace.root)!r}]\n"
        "from autokaggle_tui.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_second_ctrl_c_does_not_wait_for_the_step(workspace: Workspace, start: Start, tmp_path: Path):
    """A metric that never returns keeps a thread busy; the run's end is a fact all the same."""
    told, marker = tmp_path / "told", tmp_path / "scoring"
    (workspace.root / "metric.py").write_text(WAITS_WHEN_SCORING.format(told=str(told), marker=str(marker)))
    change_config(workspace, metric="patience")
    process = start("--no-ui", "--rounds", "1", "--log-format", "json", "-w", str(workspace.root))
    events = events_of(process)
    wait_for(events, "plan_accepted")
    told.touch()
    while not marker.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    wait_for(events, "stopping")
    assert load_status(workspace)["state"] == "stopping"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    assert (last_run(workspace)["status"], last_run(workspace)["reason"]) == ("stopped", "stopped at once")
    assert workspace.engine_pid() is None


def test_a_try_is_interrupted_by_two_ctrl_c(workspace: Workspace, start: Start, endless: Path):
    process = start("try", str(endless), "--log-format", "json", "-w", str(workspace.root))
    events = events_of(process)
    wait_for(events, "fold_started")
    process.send_signal(signal.SIGINT)
    wait_for(events, "stopping")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")


def test_a_try_obeys_commands_and_shows_in_status(workspace: Workspace, endless: Path):
    """One stop is from long ago and expired; then the person pauses, resumes and kills what never ends."""
    registry = Registry(workspace.facts)
    registry.insert("commands", uuid="old", run=None, verb="stop", args={}, at=0.0)
    registry.close()
    answers: list[Answer] = []
    states: list[str] = []

    def person() -> None:
        for verb in ("pause", "resume", "kill"):
            answers.append(ask(workspace, verb))
            states.append(load_status(workspace)["state"])

    helper = threading.Thread(target=person)

    def listen(row: Row) -> None:
        if row["kind"] == "fold_started" and row["data"]["fold"] == 0:
            helper.start()

    assert asyncio.run(try_experiment(workspace, endless, listen)) == 1
    helper.join()
    assert [answer.state for answer in answers] == ["done"] * 3
    assert states[0] in ("pausing", "paused") and states[1] == "running"
    status = load_status(workspace)
    assert status["experiments"] == {"killed": 1}
    assert (status["competition"], status["metric"], status["folds"]) == ("breast-cancer", "roc_auc", 5)
    shown = subprocess.run(command("status", "-w", str(workspace.root)), capture_output=True, text=True)
    assert "None" not in shown.stdout and "not running" in shown.stdout


def test_a_stop_given_to_no_run_is_not_obeyed_by_the_next(workspace: Workspace):
    registry = Registry(workspace.facts)
    for verb in ("stop", "pause"):
        registry.insert("commands", uuid=verb, run=None, verb=verb, args={}, at=0.0)
    registry.close()
    _, events = play(workspace, 1)
    assert [data["state"] for data in kinds(events, "command")] == ["refused", "refused"]
    assert kinds(events, "run_ended")[0]["status"] == "finished"


def test_a_run_that_was_paused_and_stopped_goes_on_as_running(workspace: Workspace):
    states: list[str] = []

    def person() -> None:
        ask(workspace, "pause")
        states.append(load_status(workspace)["state"])
        ask(workspace, "stop")

    helper = threading.Thread(target=person)

    def begin(row: Row) -> None:
        if row["kind"] == "phase_done" and row["data"]["phase"] == "research":
            helper.start()
        if row["kind"] == "command" and row["data"]["verb"] == "stop":
            states.append(load_status(workspace)["state"])

    play(workspace, 1, on_event=begin)
    helper.join()
    assert states[0] in ("pausing", "paused") and states[1:] == ["stopping"]
    states.clear()
    _, events = play(workspace, 1, on_event=lambda row: states.append(load_status(workspace)["state"]))
    assert kinds(events, "run_started")[0]["continued"]
    assert set(states[:-1]) == {"running"}


def test_model_changes_one_key_of_the_file_as_it_is_now(workspace: Workspace):
    """A person edits config.json while the run goes on; ``model`` keeps the edit and ends an override."""
    answers: list[Answer] = []

    def person() -> None:
        change_config(workspace, retro_every=7)
        answers.append(ask(workspace, "model", {"role": "builder", "model": "playbook"}))
        settings.update(json.loads(workspace.config.read_text()))
        answers.append(ask(workspace, "model", {"role": "cook", "model": "playbook"}))
        workspace.config.write_text("{")
        answers.append(ask(workspace, "model", {"role": "builder", "model": "playbook"}))

    helper = threading.Thread(target=person)
    overrides: list[dict] = []
    settings: dict = {}

    async def run() -> int:
        def listen(row: Row) -> None:
            if row["kind"] == "phase_started" and row["data"]["phase"] == "research":
                helper.start()

        async with open_bench(workspace, listen) as bench:
            code = await Session(bench, RunOptions(rounds=1, models={"builder": "playbook"})).run()
            overrides.append(dict(bench.desk.staff.overrides))
            return code

    assert asyncio.run(run()) == 0
    helper.join()
    assert [answer.state for answer in answers] == ["done", "refused", "refused"]
    assert settings["retro_every"] == 7 and settings["models"]["builder"] == "playbook"
    assert "--model builder=playbook no longer counts" in answers[0].result and overrides == [{}]
    assert "cook" in answers[1].result and "config.json" in answers[2].result


def test_model_needs_no_engine(workspace: Workspace):
    change_config(workspace, retro_every=7)
    assert ask(workspace, "model", {"role": "builder", "model": "playbook"}).state == "done"
    assert ask(workspace, "model", {"role": "builder", "model": "gpt-9"}).state == "refused"
    Registry(workspace.facts).close()
    assert ask(workspace, "model", {"role": "reviewer", "model": "playbook"}).state == "done"
    settings = json.loads(workspace.config.read_text())
    assert settings["retro_every"] == 7
    assert settings["models"]["builder"] == settings["models"]["reviewer"] == "playbook"
    with pytest.raises(ConfigError, match=r"config\.json"):
        ask(Workspace(workspace.root / "nowhere"), "model", {"role": "builder", "model": "playbook"})


def test_who_looks_is_not_taken_for_an_engine(workspace: Workspace):
    with workspace.locked():
        assert workspace.engine_pid() == os.getpid()
    with ThreadPoolExecutor(8) as viewers:
        found = list(viewers.map(lambda _: workspace.engine_pid(), range(400)))
    assert set(found) == {None}


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_workspace_can_be_looked_at(workspace: Workspace):
    play(workspace, 1)
    workspace.lock.chmod(0o400)
    workspace.root.chmod(0o500)
    try:
        shown = subprocess.run(command("status", "-w", str(workspace.root)), capture_output=True, text=True)
        refused = subprocess.run(command("--no-ui", "-w", str(workspace.root)), capture_output=True, text=True)
    finally:
        workspace.root.chmod(0o700)
    assert shown.returncode == 0 and "not running" in shown.stdout
    assert refused.returncode == 1 and "permissions" in refused.stderr and "Traceback" not in refused.stderr


@pytest.mark.parametrize("limit", [60_000, 250_000])
def test_a_full_disk_is_a_message(workspace: Workspace, limit: int):
    """Files that may not grow stand for the disk; it is full from the start, or fills up later."""
    done = subprocess.run(
        command("--no-ui", "--rounds", "30", "-w", str(workspace.root)),
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 2
    assert str(workspace.root) in done.stderr


def test_output_that_cannot_be_written_is_told(workspace: Workspace):
    Registry(workspace.facts).close()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("status", "--json", "-w", str(workspace.root)), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert done.stderr.count("No space left on device") == 1 and "Traceback" not in done.stderr


def test_a_bug_is_written_to_the_log_and_ends_the_run_unsettled(workspace: Workspace):
    """A trigger that forbids what the code takes for granted: the commander fails, and not unnoticed."""
    registry = Registry(workspace.facts)
    registry.execute("CREATE TRIGGER forbid BEFORE UPDATE ON commands BEGIN SELECT RAISE(ABORT, 'never'); END")
    registry.insert("commands", uuid="u", run=None, verb="hint", args={"text": "x"}, at=0.0)
    registry.close()
    done = subprocess.run(command("--no-ui", "-w", str(workspace.root)), capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("Bug: ") and done.stderr.count("\n") == 1
    log = workspace.root / "engine.log"
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text() and "IntegrityError: never" in log.read_text()
    assert last_run(workspace)["status"] == "running"
    assert load_status(workspace)["run"]["status"] == "interrupted"


def test_a_damaged_registry_is_a_message(workspace: Workspace):
    workspace.facts.write_bytes(b"SQLite format 3\0" + b"\0" * 84 + b"rubbish" * 1000)
    for arguments in (["status"], ["--no-ui"], ["hint", "x"]):
        done = subprocess.run(command(*arguments, "-w", str(workspace.root)), capture_output=True, text=True)
        assert done.returncode == 1 and "Registry: " in done.stderr and "Traceback" not in done.stderr


def test_what_cannot_be_written_to_live_is_dropped(tmp_path: Path):
    live = Live(tmp_path / "live.db")
    other = sqlite3.connect(tmp_path / "live.db", isolation_level=None)
    other.execute("ALTER TABLE stream RENAME TO away")
    live.say("builder", "text", "lost")
    live.flush()
    other.execute("ALTER TABLE away RENAME TO stream")
    live.say("builder", "text", "kept")
    live.close()
    assert other.execute("SELECT text FROM stream").fetchall() == [("kept",)]
    other.close()


def test_opening_a_workspace_brings_the_exports_up_to_date(workspace: Workspace):
    state = workspace.root / "state.json"
    state.write_text('{"run": {"status": "running"}}')

    async def look() -> None:
        async with open_bench(workspace, lambda row: None):
            assert json.loads(state.read_text())["run"] is None

    asyncio.run(look())


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode("latin1") + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no zip",
        b"rubbish",
        np.lib.format.magic(1, 0),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }\n"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }\n"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }\n", b"\0" * 8),
        npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,), }\n", b"\0" * 8),
        npy("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }\n", b"\0" * 8),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 3, 3), }\n", b"\0" * 216),
        npy("{'descr': 7, 'fortran_order': False, 'shape': (3,), }\n", b"\0" * 24),
        npy("[((((\n"),
    ],
)
def test_a_malformed_import_is_a_warning(workspace: Workspace, content: bytes):
    folder = workspace.root / "mine"
    folder.mkdir()
    (folder / "odd_oof.npy").write_bytes(content)
    (folder / "odd_test.npy").write_bytes(content)
    (folder / "dir_oof.npy").mkdir()
    (folder / "R01_oof.npy").write_bytes(content)
    warnings: list[str] = []

    def listen(row: Row) -> None:
        if row["kind"] == "warning":
            warnings.append(row["data"]["text"])

    async def take() -> None:
        async with open_bench(workspace, listen) as bench:
            await import_predictions(bench.campaign, folder)

    asyncio.run(take())
    assert [text.split(" ")[0] for text in warnings] == ["R01_oof.npy", "dir_oof.npy", "odd_oof.npy"]


@pytest.mark.parametrize("width", [80, 120])
def test_long_lines_wrap_between_words_below_their_beginning(width: int):
    screen = StringIO()
    show = Printer(Console(file=screen, width=width, force_terminal=True, color_system=None, markup=False))
    reason = "the gain of 0.00012 is within the noise of the folds, whose standard error is 0.00034 over five folds"
    verdict = {"author": "rules", "phase": "run", "rule": "noise-floor", "verdict": "block", "reason": reason}
    show({"kind": "verdict", "round": 7, "data": verdict})
    lines = screen.getvalue().splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= width
    assert all(line.startswith(" " * 15) and line[15] != " " for line in lines[1:])
    assert " ".join(" ".join(lines).split()).endswith(reason)


def test_the_table_of_rounds_keeps_a_line_for_each_at_80_columns(workspace: Workspace):
    registry = Registry(workspace.facts)
    for number in (1, 2):
        registry.insert(
            "experiments",
            id=f"T0{number}",
            source="try",
            kind="model",
            family="own",
            idea="an idea of [many] words " * 8,
            seed=1,
            status="discard",
            score=0.9,
            gain=-0.01,
            t=-1.0,
            started_at=float(number),
        )
    registry.close()
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    rounds = command("rounds", "-w", str(workspace.root))
    process = subprocess.Popen(rounds, stdout=slave, env=environment)
    os.close(slave)
    assert process.wait() == 0
    lines = os.read(master, 10_000).decode().splitlines()
    os.close(master)
    assert len(lines) == 3 and all(len(line) <= 80 and line.rstrip().endswith("…") for line in lines[1:])
    piped = subprocess.run(rounds, capture_output=True, text=True).stdout
    assert len(piped.splitlines()) == 3 and "…" not in piped


def test_rows_that_are_no_commands_are_refused_and_the_run_goes_on(workspace: Workspace):
    def write(row: Row) -> None:
        if row["kind"] != "round_started":
            return
        connection = sqlite3.connect(workspace.facts, isolation_level=None, timeout=30)
        for number, (verb, args, at) in enumerate(
            [("hint", "{", 1.0), ("stop", "[]", 2.0), (b"x", "{}", 3.0), ("hint", "{}", "x")]
        ):
            connection.execute(
                "INSERT INTO commands (uuid, verb, args, at) VALUES (?, ?, ?, ?)", [str(number), verb, args, at]
            )
        connection.close()

    code, _ = play(workspace, 0, on_event=write)
    connection = open_viewer(workspace.facts)
    states = connection.execute("SELECT state, result FROM commands").fetchall()
    connection.close()
    assert code in (0, 1)
    assert [tuple(row) for row in states] == [("refused", "it is no command")] * 4
