"""From an accepted plan to a settled experiment: code, run, fix on a crash, or a blend."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.blender import survey_pool
from autokaggle_tui.loop.desk import Desk, PhaseResult
from autokaggle_tui.loop.planning import past_experiments
from autokaggle_tui.loop.repeats import Repeats
from autokaggle_tui.loop.runner import Runner, RunResult
from autokaggle_tui.loop.scoring import settle
from autokaggle_tui.loop.verdicts import record_rulings
from autokaggle_tui.workspace import round_name
from backends.models.tasks import CampaignView
from experiments.blendreport import report_lines
from experiments.code import normalised_code_sha
from experiments.files import sha256_text, write_atomic
from experiments.plan import PlanHeader
from experiments.pool import BlendError
from experiments.rules import blocking, check_code
from experiments.schema import Row

FIX_ATTEMPTS = 2


@dataclass
class Experimenter:
    """Runs what a plan asks for; the registry knows every attempt."""

    campaign: Campaign
    desk: Desk
    runner: Runner
    repeats: Repeats

    async def experiment(self, number: int, header: PlanHeader, view: CampaignView) -> Row | None:
        """The settled experiment of a round; None when its code repeats an earlier one.

        Raises:
            StopRun: The person asked for a stop; what is finished stays.
        """
        name = round_name(number)
        if header.kind == "blend":
            return await self.blend(name, number, header.members, header.idea or header.hypothesis)
        facts: dict[str, Any] = {"plan": header.model_dump(mode="json")}
        code = await self.desk.perform(number, "code", view, facts=facts)
        for attempt in range(1, FIX_ATTEMPTS + 2):
            settled = self._settled(name)
            if settled is not None:
                await self.repeats.measure(settled, code.text)
                return settled
            crash = self._crashed(number, attempt)
            if crash is None:
                # A fixed file is no longer what the plan's parameters say.
                if self._repeats(number, name, code.text, header.params if attempt == 1 else None):
                    return await self._give_up(number, name, attempt) if attempt > 1 else None
                result, seconds = await self._run(number, name, header, code.text, attempt)
                last = attempt > FIX_ATTEMPTS
                if result.status != "crash" or last:
                    row = await self._settle(number, name, attempt, result, seconds)
                    await self.repeats.measure(row, code.text)
                    return row
                crash = self._record_crash(number, attempt, result)
            fixed = await self._fix(number, view, attempt, facts, code, crash)
            if fixed.text == code.text and fixed.fresh:
                return await self._give_up(number, name, attempt + 1)
            code = fixed
        raise AssertionError("the last attempt always settles")

    async def _give_up(self, number: int, name: str, attempt: int) -> Row:
        """Settle a crashed experiment whose fix is code that ran before."""
        crash = self._crashed(number, attempt - 1) or {"error": "it crashed", "traceback": ""}
        reason = f"{crash['error']}; the fix repeats code that ran before"
        log = f"{name}: {reason}\n{crash['traceback']}"
        return await self._settle(number, name, attempt, RunResult("crash", reason, {}, None, None, log), 0.0)

    async def blend(
        self, name: str, number: int | None, members: tuple[str, ...], idea: str, *, source: str = "round"
    ) -> Row:
        """Fit a blend over the pool (or over ``members``) and settle it like any experiment."""
        settled = self._settled(name)
        if settled is not None:
            return settled
        self._open(name, number, kind="blend", family="blend", idea=idea, source=source)
        started = time.monotonic()
        result, weights, report = await self._fit(members)
        with self.campaign.registry.transaction():
            self.campaign.registry.upsert("blends", experiment=name, report=report)
            self.campaign.registry.execute("DELETE FROM folds WHERE experiment = ?", [name])
            for fold, score in result.fold_scores.items():
                self.campaign.registry.upsert(
                    "folds",
                    experiment=name,
                    fold=fold,
                    key="",
                    status="ok",
                    score=score,
                    seconds=0.0,
                    at=self.campaign.registry.clock(),
                )
        if number is not None:
            write_atomic(self.campaign.workspace.file(number, "run.log"), f"{result.log}\n".encode())
        return await settle(
            self.campaign, name, result, seconds=time.monotonic() - started, members=list(weights.items())
        )

    async def _fit(self, members: tuple[str, ...]) -> tuple[RunResult, Mapping[str, float], dict[str, Any]]:
        try:
            found = await survey_pool(self.campaign, members, self.runner.clock.remaining())
        except BlendError as error:
            return RunResult("discard", error.message, {}, None, None, error.message), {}, {"reason": error.message}
        log = "\n".join(report_lines(found.report))
        blend = found.survey.blend
        if blend is None:
            return RunResult("discard", found.survey.reason, {}, None, None, log), {}, found.report
        blocked = blocking(found.rulings)
        if blocked:
            reason = f"{blocked[0].rule}: {blocked[0].reason}"
            return RunResult("discard", reason, {}, None, None, log, rulings=found.rulings), {}, found.report
        weights = dict(zip(blend.members, blend.weights, strict=True))
        scores = {fold: score for fold, score in enumerate(blend.fold_scores) if math.isfinite(score)}
        result = RunResult("complete", "", scores, blend.oof, blend.test, log, rulings=found.rulings)
        return result, weights, found.report

    async def _run(
        self, number: int, name: str, header: PlanHeader, code: str, attempt: int
    ) -> tuple[RunResult, float]:
        self._open(
            name,
            number,
            kind=header.kind,
            family=header.family,
            idea=header.idea or header.hypothesis,
            parent=header.parent,
            params=header.params if attempt == 1 else {},
            code=code,
        )
        await self.runner.starting
        control = self.runner.control
        started, paused = time.monotonic(), control.total_paused()
        result = await self.runner.run(name, code, minutes=header.minutes)
        return result, time.monotonic() - started - (control.total_paused() - paused)

    async def _settle(self, number: int, name: str, attempt: int, result: RunResult, seconds: float) -> Row:
        campaign = self.campaign
        write_atomic(campaign.workspace.file(number, "run.log"), f"{result.log}\n".encode())
        row = await settle(
            campaign,
            name,
            result,
            seconds=max(seconds, self._fold_seconds(name)),
            also=lambda status, reason: self._record(number, attempt, status, {"error": reason}, seconds),
        )
        if result.status != "timeout":
            self.runner.discard(name)
        return row

    def _fold_seconds(self, name: str) -> float:
        """Wall seconds of the folds as they ran side by side, those of an earlier process included."""
        total = self.campaign.registry.value("SELECT sum(seconds) FROM folds WHERE experiment = ?", [name])
        return float(total or 0.0) / self.campaign.slots

    async def _fix(
        self,
        number: int,
        view: CampaignView,
        attempt: int,
        facts: dict[str, Any],
        code: PhaseResult,
        crash: Mapping[str, Any],
    ) -> PhaseResult:
        told = facts | {"code": code.text, "error": crash["error"], "traceback": crash["traceback"], "attempt": attempt}
        told["notes"] = f"The run crashed: {crash['error']}"
        return await self.desk.perform(number, "fix", view, attempt=attempt, facts=told)

    def _record_crash(self, number: int, attempt: int, result: RunResult) -> Mapping[str, Any]:
        write_atomic(self.campaign.workspace.file(number, "run.log"), f"{result.log}\n".encode())
        detail = {"error": result.reason, "traceback": result.traceback[-20_000:]}
        self._record(number, attempt, "crash", detail, 0.0)
        return detail

    def _crashed(self, number: int, attempt: int) -> Mapping[str, Any] | None:
        row = self.campaign.registry.done_phase(number, "run", attempt)
        if row is None:
            return None
        detail: Mapping[str, Any] = row["detail"]
        return detail

    def _record(self, number: int, attempt: int, outcome: str, detail: Mapping[str, Any], seconds: float) -> None:
        registry = self.campaign.registry
        with registry.transaction():
            registry.upsert(
                "phases",
                round=number,
                phase="run",
                attempt=attempt,
                role="engine",
                model="",
                outcome=outcome,
                files=f"{round_name(number)}_run.log",
                sha256="",
                detail=dict(detail),
                seconds=seconds,
                at=registry.clock(),
            )
            registry.event(
                "phase_done",
                round=number,
                phase="run",
                role="engine",
                outcome=outcome,
                attempt=attempt,
                line=str(detail.get("error", "")),
                seconds=seconds,
            )

    def _settled(self, name: str) -> Row | None:
        row = self.campaign.registry.experiment(name)
        return row if row is not None and row["status"] != "running" else None

    def _repeats(self, number: int, name: str, code: str, params: Mapping[str, Any] | None) -> bool:
        """Whether a rule forbids running this code again; says so."""
        campaign = self.campaign
        rulings = check_code(
            campaign.rules, normalised_code_sha(code), params, past_experiments(campaign), experiment=name
        )
        record_rulings(campaign.registry, number, "code", rulings)
        return bool(blocking(rulings))

    def _open(
        self,
        name: str,
        number: int | None,
        *,
        kind: str,
        family: str,
        idea: str,
        source: str = "round",
        parent: str | None = None,
        params: Mapping[str, Any] | None = None,
        code: str = "",
    ) -> None:
        """Put the experiment's row in place, ``running``."""
        campaign = self.campaign
        registry = campaign.registry
        known = registry.experiment(name)
        changed = known is not None and bool(code) and known["code_sha"] != sha256_text(code)
        if changed:
            # What the code that crashed did finish is of no use to other code.
            self.runner.discard(name)
        with registry.transaction():
            registry.upsert(
                "experiments",
                id=name,
                round=number,
                source=source,
                kind=kind,
                family=family,
                parent=parent if parent and registry.experiment(parent) else None,
                idea=idea,
                params=dict(params or {}),
                code_sha=sha256_text(code) if code else "",
                normal_sha=normalised_code_sha(code) if code else "",
                folds_digest=campaign.folds.digest,
                data_hash=campaign.competition.data_hash,
                seed=campaign.config.seed,
                status="running",
                started_at=known["started_at"] if known else registry.clock(),
            )
            if changed:
                registry.execute("DELETE FROM folds WHERE experiment = ?", [name])
            registry.event(
                "experiment_started",
                round=number,
                experiment=name,
                source=source,
                kind=kind,
                family=family,
                idea=idea,
                status="running",
                resumed=known is not None,
                folds=campaign.folds.n_folds,
                done=len(registry.fold_scores(name)),
            )
