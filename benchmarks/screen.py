"""What the screen costs: first paint, keys under load, memory after hours, and what the loop pays for a viewer.

    python -m benchmarks.screen [paint] [keys] [memory] [lag] [--rounds 1000] [--keys 100]

Everything runs as its user would run it: the program in a pseudo-terminal of 120x40, and in place of the engine a
process that writes facts and tokens as it does (``benchmarks.playing``). Ratios are of runs that alternate; the rest
are figures beside the targets of docs/design.md, section 10.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from autokaggle_tui.launching import MODULE
from autokaggle_tui.ui.themes import THEMES
from autokaggle_tui.workspace import Workspace

BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("autokaggle")
Bare().run()
"""
PAINTED = b"autokaggle"
PATIENCE = 60.0
TOKENS_PER_SECOND = 200
HOURS = 8
ROUNDS_PER_HOUR, ROWS_PER_HOUR = 150, 62_500
"""Of a hurried campaign: a round in 24 seconds; an agent at work streams ten rows a second."""
FIRST_ROUNDS = 3
KEY_PAUSE = 0.21
"""Between keys: no multiple of the viewer's tick, so that keys meet all of its moments."""
Environment = dict[str, str]


class Terminal:
    """A program in a pseudo-terminal; what it writes is read and timed."""

    def __init__(self, command: Sequence[str], environment: Environment) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._said = b""
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def wait_for(self, wanted: bytes, seconds: float = PATIENCE) -> float:
        """Seconds from now until what a pattern says comes out of the program.

        Raises:
            TimeoutError: It does not.
        """
        pattern, begun, seen = re.compile(wanted), time.perf_counter(), b""
        while time.perf_counter() - begun < seconds:
            if select.select([self.master], [], [], 0.5)[0]:
                seen = seen[-200:] + self._read()
                if pattern.search(seen):
                    return time.perf_counter() - begun
        raise TimeoutError(f"{wanted!r} was not seen within {seconds:g} s")

    def drain(self, seconds: float) -> None:
        """Read on, as a terminal does, for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self.master], [], [], left)[0]:
                self._read()

    def press(self, key: str) -> None:
        """Type a key."""
        os.write(self.master, key.encode())

    def _read(self) -> bytes:
        """What the program wrote.

        Raises:
            RuntimeError: It ended; with its last words.
        """
        try:
            said = os.read(self.master, 65536)
        except OSError as error:
            raise RuntimeError(f"the program ended: {self._said.decode(errors='replace')}") from error
        self._said = (self._said + said)[-2_000:]
        return said

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


class Engine:
    """The process that plays an engine."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.workspace = Workspace(folder)
        command = [sys.executable, "-m", "benchmarks.playing", str(folder), str(rounds)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self._said = self.process.stdout
        self._said.readline()

    def ask(self, *words: object) -> None:
        """Give it a line to obey."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{' '.join(map(str, words))}\n".encode())
        self.process.stdin.flush()

    def idle(self) -> bool:
        """Whether it has done what it was asked.

        Raises:
            RuntimeError: It ended.
        """
        if self.process.poll() is not None:
            raise RuntimeError("the process that plays the engine ended")
        return bool(select.select([self._said], [], [], 0.0)[0]) and bool(self._said.readline())

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def playing(folder: Path, rounds: int) -> Iterator[Engine]:
    """An engine at rest, so many rounds into its campaign."""
    engine = Engine(folder, rounds)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def viewing(workspace: Workspace, environment: Environment) -> Iterator[Terminal]:
    """The screen attached to a workspace."""
    terminal = Terminal([*MODULE, "attach", "-w", str(workspace.root)], environment)
    try:
        yield terminal
    finally:
        terminal.close()


def first_paint(workspace: Workspace, environment: Environment, last: bytes, times: int = 7) -> list[float]:
    """Median seconds from the start.

    Args:
        last: The name of the newest round.

    Returns:
        [first paint of a bare Textual app, that of the cockpit, the cockpit with its newest round].
    """
    attach = [*MODULE, "attach", "-w", str(workspace.root)]
    programs = (([sys.executable, "-c", BARE], [PAINTED]), (attach, [PAINTED, last]))
    # As installed programs have it, compiled modules are kept; the first turn makes them, and warms the disk's cache.
    environment = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken: list[list[float]] = []
    for _ in range(times + 1):
        taken.append([])
        for command, marks in programs:
            terminal = Terminal(command, environment)
            try:
                for mark in marks:
                    terminal.wait_for(mark)
                    taken[-1].append(time.perf_counter() - terminal.started)
            finally:
                terminal.close()
    return [statistics.median(seconds) for seconds in zip(*taken[1:], strict=True)]


def keys_under_load(engine: Engine, environment: Environment, rounds: int, keys: int) -> tuple[list[float], float]:
    """Move the table's cursor down and up while three agents stream and a round goes on.

    Returns:
        (seconds from each key to the painted row under the cursor, share of a core that the viewer takes before).
    """
    with viewing(engine.workspace, environment) as terminal:
        terminal.wait_for(rb"R%d" % rounds)
        engine.ask("stream", TOKENS_PER_SECOND)
        terminal.drain(3.0)
        viewer = psutil.Process(terminal.process.pid)
        before, begun = sum(viewer.cpu_times()[:2]), time.perf_counter()
        terminal.drain(10.0)
        share = (sum(viewer.cpu_times()[:2]) - before) / (time.perf_counter() - begun)
        taken = []
        for number in range(keys):
            terminal.press("jk"[number // 8 % 2])
            taken.append(terminal.wait_for(_cursor_on(rb"R\d+"), 5.0))
            terminal.drain(KEY_PAUSE)
        return taken, share


def _cursor_on(name: bytes) -> bytes:
    """A pattern of the table's row with this name, painted in the cursor's colour."""
    red, green, blue = bytes.fromhex(THEMES[0].variables["block-cursor-background"][1:])
    return rb"48;2;%d;%d;%dm[^\x1b]*%s" % (red, green, blue, name)


def memory_after(engine: Engine, environment: Environment, rounds: int, hours: float) -> tuple[float, float, float]:
    """MB of the viewer: (when it has painted, after so many hours' worth of events and rows, at its peak).

    Args:
        rounds: Played before.
    """
    more = int(hours * ROUNDS_PER_HOUR)
    with viewing(engine.workspace, environment) as terminal:
        terminal.wait_for(PAINTED)
        terminal.drain(3.0)
        viewer = psutil.Process(terminal.process.pid)
        before = peak = _megabytes(viewer)
        engine.ask("rush", more, int(hours * ROWS_PER_HOUR))
        while not engine.idle():
            terminal.drain(0.5)
            peak = max(peak, _megabytes(viewer))
        terminal.drain(5.0)
        # Down and up to the first row again, so that it is painted: the viewer has seen the last round.
        terminal.press("jg")
        terminal.wait_for(_cursor_on(b"R%d" % (rounds + more)))
        return before, _megabytes(viewer), peak


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def lag(folder: Path, environment: Environment, pairs: int = 3) -> tuple[float, float]:
    """Median seconds of a three-round demo: (without a viewer, with one attached)."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        for watched, kept in zip((False, True), taken, strict=True):
            place = Workspace(folder / f"demo-{number}-{watched}")
            subprocess.run([*MODULE, "demo", "--prepare", "-w", str(place.root)], env=environment, check=True)
            command = [*MODULE, "demo", "--no-ui", "--rounds", "3", "-w", str(place.root)]
            begun = time.perf_counter()
            loop = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            if watched:
                _watch(loop, place, environment)
            loop.wait()
            kept.append(time.perf_counter() - begun)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _watch(loop: subprocess.Popen[bytes], workspace: Workspace, environment: Environment) -> None:
    """Look at a run from when its engine is there until it ends."""
    while workspace.engine_pid() is None and loop.poll() is None:
        time.sleep(0.02)
    with viewing(workspace, environment) as terminal:
        while loop.poll() is None:
            terminal.drain(0.1)


def percentile(values: Sequence[float], share: float) -> float:
    """A value that so large a share does not exceed."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = ("paint", "keys", "memory", "lag")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="what to measure; everything when not given")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--hours", type=float, default=HOURS)
    options = parser.parse_args()
    wanted = options.parts or parts
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = os.environ | {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "AUTOKAGGLE_STATE_HOME": str(folder / "state"),
            "AUTOKAGGLE_DATA_HOME": str(folder / "data"),
        }
        if "paint" in wanted or "keys" in wanted:
            with playing(folder / "campaign", options.rounds) as engine:
                if "paint" in wanted:
                    last = b"R%d" % options.rounds
                    bare, ours, full = first_paint(engine.workspace, environment, last)
                    say(f"first paint      bare app {bare:.2f} s, cockpit {ours:.2f} s: {ours / bare:.2f} x (1.35 x)")
                    say(f"its newest round {full:.2f} s after the start, {options.rounds:,} rounds in the table")
                if "keys" in wanted:
                    taken, share = keys_under_load(engine, environment, options.rounds, options.keys)
                    p50, p95 = (1000 * percentile(taken, part) for part in (0.5, 0.95))
                    say(f"key to paint     p50 {p50:.0f} ms, p95 {p95:.0f} ms (p95 under 50 ms)")
                    say(f"while streaming  {100 * share:.0f} % of a core (3 x {TOKENS_PER_SECOND} tokens/s)")
        if "memory" in wanted:
            with playing(folder / "long", FIRST_ROUNDS) as engine:
                before, after, peak = memory_after(engine, environment, FIRST_ROUNDS, options.hours)
            worth = f"{options.hours:g} hours ({int(options.hours * ROUNDS_PER_HOUR):,} rounds)"
            say(f"memory           {before:.0f} MB, after {worth} {after:.0f} MB, peak {peak:.0f} MB (150 MB)")
        if "lag" in wanted:
            alone, watched = lag(folder, environment)
            say(f"three rounds     alone {alone:.1f} s, watched {watched:.1f} s: {watched / alone:.2f} x")


if __name__ == "__main__":
    main()
