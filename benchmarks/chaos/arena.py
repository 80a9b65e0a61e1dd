"""The arena: one small campaign on real data in folders of its own, and the engines that play it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psutil

from autokaggle_tui import cli
from autokaggle_tui.config import Config
from autokaggle_tui.program import run_program
from experiments.processes import Reaped
from tests.invariants import (
    Event,
    Finding,
    acknowledged,
    check_finished,
    check_standing,
    platform_folder,
    run_status,
)

ROWS, COLUMNS, FOLDS = 160, 4, 3
START_SECONDS = 150.0
"""An engine that takes longer to play the whole campaign hangs."""
ENDING_SECONDS = 20.0
"""How long what a killed engine left may take to end."""

reaped = Reaped()
"""Everything below this process is its child in the end; all that ended is here."""


@dataclass
class Arena:
    """A campaign under attack.

    Attributes:
        folder: Holds the workspace (``ws``), the platform (``home``), the temporary folder (``t``) and what was said.
        disk: Where workspace and platform lie; a small file system of its own when the disk is attacked.
        told: Every event that an engine printed.
        history: What was done to it, for whoever looks into a finding.
        whole: No process below an engine was killed by itself, which costs an experiment.
        progress: About how much of it is played, from 0 to 1.
    """

    folder: Path
    disk: Path
    rounds: int
    slots: int
    told: list[Event] = field(default_factory=list)
    starts: int = 0
    history: list[str] = field(default_factory=list)
    whole: bool = True
    progress: float = 0.0

    @classmethod
    def make(cls, folder: Path, *, disk: Path | None = None, rounds: int, slots: int) -> Arena:
        """Make a workspace on a part of the breast cancer data, with the program's own ``init``."""
        arena = cls(folder, disk or folder, rounds, slots)
        for path in (arena.workspace, arena.home, arena.temporary):
            path.mkdir(parents=True)
        source = folder / "cancer.csv"
        _write_data(source)
        options = ["init", "-w", str(arena.workspace), "--train", str(source), "--target", "diagnosis"]
        pid = arena.fork([*options, "--metric", "roc_auc", "--folds", str(FOLDS)], folder / "init.out", real=True)
        if wait(pid, 120) != 0:
            raise SystemExit(f"init failed:\n{(folder / 'init.out').read_text()}")
        arena.set(compute={"slots": slots, "threads": 1}, max_submissions_per_day=None)
        arena.set_floor("0")
        return arena

    def set(self, **changes: object) -> None:
        """Change config.json."""
        path = self.workspace / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes, indent=1))

    def set_floor(self, free: str) -> None:
        """Let the engine pause below so much free disk, where it knows how to."""
        if "resources" in Config.model_fields:
            self.set(resources={"min_memory": "0", "min_disk": free})

    @property
    def workspace(self) -> Path:
        return self.disk / "ws"

    @property
    def home(self) -> Path:
        return self.disk / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "t"

    def copy(self, folder: Path, disk: Path | None = None) -> Arena:
        """The same campaign before its start, in another folder."""
        arena = Arena(folder, disk or folder, self.rounds, self.slots)
        arena.temporary.mkdir(parents=True)
        shutil.copytree(self.workspace, arena.workspace)
        shutil.copytree(self.home, arena.home)
        return arena

    def start(self, *, real: bool = False, held: bool = False) -> Engine:
        """Start or continue the campaign.

        Args:
            real: As a new process of the real command; else forked from this one, which has the imports done, so that
                faults hit work and not imports.
            held: It waits for ``Engine.release``.
        """
        self.starts += 1
        output = self.folder / f"out-{self.starts:03d}"
        options = ["--no-ui", "--log-format", "json", "--rounds", str(self.rounds), "-w", str(self.workspace)]
        gate = os.pipe() if held else None
        pid = self.fork(options, output, real=real, gate=gate)
        if gate is not None:
            os.close(gate[0])
        return Engine(self, pid, output, None if gate is None else gate[1])

    def fork(self, options: list[str], output: Path, *, real: bool, gate: tuple[int, int] | None = None) -> int:
        """Run the command line in a child; stdout goes to the file, stderr to ``FILE.err``. Returns its pid."""
        sys.stdout.flush()
        for path in (output, output.with_suffix(".err")):
            path.touch()
        pid = os.fork()
        if pid:
            return pid
        try:
            self._become(options, output, real, gate)
        except SystemExit as end:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        finally:
            os._exit(70)

    def _become(self, options: list[str], output: Path, real: bool, gate: tuple[int, int] | None) -> NoReturn:
        os.setsid()
        for number, path in ((1, output), (2, output.with_suffix(".err"))):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if gate is not None:
            os.close(gate[1])
            os.read(gate[0], 1)
            os.close(gate[0])
        os.environ |= {"TMPDIR": str(self.temporary), "AUTOKAGGLE_DATA_HOME": str(self.home)}
        if real:
            os.execv(sys.executable, [sys.executable, "-m", "autokaggle_tui", *options])
        tempfile.tempdir = None
        cli.STARTED = time.monotonic()
        sys.argv = ["autokaggle-tui", *options]
        run_program(cli.app)
        raise SystemExit(0)

    def check_standing(self) -> list[Finding]:
        """What must hold now; no engine runs."""
        return check_standing(self.workspace, self.told, platform_folder(self.workspace, self.home))

    def finished(self) -> bool:
        """Whether its run is over, as the registry has it."""
        return run_status(self.workspace) == "finished"

    def check_finished(self, *, closed: bool) -> list[Finding]:
        """What must hold now that the campaign is over.

        Args:
            closed: The last engine came to its end; else it was killed between its last fact and that.
        """
        platform = platform_folder(self.workspace, self.home)
        found = [Finding("left", f"process {text}") for text in lingering()]
        found += check_finished(self.workspace, self.rounds, self.told, platform, whole=self.whole, closed=closed)
        if closed:
            found += [Finding("left", f"{path}") for path in self.temporary.iterdir() if not _is_trial(path)]
        return found


@dataclass
class Engine:
    """One start of the engine.

    Attributes:
        pid: Of its process, which leads a session.
        output: Where its events go.
    """

    arena: Arena
    pid: int
    output: Path
    gate: int | None = None
    _read: int = 0

    def release(self) -> None:
        """Let a held engine begin."""
        if self.gate is not None:
            os.close(self.gate)
            self.gate = None

    def poll(self) -> int | None:
        """Its exit code (minus the signal when killed), or None while it runs."""
        return poll(self.pid)

    def events(self) -> list[Event]:
        """What it said since the last call."""
        with self.output.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        self._read += new.rfind(b"\n") + 1
        found = acknowledged(new)
        self.arena.told += found
        return found

    def said(self) -> str:
        """What it told the person."""
        return self.output.with_suffix(".err").read_text(errors="replace").strip()

    def see_end(self, seconds: float = START_SECONDS) -> int | None:
        """Its exit code; None when it was still there after so many seconds, and had to be killed."""
        code = wait(self.pid, seconds)
        if code is None:
            self.kill()
        self.events()
        return code

    def kill(self) -> None:
        """Kill it alone and see it end."""
        self.release()
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        wait(self.pid, 30)
        self.events()


def poll(pid: int) -> int | None:
    """The exit code of a child, minus the signal when it was killed; None while it runs."""
    reaped.collect()
    if pid not in reaped:
        return None
    return os.waitstatus_to_exitcode(reaped[pid][0])


def wait(pid: int, seconds: float) -> int | None:
    """The exit code of a child; None when it still runs after so many seconds."""
    deadline = time.monotonic() + seconds
    while (code := poll(pid)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return code


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def others(engine: Engine) -> list[psutil.Process]:
    """What engines started: below this one, or left by an earlier one."""
    return [one for one in psutil.Process().children(recursive=True) if one.pid != engine.pid and alive(one)]


def supervises(process: psutil.Process) -> bool:
    """Whether it is the supervisor of a fold."""
    try:
        return any("backends.compute.supervisor" in part for part in process.cmdline())
    except psutil.Error:
        return False


def lingering() -> list[str]:
    """Processes below this one that do not end by themselves."""
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        reaped.collect()
        left = [one for one in psutil.Process().children(recursive=True) if alive(one)]
        if not left or time.monotonic() > deadline:
            return [_describe(one) for one in left]
        time.sleep(0.05)


def _is_trial(path: Path) -> bool:
    """Whether Python's tempfile tried out with it, and was killed, whether it can write there."""
    return path.is_file() and path.read_bytes() in (b"", b"blat")


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return str(process.pid)


def _write_data(path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = [name.replace(" ", "_") for name in bunch.feature_names[:COLUMNS]]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *names, "diagnosis"])
        for number, (row, code) in enumerate(zip(bunch.data[:ROWS], bunch.target[:ROWS], strict=True), start=1):
            writer.writerow([number, *row[:COLUMNS], bunch.target_names[code]])
