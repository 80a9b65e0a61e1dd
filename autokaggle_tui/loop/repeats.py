"""The noise that seeds make: the first fold of a family's first complete experiment is run again with other seeds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.gains import measured_rerun_noise
from autokaggle_tui.loop.runner import Runner
from experiments.errors import ComputeError
from experiments.files import sha256_text
from experiments.schema import Row
from experiments.text import score_text

FOLD = 0
MOST_SECONDS = 600.0
"""A fold that takes longer is not repeated."""
SHARE_OF_TIME = 0.05
"""Of the time that a run has left."""


@dataclass
class Repeats:
    """Measures rerun noise, once for each family of models, where the time allows it."""

    campaign: Campaign
    runner: Runner

    async def measure(self, experiment: Row, code: str) -> None:
        """Repeat the experiment's first fold, if its family was not measured yet.

        Raises:
            StopRun: The person asked for a stop; what is measured stays, and the rest is not made up for.
        """
        registry, wanted = self.campaign.registry, self.campaign.config.seed_repeats
        name, family = experiment["id"], experiment["family"]
        if not experiment["in_pool"] or experiment["kind"] == "blend" or not wanted:
            return
        if experiment["code_sha"] != sha256_text(code):
            # Read again after a crash: the code that was fixed since is another file.
            return
        known = registry.value(
            "SELECT count(*) FROM reruns r JOIN experiments e ON e.id = r.experiment WHERE e.family = ?", [family]
        )
        first = registry.row("SELECT score, seconds FROM folds WHERE experiment = ? AND fold = ?", [name, FOLD])
        if known or first is None or first["score"] is None or not self._affordable(first["seconds"] * wanted):
            return
        await self.runner.control.checkpoint()
        seeds = [self.campaign.config.seed + step for step in range(1, wanted + 1)]
        seconds = 3 * first["seconds"] + 10
        runs = await self._run(name, code, seeds, seconds)
        found = {seed: run for seed, run in zip(seeds, runs, strict=True) if run is not None}
        with registry.transaction():
            for seed, (score, took) in found.items():
                registry.upsert(
                    "reruns", experiment=name, fold=FOLD, seed=seed, score=score, seconds=took, at=registry.clock()
                )
            noise = measured_rerun_noise(registry, family)
            if found and noise is not None:
                scores = ", ".join(score_text(score) for score, _ in found.values())
                registry.event(
                    "note",
                    round=experiment["round"],
                    text=f"{name}: fold 1 scores {score_text(first['score'])}, with other seeds {scores}; "
                    f"seeds move a fold by {score_text(noise)}.",
                )

    async def _run(self, name: str, code: str, seeds: list[int], seconds: float) -> list[tuple[float, float] | None]:
        """What came of each seed; the person's kill ends them all, and the experiment stays as it is."""
        control, compute = self.runner.control, self.runner.compute
        tasks = [asyncio.create_task(self.runner.repeat(name, code, FOLD, seed, seconds)) for seed in seeds]
        killing: list[asyncio.Future[None]] = []

        def kill() -> bool:
            killing.append(asyncio.ensure_future(compute.kill(name)))
            return True

        control.kill = kill
        try:
            return list(await asyncio.gather(*tasks))
        except ComputeError as error:
            self.campaign.registry.event("warning", text=f"{name} was not run again with other seeds: {error.message}")
            return [None for _ in seeds]
        finally:
            control.kill = lambda: False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, *killing, return_exceptions=True)

    def _affordable(self, seconds: float) -> bool:
        left = self.runner.clock.left()
        return seconds <= MOST_SECONDS and (left is None or seconds <= SHARE_OF_TIME * left)
