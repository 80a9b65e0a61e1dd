"""Submits all that is complete to the emulated Kaggle and settles it; killed by whoever serves the emulator.

python -m tests.submitting WORKSPACE LAG: the address of the emulator is in AUTOKAGGLE_KAGGLE_URL, LAG in seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

from autokaggle_tui.loop.settling import unsettled
from autokaggle_tui.workspace import Workspace
from backends.platforms.kaggle.client import KaggleClient
from backends.platforms.kaggle.platform import KagglePlatform
from experiments.errors import PlatformError

from .clerks import at_once, opened

LONGEST = 60.0


async def work(folder: Path, lag: float) -> int:
    """Until nothing is open, or for a minute."""
    workspace = Workspace(folder)
    with workspace.locked(), opened(workspace, time.time) as campaign:
        client = KaggleClient.open(os.environ, Path("/nonexistent"))
        platform = KagglePlatform(campaign.competition.spec.name, client)
        platform.listing_lag = timedelta(seconds=lag)
        clerk = at_once(campaign, platform)
        clerk.begin()
        await clerk.look()
        for row in campaign.registry.rows("SELECT * FROM experiments ORDER BY rowid"):
            with contextlib.suppress(PlatformError):
                await clerk.offer(row, "end")
        until = time.monotonic() + LONGEST
        while time.monotonic() < until and (
            unsettled(campaign.registry) or campaign.registry.rows("SELECT 1 FROM queue WHERE state = 'waiting'")
        ):
            await clerk.tick()
            await asyncio.sleep(0.01)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(work(Path(sys.argv[1]), float(sys.argv[2]))))
