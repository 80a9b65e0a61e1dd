"""What a sandbox costs: starting a slot and running a fold in each tier, against a plain process in the same run.

The tiers take turns, so that what else the machine does meets all of them alike. Run: python -m benchmarks.sandbox
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from backends.compute.base import FoldJob, FoldOutcome
from backends.compute.limits import Limits
from backends.compute.local import LocalCompute
from backends.compute.memory import sealed_copy
from backends.compute.sandbox import Sandbox, Wanted
from backends.compute.tiers import find_sandbox
from benchmarks.fold_start import make_data
from experiments.context import context_values
from experiments.errors import ComputeError
from experiments.foldcache import FoldCache
from experiments.folds import make_folds
from experiments.spec import Spec

STARTS, FOLDS = 5, 40
EMPTY = """
def fit_predict(train, valid, test, ctx):
    return valid["f0"] * 0, test["f0"] * 0
"""
BOOSTER = """
from lightgbm import LGBMRegressor
def fit_predict(train, valid, test, ctx):
    names = list(ctx.columns.features)
    model = LGBMRegressor(n_estimators=100, n_jobs=1, verbose=-1).fit(train[names], train["y"])
    return model.predict(valid[names]), model.predict(test[names])
"""


def make_job(folder: Path) -> FoldJob:
    data = make_data(20_000, 20)
    spec = Spec("benchmark", "regression", "rmse", "minimize", "y")
    folds = make_folds(spec, data.train["y"].to_numpy())
    train, valid, test = FoldCache(folder, data, folds).files(0)
    context = context_values(spec, data.columns, None, fold=0, n_folds=5, threads=1)
    return FoldJob(
        "k", "R01", 0, EMPTY, train, valid, test, context, (len(folds.splits[0][1]), len(data.test), 1), 60.0
    )


async def run(compute: LocalCompute, job: FoldJob) -> float:
    before = time.monotonic()
    async for record in compute.run(job):
        if isinstance(record, FoldOutcome) and record.status != "ok":
            raise SystemExit(f"the fold failed: {record.error}")
    return time.monotonic() - before


async def measure(sandboxes: list[Sandbox], folder: Path) -> dict[str, dict[str, list[float]]]:
    job = make_job(folder / "cache")
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(STARTS):
        for sandbox in sandboxes:
            compute = LocalCompute(1, 1, folder / sandbox.tier, sandbox)
            before = time.monotonic()
            await compute.start()
            times["slot started"][sandbox.tier].append(time.monotonic() - before)
            await compute.close()
    slots = [LocalCompute(1, 1, folder / sandbox.tier, sandbox) for sandbox in sandboxes]
    for slot in slots:
        await slot.start()
        await run(slot, job)
    for label, code, count in (("fold that does nothing", EMPTY, FOLDS), ("fold with LightGBM", BOOSTER, FOLDS // 4)):
        for _ in range(count):
            for slot in slots:
                times[label][slot.sandbox.tier].append(await run(slot, replace(job, code=code)))
    for slot in slots:
        await slot.close()
    return times


def copies(folder: Path) -> None:
    file = folder / "data"
    file.write_bytes(bytes(range(256)) * (200_000_000 // 256))
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(5):
        before = time.monotonic()
        descriptor = sealed_copy(file)
        seconds["sealed copy"].append(time.monotonic() - before)
        os.close(descriptor)
        before = time.monotonic()
        file.read_bytes()
        seconds["read"].append(time.monotonic() - before)
    copy, read = (statistics.median(seconds[name]) for name in ("sealed copy", "read"))
    print(f"200 MB of data: sealed copy {copy * 1000:.0f} ms, read {read * 1000:.0f} ms, copy / read {copy / read:.2f}")


def main() -> None:
    limits = Limits.share(3)
    sandboxes = [Sandbox("off", limits)]
    tiers: tuple[Wanted, ...] = ("landlock", "bubblewrap")
    for tier in tiers:
        try:
            sandboxes.append(find_sandbox(tier, limits))
        except ComputeError as error:
            print(error.message, file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        times = asyncio.run(measure(sandboxes, folder))
        print(f"{'':24}" + "".join(f"{sandbox.tier:>24}" for sandbox in sandboxes))
        for label, by_tier in times.items():
            base = statistics.median(by_tier["off"])
            cells = [
                f"{statistics.median(t) * 1000:.0f} ms ({statistics.median(t) / base:.2f})" for t in by_tier.values()
            ]
            print(f"{label:24}" + "".join(f"{cell:>24}" for cell in cells))
        copies(folder)


if __name__ == "__main__":
    main()
