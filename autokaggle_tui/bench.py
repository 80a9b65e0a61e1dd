"""The bench: an opened workspace with its slots, agents and platform, on which a run or a ``try`` works."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from autokaggle_tui.campaign import Campaign, load_data, open_campaign
from autokaggle_tui.commander import Commander, last_command
from autokaggle_tui.config import Config, load_config
from autokaggle_tui.control import Control, RunClock
from autokaggle_tui.exports import export_all
from autokaggle_tui.interrupts import hangups_ignored, interrupts
from autokaggle_tui.keeper import Keeper
from autokaggle_tui.launching import publish_output
from autokaggle_tui.live import Live
from autokaggle_tui.loop.asking import Asker
from autokaggle_tui.loop.clerk import Clerk
from autokaggle_tui.loop.desk import Desk
from autokaggle_tui.loop.experimenter import Experimenter
from autokaggle_tui.loop.imports import import_folder
from autokaggle_tui.loop.library import FOLDER as LIBRARY
from autokaggle_tui.loop.library import Library
from autokaggle_tui.loop.purse import Purse
from autokaggle_tui.loop.repeats import Repeats
from autokaggle_tui.loop.runner import Runner
from autokaggle_tui.loop.services import LoopServices
from autokaggle_tui.loop.staff import Staff
from autokaggle_tui.patience import Patience
from autokaggle_tui.resources import Figures, Watch, measure
from autokaggle_tui.restoring import ready_registry
from autokaggle_tui.sandboxing import shut_in
from autokaggle_tui.workspace import Workspace
from backends.compute.local import LocalCompute
from backends.models.opening import Opener
from backends.platforms.base import Platform, Research
from backends.platforms.local_platform import LocalPlatform
from experiments.errors import WorkspaceError
from experiments.files import make_folder, remove_tree
from experiments.foldcache import FoldCache
from experiments.registry import Clock, Registry
from experiments.schema import Row

LAST_SUBMISSION_SECONDS = 30.0
"""What a person asked to submit may still take when the run is over."""
Result = TypeVar("Result")


@dataclass
class Bench:
    """An opened workspace with its slots: what a run and a ``try`` both work on."""

    campaign: Campaign
    compute: LocalCompute
    platform: Platform
    clerk: Clerk
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
    import_folder(workspace, config)
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
        competition, metric = await asyncio.to_thread(load_data, workspace, config)
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
        library = Library(open_research(config, campaign), workspace.root / LIBRARY, registry.now)
        services = LoopServices(campaign, sandbox, scratch, library)
        purse = Purse.open(workspace, config.budget, registry)
        staff = Staff(campaign, Asker(campaign, control, run_clock, purse), services, Opener())
        staff.spawn()
        desk = Desk(campaign, control, staff)
        experimenter = Experimenter(campaign, desk, runner, Repeats(campaign, runner))
        platform = open_platform(config, campaign)
        clerk = Clerk(campaign, platform)
        commander = Commander(campaign, control, desk.staff.overrides, clerk, since)
        looking = figures or functools.partial(measure, workspace.root, scratch)
        watch = Watch(registry, control, config.resources, looking, deadline=config.deadline)
        yield Bench(
            campaign,
            compute,
            platform,
            clerk,
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
    """The platform that config.json names; nothing is asked of it yet.

    ``AUTOKAGGLE_KAGGLE_URL`` leads to another server than Kaggle's.

    Raises:
        PlatformError: There is no such local competition, or there are no credentials for Kaggle.
    """
    if config.platform == "kaggle":
        # Kaggle's own library is imported by the first call.
        from backends.platforms.kaggle.client import KaggleClient
        from backends.platforms.kaggle.platform import KagglePlatform

        return KagglePlatform(config.competition, KaggleClient.open())
    return LocalPlatform(
        config.competition,
        metric=campaign.metric,
        daily_limit=config.max_submissions_per_day,
        deadline=config.deadline,
    )


def open_research(config: Config, campaign: Campaign) -> Research | None:
    """What others made public about the competition; None on the local platform, where there are no others.

    Raises:
        PlatformError: There are no credentials for Kaggle.
    """
    if config.platform != "kaggle":
        return None
    from backends.platforms.kaggle.client import KaggleClient
    from backends.platforms.kaggle.research import KaggleResearch

    maximize = campaign.metric.direction == "maximize"
    return KaggleResearch(config.competition, KaggleClient.open(), maximize=maximize)


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
