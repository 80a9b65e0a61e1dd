"""``try``: a person's own experiment through the same sealed folds, into the pool."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from autokaggle_tui.bench import Bench, attended, open_bench
from autokaggle_tui.control import StopRun
from autokaggle_tui.exports import export_all
from autokaggle_tui.interrupts import INTERRUPTED
from autokaggle_tui.loop.phasebook import code_problem
from autokaggle_tui.loop.scoring import settle
from autokaggle_tui.workspace import Workspace
from experiments.code import normalised_code_sha
from experiments.errors import UsageError
from experiments.files import sha256_text, write_atomic
from experiments.jail import read_text
from experiments.redaction import hide
from experiments.schema import Row
from experiments.text import one_line


async def try_experiment(workspace: Workspace, file: Path, listener: Callable[[Row], None]) -> int:
    """Run a file's experiment and say how it did; the same file again goes on, or tells the result.

    Returns:
        The exit code: 0 scored, 1 not scored or stopped (the events said why), 130 interrupted.

    Raises:
        UsageError: The file cannot be read or is no experiment.
        WorkspaceError: An engine is working in this workspace.
    """
    code = read_experiment(file)
    async with open_bench(workspace, listener) as bench:
        registry, spec = bench.campaign.registry, bench.campaign.competition.spec
        bench.commander.refuse_stale()
        registry.event(
            "try_started",
            file=str(file),
            competition=spec.name,
            metric=spec.metric,
            direction=spec.direction,
            folds=bench.campaign.folds.n_folds,
            rows=len(bench.campaign.competition.y),
            slots=bench.campaign.slots,
            threads=bench.campaign.threads,
            sandbox=bench.compute.sandbox.tier,
            pid=os.getpid(),
        )
        name = _open(bench, file, code)
        known = registry.experiment(name)
        if known is not None and known["status"] != "running":
            registry.event(
                "warning", text=f"this very code ran before as {name}: {known['status']}, cv {known['score']}."
            )
            registry.event("try_ended", status="finished", reason=f"{name} ran before")
            return 0 if known["in_pool"] else 1
        started = time.monotonic()
        try:
            result = await attended(bench, bench.runner.run(name, code, minutes=None, gate=False))
        except (StopRun, asyncio.CancelledError) as stop:
            registry.event("note", text=f"{name} is not finished; the same command goes on with it.")
            by_command = isinstance(stop, StopRun) and not bench.control.interrupted
            registry.event("try_ended", status="stopped", reason=f"{name} is not finished")
            return 1 if by_command else INTERRUPTED
        write_atomic(workspace.rounds / f"{name}_run.log", f"{result.log}\n".encode())
        row = await settle(bench.campaign, name, result, seconds=time.monotonic() - started)
        bench.runner.discard(name)
        registry.event("try_ended", status="finished", reason=f"{name}: {row['status']}")
        export_all(workspace, registry)
        if result.traceback:
            print(result.traceback)
        return 0 if row["in_pool"] else 1


def read_experiment(file: Path) -> str:
    """The text of an experiment file.

    Raises:
        UsageError: It cannot be read, is not Python, or has no fit_predict.
    """
    try:
        code = read_text(file, links=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    if hide(code) != code:
        raise UsageError(
            f"{file} holds the value of a credential, and experiments are kept and shown.",
            hint="Take it out: experiments run without network and need none.",
        )
    wrong = code_problem(code, file.name)
    if wrong:
        raise UsageError(
            wrong.replace(f"rounds/{file.name}", str(file)),
            hint="An experiment defines `def fit_predict(train, valid, test, ctx)`; see the README.",
        )
    return code


def _open(bench: Bench, file: Path, code: str) -> str:
    """The experiment's id: that of the same code if it was tried before, else the next T number."""
    campaign = bench.campaign
    registry = campaign.registry
    sha = normalised_code_sha(code)
    before = registry.row(
        "SELECT id FROM experiments WHERE normal_sha = ? AND status != 'crash' ORDER BY rowid LIMIT 1", [sha]
    )
    if before is not None:
        return str(before["id"])
    number = int(registry.value("SELECT count(*) FROM experiments WHERE source = 'try'")) + 1
    # A restored registry does not know every file that is there.
    while (campaign.workspace.rounds / f"T{number:02d}_experiment.py").exists():
        number += 1
    name = f"T{number:02d}"
    idea = one_line(f"tried {file.name}", 100)
    write_atomic(campaign.workspace.rounds / f"{name}_experiment.py", code.encode())
    with registry.transaction():
        registry.insert(
            "experiments",
            id=name,
            source="try",
            kind="model",
            family="own",
            idea=idea,
            code_sha=sha256_text(code),
            normal_sha=sha,
            folds_digest=campaign.folds.digest,
            data_hash=campaign.competition.data_hash,
            seed=campaign.config.seed,
            status="running",
            started_at=registry.clock(),
        )
        registry.event(
            "experiment_started",
            experiment=name,
            source="try",
            kind="model",
            family="own",
            idea=idea,
            status="running",
            resumed=False,
            folds=campaign.folds.n_folds,
            done=0,
        )
    return name
