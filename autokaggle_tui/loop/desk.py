"""The desk: gives a phase to its agent, validates what comes back, publishes it, commits the row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from agents.agent import Agent, Answered, Said, ToolResult, Unfit
from agents.prompts import load_prompt
from agents.services import Services
from agents.tools import describe_call
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control
from autokaggle_tui.loop.phasebook import PHASES, opening_word, problem
from autokaggle_tui.loop.verdicts import record_verdict
from autokaggle_tui.restoring import RESTORED_TO
from autokaggle_tui.wording import clock_text
from autokaggle_tui.workspace import round_name
from backends.models.base import FellBack, Message, Model, Reasoning, Retrying, TextDelta, ToolCall, Usage
from backends.models.playbook.model import Playbook
from backends.models.registry import open_model
from backends.models.settings import ModelSettings
from backends.models.tasks import CampaignView, Phase, Role, Task
from experiments.errors import ModelError
from experiments.files import sha256_text, write_atomic
from experiments.jail import read_text
from experiments.text import one_line

ADOPTED = "adopted"
"""In the place of a model's name: the files were there already."""
ROLES: tuple[Role, ...] = ("researcher", "builder", "reviewer")


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


@dataclass(frozen=True)
class Asked:
    """What came of asking an agent.

    Attributes:
        said: The messages that joined its conversation.
        call: The row of the calls table.
    """

    answer: Answered
    said: tuple[Message, ...]
    call: Mapping[str, Any]


@dataclass
class Tally:
    """What the calls of one phase came to, under the names of the calls table.

    Attributes:
        cost: Dollars; None once a price was unknown.
        estimated: 1 when the provider sent no counts for a call.
        context: Tokens of the conversation at the last call; None before one.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = 0.0
    estimated: int = 0
    retries: int = 0
    context: int | None = None

    def add(self, usage: Usage) -> None:
        """Count a call."""
        self.input_tokens += usage.input_tokens
        self.output_tokens += usage.output_tokens
        self.cached_tokens += usage.cached_tokens
        self.cost = None if self.cost is None or usage.cost is None else self.cost + usage.cost
        self.estimated = max(self.estimated, int(usage.estimated))
        self.context = usage.input_tokens + usage.output_tokens


@dataclass
class Desk:
    """The three agents and the one way to have a phase done.

    Attributes:
        overrides: Models by role that last this run only.
        open: Opens a model by its settings.
        services: What the loop does for the agents' tools.
    """

    campaign: Campaign
    control: Control
    open: Callable[[ModelSettings], Model] = open_model
    agents: dict[Role, Agent] = field(default_factory=dict)
    overrides: dict[Role, str] = field(default_factory=dict)
    services: Services | None = None

    def spawn(self) -> None:
        """Bring every role up with its prompt, its model and its conversation so far."""
        for role in ROLES:
            generation = self._generation(role)
            rows = self.campaign.registry.rows(
                "SELECT message FROM conversations WHERE role = ? AND generation = ? ORDER BY id", [role, generation]
            )
            self.agents[role] = Agent(
                prompt=load_prompt(role, self.campaign.workspace.root),
                model=self.open(self.settings(role)),
                workspace=self.campaign.workspace.root,
                database=self.campaign.workspace.facts,
                messages=whole_turns([Message.from_json(row["message"]) for row in rows]),
                services=self.services,
                generation=generation,
            )

    def model_name(self, role: Role) -> str:
        """The model a role uses from its next phase on."""
        return self.settings(role).model

    def settings(self, role: Role) -> ModelSettings:
        """How that model is called."""
        configured = self.campaign.config.models.of(role)
        return configured.renamed(self.overrides.get(role, configured.model))

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
        model = self.model_name(task.role)
        registry.event("phase_started", round=round, phase=phase, role=task.role, model=model, attempt=attempt)
        again = f" · attempt {attempt}" if attempt > 1 else ""
        self.campaign.live.say(task.role, "phase", f"{round_name(round)} {phase}{again}", round=round)
        started = time.monotonic()
        asked = await self._ask(task)
        if not asked.answer.word:
            with registry.transaction():
                self._remember(task, asked)
                reason = f"{model} gave no answer that fits; the playbook does this phase"
                record_verdict(registry, round, phase, "engine", "fallback", reason)
            model = Playbook.name
            asked = await self._ask(task, Playbook())
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

    async def hand_over(self, round: int, view: CampaignView) -> None:
        """Spawn anew every role that has served ``respawn_after`` rounds, with a brief it leaves itself."""
        for role, agent in self.agents.items():
            first = self.campaign.registry.value(
                "SELECT min(round) FROM conversations WHERE role = ? AND generation = ?", [role, agent.generation]
            )
            if first is None or round - first < self.campaign.config.respawn_after:
                continue
            task = Task(
                "handover", role, round, (), (), ("DONE",), view, {"notes": "Leave a brief for your successor."}
            )
            asked = await self._ask(task)
            if not asked.answer.word:
                asked = await self._ask(task, Playbook())
            said = f"You take over. Your predecessor leaves this brief: {one_line(asked.answer.line, 4000)}"
            agent.messages = [Message("user", said), Message("assistant", "DONE")]
            agent.generation += 1
            with self.campaign.registry.transaction():
                self._remember(task, replace(asked, said=tuple(agent.messages)))
                self.campaign.registry.event("respawned", round=round, role=role, generation=agent.generation)

    def _task(self, round: int, phase: Phase, view: CampaignView, facts: Mapping[str, Any]) -> Task:
        spec = PHASES[phase]
        name = round_name(round)
        rounds = self.campaign.workspace.rounds
        near = [f"rounds/{name}_{suffix}" for suffix in spec.reads if (rounds / f"{name}_{suffix}").is_file()]
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
        for name, text in files.items() if write else ():
            write_atomic(self.campaign.workspace.rounds / name, text.encode())
        with registry.transaction():
            if asked is not None:
                self._remember(task, asked)
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
                detail={"line": answer.line},
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
        told = " · ".join([answer.word, *files, clock_text(seconds)])
        self.campaign.live.say(task.role, "answer", told, round=task.round)
        return PhaseResult(answer.word, answer.line, files, fresh=True)

    async def _ask(self, task: Task, model: Model | None = None) -> Asked:
        """Run the agent of the task's role, telling live.db what happens."""
        campaign = self.campaign
        agent = self.agents[task.role]
        agent.model = model or self.open(self.settings(task.role))
        answer = Answered("", "", {})
        tally = Tally()
        answering = agent.model.name
        started = time.monotonic()
        outcome = "ok"
        kept = len(agent.messages)
        said: list[Message] = []
        try:
            async with aclosing(agent.perform(task, problem)) as records:  # type: ignore[type-var]
                async for record in records:
                    if isinstance(record, Said):
                        said.append(record.message)
                    elif isinstance(record, Usage):
                        tally.add(record)
                    elif isinstance(record, Answered):
                        answer = record
                    elif isinstance(record, Unfit):
                        campaign.live.say(task.role, "unfit", record.reason, round=task.round)
                        campaign.registry.event(
                            "unfit", round=task.round, phase=task.phase, role=task.role, reason=record.reason
                        )
                    else:
                        if isinstance(record, Retrying):
                            tally.retries += 1
                        elif isinstance(record, FellBack):
                            answering = record.model
                        self._stream(task, record)
        except ModelError as error:
            outcome = one_line(str(error))
            campaign.registry.event("warning", round=task.round, text=f"{task.role}: {error}")
            del agent.messages[kept:]
            said = []
        campaign.live.flush()
        call = {
            "run": campaign.registry.run,
            "round": task.round,
            "phase": task.phase,
            "role": task.role,
            "model": answering,
            "asked": "" if answering == agent.model.name else agent.model.name,
            **asdict(tally),
            "window": agent.model.context,
            "seconds": time.monotonic() - started,
            "outcome": outcome,
            "at": campaign.registry.clock(),
        }
        return Asked(answer, tuple(said), call)

    def _stream(self, task: Task, record: TextDelta | Reasoning | ToolCall | ToolResult | Retrying | FellBack) -> None:
        live = self.campaign.live
        if isinstance(record, TextDelta):
            live.say(task.role, "text", record.text, round=task.round)
        elif isinstance(record, Reasoning):
            live.say(task.role, "reasoning", record.text, round=task.round)
        elif isinstance(record, ToolCall):
            live.say(task.role, "call", describe_call(record.name, record.arguments), round=task.round)
        elif isinstance(record, Retrying):
            live.say(task.role, "unfit", f"again in {record.wait:.0f} s: {one_line(record.reason)}", round=task.round)
        elif isinstance(record, FellBack):
            live.say(task.role, "unfit", f"{record.model} instead: {one_line(record.reason)}", round=task.round)
        else:
            live.say(task.role, "result", one_line(record.text), round=task.round)

    def _remember(self, task: Task, asked: Asked) -> None:
        """Keep a conversation and what it cost; part of the transaction that its outcome is in."""
        registry = self.campaign.registry
        for message in asked.said:
            registry.insert(
                "conversations",
                role=task.role,
                generation=self.agents[task.role].generation,
                round=task.round,
                message=message.to_json(),
                at=registry.clock(),
            )
        registry.insert("calls", **asked.call)
        told = {key: value for key, value in asked.call.items() if key not in ("run", "round", "at")}
        registry.event("call", round=task.round, **told)

    def _generation(self, role: Role) -> int:
        return int(
            self.campaign.registry.value("SELECT max(generation) FROM conversations WHERE role = ?", [role]) or 1
        )


def whole_turns(messages: list[Message]) -> list[Message]:
    """A conversation without a last turn that a crash cut off: it must end with an answer."""
    end = len(messages)
    while end and not (messages[end - 1].role == "assistant" and not messages[end - 1].tool_calls):
        end -= 1
    return messages[:end]
