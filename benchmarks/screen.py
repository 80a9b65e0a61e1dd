"""What the screen costs: first paint, keys under load, memory after hours, and what the loop pays for a viewer.

    python -m benchmarks.screen [--rounds 1000] [--keys 100]

Everything runs as its user would run it: the program in a pseudo-terminal of 120x40, a generated campaign, and a
process that writes tokens as the engine does. First paint and the loop's lag are ratios of runs that alternate; the
rest are figures beside the targets of docs/design.md, section 10.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
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
from autokaggle_tui.workspace import Workspace
from tests.campaigns import make_campaign

BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("autokaggle")
Bare().run()
"""
WRITER = """
import sqlite3, sys, time
path, batch, pause, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
live = sqlite3.connect(path, timeout=30, isolation_level=None)
live.execute("PRAGMA synchronous = OFF")
words = "the gain of this fold is within the noise of the others so the next round tries another family of features "
text, end = (words * 10)[: batch * 4], time.monotonic() + seconds
while time.monotonic() < end:
    live.execute("BEGIN IMMEDIATE")
    live.executemany("INSERT INTO stream (at, round, role, kind, text) VALUES (?, 1, ?, 'text', ?)",
                     [(time.time(), role, text) for role in ("researcher", "builder", "reviewer")])
    live.execute("DELETE FROM stream WHERE id <= (SELECT max(id) FROM stream) - 200000")
    live.execute("COMMIT")
    time.sleep(pause)
"""
PAINTED = b"autokaggle"
PATIENCE = 60.0
TOKENS_PER_SECOND = 200
FLUSHES_PER_SECOND = 10
HOURS = 8


class Terminal:
    """A program in a pseudo-terminal; what it writes is read and timed."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def wait_for(self, wanted: bytes, seconds: float = PATIENCE) -> float:
        """Seconds from now until the bytes come out of the program.

        Raises:
            TimeoutError: They do not.
        """
        begun, seen = time.perf_counter(), b""
        while time.perf_counter() - begun < seconds:
            ready, _, _ = select.select([self.master], [], [], 0.5)
            if ready:
                seen = seen[-len(wanted) :] + os.read(self.master, 65536)
                if wanted in seen:
                    return time.perf_counter() - begun
        raise TimeoutError(f"{wanted!r} was not seen within {seconds:g} s")

    def drain(self, seconds: float) -> None:
        """Read on, as a terminal does, for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self.master], [], [], left)[0]:
                os.read(self.master, 65536)

    def press(self, key: str) -> None:
        """Type a key."""
        os.write(self.master, key.encode())

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextmanager
def viewing(workspace: Workspace, environment: dict[str, str]) -> Iterator[Terminal]:
    """The screen attached to a workspace."""
    terminal = Terminal([*MODULE, "attach", "-w", str(workspace.root)], environment)
    try:
        yield terminal
    finally:
        terminal.close()


@contextmanager
def writing(workspace: Workspace, batch: int, pause: float, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process that streams ``batch`` tokens for each role every ``pause`` seconds."""
    values = [str(workspace.live), str(batch), str(pause), str(seconds)]
    process = subprocess.Popen([sys.executable, "-c", WRITER, *values])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first_paint(workspace: Workspace, environment: dict[str, str], times: int = 7) -> tuple[float, float]:
    """Median seconds from start to first paint: (a bare Textual app, the cockpit on a full campaign)."""
    commands = ([sys.executable, "-c", BARE], [*MODULE, "attach", "-w", str(workspace.root)])
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        for command, kept in zip(commands, taken, strict=True):
            terminal = Terminal(command, environment)
            try:
                terminal.wait_for(PAINTED)
                kept.append(time.perf_counter() - terminal.started)
            finally:
                terminal.close()
    return statistics.median(taken[0]), statistics.median(taken[1])


def keys_under_load(
    workspace: Workspace, environment: dict[str, str], rounds: int, keys: int
) -> tuple[list[float], float, float]:
    """Move down the table while three agents stream.

    Returns:
        (seconds from each key to the row it selects, CPU share of one core while idle but streaming, memory in MB).
    """
    pause = 1 / FLUSHES_PER_SECOND
    with viewing(workspace, environment) as terminal:
        terminal.wait_for(b"R%d" % rounds)
        terminal.drain(2.0)
        viewer = psutil.Process(terminal.process.pid)
        with writing(workspace, TOKENS_PER_SECOND // FLUSHES_PER_SECOND, pause, 600):
            terminal.drain(2.0)
            before, begun = sum(viewer.cpu_times()[:2]), time.perf_counter()
            terminal.drain(10.0)
            share = (sum(viewer.cpu_times()[:2]) - before) / (time.perf_counter() - begun)
            taken = []
            for number in range(keys):
                terminal.press("j")
                # Nothing but the moved cursor paints this row's name again.
                taken.append(terminal.wait_for(b"R%d" % (rounds - number), 5.0))
                terminal.drain(0.15)
        return taken, share, viewer.memory_info().rss / 1e6


def memory_after(workspace: Workspace, environment: dict[str, str], hours: float) -> tuple[float, float, int]:
    """MB of the viewer at the start and after so many hours' worth of rows, written as fast as they go."""
    wanted = int(hours * 3600 * FLUSHES_PER_SECOND * 3)
    with viewing(workspace, environment) as terminal:
        terminal.wait_for(PAINTED)
        terminal.drain(3.0)
        viewer = psutil.Process(terminal.process.pid)
        before = viewer.memory_info().rss / 1e6
        with writing(workspace, TOKENS_PER_SECOND // FLUSHES_PER_SECOND, 0.0, 600):
            rows = first = _newest(workspace)
            while rows - first < wanted:
                terminal.drain(1.0)
                rows = _newest(workspace)
        terminal.drain(3.0)
        return before, viewer.memory_info().rss / 1e6, rows - first


def _newest(workspace: Workspace) -> int:
    import sqlite3

    connection = sqlite3.connect(workspace.live, timeout=30)
    try:
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM stream").fetchone()[0])
    finally:
        connection.close()


def lag(folder: Path, environment: dict[str, str], pairs: int = 3) -> tuple[float, float]:
    """Median seconds of a three-round demo: (without a viewer, with one attached)."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs):
        for watched, kept in zip((False, True), taken, strict=True):
            place = Workspace(folder / f"demo-{number}-{watched}")
            subprocess.run([*MODULE, "demo", "--prepare", "-w", str(place.root)], env=environment, check=True)
            command = [*MODULE, "demo", "--no-ui", "--rounds", "3", "-w", str(place.root)]
            begun = time.perf_counter()
            loop = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            if not watched:
                loop.wait()
            else:
                _watch(loop, place, environment)
            kept.append(time.perf_counter() - begun)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _watch(loop: subprocess.Popen[bytes], workspace: Workspace, environment: dict[str, str]) -> None:
    """Look at a run from when it has a registry until it ends."""
    while not workspace.facts.exists() and loop.poll() is None:
        time.sleep(0.05)
    with viewing(workspace, environment) as terminal:
        while loop.poll() is None:
            terminal.drain(0.2)


def percentile(values: Sequence[float], share: float) -> float:
    """A value that so large a share does not exceed."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * share), len(ranked) - 1)]


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--hours", type=float, default=HOURS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = os.environ | {
            "TERM": "xterm-256color",
            "AUTOKAGGLE_STATE_HOME": str(folder / "state"),
            "AUTOKAGGLE_DATA_HOME": str(folder / "data"),
        }
        campaign = make_campaign(folder / "campaign", options.rounds, playing=True)
        bare, ours = first_paint(campaign, environment)
        say(f"first paint       bare app {bare:.2f} s, cockpit {ours:.2f} s: {ours / bare:.2f} x (target 1.35 x)")
        taken, share, memory = keys_under_load(campaign, environment, options.rounds, options.keys)
        p50, p95 = (1000 * percentile(taken, part) for part in (0.5, 0.95))
        say(f"key to paint      p50 {p50:.0f} ms, p95 {p95:.0f} ms (target p95 under 50 ms)")
        say(f"while streaming   {100 * share:.0f} % of a core, {memory:.0f} MB (3 x {TOKENS_PER_SECOND} tokens/s)")
        before, after, rows = memory_after(campaign, environment, options.hours)
        say(f"memory            {before:.0f} MB, after {rows:,} rows {after:.0f} MB (target under 150 MB)")
        alone, watched = lag(folder, environment)
        say(f"three rounds      alone {alone:.1f} s, watched {watched:.1f} s: {watched / alone:.2f} x")


if __name__ == "__main__":
    main()
