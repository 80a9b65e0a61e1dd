"""The staff: three agents with their models; who is asked, who is left alone, who hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agents.agent import Agent
from agents.prompts import load_prompt
from agents.services import Services
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.knowledge import read_knowledge
from autokaggle_tui.loop.asking import Asked, Asker
from autokaggle_tui.loop.outages import Outages
from autokaggle_tui.loop.succession import FULL, handover_task, opening, recent, strategic_memory
from autokaggle_tui.preflighting import require_models
from backends.models.base import Message, Model
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.playbook.model import Playbook
from backends.models.registry import open_model
from backends.models.settings import ModelSettings
from backends.models.tasks import CampaignView, Role, Task
from experiments.errors import ModelError
from experiments.files import write_atomic
from experiments.text import one_line

ROLES: tuple[Role, ...] = ("researcher", "builder", "reviewer")


@dataclass
class Staff:
    """The three agents.

    Attributes:
        open: Opens a model by its settings.
        overrides: Models by role that last this run only.
        services: What the loop does for the agents' tools.
    """

    campaign: Campaign
    asker: Asker
    services: Services
    open: Callable[[ModelSettings], Model] = open_model
    agents: dict[Role, Agent] = field(default_factory=dict)
    overrides: dict[Role, str] = field(default_factory=dict)
    outages: Outages = field(default_factory=Outages)
    _full: set[Role] = field(default_factory=set, repr=False)

    def spawn(self) -> None:
        """Bring every role up with its prompt, what it shall know, and its conversation so far.

        Raises:
            ConfigError: A prompt or a text that config.json names cannot be read.
        """
        registry, workspace = self.campaign.registry, self.campaign.workspace
        knowledge = read_knowledge(workspace.root, self.campaign.config)
        for role in ROLES:
            generation = registry.value("SELECT max(generation) FROM conversations WHERE role = ?", [role]) or 1
            rows = registry.rows(
                "SELECT message FROM conversations WHERE role = ? AND generation = ? ORDER BY id", [role, generation]
            )
            self.agents[role] = Agent(
                prompt=load_prompt(role, workspace.root),
                model=Playbook(),
                workspace=workspace.root,
                database=workspace.facts,
                services=self.services,
                knowledge=knowledge,
                messages=whole_turns([Message.from_json(row["message"]) for row in rows]),
                generation=int(generation),
            )

    async def prepare(self) -> None:
        """See before the first round that every role's model can play; one that is out of reach is only told.

        Raises:
            ModelError: A person has to do something about one: its name, its key, its price.
        """
        models: dict[str, ModelSettings] = {role: self.settings(role) for role in ROLES}
        for settings in dict.fromkeys(models.values()):
            self.open(settings)
        warnings, away = await require_models(models, budget=self.campaign.config.budget.usd)
        for text in warnings:
            self.campaign.registry.event("warning", text=text)
        for settings, problem in away.items():
            if not settings.fallbacks:
                self.outages.failed(settings, UnavailableError(problem))

    def model_name(self, role: Role) -> str:
        """The model a role uses from its next phase on."""
        return self.settings(role).model

    def settings(self, role: Role) -> ModelSettings:
        """How that model is called."""
        configured = self.campaign.config.models.of(role)
        return configured.renamed(self.overrides.get(role, configured.model))

    async def attempt(self, task: Task) -> tuple[Asked | None, str]:
        """Have the role's own model do a task.

        Returns:
            (what came of it, why somebody else has to do it): None for a model that is not asked at present; the
            reason is empty when the answer fits.

        Raises:
            StopRun: The person asked for a stop.
        """
        role = task.role
        settings = self.settings(role)
        outage = self.outages.now(settings)
        if outage is not None:
            return None, f"{settings.model} is left alone for now: {outage.reason}"
        try:
            # Anew for each phase: a model that was replaced by a fallback is asked first again.
            model = self.open(settings)
        except ModelError as error:
            self.campaign.registry.event("warning", round=task.round, text=f"{role}: {error}")
            return None, self.outages.failed(settings, error).reason
        asked = await self._with_room(task, model)
        if isinstance(asked.failure, UnavailableError | RefusedError):
            outage = self.outages.failed(settings, asked.failure)
            return asked, f"{outage.reason} (asked again in {outage.pause:.0f} s at the earliest)"
        if asked.failure is not None:
            return asked, one_line(asked.failure.message)
        self.outages.answered(settings)
        return asked, "" if asked.answer.word else f"{settings.model} gave no answer that fits"

    async def stand_in(self, task: Task) -> Asked:
        """Have the playbook do a task in the role's place."""
        return await self._ask(task, Playbook())

    def keep(self, task: Task, asked: Asked | None) -> None:
        """Keep what was said and what it cost; part of the transaction that its outcome is in."""
        if asked is not None:
            self.asker.remember(task, self.agents[task.role].generation, asked)

    async def hand_over(self, round: int, view: CampaignView) -> None:
        """Spawn anew every role that has served ``respawn_after`` rounds.

        One whose model is out of reach has as long again: what it knows is lost when the playbook writes its brief.
        """
        most = self.campaign.config.respawn_after
        for role, agent in self.agents.items():
            first = self.campaign.registry.value(
                "SELECT min(round) FROM conversations WHERE role = ? AND generation = ?", [role, agent.generation]
            )
            served = 0 if first is None else round - first
            out = self.outages.now(self.settings(role)) is not None
            if first is not None and served >= (2 * most if out else most):
                await self._succeed(role, round, view)

    async def _with_room(self, task: Task, model: Model) -> Asked:
        """Ask; a conversation that fills its context hands over before, or when the model says that it is too long."""
        leaving = task.phase == "handover"
        if task.role in self._full and not leaving:
            await self._succeed(task.role, task.round, task.view)
        asked = await self._ask(task, model)
        if not isinstance(asked.failure, ContextOverflowError):
            return asked
        with self.campaign.registry.transaction():
            self.keep(task, asked)
        if leaving:
            agent = self.agents[task.role]
            agent.messages = recent(agent.messages, model.context)
        else:
            await self._succeed(task.role, task.round, task.view)
        return await self._ask(task, model)

    async def _succeed(self, role: Role, round: int, view: CampaignView) -> None:
        """Begin a fresh conversation of a role with the brief that the old one leaves."""
        registry, agent = self.campaign.registry, self.agents[role]
        self._full.discard(role)
        task = handover_task(role, round, view)
        asked, _ = await self.attempt(task)
        context = agent.model.context
        if asked is None or not asked.answer.word:
            with registry.transaction():
                self.keep(task, asked)
            asked = await self.stand_in(task)
        name = task.outputs[0]
        memory = strategic_memory(self.campaign, view) if role == "reviewer" else ""
        text = "\n\n".join(part for part in (asked.answer.files[name].strip(), memory) if part)
        write_atomic(self.campaign.workspace.rounds / name, f"{text}\n".encode())
        agent.messages = opening(role, name, text, context)
        agent.generation += 1
        self._full.discard(role)
        with registry.transaction():
            self.keep(task, replace(asked, said=tuple(agent.messages)))
            registry.event("respawned", round=round, role=role, generation=agent.generation, file=name)

    async def _ask(self, task: Task, model: Model) -> Asked:
        role = task.role
        settings = self.settings(role)
        asked = await self.asker.ask(self.agents[role], task, model, lambda: self.settings(role) == settings)
        if model.context is not None and (asked.context or 0) > FULL * model.context:
            self._full.add(role)
        return asked


def whole_turns(messages: list[Message]) -> list[Message]:
    """A conversation without a last turn that a crash cut off: it must end with an answer."""
    end = len(messages)
    while end and not (messages[end - 1].role == "assistant" and not messages[end - 1].tool_calls):
        end -= 1
    return messages[:end]
