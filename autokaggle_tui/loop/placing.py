"""A look at the leaderboard: where we stand, and whether it agrees with the cross-validation. Kept as facts."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from autokaggle_tui.agreement import agreement
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.scored import READ_SHOTS, shots_of
from autokaggle_tui.standing import FACT, Board, board_from, board_of, board_text
from backends.platforms.base import Platform
from experiments.registry import Registry

PARTED = "cv_and_leaderboard_part"


async def place(campaign: Campaign, platform: Platform, team: str) -> Board:
    """Ask the platform for the leaderboard and keep what matters of it.

    Args:
        team: Ours, as the leaderboard spells it; empty when unknown.

    Raises:
        PlatformError: The platform could not be asked.
    """
    rows = await asyncio.to_thread(platform.leaderboard)
    registry, metric = campaign.registry, campaign.metric
    better = 1 if metric.direction == "maximize" else -1
    best = registry.value(
        f"SELECT {'max' if better > 0 else 'min'}(public_score) FROM submissions "
        "WHERE state = 'accepted' AND scoring = 'complete'"
    )
    before = board_from(registry.fact(FACT) or "{}")
    board = board_of(
        [(row.name, row.score) for row in rows],
        team=team or (before.team if before is not None else ""),
        best=best,
        better=better,
        at=registry.clock(),
        teams=platform.name != "local",
    )
    with registry.transaction():
        registry.set_fact(FACT, board_text(board))
        registry.event("leaderboard", **asdict(board))
        _compare(registry, better)
    return board


def _compare(registry: Registry, better: int) -> None:
    """Warn when cross-validation and leaderboard part, once for each submission that adds to it."""
    found = agreement(shots_of(registry.rows(READ_SHOTS)), better)
    parted = " ".join(f"{good}>{bad}" for good, bad in found.parted)
    if found.warning and registry.fact(PARTED) != parted:
        registry.set_fact(PARTED, parted)
        registry.event("warning", text=found.warning)
