"""What the loop does for the agents' tools: rules, blends, and Python in the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop import leaflets
from autokaggle_tui.loop.blender import survey_pool
from autokaggle_tui.loop.library import Library
from autokaggle_tui.loop.planning import plan_rulings
from backends.compute.sandbox import Sandbox
from backends.compute.scripts import ScriptResult, run_script
from backends.platforms.base import KernelSort
from experiments.blendreport import report_lines
from experiments.competition import data_files
from experiments.plan import PlanError, parse_plan

PYTHON_SECONDS = 120.0
PYTHON_CHARS = 8_000
"""Of what a script prints: enough for tables and figures, too little for the labels."""
SCRAPER_SECONDS = 300.0
SCRAPER_CHARS = 60_000


@dataclass
class LoopServices:
    """Serves tools from an open campaign.

    Attributes:
        sandbox: What scripts are shut into, as folds are.
        place: Where their folders are made.
        library: What others made public.
    """

    campaign: Campaign
    sandbox: Sandbox
    place: Path
    library: Library
    _one_script: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def check_rules(self, round: int, plan: str) -> str:
        """What the rules say of a plan: a line for each."""
        try:
            header = parse_plan(plan).header
        except PlanError as error:
            return f"not a plan: {error}"
        rulings = plan_rulings(self.campaign, round, header)
        return "\n".join(f"{ruling.verdict}\t{ruling.rule}\t{ruling.reason}" for ruling in rulings) or "no rule is on"

    async def preview_blend(self, members: Sequence[str]) -> str:
        """Fit a blend as a planned round would, and tell of it; nothing is kept.

        Raises:
            BlendError: Fewer than two usable predictions, or a member is unknown.
        """
        found = await survey_pool(self.campaign, members)
        return "\n".join(report_lines(found.report))

    async def run_python(self, code: str) -> str:
        """Run a script beside the data files; what it printed and how it ended.

        Raises:
            ComputeError: It cannot be started.
        """
        campaign = self.campaign
        files = data_files(campaign.config.data_path(campaign.workspace.root))
        # One at a time: they take from the same memory as the folds.
        async with self._one_script:
            result = await run_script(
                self.sandbox,
                code,
                {path.name: path for path in files},
                place=self.place,
                seconds=PYTHON_SECONDS,
                output_chars=PYTHON_CHARS,
                threads=campaign.threads,
            )
        return (
            "\n".join(part for part in (result.output, result.error and f"[{result.error}]") if part) or "(no output)"
        )

    async def scrape(self, program: Path) -> ScriptResult:
        """Run a person's own program for research: with the network, without secrets.

        Raises:
            ComputeError: It cannot be started.
        """
        return await run_script(
            self.sandbox,
            program,
            place=self.place,
            seconds=SCRAPER_SECONDS,
            output_chars=SCRAPER_CHARS,
            network=True,
        )

    async def list_kernels(self, round: int, sort: KernelSort, count: int) -> str:
        """Public notebooks, as the library has them.

        Raises:
            LibraryError: They cannot be looked up; so for the four below.
        """
        return leaflets.kernel_list(self.library, await self.library.kernels(sort, round), sort, count)

    async def read_kernel(self, round: int, ref: str, from_cell: int) -> str:
        """Cells of a public notebook."""
        return leaflets.kernel_text(await self.library.kernel(ref, round), from_cell)

    async def list_topics(self, round: int, count: int) -> str:
        """Threads of the forum."""
        return leaflets.topic_list(self.library, await self.library.topics(round), count)

    async def read_topic(self, round: int, id: int, from_post: int) -> str:
        """Posts of a thread."""
        return leaflets.topic_text(await self.library.topic(id, round), id, from_post)

    async def leaderboard(self, round: int) -> str:
        """The first places of the leaderboard."""
        return leaflets.board_text(await self.library.board(round))
