"""Does anything grow that should not: 200 short rounds in one engine, a sample after each.

    python -m benchmarks.soak [--rounds 200] [--csv FILE]

The rounds are those of benchmarks.loop_overhead: a scripted model plans an experiment a round that costs nothing, so
that there is always a next one; phases, folds in slots, registry, files, exports, pool, blends' correlations and
submissions are the real ones. What a process holds (memory, handles, threads, processes) should be flat; what a round
adds to the disk (facts, tokens, files) should not become more from round to round.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from autokaggle_tui.bench import open_bench
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from benchmarks.loop_overhead import LEARNINGS, Scripted
from experiments.schema import Row

HELD = {
    "memory of the engine (PSS, MB)": 0.05,
    "memory of the engine alone (USS, MB)": 0.05,
    "memory of the slots (PSS, MB)": 0.05,
    "open files": 0.0,
    "threads": 0.0,
    "processes": 0.0,
    "files in the temporary folder": 0.0,
}
"""What is held, and by what share of itself it may be more in the last quarter than in the second one."""
ADDED = {
    "autokaggle.db (kB)": 0.1,
    "live.db (kB)": 0.1,
    "files in rounds/": 0.1,
    "files in cache/": 0.0,
    "workspace (kB)": 0.1,
}
"""What a round adds, and by what share of itself that may be more in the last quarter than in the second one."""


def sample(workspace: Workspace, temporary: Path) -> dict[str, float]:
    """How things stand now."""
    engine = psutil.Process()
    below = engine.children(recursive=True)
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    slots = 0
    for process in below:
        try:
            slots += process.memory_full_info().pss
        except psutil.Error:
            continue
    memory = engine.memory_full_info()
    return {
        "memory of the engine (PSS, MB)": memory.pss / 2**20,
        "memory of the engine alone (USS, MB)": memory.uss / 2**20,
        "memory of the slots (PSS, MB)": slots / 2**20,
        "open files": engine.num_fds(),
        "threads": engine.num_threads(),
        "processes": 1 + len(below),
        "files in the temporary folder": sum(1 for _ in temporary.rglob("*")),
        "autokaggle.db (kB)": workspace.facts.stat().st_size / 1024,
        "live.db (kB)": workspace.live.stat().st_size / 1024,
        "files in rounds/": sum(path.is_relative_to(workspace.rounds) for path in files),
        "files in cache/": sum(path.is_relative_to(workspace.cache) for path in files),
        "workspace (kB)": sum(path.stat().st_size for path in files) / 1024,
    }


async def soak(rounds: int, folder: Path) -> list[dict[str, float]]:
    """A sample after each round."""
    workspace = Workspace(demo_workspace(folder / "demo"))
    workspace.learnings.write_text(LEARNINGS)
    samples: list[dict[str, float]] = []

    def listen(row: Row) -> None:
        if row["kind"] == "round_done" and row["round"]:
            samples.append(sample(workspace, folder / "t"))

    async with open_bench(workspace, listen) as bench:
        await bench.runner.starting
        bench.desk.staff.open = lambda _name: Scripted()
        await Session(bench, RunOptions(rounds=rounds)).run()
    return samples


def table(samples: Sequence[dict[str, float]]) -> str:
    """Quarters, slope and verdict of each figure, as Markdown."""
    lines = ["| held by the processes | 1st quarter | 2nd | last quarter | slope per round | |", f"|{' --- |' * 6}"]
    for name, share in HELD.items():
        lines.append(_line(name, [one[name] for one in samples], share))
    lines += ["", "| added by a round | 1st quarter | 2nd | last quarter | slope per round | |", f"|{' --- |' * 6}"]
    for name, share in ADDED.items():
        values = [one[name] for one in samples]
        lines.append(_line(name, [after - before for before, after in pairwise(values)], share))
    return "\n".join(lines)


def _line(name: str, values: Sequence[float], share: float) -> str:
    """The first quarter warms up (libraries, caches); the last is held against the second."""
    quarter = max(len(values) // 4, 1)
    first, second, last = (statistics.fmean(part) for part in _quarters(values, quarter))
    later = values[quarter:]
    slope = statistics.linear_regression(range(len(later)), later).slope if len(later) > 1 else 0.0
    grows = last > second * (1 + share) + 0.01
    return f"| {name} | {first:.2f} | {second:.2f} | {last:.2f} | {slope:+.4f} | {'**grows**' if grows else 'flat'} |"


def _quarters(values: Sequence[float], quarter: int) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    return values[:quarter], values[quarter : 2 * quarter] or values, values[-quarter:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--csv", help="a file for all samples")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        (folder / "t").mkdir()
        tempfile.tempdir = str(folder / "t")
        os.environ |= {"TMPDIR": str(folder / "t"), "AUTOKAGGLE_DATA_HOME": str(folder / "home")}
        samples = asyncio.run(soak(options.rounds, folder))
    if options.csv:
        with Path(options.csv).open("w", newline="") as file:
            writer = csv.DictWriter(file, list(samples[0]))
            writer.writeheader()
            writer.writerows(samples)
    print(table(samples))


if __name__ == "__main__":
    main()
