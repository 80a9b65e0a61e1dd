"""The run of an experiment: folds in worker slots, the kill gate, resume by fold key."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control, RunClock, StopRun
from autokaggle_tui.loop.foldparts import FoldResult, load_part, save_part
from autokaggle_tui.loop.gains import measured_rerun_noise
from backends.compute.base import Compute, FoldJob, FoldOutcome, LogLine, Report
from experiments.context import context_values
from experiments.errors import MetricError, PredictionError
from experiments.files import sha256_text
from experiments.foldcache import FoldCache
from experiments.folds import fold_key
from experiments.gatemix import mix_gain
from experiments.predictions import join_oof, join_test, load_array
from experiments.rules import Ruling, check_gate
from experiments.schema import Row
from experiments.significance import Gain, fold_noise

RunStatus = Literal["complete", "discard", "killed", "crash", "timeout", "invalid"]
LOG_CAP = 2_000_000
LEAST_SECONDS = 0.5
PLAN_SLACK = 1.5


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        status: ``complete`` when there is a prediction to score; ``discard`` is a blend that nothing speaks for.
        fold_scores: By fold number, of the finished folds.
        oof: Out-of-fold prediction in row order when complete.
        test: Test prediction when complete.
        log: Everything printed, by fold, capped.
        rulings: What the gate said.
    """

    status: RunStatus
    reason: str
    fold_scores: Mapping[int, float]
    oof: np.ndarray | None
    test: np.ndarray | None
    log: str
    traceback: str = ""
    rulings: tuple[Ruling, ...] = ()


@dataclass
class _Run:
    """The state of one run while its folds come in."""

    experiment: str
    code: str
    keys: tuple[str, ...]
    parts: dict[int, FoldResult] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    logs: dict[int, list[str]] = field(default_factory=dict)
    verdict: tuple[RunStatus, str] | None = None
    traceback: str = ""
    rulings: tuple[Ruling, ...] = ()


@dataclass
class Runner:
    """Runs experiments for one campaign.

    Attributes:
        starting: The slots' start, which goes on while the first phases are done.
    """

    campaign: Campaign
    compute: Compute
    control: Control
    clock: RunClock
    cache: FoldCache
    starting: asyncio.Task[None]

    async def run(self, experiment: str, code: str, *, minutes: float | None, gate: bool = True) -> RunResult:
        """Run every fold that has no result yet.

        Args:
            experiment: Its id; a row of it with status ``running`` is in the registry.
            code: The experiment file.
            minutes: What the plan allows, if it says.
            gate: Whether the kill gate applies.

        Raises:
            StopRun: The person asked for a stop; finished folds are kept and count when the run goes on.
        """
        await self.starting
        run = self._open(experiment, code)
        await self.compute.expect(run.keys)
        pending = deque(fold for fold in range(len(run.keys)) if fold not in run.parts)
        budget = None if minutes is None else minutes * 60 * PLAN_SLACK
        tasks: set[asyncio.Task[None]] = set()
        self.control.kill = lambda: self._kill(run)
        stopped = False
        if gate and 0 in run.scores:
            self._gate(run)
        try:
            while (pending and run.verdict is None and not stopped) or tasks:
                while pending and run.verdict is None and not stopped and len(tasks) < self.compute.slots:
                    try:
                        await self.control.checkpoint()
                    except StopRun:
                        stopped = True
                        break
                    seconds = self._allowance(len(pending) + len(tasks), budget)
                    if seconds < LEAST_SECONDS:
                        run.verdict = ("timeout", "the time of this run is used up")
                        break
                    tasks.add(asyncio.create_task(self._fold(run, pending.popleft(), seconds, gate)))
                if not tasks:
                    break
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                # All are asked: asyncio complains of a failure that nobody looked at.
                failures = [error for task in done if (error := task.exception()) is not None]
                if failures:
                    raise failures[0]
                if run.verdict is not None and tasks:
                    await self.compute.kill(experiment)
        finally:
            self.control.kill = lambda: False
            for task in tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
        if stopped and run.verdict is None and len(run.parts) < len(run.keys):
            raise StopRun
        return self._close(run)

    async def repeat(
        self, experiment: str, code: str, fold: int, seed: int, seconds: float
    ) -> tuple[float, float] | None:
        """Run one fold once more with another seed, for the noise that seeds make.

        Args:
            seconds: That it may take.

        Returns:
            (score, seconds); None when it did not finish or cannot be scored.
        """
        campaign = self.campaign
        key = fold_key(sha256_text(code), campaign.folds.digest, campaign.competition.data_hash, fold, seed)
        job = await asyncio.to_thread(self._job, key, _Run(experiment, code, ()), fold, seconds, seed)
        outcome: FoldOutcome | None = None
        async with aclosing(self.compute.run(job)) as records:  # type: ignore[type-var]
            async for record in records:
                if isinstance(record, FoldOutcome):
                    outcome = record
        if outcome is None or outcome.status != "ok" or outcome.valid is None:
            return None
        score = await asyncio.to_thread(self._score, fold, outcome.valid)
        return None if score is None else (score, outcome.seconds)

    def partial_test(self, experiment: str, code: str) -> tuple[np.ndarray, int] | None:
        """The mean test prediction of the folds that did finish, and how many they are."""
        parts = self._open(experiment, code).parts
        if not parts:
            return None
        tests = np.stack([part.test for part in parts.values()])
        return np.asarray(tests.mean(axis=0, dtype=np.float64), dtype=np.float32), len(parts)

    def sweep(self) -> None:
        """Remove fold files that belong to no experiment that may still need them."""
        rows = self.campaign.registry.rows(
            "SELECT f.key FROM folds f JOIN experiments e ON e.id = f.experiment "
            "WHERE e.status IN ('running', 'timeout')"
        )
        needed = {row["key"] for row in rows}
        for path in (self.campaign.workspace.cache / "folds").glob("*.npz"):
            if path.stem not in needed:
                path.unlink(missing_ok=True)

    def discard(self, experiment: str) -> None:
        """Forget the fold files of an experiment whose prediction is joined, or that is given up."""
        for row in self.campaign.registry.rows("SELECT key FROM folds WHERE experiment = ?", [experiment]):
            self._part(row["key"]).unlink(missing_ok=True)

    def _open(self, experiment: str, code: str) -> _Run:
        """Start from what the registry and the cache already have under this code's keys."""
        campaign = self.campaign
        sha = sha256_text(code)
        keys = tuple(
            fold_key(sha, campaign.folds.digest, campaign.competition.data_hash, fold, campaign.config.seed)
            for fold in range(campaign.folds.n_folds)
        )
        run = _Run(experiment, code, keys)
        rows = campaign.registry.rows("SELECT * FROM folds WHERE experiment = ?", [experiment])
        for row in rows:
            fold = row["fold"]
            if row["status"] != "ok" or fold >= len(keys) or row["key"] != keys[fold]:
                continue
            part = load_part(self._part(keys[fold]), self._expected(fold), campaign.competition.spec.task_type)
            if part is not None:
                run.parts[fold] = part
                run.logs[fold] = part.log.splitlines()
                if row["score"] is not None:
                    run.scores[fold] = row["score"]
        return run

    def _allowance(self, open_folds: int, budget: float | None) -> float:
        """Wall seconds for a fold that starts now."""
        waves = math.ceil(open_folds / self.compute.slots)
        total_waves = math.ceil(self.campaign.folds.n_folds / self.compute.slots)
        limits = [self.campaign.config.compute.fold_timeout]
        left = self.clock.left()
        if left is not None:
            limits.append(left / waves)
        if budget is not None:
            limits.append(max(budget / total_waves, LEAST_SECONDS))
        return min(limits)

    async def _fold(self, run: _Run, fold: int, seconds: float, gate: bool) -> None:
        campaign = self.campaign
        registry = campaign.registry
        round = registry.value("SELECT round FROM experiments WHERE id = ?", [run.experiment])
        job = await asyncio.to_thread(self._job, run.keys[fold], run, fold, seconds)
        registry.event("fold_started", round=round, experiment=run.experiment, fold=fold, limit=round_seconds(seconds))
        lines = run.logs.setdefault(fold, [])
        outcome: FoldOutcome | None = None
        async with aclosing(self.compute.run(job)) as records:  # type: ignore[type-var]
            async for record in records:
                if isinstance(record, LogLine):
                    lines.append(record.text)
                    campaign.live.log(run.experiment, fold, record.text)
                elif isinstance(record, Report):
                    campaign.live.log(run.experiment, fold, f"report {dict(record.values)}")
                else:
                    outcome = record
        campaign.live.flush()
        if outcome is None:
            outcome = FoldOutcome(fold, "crash", 0.0, error="the worker slot ended without an outcome")
        score = None
        if outcome.status == "ok" and outcome.valid is not None and outcome.test is not None:
            score = await asyncio.to_thread(self._score, fold, outcome.valid)
            part = FoldResult(outcome.valid, outcome.test, "\n".join(lines))
            save_part(self._part(job.key), part)
            run.parts[fold] = part
            if score is not None:
                run.scores[fold] = score
        error = outcome.error
        if outcome.status == "killed" and run.verdict is not None:
            error = f"the run ended as {run.verdict[0]}"
        with registry.transaction():
            registry.upsert(
                "folds",
                experiment=run.experiment,
                fold=fold,
                key=job.key,
                status=outcome.status,
                score=score,
                seconds=outcome.seconds,
                error=error,
                at=registry.clock(),
            )
            registry.event(
                "fold_done",
                round=round,
                experiment=run.experiment,
                fold=fold,
                folds=len(run.keys),
                done=len(run.parts),
                status=outcome.status,
                score=score,
                seconds=round_seconds(outcome.seconds),
                error=error,
            )
        if outcome.status == "killed":
            run.verdict = run.verdict or ("killed", outcome.error or "killed")
        elif outcome.status != "ok":
            run.verdict = run.verdict or (outcome.status, f"fold {fold + 1}: {outcome.error}")
            run.traceback = run.traceback or outcome.traceback
        elif fold == 0 and gate:
            self._gate(run)

    def _gate(self, run: _Run) -> None:
        """Kill a run whose first fold is worse than best_single's by more than the margin."""
        registry = self.campaign.registry
        best = registry.best_single(self.campaign.metric.direction)
        if best is None or 0 not in run.scores:
            return
        theirs = registry.fold_scores(best["id"])
        if 0 not in theirs:
            return
        metric = self.campaign.metric
        # Two runs with one seed each differ by more than one of them does.
        seeds = math.sqrt(2) * (measured_rerun_noise(registry, best["family"]) or 0.0)
        others = [scores for scores in map(self._whole, registry.pool()) if scores]
        run.rulings = check_gate(
            self.campaign.rules,
            fold_score=run.scores[0],
            best_fold_score=theirs[0],
            best_score=best["score"],
            direction=metric.direction,
            bounded=metric.bounded,
            noise=max(fold_noise([theirs[fold] for fold in sorted(theirs)], others), seeds),
            evidence=self._evidence(run, best["id"]),
        )
        for ruling in run.rulings:
            if ruling.verdict == "block" and run.verdict is None:
                run.verdict = ("killed", ruling.reason)

    def _evidence(self, run: _Run, best: str) -> Gain | None:
        """What the new fold adds to best_single on the same rows; None when that prediction is gone."""
        campaign = self.campaign
        rows = campaign.folds.splits[0][1]
        stored = campaign.registry.value("SELECT oof FROM predictions WHERE experiment = ?", [best])
        try:
            theirs = load_array(campaign.workspace.rounds / str(stored))[rows]
        except PredictionError:
            return None
        return mix_gain(run.parts[0].valid, theirs, campaign.competition.y[rows], campaign.metric)

    def _whole(self, row: Row) -> list[float]:
        """The fold scores of a pool member, in order; empty when a fold has none."""
        scores = self.campaign.registry.fold_scores(row["id"])
        return [scores[fold] for fold in sorted(scores)] if len(scores) == self.campaign.folds.n_folds else []

    def _kill(self, run: _Run) -> bool:
        """Kill the run at the person's wish."""
        run.verdict = run.verdict or ("killed", "killed by the owner")
        self._killing = asyncio.ensure_future(self.compute.kill(run.experiment))
        return True

    def _score(self, fold: int, valid: np.ndarray) -> float | None:
        rows = self.campaign.folds.splits[fold][1]
        try:
            return self.campaign.metric.score(self.campaign.competition.y[rows], valid)
        except MetricError:
            # A fold may hold one class only; the score over all rows still counts.
            return None

    def _job(self, key: str, run: _Run, fold: int, seconds: float, seed: int | None = None) -> FoldJob:
        campaign = self.campaign
        spec = campaign.competition.spec
        train, valid, test = self.cache.files(fold)
        classes = campaign.competition.classes
        context = context_values(
            spec if seed is None else replace(spec, seed=seed),
            campaign.competition.columns,
            classes,
            fold=fold,
            n_folds=campaign.folds.n_folds,
            threads=self.compute.threads,
            device=campaign.config.compute.device,
        )
        expected = self._expected(fold)
        return FoldJob(key, run.experiment, fold, run.code, train, valid, test, context, expected, seconds)

    def _expected(self, fold: int) -> tuple[int, int, int]:
        """(validation rows, test rows, numbers per row) of a fold's prediction."""
        campaign = self.campaign
        return len(campaign.folds.splits[fold][1]), len(campaign.competition.test), campaign.outputs

    def _part(self, key: str) -> Path:
        return self.campaign.workspace.cache / "folds" / f"{key}.npz"

    def _close(self, run: _Run) -> RunResult:
        campaign = self.campaign
        log = _joined_log(run)
        status, reason = run.verdict or ("complete", "")
        if status != "complete":
            return RunResult(status, reason, run.scores, None, None, log, run.traceback, run.rulings)
        oof = join_oof(campaign.folds, {f: p.valid for f, p in run.parts.items()}, len(campaign.competition.y))
        test = join_test(campaign.folds, {f: p.test for f, p in run.parts.items()})
        return RunResult("complete", "", run.scores, oof, test, log, "", run.rulings)


def round_seconds(seconds: float) -> float:
    """Seconds as events show them."""
    return round(seconds, 2)


def _joined_log(run: _Run) -> str:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    pieces = [f"{run.experiment}, log written {stamp} UTC"]
    for fold in sorted(run.logs):
        score = f", score {run.scores[fold]:.6g}" if fold in run.scores else ""
        pieces += [f"--- fold {fold + 1}{score}", *run.logs[fold]]
    if run.verdict is not None:
        pieces.append(f"--- {run.verdict[0]}: {run.verdict[1]}")
    if run.traceback:
        pieces.append(run.traceback.rstrip())
    text = "\n".join(pieces)
    return text if len(text) <= LOG_CAP else f"{text[:LOG_CAP]}\n… cut"
