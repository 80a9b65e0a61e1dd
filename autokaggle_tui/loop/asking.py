"""Asking an agent: its stream goes to the screen, every call is counted and kept, the budget is asked before each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from agents.agent import Agent, Answered, Record, Said, ToolResult, Unfit
from agents.tools import describe_call
from autokaggle_tui.campaign import Campaign
from autokaggle_tui.control import Control, Hold, RunClock
from autokaggle_tui.loop.phasebook import problem
from autokaggle_tui.loop.purse import Purse
from backends.models.base import (
    Chunk,
    FellBack,
    Message,
    Model,
    Reasoning,
    Request,
    Retrying,
    TextDelta,
    ToolCall,
    Usage,
)
from backends.models.names import PLAYBOOK, REPLAY
from backends.models.tasks import Task
from experiments.errors import ModelError
from experiments.text import one_line

BUDGET = "budget"
"""Holds the loop in this name."""
LOOK_SECONDS = 1.0


class SpentError(ModelError):
    """No further call is allowed."""


@dataclass
class Tally:
    """What calls came to, under the names of the calls table.

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


@dataclass(frozen=True)
class Asked:
    """What came of asking an agent.

    Attributes:
        said: The messages that joined its conversation.
        call: A row for the calls table that is not in it yet; None when each call has its own.
        failure: Why the model could not answer.
        context: Tokens of the conversation at the last call.
    """

    answer: Answered
    said: tuple[Message, ...]
    call: Mapping[str, Any] | None
    failure: ModelError | None = None
    context: int | None = None


class Metered:
    """A model that asks before every call whether it may.

    Attributes:
        began: When the last call began, by the monotonic clock.
    """

    def __init__(self, model: Model, may: Callable[[], Awaitable[None]]) -> None:
        self.name = model.name
        self.context = model.context
        self.began = time.monotonic()
        self._model = model
        self._may = may

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """The model's answer.

        Raises:
            SpentError: It may not.
        """
        await self._may()
        self.began = time.monotonic()
        async with aclosing(self._model.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk


@dataclass
class Asker:
    """Runs agents for the desk.

    Attributes:
        clock: The time of the run, which is a cap too.
    """

    campaign: Campaign
    control: Control
    clock: RunClock
    purse: Purse
    _unpriced: set[str] = field(default_factory=set, repr=False)

    async def ask(self, agent: Agent, task: Task, model: Model, wanted: Callable[[], bool]) -> Asked:
        """Have an agent do a task with a model, telling live.db what happens.

        Args:
            wanted: Whether this model is still the one to ask, while it waits for money.

        Raises:
            StopRun: The person asked for a stop; what the model was about to say is lost.
        """
        metered = Metered(model, lambda: self._may_call(model, wanted))
        agent.model = metered
        answer, failure = Answered("", "", {}), None
        tally, answering, context = Tally(), model.name, None
        began = time.monotonic()
        counted = 0
        kept = len(agent.messages)
        said: list[Message] = []

        def row(outcome: str, since: float) -> dict[str, Any]:
            asked = "" if answering == model.name else model.name
            return self._row(task, answering, asked, tally, model.context, time.monotonic() - since, outcome)

        try:
            async with self._leash(model), aclosing(agent.perform(task, problem)) as records:  # type: ignore[type-var]
                async for record in records:
                    if isinstance(record, Said):
                        said.append(record.message)
                    elif isinstance(record, Answered):
                        answer = record
                    elif isinstance(record, Usage):
                        tally.add(record)
                        self.purse.add(record)
                        if record.cost is None and not answering.startswith(REPLAY):
                            self._unpriced.add(answering)
                        context = tally.context
                        if record.input_tokens or record.output_tokens:
                            # At once: what a crash loses was paid for all the same.
                            self._keep(row("ok", metered.began))
                            tally, counted = Tally(), counted + 1
                    else:
                        if isinstance(record, Retrying):
                            tally.retries += 1
                        elif isinstance(record, FellBack):
                            answering = record.model
                        self._tell(task, record)
        except ModelError as error:
            failure = error
            self.campaign.registry.event("warning", round=task.round, text=f"{task.role}: {error}")
            del agent.messages[kept:]
            said = []
        self.campaign.live.flush()
        since = metered.began if counted else began
        call = row(one_line(str(failure)) if failure else "ok", since) if failure or not counted else None
        return Asked(answer, tuple(said), call, failure, context)

    @asynccontextmanager
    async def _leash(self, model: Model) -> AsyncIterator[None]:
        """What a model does may be given up: a provider may be silent for minutes; the playbook never is.

        Raises:
            StopRun: The person asked for a stop.
            SpentError: The time of the run is over.
        """
        if model.name == PLAYBOOK:
            yield
            return
        left = self.clock.left()
        try:
            async with (
                self.control.unless_stopped(),
                asyncio.timeout(None if left is None else max(left, 0.0)) as limit,
            ):
                yield
        except TimeoutError:
            if limit.expired():
                raise SpentError("the time limit is reached: the call is given up") from None
            raise

    def remember(self, task: Task, generation: int, asked: Asked) -> None:
        """Keep a conversation and what it cost; part of the transaction that its outcome is in."""
        registry = self.campaign.registry
        for message in asked.said:
            registry.insert(
                "conversations",
                role=task.role,
                generation=generation,
                round=task.round,
                message=message.to_json(),
                at=registry.clock(),
            )
        if asked.call is not None:
            self._keep(asked.call)

    def _keep(self, call: Mapping[str, Any]) -> None:
        registry = self.campaign.registry
        with registry.transaction():
            registry.insert("calls", **call)
            told = {key: value for key, value in call.items() if key not in ("run", "round", "at")}
            registry.event("call", round=call["round"], **told)

    def _row(
        self, task: Task, model: str, asked: str, tally: Tally, window: int | None, seconds: float, outcome: str
    ) -> dict[str, Any]:
        registry = self.campaign.registry
        return {
            "run": registry.run,
            "round": task.round,
            "phase": task.phase,
            "role": task.role,
            "model": model,
            "asked": asked,
            **asdict(tally),
            "window": window,
            "seconds": seconds,
            "outcome": outcome,
            "at": registry.clock(),
        }

    async def _may_call(self, model: Model, wanted: Callable[[], bool]) -> None:
        """Return when a call is within the caps.

        Raises:
            SpentError: It never will be.
        """
        if model.name == PLAYBOOK:
            return
        left = self.clock.left()
        if left is not None and left <= 0:
            raise SpentError("the time limit is reached: no further call")
        reason = self.purse.empty()
        if reason:
            self.purse.read_again()
            reason = self.purse.empty()
        if not reason:
            if self.purse.budget.usd is not None and model.name in self._unpriced:
                raise SpentError(f"{model.name} has no known price, so budget.usd cannot be kept: no further call")
            return
        if self.purse.budget.at_cap == "pause":
            await self._wait(reason, wanted)
        if self.purse.empty() or not wanted():
            raise SpentError(f"{reason}: no further call")

    async def _wait(self, reason: str, wanted: Callable[[], bool]) -> None:
        """Hold the loop until config.json allows more, or another model is wanted.

        Raises:
            StopRun: The person asked for a stop.
        """
        registry = self.campaign.registry
        hold = Hold(reason, "config.json allows more, or the role has another model")
        self.control.hold(BUDGET, hold)
        registry.event("held", text=hold.text, until=hold.until)
        try:
            while self.purse.empty() and self.purse.budget.at_cap == "pause" and wanted() and not self.control.stopping:
                await asyncio.sleep(LOOK_SECONDS)
                self.purse.read_again()
        finally:
            self.control.release(BUDGET)
        if self.control.held is None and not self.control.stopping:
            registry.event("released", text="the budget no longer holds it")
        await self.control.checkpoint()

    def _tell(self, task: Task, record: Record) -> None:
        live = self.campaign.live
        if isinstance(record, TextDelta):
            live.say(task.role, "text", record.text, round=task.round)
        elif isinstance(record, Reasoning):
            live.say(task.role, "reasoning", record.text, round=task.round)
        elif isinstance(record, ToolCall):
            live.say(task.role, "call", describe_call(record.name, record.arguments), round=task.round)
        elif isinstance(record, ToolResult):
            live.say(task.role, "result", one_line(record.text), round=task.round)
        elif isinstance(record, Retrying):
            self._again(task, f"again in {record.wait:.0f} s: {record.reason}")
        elif isinstance(record, FellBack):
            self._again(task, f"{record.model} instead: {record.reason}")
        elif isinstance(record, Unfit):
            self._again(task, record.reason)

    def _again(self, task: Task, reason: str) -> None:
        self.campaign.live.say(task.role, "unfit", one_line(reason), round=task.round)
        self.campaign.registry.event(
            "unfit", round=task.round, phase=task.phase, role=task.role, reason=one_line(reason)
        )
