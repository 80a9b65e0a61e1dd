"""The orchestrator: what comes next. It reads like section 6 of the design and holds no file contents.

Every step asks the registry first whether it is done, so playing an open round again after a crash
replays what is there and goes on where it ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control, RunClock
from autokaggle_tui.exports import export_all
from autokaggle_tui.loop.choosing import best_allowed, veto
from autokaggle_tui.loop.clearance import clear
from autokaggle_tui.loop.clerk import Clerk
from autokaggle_tui.loop.closing import Closing
from autokaggle_tui.loop.desk import Desk
from autokaggle_tui.loop.experimenter import Experimenter
from autokaggle_tui.loop.learning import take_learnings
from autokaggle_tui.loop.planning import Planner
from autokaggle_tui.loop.scraping import scrape
from autokaggle_tui.loop.services import LoopServices
from autokaggle_tui.loop.submitting import submitted
from autokaggle_tui.pruning import prune_above
from backends.models.tasks import CampaignView
from experiments.errors import DataError, PlatformError, PredictionError
from experiments.profile import profile
from experiments.schema import Row

BLOCKED_IN_A_ROW = 3
LEAST_ROUND_SECONDS = 2.0
RETRO_WANTED = "retro_wanted"
RETRO_ROUND = "retro_round"


@dataclass
class Orchestrator:
    """Plays rounds until the run is over.

    Attributes:
        rounds: Rounds this run plays, or None without a limit.
        first_round: The first round of this run; the EDA (round 0) does not count.
    """

    campaign: Campaign
    desk: Desk
    planner: Planner
    experimenter: Experimenter
    closing: Closing
    clerk: Clerk
    services: LoopServices
    control: Control
    clock: RunClock
    rounds: int | None
    first_round: int

    async def play(self) -> str:
        """Play every round of the run, then close it.

        Returns:
            Why it ended, for a person.

        Raises:
            StopRun: The person asked for a stop; nothing is closed, the same command goes on.
        """
        self.experimenter.runner.sweep()
        registry = self.campaign.registry
        # That no further round is played is a fact of the run: a crash while closing does not open another.
        over = f"over:{registry.run}"
        reason = registry.fact(over)
        if reason is None:
            reason = await self._rounds()
            registry.set_fact(over, reason)
        await self.control.checkpoint()
        await self.closing.close()
        return reason

    async def _rounds(self) -> str:
        blocked = 0
        while True:
            number = next_round(self.campaign)
            if number == 0:
                await self.eda()
                continue
            if self.rounds is not None and number - self.first_round >= self.rounds:
                return f"{self.rounds} round{'s' if self.rounds > 1 else ''} played"
            left = self.clock.left()
            if left is not None and left < LEAST_ROUND_SECONDS:
                return "the time limit is reached"
            await self.control.checkpoint()
            status, reason = await self.round(number)
            if status == "stop":
                return reason
            blocked = blocked + 1 if status == "blocked" else 0
            if blocked == BLOCKED_IN_A_ROW:
                return f"{blocked} rounds in a row were blocked; last: {reason}"

    async def eda(self) -> None:
        """Round 0: the Builder looks at the data."""
        self._begin(0)
        figures = await asyncio.to_thread(profile, self.campaign.competition)
        await self.desk.perform(0, "eda", self._view(0), facts={"profile": figures})
        self._finish(0, "done")

    async def round(self, number: int) -> tuple[str, str]:
        """One round, from research to log.

        Returns:
            (status, reason): status is ``done``, ``blocked``, or ``stop`` when nothing is left to do.
        """
        self._begin(number)
        view = self._view(number)
        await self.desk.staff.hand_over(number, view)
        if self._retro_due(number):
            retro = await self.desk.perform(number, "retro", view)
            take_learnings(self.campaign.registry, self.campaign.workspace.learnings, number, retro.text)
            view = self._view(number)
        await scrape(self.campaign, self.services, number)
        await self.desk.perform(number, "research", view)
        header = await self.planner.plan(number, view)
        if header is None:
            return self._finish(number, "blocked", "the rules block every plan")
        if header.kind == "stop":
            self._finish(number, "done", header.hypothesis)
            return "stop", header.hypothesis
        experiment = await self.experimenter.experiment(number, header, view)
        if experiment is None:
            return self._finish(number, "blocked", "the code repeats an earlier experiment")
        view = self._view(number)
        facts: dict[str, Any] = {
            "plan": header.model_dump(mode="json"),
            "result": self._result(experiment),
            "rulings": [],
        }
        facts["rulings"] = self._fired(number)
        await self.desk.perform(number, "findings", view, facts=facts)
        verdict = await self.desk.perform(number, "verify", view, facts=facts)
        await self._submit(number, experiment, verdict.line if verdict.word == "REJECT" else "")
        return self._finish(number, "done")

    def _begin(self, number: int) -> None:
        registry = self.campaign.registry
        known = registry.row("SELECT status FROM rounds WHERE round = ?", [number])
        if known is not None:
            registry.event("round_resumed", round=number)
            return
        with registry.transaction():
            registry.insert("rounds", round=number, run=registry.run, status="open", started_at=registry.clock())
            if number > 0 and registry.fact(RETRO_WANTED) is not None:
                registry.set_fact(RETRO_ROUND, str(number))
                registry.execute("DELETE FROM facts WHERE key = ?", [RETRO_WANTED])
            registry.event("round_started", round=number)

    def _finish(self, number: int, status: str, reason: str = "") -> tuple[str, str]:
        registry = self.campaign.registry
        with registry.transaction():
            registry.update("rounds", number, status=status, ended_at=registry.clock())
            registry.update("runs", registry.run or "", elapsed=self.clock.elapsed())
            registry.event("round_done", round=number, status=status, reason=reason)
        self._export()
        most = self.campaign.config.resources.keep_predictions
        if most != "all":
            prune_above(registry, self.campaign.workspace.rounds, most)
        return status, reason

    def _export(self) -> None:
        export_all(self.campaign.workspace, self.campaign.registry)

    def _view(self, number: int) -> CampaignView:
        left = None if self.rounds is None else max(self.rounds - (number - self.first_round), 0)
        return self.campaign.view(number, rounds_left=left, seconds_left=self.clock.left())

    def _retro_due(self, number: int) -> bool:
        every = self.campaign.config.retro_every
        return (every > 0 and number % every == 0) or self.campaign.registry.fact(RETRO_ROUND) == str(number)

    def _result(self, row: Row) -> dict[str, Any]:
        registry = self.campaign.registry
        closest = registry.row(
            "SELECT CASE a WHEN ?1 THEN b ELSE a END AS other, pearson FROM correlations "
            "WHERE a = ?1 OR b = ?1 ORDER BY pearson DESC LIMIT 1",
            [row["id"]],
        )
        done = registry.row(
            "SELECT data FROM events WHERE kind = 'experiment_done' AND round = ? ORDER BY id DESC", [row["round"]]
        )
        return {
            **{key: row[key] for key in ("id", "status", "reason", "score", "gain", "t", "seconds", "members")},
            "fold_scores": registry.fold_scores(row["id"]),
            "against": done["data"].get("against") if done else None,
            "closest": (closest["other"], closest["pearson"]) if closest else None,
        }

    def _fired(self, number: int) -> list[dict[str, Any]]:
        rows = self.campaign.registry.rows(
            "SELECT rule, verdict, reason, figures FROM verdicts "
            "WHERE round = ? AND phase = 'run' AND author = 'rules'",
            [number],
        )
        return [dict(row) for row in rows]

    async def _submit(self, number: int, experiment: Row, vetoed: str) -> None:
        registry = self.campaign.registry
        if registry.done_phase(number, "submit") is not None:
            return
        outcome, reason = "skipped", ""
        if submitted(registry, experiment["id"]):
            outcome, reason = "submitted", "settled after a restart"
        else:
            try:
                outcome, reason = await self._offer(number, experiment, vetoed)
            except (PlatformError, DataError, PredictionError) as error:
                outcome, reason = "failed", str(error)
                registry.event("warning", round=number, text=f"submission of {experiment['id']}: {error}")
        with registry.transaction():
            registry.upsert(
                "phases",
                round=number,
                phase="submit",
                attempt=1,
                role="engine",
                model="",
                outcome=outcome,
                detail={"line": reason},
                seconds=0.0,
                at=registry.clock(),
            )
            registry.event("phase_done", round=number, phase="submit", role="engine", outcome=outcome, line=reason)

    async def _offer(self, number: int, experiment: Row, vetoed: str) -> tuple[str, str]:
        """Have the policy decide on a round's experiment, or on the best there is when it goes by rounds."""
        every = self.campaign.config.submit.every
        if every is not None and number % every == 0:
            best = best_allowed(self.campaign)
            if best is None:
                return "skipped", "there is nothing that may be submitted"
            if submitted(self.campaign.registry, best["id"]):
                return "skipped", f"the best there is, {best['id']}, was submitted before"
            against = vetoed if best["id"] == experiment["id"] else veto(self.campaign, best)
            told = await self.clerk.offer(best, "round", vetoed=against, round=number)
            return told.word, told.reason if best["id"] == experiment["id"] else f"{best['id']}: {told.reason}"
        cleared = clear(self.campaign, experiment)
        told = await self.clerk.offer(experiment, "round", cleared=cleared, vetoed=vetoed, round=number)
        return told.word, told.reason


def next_round(campaign: Campaign) -> int:
    """The open round, else the one after the last; 0 (the EDA) in a new workspace."""
    row = campaign.registry.row("SELECT round, status FROM rounds ORDER BY round DESC LIMIT 1")
    if row is None:
        return 0
    return int(row["round"]) + (0 if row["status"] == "open" else 1)
