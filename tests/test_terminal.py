"""The program in a real terminal: a pseudo-terminal whose other end is read by an emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .conftest import change_config

PATIENCE = 60.0
BLOCKED = 5.0
ALTERNATE_SCREEN, MOUSE, PASTE = 1049, 1000, 2004

Size = tuple[int, int]


class Terminal:
    """A terminal of some size with a program in it.

    Attributes:
        process: The program.
        raw: Every byte that it wrote.
    """

    def __init__(self, *arguments: str, size: Size = (120, 40), **environment: str) -> None:
        self.raw = b""
        self._ours, theirs = pty.openpty()
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.resize(*size, tell=False)
        self.before = termios.tcgetattr(theirs)
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PYTEST_CURRENT_TEST")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "autokaggle_tui", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=kept | {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | environment,
            start_new_session=True,
            # Its own terminal, as a shell has it: the kernel tells it of another size and of a hang-up.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._theirs = theirs

    def resize(self, columns: int, lines: int, *, tell: bool = True) -> None:
        """Another size."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def read(self, patience: float = 0.05) -> None:
        """Take what the program wrote."""
        while select.select([self._ours], [], [], patience)[0]:
            try:
                data = os.read(self._ours, 65_536)
            except OSError:
                return
            self.raw += data
            self._stream.feed(data)
            patience = 0.0

    @property
    def lines(self) -> list[str]:
        """The screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    def until(self, holds: Callable[[], object]) -> None:
        """Read on until something holds."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s\n{self.text}"
            self.read()

    def sees(self, *texts: str) -> None:
        """Read on until the screen shows each of these texts."""
        self.until(lambda: all(text in self.text for text in texts))

    def ends(self) -> int:
        """Read on until the program ends; returns its exit code."""
        self.until(lambda: self.process.poll() is not None)
        self.read()
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def modes(self) -> set[int]:
        """Private modes that are on."""
        return {mode >> 5 for mode in self._screen.mode}

    @property
    def is_restored(self) -> bool:
        """Whether a shell would find the terminal as it was."""
        own = {ALTERNATE_SCREEN, MOUSE, PASTE} & self.modes
        return not own and not self._screen.cursor.hidden and termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        """Hang up."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._theirs)
        os.close(self._ours)


@pytest.fixture(autouse=True)
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the program keeps for a person is kept in the test's own folder."""
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Opens terminals, and closes them at the end."""
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, size: Size = (120, 40), **environment: str) -> Terminal:
        opened.append(Terminal(*arguments, size=size, **environment))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Workspace]:
    """Where the demo is played; no engine is left in it."""
    place = Workspace(tmp_path / "demo")
    yield place
    pid = place.engine_pid()
    if pid:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: place.engine_pid() is None)


def wait_for(holds: Callable[[], object]) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def block(process: subprocess.Popen[bytes], workspace: Workspace) -> None:
    """Stop a viewer between two looks at the databases.

    One that is stopped within a statement, a chance of one in some hundreds, keeps SQLite's lock; where the journal is
    no WAL the engine waits for it.
    """
    while True:
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT) is not None)
        if all(is_free(file) for file in (workspace.facts, workspace.live)):
            return
        process.send_signal(signal.SIGCONT)


def is_free(file: Path) -> bool:
    """Whether a database can be written."""
    connection = sqlite3.connect(file, timeout=5, isolation_level=None)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def newest(workspace: Workspace) -> tuple[int, float]:
    """Id and time of the last event."""
    connection = sqlite3.connect(workspace.facts, timeout=30)
    try:
        row = connection.execute("SELECT id, at FROM events ORDER BY id DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    return (int(row[0]), float(row[1])) if row else (0, 0.0)


def test_the_demo_is_played_resized_paused_and_stopped(demo: Workspace, terminal: Callable[..., Terminal]):
    screen = terminal("demo", "-w", str(demo.root), "--rounds", "200")
    screen.sees("R01", "● running", "2 Builder", "5 CV score")
    screen.resize(80, 24)
    screen.sees("1 Researcher", "4 Rounds", "R01", "Quit")
    screen.until(lambda: "2 Builder" not in screen.text and "5 CV score" not in screen.text)
    assert ALTERNATE_SCREEN in screen.modes and screen.lines[3].startswith("╭") and screen.lines[3].endswith("╮")
    screen.type(" ")
    screen.sees(" paused", "Resume")
    pid = demo.engine_pid()
    assert pid is not None
    screen.type("q")
    screen.sees("Leave the screen?", "Keep running")
    screen.type("s")
    assert screen.ends() == 0
    assert screen.is_restored
    assert b"Traceback" not in screen.raw
    wait_for(lambda: demo.engine_pid() is None)


def test_the_loop_goes_on_while_a_viewer_is_blocked_and_after_it_was_killed(
    workspace: Workspace, terminal: Callable[..., Terminal]
):
    """The viewer that started the engine is stopped by a signal for five seconds, then killed by another."""
    change_config(workspace, compute={"slots": 1})
    viewer = terminal("-w", str(workspace.root), "--rounds", "200", size=(80, 24))
    viewer.sees("● running", "R01")
    pid = workspace.engine_pid()
    assert pid
    try:
        block(viewer.process, workspace)
        blocked, (seen, _) = time.time(), newest(workspace)
        wait_for(lambda: newest(workspace)[1] > blocked + BLOCKED)
        assert newest(workspace)[0] > seen and workspace.engine_pid() == pid
        viewer.process.kill()
        viewer.process.wait()
        killed, (seen, _) = time.time(), newest(workspace)
        wait_for(lambda: newest(workspace)[1] > killed)
        assert newest(workspace)[0] > seen and workspace.engine_pid() == pid
    finally:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: workspace.engine_pid() is None)


def test_without_colour_and_motion_it_says_the_same(tmp_path: Path, terminal: Callable[..., Terminal]):
    campaign = make_campaign(tmp_path / "campaign", 12)
    screen = terminal("attach", "-w", str(campaign.root), NO_COLOR="1", TEXTUAL_ANIMATIONS="none")
    screen.sees("■ finished", "✓ keep", "✗ discard", "The run finished")
    screen.type("\r")
    screen.until(lambda: "1 Overview" in screen.text and "6 Verdicts" not in screen.text)
    screen.type("\x1b")
    screen.sees("4 Rounds", "6 Verdicts")
    screen.type("q")
    assert screen.ends() == 0 and screen.is_restored
    colours = re.findall(rb"[34]8;2;(\d+);(\d+);(\d+)", screen.raw)
    assert all(len(set(colour)) == 1 for colour in colours)
    assert not re.search(rb"\x1b\[(?:\d+;)*[34][1-6]m", screen.raw)


def test_a_terminal_that_is_lost_takes_the_screen_along(tmp_path: Path, terminal: Callable[..., Terminal]):
    campaign = make_campaign(tmp_path / "campaign", 3)
    screen = terminal("attach", "-w", str(campaign.root))
    screen.sees("■ finished")
    os.killpg(screen.process.pid, signal.SIGHUP)
    screen.until(lambda: screen.process.poll() is not None)
    assert b"Traceback" not in screen.raw


@pytest.mark.parametrize("redirected", ["stdin", "stdout", "stderr"])
def test_what_is_not_a_terminal_at_all_three_ends_is_refused(tmp_path: Path, redirected: str):
    campaign = make_campaign(tmp_path / "campaign", 1)
    ours, theirs = pty.openpty()
    said = (tmp_path / "said").open("w+b")
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs} | {redirected: said}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "autokaggle_tui", "attach", "-w", str(campaign.root)],
            **streams,
            env=os.environ | {"TERM": "xterm-256color"},
            timeout=PATIENCE,
            check=False,
        )
        told = os.read(ours, 65_536) if redirected != "stderr" else (tmp_path / "said").read_bytes()
    finally:
        said.close()
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert b"the screen needs a terminal" in told and b"--no-ui" in told and b"Traceback" not in told
