"""In the engine's place for a moment: with no engine running, a command takes the lock, is obeyed, and lets go."""

from __future__ import annotations

import asyncio
import contextlib

from autokaggle_tui.commander import (
    Commander,
    Refused,
    obey_anywhere,
    refuse_unfinished,
    settle,
    sweep_after,
    waiting,
)
from autokaggle_tui.commands import WITH_PLATFORM, in_one_line
from autokaggle_tui.interrupts import hangups_ignored
from autokaggle_tui.restoring import ready_registry
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError
from experiments.registry import Registry
from experiments.schema import Row

SUBMISSION_SECONDS = 600.0


def obey_now(workspace: Workspace, asked: str = "") -> None:
    """Be the engine for a moment: obey what needs no loop, refuse the rest.

    Args:
        asked: The uuid of the command for whose answer somebody waits. Only such a submission is made; those that
            nobody waits for any more are left to the next engine, which refuses them.

    Raises:
        WorkspaceError: An engine works here.
        RegistryError: The registry cannot be opened.
    """
    with hangups_ignored(), workspace.locked():
        ready_registry(workspace)
        registry = Registry(workspace.facts)
        try:
            refuse_unfinished(registry)
            for row in waiting(registry):
                if row["verb"] not in WITH_PLATFORM:
                    _obey(registry, row, workspace)
                elif row["uuid"] == asked:
                    _with_platform(registry, row, workspace)
        finally:
            registry.close()


def _obey(registry: Registry, row: Row, workspace: Workspace) -> None:
    with registry.transaction():
        try:
            settle(registry, row, "done", obey_anywhere(registry, row, workspace))
        except (Refused, AutokaggleError) as refusal:
            settle(registry, row, "refused", in_one_line(refusal))
    sweep_after(registry, row, workspace)


def _with_platform(registry: Registry, row: Row, workspace: Workspace) -> None:
    """Open the campaign as an engine does, but for its slots, and let the engine's commander carry it out."""
    # What reads data takes seconds to import; hints and retrospectives do not wait for it.
    from autokaggle_tui.bench import open_platform
    from autokaggle_tui.campaign import load_data, open_campaign
    from autokaggle_tui.config import load_config
    from autokaggle_tui.control import Control
    from autokaggle_tui.exports import export_all
    from autokaggle_tui.live import Live
    from autokaggle_tui.loop.clerk import Clerk

    try:
        config = load_config(workspace.root)
        competition, metric = load_data(workspace, config)
        with contextlib.closing(Live(workspace.live)) as live:
            campaign = open_campaign(workspace, config, competition, metric, registry, live)
            platform = open_platform(config, campaign)
            asyncio.run(_carry_out(Commander(campaign, Control(), {}, Clerk(campaign, platform), 0), row))
            export_all(workspace, registry)
    except AutokaggleError as error:
        if any(other["id"] == row["id"] for other in waiting(registry)):
            settle(registry, row, "refused", in_one_line(error))


async def _carry_out(commander: Commander, row: Row) -> None:
    # What a crash left open first: it may be the very submission that is asked for.
    commander.clerk.begin()
    await commander.clerk.look()
    commander.obey([row])
    await commander.close(SUBMISSION_SECONDS)
