"""Starting the engine from a viewer: a process of its own that outlives it. Standard library and schema only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from autokaggle_tui.failures import explain
from autokaggle_tui.workspace import Workspace
from experiments.errors import WorkspaceError
from experiments.files import TEMPORARY
from experiments.schema import open_viewer
from experiments.text import clean

LaunchState = Literal["starting", "up", "ended"]

POLL_SECONDS = 0.05
OUTPUT = "AUTOKAGGLE_ENGINE_OUT"
"""Variable that tells an engine which file its viewer made for what it prints."""
TAIL_BYTES = 32_768
WORDS = 12
WORDS_OF_A_BUG = 6
LONGEST_LINE = 300
MODULE = (sys.executable, "-P", "-m", "autokaggle_tui")
"""This program again; ``-P`` keeps a person's own ``token.py`` in the current folder from being imported."""


@dataclass(frozen=True)
class Start:
    """How an engine is to be started.

    Attributes:
        rounds: Rounds of the run, None for what config.json says.
        time_limit: Seconds of the run, None for what config.json says.
        models: Models by role, for this run only.
        record: File that gets every call of a model.
    """

    rounds: int | None = None
    time_limit: float | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    record: Path | None = None

    def arguments(self) -> list[str]:
        """The same as options of the command line."""
        given = [] if self.rounds is None else ["--rounds", str(self.rounds)]
        # repr keeps every digit: the engine continues a run only when the limit is the very same.
        given += [] if self.time_limit is None else ["--time-limit", repr(float(self.time_limit))]
        for role, model in self.models.items():
            given += ["--model", f"{role}={model}"]
        given += [] if self.record is None else ["--record", str(self.record)]
        return given


class Launch:
    """An engine that this process started. It is waited for, so no zombie stays; ending this process leaves it be.

    Attributes:
        said: The last lines that it printed, once it ended.
    """

    def __init__(self, workspace: Workspace, process: subprocess.Popen[bytes], out: BinaryIO) -> None:
        self.workspace = workspace
        self.pid = process.pid
        self.said = ""
        self._process = process
        self._out = out
        self._ended = threading.Event()
        threading.Thread(target=self._reap, name=f"engine {self.pid}", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._process.returncode if self._ended.is_set() else None

    def state(self) -> LaunchState:
        """Whether it comes up, holds the workspace's lock, or ended; it does so at once when another one holds it."""
        if self._ended.is_set():
            return "ended"
        return "up" if self.workspace.engine_pid() == self.pid else "starting"

    def wait_until_up(self, timeout: float) -> LaunchState:
        """Wait until it is up or ended, ``timeout`` seconds at most."""
        deadline = time.monotonic() + timeout
        while (state := self.state()) == "starting" and time.monotonic() < deadline:
            self._ended.wait(POLL_SECONDS)
        return state

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it ended; returns the exit code, or None when it still runs."""
        self._ended.wait(timeout)
        return self.exit_code

    def _reap(self) -> None:
        self._process.wait()
        own = Path(self._out.name)
        with self._out, contextlib.suppress(OSError):
            self.said = "\n".join(_last_lines(self._out)[-WORDS:])
            # It is there until it is published. Beside an engine that works, its words are no news of the campaign.
            if own.exists() and self.workspace.engine_pid() is None:
                own.replace(self.workspace.engine_out)
            own.unlink(missing_ok=True)
        self._ended.set()


def start_engine(workspace: Workspace, start: Start | None = None) -> Launch:
    """Start an engine that no terminal and no viewer can take along; what it prints goes to ``engine.out``.

    It prints into a file of its own, which becomes ``engine.out`` when it takes the lock (:func:`publish_output`):
    of two that start at once the loser does not write between the lines of the winner.

    Raises:
        WorkspaceError: ``engine.out`` cannot be written, or no process can be started.
    """
    command = [*MODULE, "--no-ui", "-w", str(workspace.root), *(start or Start()).arguments()]
    own = workspace.root / f"{TEMPORARY}{os.urandom(6).hex()}-{workspace.engine_out.name}"
    try:
        out = own.open("x+b")
    except OSError as error:
        raise explain(error, workspace.root) or WorkspaceError(f"no engine can be started: {error}.") from error
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {OUTPUT: str(own)},
        )
    except OSError as error:
        out.close()
        own.unlink(missing_ok=True)
        raise explain(error, workspace.root) or WorkspaceError(f"no engine can be started: {error}.") from error
    return Launch(workspace, process, out)


def publish_output(workspace: Workspace) -> None:
    """Let what this process prints be ``engine.out``, if it was started by a viewer; call it with the lock held."""
    own = os.environ.pop(OUTPUT, "")
    if own:
        with contextlib.suppress(FileNotFoundError):
            Path(own).replace(workspace.engine_out)


def ensure_engine(workspace: Workspace, start: Start | None = None) -> Launch | None:
    """Start an engine unless one works here already; then None.

    When two callers start one at the same moment, the second engine ends at once and the first goes on.

    Raises:
        WorkspaceError: It cannot be started.
    """
    return start_engine(workspace, start) if workspace.engine_pid() is None else None


def last_options(workspace: Workspace) -> Start | None:
    """The limits of the last run, with which it continues if it did not end; None when there was none.

    Raises:
        RegistryError: The registry cannot be read.
    """
    if not workspace.facts.is_file():
        return None
    connection = open_viewer(workspace.facts)
    try:
        row = connection.execute("SELECT rounds, time_limit FROM runs ORDER BY rowid DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    return None if row is None else Start(row["rounds"], row["time_limit"])


def last_words(workspace: Workspace) -> str:
    """What the last engine said before it ended: the last lines it printed, and those of a bug's traceback."""
    out, log = workspace.engine_out, workspace.root / "engine.log"
    # Written when an engine takes the lock. One that a person ran in a terminal printed nothing here.
    began = _changed(workspace.root / "engine.pid")
    printed = _tail(out) if _changed(out) >= began else []
    told = bool(printed) and printed[-1].startswith("Bug: ")
    if _changed(log) < began or not (told or _changed(log) > _changed(out)):
        return "\n".join(printed[-WORDS:])
    trace = _tail(log)[-WORDS_OF_A_BUG:]
    printed = printed[len(trace) - WORDS :]
    return "\n".join([*trace, *printed] if told else [*printed, *trace])


def _changed(path: Path) -> float:
    """When a file was written last; 0 when there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _tail(path: Path) -> list[str]:
    """The last lines of a file that say something, fit to be shown."""
    try:
        with path.open("rb") as file:
            return _last_lines(file)
    except OSError:
        return []


def _last_lines(file: BinaryIO) -> list[str]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - TAIL_BYTES, 0))
    data = file.read(TAIL_BYTES)
    lines = clean(data.decode("utf-8", errors="replace")).expandtabs(4).split("\n")
    # The first line of a part is a part of a line.
    whole = lines[1:] if size > TAIL_BYTES and len(lines) > 1 else lines
    return [line.rstrip()[:LONGEST_LINE] for line in whole if line.strip()]
