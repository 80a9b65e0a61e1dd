"""The engine: one process per workspace, the only writer of facts and round files."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autokaggle_tui.bench import Bench, attended, open_bench
from autokaggle_tui.control import StopRun
from autokaggle_tui.exports import export_all
from autokaggle_tui.interrupts import INTERRUPTED
from autokaggle_tui.loop.closing import Closing
from autokaggle_tui.loop.imports import import_folder, import_predictions
from autokaggle_tui.loop.orchestrator import Orchestrator, next_round
from autokaggle_tui.loop.planning import Planner
from autokaggle_tui.loop.staff import ROLES
from autokaggle_tui.notifying import notifications, watch_deadline
from autokaggle_tui.workspace import Workspace
from backends.models.opening import Opener
from backends.models.replay import Recording
from backends.models.tasks import Role
from experiments.errors import AutokaggleError
from experiments.schema import Row

FIRST_RESERVE = 3.0
RESERVE_SHARE = 0.03
MOST_RESERVE = 60.0


@dataclass(frozen=True)
class RunOptions:
    """How long a run may be and which models it overrides, for this run only.

    Attributes:
        started: ``time.monotonic()`` when the program began; None for when the workspace was opened.
        record: File that gets every call of a model.
    """

    rounds: int | None = None
    time_limit: float | None = None
    models: Mapping[Role, str] = field(default_factory=dict)
    started: float | None = None
    record: Path | None = None


async def run_engine(workspace: Workspace, options: RunOptions, listener: Callable[[Row], None]) -> int:
    """Play a run to its end, in the foreground.

    Returns:
        The exit code: 0 done or stopped by command, 130 interrupted.

    Raises:
        AutokaggleError: The run cannot start, or cannot go on.
    """
    async with open_bench(workspace, listener) as bench:
        campaign = bench.campaign
        async with notifications(campaign.registry, campaign.config.notify, workspace.root):
            return await Session(bench, options).run()


class Session:
    """One process of a run: begins or continues it, obeys commands, ends it in the registry."""

    def __init__(self, bench: Bench, options: RunOptions) -> None:
        self.bench = bench
        self.options = options
        self.registry = bench.campaign.registry
        self.run_id = ""

    async def run(self) -> int:
        """Play until the run is over; returns the exit code."""
        bench = self.bench
        bench.desk.staff.overrides.update(self.options.models)
        if self.options.record is not None:
            recording = Recording(self.options.record, lambda text: self.registry.event("warning", text=text))
            bench.desk.staff.open = Opener(bench.desk.staff.open, recording)
        await bench.desk.staff.prepare()
        run = self._begin()
        try:
            reason = await attended(bench, self._play(run), self._beat)
        except StopRun:
            interrupted = bench.control.interrupted
            reason = "interrupted" if interrupted else "stopped by command"
            return self._end("stopped", reason, INTERRUPTED if interrupted else 0)
        except asyncio.CancelledError:
            return self._end("stopped", "stopped at once", INTERRUPTED)
        except AutokaggleError as error:
            self._end("failed", error.message, 1)
            raise
        found = self.registry.value("SELECT count(*) FROM predictions")
        return self._end("finished", reason, 0 if found else 1)

    async def _play(self, run: Row) -> str:
        bench = self.bench
        bench.clerk.begin()
        folder = import_folder(bench.campaign.workspace, bench.campaign.config)
        if folder is not None:
            await import_predictions(bench.campaign, folder)
        self._tell_platform()
        async with bench.clerk.at_work():
            return await self._orchestrator(run).play()

    def _tell_platform(self) -> None:
        """Say at the start when nothing can be submitted."""
        config = self.bench.campaign.config
        watch_deadline(self.registry, config.deadline, self.registry.now())
        if config.max_submissions_per_day == 0:
            self.registry.event("note", text="max_submissions_per_day is 0: nothing will be submitted.")

    def _begin(self) -> Row:
        """Continue the last run when it did not end and asks for the same; else begin a new one."""
        registry, options = self.registry, self.options
        last = registry.row("SELECT * FROM runs ORDER BY rowid DESC LIMIT 1")
        budget = self.bench.campaign.config.budget
        rounds = options.rounds if options.rounds is not None else budget.rounds
        limit = options.time_limit if options.time_limit is not None else budget.time
        same = last is not None and (last["rounds"], last["time_limit"]) == (rounds, limit)
        with registry.transaction():
            if last is not None and last["status"] in ("running", "stopped", "failed") and same:
                self.run_id = last["id"]
                registry.update("runs", self.run_id, status="running", reason="", pid=os.getpid(), ended_at=None)
                before = last["elapsed"]
            else:
                if last is not None and last["status"] == "running":
                    registry.update("runs", last["id"], status="stopped", reason="another run was begun")
                self.run_id = secrets.token_hex(6)
                before = 0.0
                registry.insert(
                    "runs",
                    id=self.run_id,
                    status="running",
                    rounds=rounds,
                    time_limit=limit,
                    first_round=max(next_round(self.bench.campaign), 1),
                    pid=os.getpid(),
                    started_at=registry.clock(),
                )
            registry.run = self.run_id
            run = registry.row("SELECT * FROM runs WHERE id = ?", [self.run_id]) or {}
            self.bench.commander.refuse_stale()
            spec = self.bench.campaign.competition.spec
            registry.event(
                "run_started",
                continued=before > 0 or (last is not None and last["id"] == self.run_id),
                competition=spec.name,
                metric=spec.metric,
                direction=spec.direction,
                folds=self.bench.campaign.folds.n_folds,
                rows=len(self.bench.campaign.competition.y),
                rounds=rounds,
                time_limit=limit,
                slots=self.bench.campaign.slots,
                threads=self.bench.campaign.threads,
                sandbox=self.bench.compute.sandbox.tier,
                pid=os.getpid(),
                first_round=run["first_round"],
                before=before,
                models={role: self.bench.desk.staff.model_name(role) for role in ROLES},
                budget=self.bench.campaign.config.budget.model_dump(mode="json"),
            )
            self._tell_sandbox()
        clock = self.bench.clock
        clock.limit, clock.before = limit, before
        clock.started = options.started if options.started is not None else clock.started
        if limit is not None:
            clock.reserve = max(FIRST_RESERVE, min(RESERVE_SHARE * limit, MOST_RESERVE))
        return run

    def _tell_sandbox(self) -> None:
        """Say what keeps experiments from the machine, when it is not the best there is."""
        sandbox = self.bench.compute.sandbox
        if sandbox.tier == "off":
            text = f"No sandbox: experiments can read and change whatever you can ({sandbox.reason})."
            self.registry.event("warning", text=text)
        elif sandbox.reason:
            self.registry.event("note", text=f"Sandbox {sandbox.tier}: {sandbox.reason}.")

    def _orchestrator(self, run: Row) -> Orchestrator:
        bench = self.bench
        closing = Closing(bench.campaign, bench.experimenter, bench.runner, bench.clerk, bench.control, bench.clock)
        return Orchestrator(
            campaign=bench.campaign,
            desk=bench.desk,
            planner=Planner(bench.campaign, bench.desk),
            experimenter=bench.experimenter,
            closing=closing,
            clerk=bench.clerk,
            services=bench.services,
            control=bench.control,
            clock=bench.clock,
            rounds=run["rounds"],
            first_round=run["first_round"],
        )

    def _beat(self) -> None:
        """Keep the elapsed time on file, and an eye on the deadline."""
        try:
            self.registry.update("runs", self.run_id, elapsed=self.bench.clock.elapsed())
            watch_deadline(self.registry, self.bench.campaign.config.deadline, self.registry.now())
        except sqlite3.OperationalError as error:
            # A full disk that holds the loop shall not end it: both are done again at the next beat.
            if self.bench.control.held is None or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                raise

    def _end(self, status: str, reason: str, code: int) -> int:
        registry = self.registry
        with registry.transaction():
            registry.update(
                "runs",
                self.run_id,
                status=status,
                reason=reason,
                elapsed=self.bench.clock.elapsed(),
                ended_at=registry.clock(),
            )
            registry.execute(
                "UPDATE commands SET state = 'refused', result = 'the run ended first', settled_at = ? "
                "WHERE state IN ('queued', 'accepted') AND run = ?",
                [registry.clock(), self.run_id],
            )
            champion = registry.champion()
            registry.event(
                "run_ended",
                status=status,
                reason=reason,
                elapsed=round(self.bench.clock.elapsed(), 1),
                champion=champion and {key: champion[key] for key in ("id", "family", "score")},
                submission=registry.value("SELECT file FROM submissions WHERE state = 'accepted' ORDER BY id DESC"),
            )
        export_all(self.bench.campaign.workspace, registry)
        return code
