"""The desk: gives a phase to its agent, validates what comes back, publishes it, commits the row."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.agent import Answered
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control
from autokaggle_tui.loop.asking import Asked
from autokaggle_tui.loop.phasebook import PHASES, opening_word, problem
from autokaggle_tui.loop.staff import Staff
from autokaggle_tui.loop.verdicts import announced, record_verdict
from autokaggle_tui.restoring import RESTORED_TO
from autokaggle_tui.wording import clock_text
from autokaggle_tui.workspace import round_name
from backends.models.playbook.model import Playbook
from backends.models.tasks import CampaignView, Phase, Task
from experiments.errors import ModelError
from experiments.files import sha256_text, write_atomic
from experiments.jail import read_text
from experiments.retro import next_experiments
from experiments.text import one_line

ADOPTED = "adopted"
"""In the place of a model's name: the files were there already."""


@dataclass(frozen=True)
class PhaseResult:
    """A phase that is over.

    Attributes:
        word: What its answer began with.
        line: The whole answer.
        files: Text by file name in rounds/.
        fresh: It was done just now, not read back from the registry.
    """

    word: str
    line: str
    files: Mapping[str, str]
    fresh: bool

    @property
    def text(self) -> str:
        """The text of the phase's last file."""
        return list(self.files.values())[-1] if self.files else ""


@dataclass
class Desk:
    """The one way to have a phase done."""

    campaign: Campaign
    control: Control
    staff: Staff

    async def perform(
        self, round: int, phase: Phase, view: CampaignView, *, attempt: int = 1, facts: Mapping[str, Any] | None = None
    ) -> PhaseResult:
        """Have a phase done, or read back that it was.

        Raises:
            StopRun: The person asked for a stop.
        """
        task = self._task(round, phase, view, facts or {})
        found = self._done(task, attempt) or self._adopt(task, attempt)
        if found is not None:
            return found
        await self.control.checkpoint()
        self.campaign.refresh_rules()
        registry = self.campaign.registry
        model = self.staff.model_name(task.role)
        registry.event("phase_started", round=round, phase=phase, role=task.role, model=model, attempt=attempt)
        again = f" · attempt {attempt}" if attempt > 1 else ""
        self.campaign.live.say(task.role, "phase", f"{round_name(round)} {phase}{again}", round=round)
        started = time.monotonic()
        asked, reason = await self.staff.attempt(task)
        if asked is None or not asked.answer.word:
            with registry.transaction():
                self.staff.keep(task, asked)
                record_verdict(registry, round, phase, "engine", "fallback", f"{reason}; the playbook does this phase")
            model = Playbook.name
            asked = await self.staff.stand_in(task)
        if not asked.answer.word:
            raise ModelError(f"{round_name(round)} {phase}: not even the playbook's answer fits.")
        return self._publish(task, attempt, asked.answer, model, time.monotonic() - started, asked=asked)

    def replace_plan(self, round: int, view: CampaignView, text: str, reason: str) -> PhaseResult:
        """Put a playbook plan in the place of one that stays blocked."""
        task = self._task(round, "revise", view, {})
        found = self._done(task, 2)
        if found is not None:
            return found
        self.campaign.registry.event("plan_replaced", round=round, reason=reason)
        answer = Answered("REVISED", f"REVISED: {reason}", {task.outputs[0]: text})
        return self._publish(task, 2, answer, Playbook.name, 0.0)

    def _task(self, round: int, phase: Phase, view: CampaignView, facts: Mapping[str, Any]) -> Task:
        spec = PHASES[phase]
        name = round_name(round)
        rounds = self.campaign.workspace.rounds
        retro = self.campaign.last_retro(round) if "retro.md" in spec.reads else None
        last = name if retro is None else round_name(retro["round"])
        files = [f"{last if suffix == 'retro.md' else name}_{suffix}" for suffix in spec.reads]
        near = [f"rounds/{file}" for file in files if (rounds / file).is_file()]
        always = ["LEARNINGS.md"] if self.campaign.workspace.learnings.is_file() else []
        eda = ["rounds/R00_eda.md"] if round > 0 and phase in ("research", "plan") else []
        outputs = tuple(f"{name}_{suffix}" for suffix in spec.outputs)
        return Task(phase, spec.role, round, outputs, (*near, *eda, *always), spec.answers, view, facts)

    def _done(self, task: Task, attempt: int) -> PhaseResult | None:
        """The phase as the registry has it; None when it is open, or its files are gone."""
        row = self.campaign.registry.done_phase(task.round, task.phase, attempt)
        if row is None:
            return None
        files = self._read(task, links=True)
        if files is None or problem(task, "", files):
            return None
        return PhaseResult(row["outcome"], row["detail"].get("line", ""), files, fresh=False)

    def _adopt(self, task: Task, attempt: int) -> PhaseResult | None:
        """Take valid files that a crash left without their row; a file an earlier phase published does not count."""
        files = self._read(task)
        if files is None or problem(task, "", files):
            return None
        known = {
            sha
            for row in self.campaign.registry.rows("SELECT sha256 FROM phases WHERE round = ?", [task.round])
            for sha in row["sha256"].split()
        }
        if any(sha256_text(text) in known for text in files.values()) or self._older(task):
            return None
        last = files[task.outputs[-1]]
        word = opening_word(last, task.answers) if len(task.answers) > 1 else task.answers[0]
        answer = Answered(word, one_line(last.strip().splitlines()[0]) if len(task.answers) > 1 else word, files)
        self.campaign.registry.event("adopted", round=task.round, phase=task.phase, files=list(files))
        return self._publish(task, attempt, answer, ADOPTED, 0.0, write=False)

    def _older(self, task: Task) -> bool:
        """Whether the phase's files were there before: another campaign's, or made for what has been redone since."""
        registry = self.campaign.registry
        began = registry.value("SELECT started_at FROM rounds WHERE round = ?", [task.round])
        # A restored registry forgot the round in which they were published.
        began = min(began, float(registry.fact(RESTORED_TO) or began))
        redone = registry.value(
            "SELECT coalesce(max(at), 0) FROM phases WHERE round = ? AND model != ?", [task.round, ADOPTED]
        )
        paths = (self.campaign.workspace.rounds / name for name in task.outputs)
        return any(path.stat().st_mtime < max(began, redone) - 1.0 for path in paths)

    def _read(self, task: Task, *, links: bool = False) -> dict[str, str] | None:
        """The phase's files as they lie in rounds/; None when one is missing or is not what an agent writes.

        Args:
            links: The registry knows them: a person may have moved them elsewhere, or backed them up by hard links.
        """
        files = {}
        for name in task.outputs:
            path = self.campaign.workspace.rounds / name
            try:
                files[name] = read_text(path, links=links)
            except (OSError, UnicodeDecodeError):
                return None
        return files

    def _publish(
        self,
        task: Task,
        attempt: int,
        answer: Answered,
        model: str,
        seconds: float,
        *,
        asked: Asked | None = None,
        write: bool = True,
    ) -> PhaseResult:
        registry = self.campaign.registry
        files = {name: answer.files[name] for name in task.outputs}
        named = next_experiments(files[task.outputs[0]]) if task.phase == "retro" else ()
        detail: dict[str, Any] = {"line": answer.line}
        if named:
            detail["next"] = [one.model_dump(mode="json") for one in named]
        for name, text in files.items() if write else ():
            write_atomic(self.campaign.workspace.rounds / name, text.encode())
        with registry.transaction():
            self.staff.keep(task, asked)
            registry.upsert(
                "phases",
                round=task.round,
                phase=task.phase,
                attempt=attempt,
                role=task.role,
                model=model,
                outcome=answer.word,
                files=" ".join(files),
                sha256=" ".join(sha256_text(text) for text in files.values()),
                detail=detail,
                seconds=seconds,
                at=registry.clock(),
            )
            registry.event(
                "phase_done",
                round=task.round,
                phase=task.phase,
                role=task.role,
                outcome=answer.word,
                line=answer.line,
                files=list(files),
                seconds=round(seconds, 3),
            )
            if task.phase in ("review", "verify"):
                record_verdict(registry, task.round, task.phase, "reviewer", answer.word, answer.line)
            elif task.phase == "retro":
                record_verdict(registry, task.round, task.phase, "reviewer", "RETRO", announced(named, task.outputs[0]))
        told = " · ".join([answer.word, *files, clock_text(seconds)])
        self.campaign.live.say(task.role, "answer", told, round=task.round)
        return PhaseResult(answer.word, answer.line, files, fresh=True)
