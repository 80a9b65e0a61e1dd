"""A person's own scraper: run in the sandbox before a round's research, its output quoted as data."""

from __future__ import annotations

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.services import LoopServices
from experiments.errors import ComputeError
from experiments.files import write_atomic
from experiments.text import DATA, quote, without_hidden

FILE = "scraped.txt"
"""RNN_scraped.txt, which the Researcher reads."""


async def scrape(campaign: Campaign, services: LoopServices, round: int) -> None:
    """Run ``scraper_path``, once a round, if there is one; that it failed is told and stops nothing."""
    name = campaign.config.scraper_path
    if name is None:
        return
    target = campaign.workspace.file(round, FILE)
    registry = campaign.registry
    if registry.done_phase(round, "research") is not None or target.exists():
        return
    program = campaign.config.path(campaign.workspace.root, name)
    if not program.is_file():
        registry.event("warning", round=round, text=f"scraper_path: {program} is no file; research goes on without.")
        return
    try:
        result = await services.scrape(program)
    except ComputeError as error:
        registry.event("warning", round=round, text=f"scraper_path: {error.message}")
        return
    said = without_hidden(result.output).strip()
    if result.status != "ok":
        registry.event("warning", round=round, text=f"scraper_path: {result.error}.")
    if said:
        write_atomic(target, f"Output of {name}. {DATA}\n\n{quote(said)}\n".encode())
    registry.event("scraped", round=round, status=result.status, characters=len(said), seconds=result.seconds)
