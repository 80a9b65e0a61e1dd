"""A persistent agent: one conversation per role, one line per answer, tools in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from agents.knowledge import Source, quoted
from agents.prompts import RolePrompt
from agents.services import Services
from agents.tool import ToolError
from agents.tools import READ_CAP, Toolbox
from agents.trigger import trigger
from backends.models.base import (
    Chunk,
    Done,
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
from backends.models.tasks import Task
from experiments.errors import ModelError
from experiments.text import clean, one_line

TURNS = 40
CALLS = 16
"""Of one turn; each gets an answer, those beyond a refusal."""
ATTEMPTS = 3


@dataclass(frozen=True)
class Said:
    """A message that joined the conversation; the engine keeps it in the registry."""

    message: Message


@dataclass(frozen=True)
class ToolResult:
    """What a tool answered."""

    name: str
    text: str
    failed: bool


@dataclass(frozen=True)
class Unfit:
    """An answer that did not fit, and why; the agent is asked again."""

    attempt: int
    reason: str


@dataclass(frozen=True)
class Answered:
    """The end of a phase for the agent.

    Attributes:
        word: The word the line starts with, one of the task's ``answers``; empty when the agent gave
            up after three answers that did not fit.
        line: The whole line.
        files: What it wrote, by file name in rounds/.
    """

    word: str
    line: str
    files: dict[str, str]


Record = TextDelta | Reasoning | ToolCall | ToolResult | Usage | Retrying | FellBack | Said | Unfit | Answered
Check = Callable[[Task, str, dict[str, str]], str]


@dataclass
class Agent:
    """One role: prompt, model and the conversation so far.

    Attributes:
        services: What the loop does for tools.
        knowledge: Texts that belong to its prompt.
        messages: The conversation of this generation, system prompt left out.
        generation: How often the role was spawned anew.
    """

    prompt: RolePrompt
    model: Model
    workspace: Path
    database: Path
    services: Services | None = None
    knowledge: tuple[Source, ...] = ()
    messages: list[Message] = field(default_factory=list)
    generation: int = 1

    async def perform(self, task: Task, check: Check) -> AsyncIterator[Record]:
        """Do a phase, yielding what happens and an ``Answered`` last.

        Args:
            task: What to do; its ``outputs`` are the only files the agent may write.
            check: Given the task, the answer's word and the files, says in one line what is wrong with
                them; empty when all is well.

        Raises:
            ModelError: The backend cannot answer at all.
        """
        box = Toolbox(
            self.workspace,
            self.database,
            self.prompt.tools,
            tuple(f"rounds/{name}" for name in task.outputs),
            services=self.services,
            round=task.round,
            most=result_chars(self.model.context),
        )
        yield self._say(Message("user", trigger(task)))
        for attempt in range(1, ATTEMPTS + 1):
            line = ""
            async for record in self._turns(task, box):
                yield record
                if isinstance(record, Said) and record.message.role == "assistant":
                    line = one_line(record.message.content, 2000)
            word, problem = fits(task, line)
            problem = problem or check(task, word, box.staged)
            if not problem:
                yield Answered(word, line, dict(box.staged))
                return
            yield Unfit(attempt, problem)
            if attempt < ATTEMPTS:
                yield self._say(Message("user", f"That does not fit: {problem} Please mend it and answer again."))
        yield Answered("", "", {})

    async def _turns(self, task: Task, box: Toolbox) -> AsyncIterator[Record]:
        """Call the model and its tools until it answers without a call."""
        known = quoted(self.knowledge, self.model.context)
        system = Message("system", f"{self.prompt.text.rstrip()}\n\n{known}".rstrip())
        for _ in range(TURNS):
            request = Request(
                self.prompt.role,
                (system, *self.messages),
                box.specs(),
                task,
                self.prompt.settings,
            )
            text: list[str] = []
            calls: list[ToolCall] = []
            async for chunk in self.model.stream(request):
                chunk = _clean(chunk)
                if isinstance(chunk, TextDelta):
                    text.append(chunk.text)
                elif isinstance(chunk, ToolCall):
                    calls.append(chunk)
                elif isinstance(chunk, Retrying | FellBack):
                    text, calls = [], []
                if not isinstance(chunk, Done):
                    yield chunk
            # Once more as a whole: a key may have come in two pieces.
            yield self._say(Message("assistant", clean("".join(text)), tuple(calls)))
            if not calls:
                return
            for number, call in enumerate(calls, start=1):
                try:
                    if number > CALLS:
                        raise ToolError(f"at most {CALLS} calls in one turn; ask again for what you still need")
                    result, failed = await box.call(call.name, call.arguments), False
                except ToolError as error:
                    result, failed = f"error: {error}", True
                yield ToolResult(call.name, result, failed)
                yield self._say(Message("tool", result, (), call.id))
        raise ModelError(
            f"{self.model.name} called tools {TURNS} times without an answer.",
            hint="Another model for this role may do better: `autokaggle-tui model ROLE MODEL`.",
        )

    def _say(self, message: Message) -> Said:
        self.messages.append(message)
        return Said(message)


def result_chars(context: int | None) -> int:
    """Characters that a tool's result may take in the context of a model: about a sixth of it.

    Args:
        context: Tokens; None when unknown.
    """
    return READ_CAP if context is None else max(1_000, min(READ_CAP, context // 2))


def fits(task: Task, line: str) -> tuple[str, str]:
    """The word an answer begins with, or what is wrong with it.

    Returns:
        (word, problem): one of them is empty.
    """
    plain = line.strip().lstrip("*_`# ")
    for word in task.answers:
        if plain.upper().startswith(word):
            if word in ("REVISE", "REJECT") and not plain[len(word) :].strip("*_` :"):
                return "", f"{word} needs a reason: `{word}: reason`."
            return word, ""
    return "", f"the answer must begin with {' or '.join(task.answers)}; it was {one_line(line, 80)!r}."


def _clean(chunk: Chunk) -> Chunk:
    if isinstance(chunk, TextDelta):
        return TextDelta(clean(chunk.text))
    if isinstance(chunk, Reasoning):
        return Reasoning(clean(chunk.text))
    if isinstance(chunk, ToolCall):
        return replace(chunk, name=clean(chunk.name), arguments=clean(chunk.arguments))
    return chunk
