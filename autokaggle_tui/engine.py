"""The engine: one process per workspace, the only writer of facts and round files."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from autokaggle_tui.campaign import Campaign, open_campaign
from autokaggle_tui.commander import Commander, last_command
from autokaggle_tui.config import Config, load_config
from autokaggle_tui.control import Control, RunClock, StopRun
from autokaggle_tui.exports import export_all
from autokaggle_tui.interrupts import INTERRUPTED, hangups_ignored, interrupts
from autokaggle_tui.keeper import Keeper
from autokaggle_tui.launching import publish_output
from autokaggle_tui.live import Live
from autokaggle_tui.loop.asking import Asker
from autokaggle_tui.loop.closing import Closing
from autokaggle_tui.loop.desk import Desk
from autokaggle_tui.loop.experimenter import Experimenter
from autokaggle_tui.loop.imports import import_predictions
from autokaggle_tui.loop.orchestrator import Orchestrator, next_round
from autokaggle_tui.loop.planning import Planner
from autokaggle_tui.loop.purse import Purse
from autokaggle_tui.loop.runner import Runner
from autokaggle_tui.loop.services import LoopServices
from autokaggle_tui.loop.staff import ROLES, Staff
from autokaggle_tui.loop.submitting import reconcile
from autokaggle_tui.notifying import notifications, watch_deadline
from autokaggle_tui.patience import Patience
from autokaggle_tui.resources import Figures, Watch, measure
from autokaggle_tui.restoring import ready_registry
from autokaggle_tui.sandboxing import shut_in
from autokaggle_tui.workspace import Workspace
from backends.compute.local import LocalCompute
from backends.models.opening import Opener
from backends.models.replay import Recording
from backends.models.tasks import Role
from backends.platforms.base import Platform
from backends.platforms.local_platform import LocalPlatform
from experiments.competition import load_competition
from experiments.errors import AutokaggleError, ConfigError, WorkspaceError
from experiments.files import make_folder, remove_tree
from experiments.foldcache import FoldCache
from experiments.registry import Clock, Registry
from experiments.schema import Row

FIRST_RESERVE = 3.0
RESERVE_SHARE = 0.03
MOST_RESERVE = 60.0
LAST_SUBMISSION_SECONDS = 30.0
"""What a person asked to submit may still take when the run is over."""
Result = TypeVar("Result")


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


@dataclass
class Bench:
    """An opened workspace with its slots: what a run and a ``try`` both work on."""

    campaign: Campaign
    compute: LocalCompute
    platform: Platform
    control: Control
    clock: RunClock
    runner: Runner
    services: LoopServices
    desk: Desk
    experimenter: Experimenter
    commander: Commander
    watch: Watch
    patience: Patience


@asynccontextmanager
async def open_bench(
    workspace: Workspace,
    listener: Callable[[Row], None],
    *,
    figures: Callable[[], Figures] | None = None,
    clock: Clock = time.time,
) -> AsyncIterator[Bench]:
    """Lock the workspace, open everything, start the slots; close it all again.

    Args:
        figures: How the machine stands, asked once a second; None measures this one.
        clock: Unix seconds: when things are said to have happened, quotas and the deadline; durations never use it.

    Raises:
        AutokaggleError: The workspace is busy, or its settings or data cannot be used.
    """
    config = load_config(workspace.root)
    if config.existing_oof_dir is not None and not config.path(workspace.root, config.existing_oof_dir).is_dir():
        raise ConfigError(
            f"{workspace.config}: existing_oof_dir: {config.existing_oof_dir} is no folder.",
            hint="Name the folder with NAME_oof.npy and NAME_test.npy, or leave the field out.",
        )
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(hangups_ignored())
        stack.enter_context(workspace.locked())
        publish_output(workspace)
        restored = ready_registry(workspace, clock=clock)
        since = last_command(workspace.facts)
        if restored is not None:
            listener(restored)
        scratch = scratch_folder(workspace)
        stack.callback(remove_tree, scratch)
        slots, threads = config.compute.resolve()
        slots = min(slots, config.cv_folds)
        sandbox = await asyncio.to_thread(shut_in, config.compute, slots, workspace.root, scratch)
        compute = LocalCompute(slots, threads, scratch, sandbox)
        stack.push_async_callback(compute.close)
        starting = asyncio.create_task(compute.start())
        stack.push_async_callback(_abandon, starting)
        metric = config.metric(workspace.root)
        spec, folder = config.spec(), config.data_path(workspace.root)
        competition = await asyncio.to_thread(load_competition, spec, folder, metric=metric)
        make_folder(workspace.rounds)
        workspace.sweep()
        registry = Registry(workspace.facts, clock=clock)
        stack.callback(registry.close)
        keeper = Keeper(registry, workspace.backups)
        stack.push_async_callback(keeper.close)

        def told(row: Row) -> None:
            listener(row)
            keeper.hear(row)

        registry.on_event = told
        patience = Patience(registry, listener)
        registry.on_wait = patience.wait
        live = Live(workspace.live)
        stack.callback(live.close)
        campaign = open_campaign(workspace, config, competition, metric, registry, live)
        # A process killed right after its last fact left the exports one step behind.
        export_all(workspace, registry)
        control = Control()
        run_clock = RunClock(control, None)
        cache = FoldCache(workspace.cache / "data", campaign.competition, campaign.folds)
        runner = Runner(campaign, compute, control, run_clock, cache, starting)
        services = LoopServices(campaign, sandbox, scratch)
        purse = Purse.open(workspace, config.budget, registry)
        staff = Staff(campaign, Asker(campaign, control, run_clock, purse), services, Opener())
        staff.spawn()
        desk = Desk(campaign, control, staff)
        experimenter = Experimenter(campaign, desk, runner)
        platform = open_platform(config, campaign)
        commander = Commander(campaign, control, desk.staff.overrides, platform, since)
        looking = figures or functools.partial(measure, workspace.root, scratch)
        watch = Watch(registry, control, config.resources, looking, deadline=config.deadline)
        yield Bench(
            campaign,
            compute,
            platform,
            control,
            run_clock,
            runner,
            services,
            desk,
            experimenter,
            commander,
            watch,
            patience,
        )


async def _abandon(task: asyncio.Task[None]) -> None:
    """Cancel a task and see it end: one cancelled halfway through starting a process still has to reap it."""
    task.cancel()
    await asyncio.wait({task})


def scratch_folder(workspace: Workspace) -> Path:
    """Where this workspace's slots work: outside it, private, and the same again after a crash, so it gets swept."""
    name = hashlib.sha256(str(workspace.root.resolve()).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"autokaggle-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise WorkspaceError(f"{folder} belongs to somebody else.", hint="Set TMPDIR to a folder of your own.")
    # Slots that become users of their own pass through it.
    folder.chmod(0o711)
    return folder


def open_platform(config: Config, campaign: Campaign) -> Platform:
    """The platform that config.json names.

    Raises:
        AutokaggleError: It does not exist in this version.
    """
    if config.platform != "local":
        raise AutokaggleError(
            f"config.json: platform {config.platform!r} is not built yet; this version knows `local`.",
            hint='Set "platform": "local", or make a workspace with `autokaggle-tui init --train ...`.',
        )
    return LocalPlatform(
        config.competition,
        metric=campaign.metric,
        daily_limit=config.max_submissions_per_day,
        deadline=config.deadline,
    )


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


async def attended(
    bench: Bench, work: Coroutine[None, None, Result], beat: Callable[[], None] = lambda: None
) -> Result:
    """Do the work while commands and signals are obeyed.

    Ctrl-C once stops after the current step, twice at once; SIGTERM at once.

    Raises:
        StopRun: A stop was asked for, by command or by Ctrl-C (``control.interrupted``).
        asyncio.CancelledError: It was to end at once.
        Exception: What the work raised, or what kept commands from being obeyed.
    """
    # Before the first step: a machine that is short of something does not even begin it.
    try:
        bench.watch.look()
    except BaseException:
        work.close()
        raise
    working = asyncio.create_task(work)

    def tick() -> None:
        bench.patience.beat()
        beat()

    serving = asyncio.create_task(bench.commander.serve(tick, bench.watch.look))
    serving.add_done_callback(lambda _: working.cancel())

    def interrupt() -> None:
        bench.control.interrupt()
        bench.campaign.registry.event("stopping", text="finishing the current step; once more stops at once")

    patience = LAST_SUBMISSION_SECONDS
    with interrupts(interrupt, working.cancel):
        try:
            return await working
        except asyncio.CancelledError:
            patience = 0.0
            broken = serving.exception() if serving.done() and not serving.cancelled() else None
            if broken is not None:
                raise broken from None
            raise
        finally:
            serving.cancel()
            await bench.commander.close(patience)


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
        reconcile(bench.campaign, bench.platform)
        config, root = bench.campaign.config, bench.campaign.workspace.root
        if config.existing_oof_dir is not None:
            await import_predictions(bench.campaign, config.path(root, config.existing_oof_dir))
        self._tell_platform()
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
        closing = Closing(bench.campaign, bench.experimenter, bench.runner, bench.platform, bench.clock)
        return Orchestrator(
            campaign=bench.campaign,
            desk=bench.desk,
            planner=Planner(bench.campaign, bench.desk),
            experimenter=bench.experimenter,
            closing=closing,
            platform=bench.platform,
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
