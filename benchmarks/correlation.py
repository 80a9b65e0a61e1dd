"""How soon a new prediction is compared with a pool, and all pairs of it, against reading the files and NumPy.

A pool of 200 x 1,000,000 predictions lies in a folder, made there if it is missing. Each figure is a process of its
own; the peak is what that process had in memory, mapped files included. Times are told as multiples of reading the
pool's files once, from memory, in this run. Run: python -m benchmarks.correlation FOLDER [MEMBERS ROWS]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.pool import Files, make_pool
from experiments.correlation import all_pairs, compare, correlation_matrix
from experiments.ranks import RankFiles

MEMBERS, ROWS = 200, 1_000_000
BUFFER = 1 << 20


class Pool:
    """The pool, memory-mapped, its last member taken for the new prediction."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.covered = np.ones(files.rows, dtype=bool)
        self.y = files.target()[: files.rows]
        self.members = {f"R{number:03d}": files.member(number)[: files.rows] for number in range(files.members)}
        *_, self.new = self.members
        self.others = {name: values for name, values in self.members.items() if name != self.new}
        self.kept = RankFiles(files.folder / "ranks", self.covered)

    def ranks(self) -> dict[str, np.ndarray]:
        """Kept in files beside the pool."""
        return {name: self.kept.of(name, name, values) for name, values in self.members.items()}


def read(pool: Pool) -> None:
    """Once through the bytes of the files."""
    buffer = bytearray(BUFFER)
    for number in range(pool.files.members):
        with pool.files.path(number).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def add(pool: Pool) -> None:
    """The least that an array library does with all numbers: a sum."""
    for values in pool.members.values():
        values.sum()


def rank_all(pool: Pool) -> None:
    """Sorts each member, once for all rounds."""
    pool.kept.keep(())
    pool.ranks()


def new_prediction(pool: Pool) -> None:
    """Pearson, Spearman and errors of one against all, ranks of the others kept from before."""
    ranks = pool.ranks()
    compare(pool.members[pool.new], pool.others, pool.covered, pool.y, ranks[pool.new], ranks)


def numpy_new(pool: Pool) -> None:
    """Pearson alone, pair by pair."""
    for values in pool.others.values():
        np.corrcoef(pool.members[pool.new], values)


def matrix(pool: Pool) -> None:
    """Pearson of all pairs."""
    correlation_matrix(list(pool.members.values()), pool.covered)


def all_figures(pool: Pool) -> None:
    """Pearson, Spearman and errors of all pairs, ranks kept from before."""
    all_pairs(pool.members, pool.covered, pool.y, pool.ranks())


def numpy_matrix(pool: Pool) -> None:
    """Pearson of all pairs."""
    np.corrcoef(list(pool.members.values()))


TASKS: dict[str, tuple[Callable[[Pool], None], str]] = {
    "read": (read, "the files, read once"),
    "add": (add, "the arrays, summed once by NumPy"),
    "rank": (rank_all, "ranks of all members, once for all rounds"),
    "new": (new_prediction, "a new prediction: Pearson, Spearman, errors"),
    "numpy-new": (numpy_new, "a new prediction: numpy.corrcoef of each pair, Pearson alone"),
    "matrix": (matrix, "all pairs: Pearson alone"),
    "all": (all_figures, "all pairs: Pearson, Spearman, errors"),
    "numpy-matrix": (numpy_matrix, "all pairs: numpy.corrcoef, Pearson alone"),
}


def run(folder: Path, members: int, rows: int, task: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.correlation", str(folder), str(members), str(rows), task]
    return dict(json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout))


def child(folder: Path, members: int, rows: int, task: str) -> None:
    pool = Pool(Files(folder, "binary", members, rows))
    before = time.perf_counter()
    TASKS[task][0](pool)
    seconds = time.perf_counter() - before
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}))


def main(folder: Path, members: int = MEMBERS, rows: int = ROWS) -> None:
    if not (folder / f"{members - 1:03d}.npy").exists():
        make_pool(folder, "binary", members, rows, 0)
    run(folder, members, rows, "read")
    base = run(folder, members, rows, "read")["seconds"]
    print(f"{members} x {rows:,} float32, {members * rows * 4 / 2**30:.2f} GB in files; read once: {base:.2f} s")
    for task, (_, words) in TASKS.items():
        found = run(folder, members, rows, task)
        print(f"{found['seconds'] / base:8.1f} x  {found['peak'] / 2**30:5.2f} GB  {words}", flush=True)


if __name__ == "__main__":
    place, *rest = sys.argv[1:]
    if len(rest) == 3:
        child(Path(place), int(rest[0]), int(rest[1]), rest[2])
    else:
        main(Path(place), *map(int, rest))
