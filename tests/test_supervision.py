"""Supervisors of slots: a fold outlives its engine, and is there once for the next one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from backends.compute.base import FoldJob, FoldOutcome, Record
from backends.compute.control import ControlFolder
from backends.compute.local import LocalCompute
from experiments.context import context_values
from experiments.foldcache import FoldCache
from experiments.folds import make_folds
from tests.test_compute import OPEN, Result, competition, good

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGINE = """
import asyncio, json, sys
from pathlib import Path
from backends.compute.base import FoldJob, FoldOutcome, Report
from backends.compute.limits import Limits
from backends.compute.local import LocalCompute
from backends.compute.sandbox import Sandbox

async def main():
    spec = json.loads(sys.stdin.readline())
    for name in ("train", "valid", "test", "data_dir"):
        spec[name] = Path(spec[name])
    compute = LocalCompute(1, 1, Path(sys.argv[1]), Sandbox("off", Limits.share(1)))
    await compute.start()
    async for record in compute.run(FoldJob(**spec)):
        if isinstance(record, Report):
            print(json.dumps(dict(record.values)), flush=True)
        if isinstance(record, FoldOutcome):
            print(json.dumps(record.status), flush=True)
            sys.stdin.readline()

asyncio.run(main())
"""
PATIENT = """
import os, time
print("begun", flush=True)
ctx.report(born=time.monotonic_ns())
while not (ctx.data_dir / "go").exists():
    time.sleep(0.005)
print("over", flush=True)
"""
"""Runs until a file appears."""


class Field:
    """A folder in which engines come and go, and a fold that waits for a file."""

    def __init__(self, root: Path) -> None:
        self.scratch = root / "scratch"
        self.auxiliary = root / "auxiliary"
        self.auxiliary.mkdir(parents=True)
        data = competition("binary")
        folds = make_folds(data.spec, data.train["y"].to_numpy(), groups=data.groups)
        train, valid, test = FoldCache(root / "cache", data, folds).files(0)
        context = context_values(data.spec, data.columns, data.classes, fold=0, n_folds=3, threads=1)
        expected = (len(folds.splits[0][1]), len(data.test), 1)
        code = good(PATIENT)
        self.job = FoldJob("key", "R01", 0, code, train, valid, test, context, expected, 60, self.auxiliary)

    def let_go(self) -> None:
        """Let the fold end."""
        (self.auxiliary / "go").touch()

    @property
    def controls(self) -> list[ControlFolder]:
        """The slots that are there."""
        return ControlFolder.all(self.scratch)

    def supervisors(self) -> list[psutil.Process]:
        """Those that live."""
        return [psutil.Process(pid) for control in self.controls if control.held() and (pid := control.owner())]

    @contextmanager
    def engine(self) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
        """A process that runs the fold, and what the fold reported; it is killed at the end."""
        spec = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self.job).items()}
        with subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(self.scratch)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as engine:
            assert engine.stdin is not None and engine.stdout is not None
            engine.stdin.write(json.dumps(spec) + "\n")
            engine.stdin.flush()
            try:
                yield engine, json.loads(engine.stdout.readline())
            finally:
                engine.kill()

    async def collect(self, compute: LocalCompute) -> Result:
        """Run the fold, or go on with it."""
        records: list[Record] = []
        async with aclosing(compute.run(self.job)) as running:
            async for record in running:
                records.append(record)
        return Result(records)


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return Field(tmp_path)


@pytest_asyncio.fixture(loop_scope="module")
async def compute(field: Field) -> AsyncIterator[LocalCompute]:
    """The next engine's slots, not started yet."""
    made = LocalCompute(1, 1, field.scratch, OPEN)
    yield made
    await made.close()
    assert list(field.scratch.iterdir()) == []


def left_alone(field: Field) -> dict[str, Any]:
    """Have an engine start the fold and die; returns what the fold reported."""
    with field.engine() as (_, born):
        pass
    return born


async def test_a_fold_goes_on_without_its_engine_and_is_found_again(field: Field, compute: LocalCompute) -> None:
    born = left_alone(field)
    await compute.start()
    field.let_go()
    result = await field.collect(compute)
    assert result.outcome.status == "ok"
    assert result.outcome.valid is not None and set(result.outcome.valid) == {0.25}
    assert result.report == born
    assert result.log.splitlines() == ["begun", "over"]
    fresh = await field.collect(compute)
    assert fresh.outcome.status == "ok" and fresh.report != born


async def test_a_fold_that_ended_meanwhile_is_taken_from_what_it_left(field: Field, compute: LocalCompute) -> None:
    born = left_alone(field)
    field.let_go()
    psutil.wait_procs(field.supervisors(), timeout=30)
    assert [control.left() is not None for control in field.controls] == [True]
    await compute.start()
    await compute.expect([field.job.key])
    result = await field.collect(compute)
    assert (result.outcome.status, result.report, result.log.splitlines()) == ("ok", born, ["begun", "over"])


async def test_an_end_that_was_told_but_not_kept_is_told_again(field: Field, compute: LocalCompute) -> None:
    with field.engine() as (engine, born):
        field.let_go()
        assert engine.stdout is not None
        assert json.loads(engine.stdout.readline()) == "ok"
    await compute.start()
    result = await field.collect(compute)
    assert (result.outcome.status, result.report) == ("ok", born)


async def test_folds_that_nobody_expects_are_ended(field: Field, compute: LocalCompute) -> None:
    left_alone(field)
    below = [child for process in field.supervisors() for child in process.children(recursive=True)]
    await compute.start()
    await compute.expect(["another"])
    assert below and not psutil.wait_procs(below, timeout=30)[1]
    field.let_go()
    assert (await field.collect(compute)).outcome.status == "ok"


async def test_a_fold_found_again_can_be_killed(field: Field, compute: LocalCompute) -> None:
    left_alone(field)
    await compute.start()
    records: list[Record] = []
    async for record in compute.run(field.job):
        records.append(record)
        await compute.kill("R01")
    assert Result(records).outcome.status == "killed"


async def test_who_stops_listening_to_a_fold_found_again_kills_it(field: Field, compute: LocalCompute) -> None:
    left_alone(field)
    below = [child for process in field.supervisors() for child in process.children(recursive=True)]
    await compute.start()
    async with aclosing(compute.run(field.job)) as records:
        await anext(records)
    assert below and not psutil.wait_procs(below, timeout=30)[1]


async def test_a_supervisor_that_died_with_its_engine_leaves_nothing(field: Field, compute: LocalCompute) -> None:
    left_alone(field)
    (supervisor,) = field.supervisors()
    below = supervisor.children(recursive=True)
    supervisor.kill()
    await compute.start()
    assert below and not psutil.wait_procs(below, timeout=30)[1]
    field.let_go()
    assert (await field.collect(compute)).outcome.status == "ok"


async def test_a_fold_whose_supervisor_died_runs_once_more(field: Field, compute: LocalCompute) -> None:
    await compute.start()
    field.let_go()
    (supervisor,) = field.supervisors()
    killed = False
    records: list[Record] = []
    async for record in compute.run(field.job):
        records.append(record)
        if not killed:
            supervisor.send_signal(signal.SIGKILL)
            killed = True
    result = Result(records)
    assert result.outcome.status == "ok"


async def test_a_fold_that_loses_every_slot_is_a_crash(field: Field, compute: LocalCompute) -> None:
    await compute.start()
    outcome = None
    async for record in compute.run(field.job):
        for supervisor in field.supervisors():
            supervisor.kill()
        outcome = record
    assert isinstance(outcome, FoldOutcome)
    assert outcome.status == "crash" and outcome.extra["worker_lost"]
    assert "killed by SIGKILL" in outcome.error


async def test_a_torn_end_is_as_good_as_none(field: Field, compute: LocalCompute) -> None:
    control = ControlFolder.create(field.scratch)
    (control.path / "exit.json").write_text('{"ticket": {"key": ')
    os.mkfifo(control.path / "result")
    await compute.start()
    assert control not in field.controls


async def test_a_supervisor_whose_engine_died_before_it_lived_does_not_wait(field: Field) -> None:
    control = ControlFolder.create(field.scratch)
    lock, door = control.lock(), control.listen()
    connection = control.connect()
    assert lock is not None and connection is not None
    connection.close()
    settings = {"folder": str(control.path), "threads": 1, "sandbox": OPEN.to_json(), "lock": lock}
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "backends.compute.supervisor", json.dumps({**settings, "door": door.fileno()})],
        pass_fds=[lock, door.fileno()],
    )
    os.close(lock)
    door.close()
    assert supervisor.wait(timeout=50) == 0
    assert field.controls == []
