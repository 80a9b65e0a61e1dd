"""A person's look at the pool with its data: what needs more than the registry, and neither slots nor agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

from autokaggle_tui.campaign import Campaign, load_data, open_campaign
from autokaggle_tui.config import load_config
from autokaggle_tui.exports import export_all
from autokaggle_tui.interrupts import hangups_ignored
from autokaggle_tui.live import Live
from autokaggle_tui.loop.imports import import_folder, import_predictions
from autokaggle_tui.restoring import ready_registry
from autokaggle_tui.workspace import Workspace
from experiments.files import make_folder
from experiments.registry import Registry
from experiments.schema import Row


@contextmanager
def opened_pool(workspace: Workspace, listener: Callable[[Row], None] = lambda _row: None) -> Iterator[Campaign]:
    """The campaign, for commands that look at its predictions; to be called where no event loop runs.

    With no engine in the workspace this takes its place: the workspace is locked, a damaged registry is restored,
    and what ``existing_oof_dir`` holds joins the pool, so there is something to see before the first run. With an
    engine it waits for nothing and writes nothing: ``campaign.registry.looking`` is True.

    Args:
        listener: Hears of warnings and notes.

    Raises:
        AutokaggleError: Settings or data cannot be used, or a running engine has not come far enough.
    """
    config = load_config(workspace.root)
    looking = workspace.engine_pid() is not None
    folder = None if looking else import_folder(workspace, config)
    with ExitStack() as stack:
        if not looking:
            stack.enter_context(hangups_ignored())
            stack.enter_context(workspace.locked())
            restored = ready_registry(workspace)
            if restored is not None:
                listener(restored)
        competition, metric = load_data(workspace, config)
        if not looking:
            make_folder(workspace.rounds)
            workspace.sweep()
        registry = stack.enter_context(closing(Registry(workspace.facts, looking=looking)))
        registry.on_event = listener
        live = stack.enter_context(closing(Live(None)))
        campaign = open_campaign(workspace, config, competition, metric, registry, live)
        if not looking:
            if folder is not None:
                asyncio.run(import_predictions(campaign, folder))
            export_all(workspace, registry)
        yield campaign
