"""Our search for blend weights against AutoGluon's greedy selection and hillclimbers, on the same files in one run.

    python -m benchmarks.blend_search FOLDER [--members 200] [--rows 1000000] [--quick] [--keep]

First a small pool that everybody searches to the end, then the large one, where a rival gets twelve times the
time that we took, a minute at least. The rivals live in an environment of their own in FOLDER, made on
first use. Seconds on the wall grow with what else the machine does, those of the processor hardly. Scores are
by our metrics, on all rows that were searched and on 200,000 others that nobody saw.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.pool import Files, Task, make_pool
from benchmarks.rivals import METRICS
from experiments.metrics import get_metric

SMALL = (20, 20_000)
HELD = 200_000
SHARE, LEAST, TO_THE_END = 12, 60.0, 900.0
RIVALS = ("autogluon", "hillclimbers")
ROOT = Path(__file__).parent.parent
ADDED = re.compile(r"Model added: (\d+) \| Best weight: (-?[\d.]+)")
FIRST = re.compile(r"(\d+): +-?[\d.]+ \(best solo model\)")


@dataclass
class Found:
    """What one search came to."""

    seconds: float
    processor: float
    megabytes: float
    weights: np.ndarray
    finished: bool
    more: dict[str, Any] = field(default_factory=dict)


def rivals_python(folder: Path) -> Path:
    """The interpreter of the rivals' environment."""
    python = folder / "rivals" / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "rivals"], check=True)
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", python, "autogluon.core", "hillclimbers"], check=True
        )
    return python


def search(who: str, python: Path, files: Files, limit: float) -> Found:
    """Run one search in a process of its own; one that does not look at the clock is ended after the limit."""
    command = [python, "-m", "benchmarks.rivals", who, files.folder, files.task, files.members, files.rows, limit]
    log = files.folder / f"{who}.log"
    with log.open("wb") as out:
        began = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        # AutoGluon ends the step that it is in, and importing it takes a while.
        patience = limit if who == "hillclimbers" else max(10 * limit, TO_THE_END)
        pid = 0
        while not pid:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid and time.monotonic() - began > patience:
                process.kill()
                pid, status, usage = os.wait4(process.pid, 0)
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    if process.returncode == 0:
        found = json.loads(text.splitlines()[-1])
    elif process.returncode == -9:
        found = {"seconds": time.monotonic() - began, "processor": usage.ru_utime + usage.ru_stime, "finished": False}
    else:
        raise SystemExit(f"{who} failed:\n{text[-2000:]}")
    weights = np.asarray(found.pop("weights", None) or told(text, files.members))
    seconds, processor = found.pop("seconds"), found.pop("processor")
    return Found(seconds, processor, usage.ru_maxrss / 1024, weights, found.pop("finished", True), found)


def told(text: str, members: int) -> np.ndarray:
    """The weights that hillclimbers had reached, from what it prints; zeros before it has looked at every model."""
    weights = np.zeros(members)
    if first := FIRST.search(text):
        weights[int(first[1])] = 1
    for number, weight in ADDED.findall(text):
        weights *= 1 - float(weight)
        weights[int(number)] += float(weight)
    return weights


def score(files: Files, weights: np.ndarray, rows: slice) -> float:
    y = files.target()[rows]
    total: Any = 0.0
    for member in np.flatnonzero(weights):
        total = total + weights[member] * files.member(int(member))[rows].astype(np.float64)
    return get_metric(METRICS[files.task]).score(y, total) if weights.any() else float("nan")


def compare(files: Files, python: Path, *, to_the_end: bool) -> None:
    """Print a row for each contestant."""
    size = f"{files.members} x {files.rows:,}"
    base = search("ours", Path(sys.executable), files, 0.0)
    limit = TO_THE_END if to_the_end else max(LEAST, SHARE * base.seconds)
    for who in ("ours", *RIVALS):
        found = base if who == "ours" else search(who, python, files, limit)
        seen = score(files, found.weights, slice(files.rows))
        held = score(files, found.weights, slice(files.rows, None))
        ratios = (found.seconds / base.seconds, found.processor / base.processor)
        more = "" if found.finished else "> "
        note = f"one more fit {found.more['again']:.2f} s, on {found.more['rows']:,} rows" if who == "ours" else ""
        if not found.finished:
            note = "not finished"
        print_row(
            *(METRICS[files.task], size, who, f"{found.seconds:.2f}", f"{more}{ratios[0]:.1f}"),
            *(f"{found.processor:.2f}", f"{more}{ratios[1]:.1f}", f"{found.megabytes:,.0f}"),
            *(f"{seen:.6f}", f"{held:.6f}", str(np.count_nonzero(found.weights)), note),
        )


def print_row(*cells: str) -> None:
    widths = (9, 15, 13, 9, 9, 9, 9, 8, 10, 10, 6, 0)
    print(" ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="small pools alone")
    parser.add_argument("--keep", action="store_true", help="leave pools and rivals in FOLDER")
    wanted = parser.parse_args()
    folder = wanted.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = rivals_python(folder)
    print_row(
        *("metric", "members x rows", "search", "seconds", "x ours", "cpu s", "x ours", "peak MB"),
        *("all rows", "held rows", "taken", ""),
    )
    sizes = [(SMALL if not wanted.quick else (12, 10_000), True)]
    if not wanted.quick:
        sizes.append(((wanted.members, wanted.rows), False))
    for (members, rows), to_the_end in sizes:
        for task in get_args(Task):
            files = make_pool(folder / f"{task}-{members}-{rows}", task, members, rows, HELD)
            compare(files, python, to_the_end=to_the_end)
            if not wanted.keep:
                shutil.rmtree(files.folder)
    if not wanted.keep:
        shutil.rmtree(folder / "rivals")


if __name__ == "__main__":
    main()
