"""How soon an experiment runs: a fold in a warm slot against a process that imports the libraries first.

Both are timed in one run on one machine; the ratio is what counts. Run: python benchmarks/fold_start.py
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from backends.compute.base import FoldJob, FoldOutcome, Report
from backends.compute.environment import clean_environment
from backends.compute.limits import Limits
from backends.compute.local import LocalCompute
from backends.compute.sandbox import Sandbox
from experiments.context import context_values
from experiments.foldcache import FoldCache
from experiments.folds import make_folds
from experiments.spec import Columns, Spec

REPEATS = 10
COLD = "from experiments.worker import preload; preload(); import time; print(time.monotonic())"
CODE = """
import time
started = time.monotonic()
def fit_predict(train, valid, test, ctx):
    ctx.report(started=started)
    return valid["f0"] * 0, test["f0"] * 0
"""


@dataclass(frozen=True)
class Data:
    train: pd.DataFrame
    test: pd.DataFrame
    columns: Columns
    groups: None = None
    times: None = None
    data_hash: str = "benchmark"


def make_data(rows: int, width: int) -> Data:
    rng = np.random.default_rng(0)
    names = tuple(f"f{number}" for number in range(width))
    frame = pd.DataFrame(rng.normal(size=(rows, width)), columns=list(names))
    return Data(frame.assign(y=rng.normal(size=rows)), frame.iloc[: rows // 4], Columns(names, names, (), (), (), "y"))


def cold(folder: Path) -> float:
    command = [sys.executable, "-s", "-P", "-c", COLD]
    before = time.monotonic()
    output = subprocess.run(command, env=clean_environment(str(folder), "", 1), capture_output=True, check=True).stdout
    return float(output) - before


async def warm(folder: Path, data: Data) -> tuple[list[float], list[float]]:
    spec = Spec("benchmark", "regression", "rmse", "minimize", "y")
    folds = make_folds(spec, data.train["y"].to_numpy())
    train, valid, test = FoldCache(folder / "cache", data, folds).files(0)
    context = context_values(spec, data.columns, None, fold=0, n_folds=5, threads=1)
    expected = (len(folds.splits[0][1]), len(data.test), 1)
    job = FoldJob("k", "R01", 0, CODE, train, valid, test, context, expected, 60.0)
    compute = LocalCompute(1, 1, folder / "scratch", Sandbox("off", Limits.share(1)))
    await compute.start()
    starts, wholes = [], []
    for _ in range(REPEATS):
        before = time.monotonic()
        async for record in compute.run(job):
            if isinstance(record, Report):
                starts.append(record.values["started"] - before)
            if isinstance(record, FoldOutcome) and record.status != "ok":
                raise SystemExit(f"the fold failed: {record.error}")
        wholes.append(time.monotonic() - before)
    await compute.close()
    return starts, wholes


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold(folder)
        colds = [cold(folder) for _ in range(3)]
        base = statistics.median(colds)
        print(f"{'':34}{'median':>9}{'cold / it':>11}")
        print(f"{'cold process, libraries imported':34}{base * 1000:7.0f}ms{1:11.1f}")
        for rows, width in ((1_000, 20), (200_000, 20)):
            starts, wholes = asyncio.run(warm(folder / str(rows), make_data(rows, width)))
            for label, values in (("experiment runs", starts), ("predictions back", wholes)):
                median = statistics.median(values)
                print(f"{f'warm, {rows:,} rows: {label}':34}{median * 1000:7.0f}ms{base / median:11.1f}")


if __name__ == "__main__":
    main()
