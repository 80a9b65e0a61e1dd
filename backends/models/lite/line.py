"""A line to one model: how it is called, how it calls tools, and one attempt at an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from backends.models.base import Chunk, Done, TextDelta, ToolCall, Usage
from backends.models.lite import actions
from backends.models.lite.counting import counted, estimated, sent_counts
from backends.models.lite.facts import Facts, facts_of
from backends.models.lite.faults import Cure, Fault, FaultError, fault_of
from backends.models.lite.keys import Key, key_of
from backends.models.lite.reply import Reply, opened
from backends.models.lite.wire import (
    Question,
    Thought,
    Wire,
    marked,
    native,
    numbered,
    open_turn_without_thought,
    tool_list,
)
from backends.models.names import provider_of
from backends.models.settings import ModelSettings

Mode = Literal["native", "json"]
_WANT_THOUGHT_BACK = ("deepseek", "moonshot")
_PARTICULAR = ("mistral",)
"""About how a tool call may be called."""
_LONG_ANSWER = 8192
_FREE = 0.3
"""Share of the context that is left for an answer when an agent hands over."""


@dataclass
class Manners:
    """What calls have shown of a model at an address.

    Attributes:
        native: It calls tools by the provider's own means.
        schema: The server holds answers to a schema.
    """

    native: bool | None = None
    schema: bool | None = None


_MANNERS: dict[tuple[str, str | None], Manners] = {}


def forget_manners() -> None:
    """Unlearn what calls have shown."""
    _MANNERS.clear()


@dataclass
class Line:
    """A model, ready to be asked.

    Attributes:
        manners: Shared by all lines to the same model at the same address.
        thoughts: What was thought before the calls of this phase, by the id of the first.
    """

    settings: ModelSettings
    facts: Facts
    key: Key
    litellm: Any
    manners: Manners
    thoughts: dict[str, Thought] = field(default_factory=dict)

    @classmethod
    def to(cls, settings: ModelSettings, litellm: Any) -> Line:
        """A line to the model of these settings."""
        manners = _MANNERS.setdefault((settings.model, settings.api_base), Manners())
        return cls(settings, facts_of(settings, litellm), key_of(settings), litellm, manners)

    @property
    def mode(self) -> Mode:
        """How the model is told of tools."""
        if self.settings.tools != "auto":
            return self.settings.tools
        known = self.manners.native if self.manners.native is not None else self.facts.native_tools
        return "json" if known is False else "native"

    def adapt(self, fault: Fault) -> bool:
        """Whether the model may be asked in another manner now, after it refused this one."""
        if fault.cure is Cure.WITHOUT_TOOLS and self.settings.tools == "auto" and self.mode == "native":
            if self.manners.native:
                return False
            self.manners.native = False
            return True
        if fault.cure is Cure.WITHOUT_SCHEMA and self.mode == "json" and self.manners.schema is None:
            self.manners.schema = False
            return True
        return False

    async def attempt(self, question: Question) -> AsyncIterator[Chunk]:
        """Ask once; the last chunk is ``Done``.

        Raises:
            RefusedError: The key is missing.
            FaultError: It failed.
        """
        self.key.demand(self.settings)
        arguments = self._arguments(question)
        reply: Reply | None = None
        fault: Fault | None = None
        try:
            async with opened(self.litellm, arguments, self.settings.timeout) as reply:
                async with aclosing(reply.pieces()) as pieces:  # type: ignore[type-var]
                    async for piece in pieces:
                        if self.mode == "native" or not isinstance(piece, TextDelta):
                            yield replace(piece, text=self.key.shield.hide(piece.text))
                fault = self._flaw(reply)
        except Exception as error:  # noqa: BLE001 - LiteLLM passes on what any of a hundred providers' code raises
            fault = fault_of(error, self.settings, self.key)
        if fault is not None:
            if reply is not None and reply.said:
                yield await self._estimate(arguments, reply)
            # Outside of the handler: the exception it handles may quote a key, and would be this one's context.
            raise FaultError(fault)
        assert reply is not None
        conclusion = self._conclusion(question, reply)
        for chunk in conclusion:
            yield chunk
        yield await self._usage(arguments, reply)
        called = any(isinstance(chunk, ToolCall) for chunk in conclusion)
        yield Done("length" if reply.finish == "length" else "tool_calls" if called else "stop")

    def _conclusion(self, question: Question, reply: Reply) -> list[Chunk]:
        """What an answer amounts to once it is complete."""
        if self.mode == "json":
            self.manners.schema = self.manners.schema is None or self.manners.schema
            action = actions.read(reply.text, len(question.messages))
            return [action.call or TextDelta(action.line)]
        calls = reply.calls
        if calls:
            self.manners.native = True
            if self.facts.claude or provider_of(self.settings.model) in _WANT_THOUGHT_BACK:
                self.thoughts[calls[0].id] = reply.thought(self.litellm)
        return list(calls)

    def _flaw(self, reply: Reply) -> Fault | None:
        """What is wrong with a reply that came without an error."""
        name = self.settings.model
        if reply.finish is None and not reply.said:
            where = f" at {self.settings.api_base}" if self.settings.api_base else ""
            return Fault(Cure.AGAIN, f"{name}: what came{where} is no answer of a model")
        if reply.finish is None:
            return Fault(Cure.AGAIN, f"{name}: the answer was cut off")
        if reply.finish == "content_filter" and not reply.text and not reply.calls:
            return Fault(Cure.PERSON, f"{name}: the provider's filter held the answer back")
        if reply.finish != "length" and not reply.text.strip() and not reply.calls:
            return Fault(Cure.AGAIN, f"{name}: the answer was empty")
        return None

    async def _usage(self, arguments: Mapping[str, Any], reply: Reply) -> Usage:
        if reply.counts is not None and sent_counts(reply.stream.chunks):
            return counted(reply.counts, self.facts, self.litellm)
        return await self._estimate(arguments, reply)

    async def _estimate(self, arguments: Mapping[str, Any], reply: Reply) -> Usage:
        tools = arguments.get("tools") or ()
        return await estimated(arguments["messages"], tools, reply.said, self.facts, self.litellm)

    def _arguments(self, question: Question) -> dict[str, Any]:
        settings = self.settings
        chosen = {
            name: value
            for name in ("temperature", "max_tokens", "reasoning_effort")
            if (value := getattr(settings, name)) is not None or (value := question.defaults.get(name)) is not None
        }
        messages = self._messages(question)
        if self.facts.claude:
            self._for_claude(chosen, messages)
            messages = marked(messages)
        arguments: dict[str, Any] = {"model": settings.model, "messages": messages, **chosen}
        if settings.api_base:
            arguments["api_base"] = settings.api_base
        if self.key.argument is not None:
            arguments["api_key"] = self.key.argument
        if settings.context and provider_of(settings.model) in ("ollama", "ollama_chat"):
            # Else Ollama cuts the conversation at a few thousand tokens and says nothing.
            arguments["num_ctx"] = settings.context
        if self.mode == "native" and question.tools:
            arguments["tools"] = tool_list(question.tools)
        elif self.mode == "json" and self.manners.schema is not False:
            arguments["response_format"] = actions.schema(question)
        return arguments

    def _messages(self, question: Question) -> list[Wire]:
        if self.mode == "json":
            return actions.instruct(question)
        messages = native(question.messages, self.thoughts)
        return numbered(messages) if self.facts.claude or provider_of(self.settings.model) in _PARTICULAR else messages

    def _for_claude(self, chosen: dict[str, Any], messages: list[Wire]) -> None:
        """Anthropic takes no temperature beside thinking, and no thinking after calls that came without."""
        if open_turn_without_thought(messages):
            chosen.pop("reasoning_effort", None)
        if chosen.get("reasoning_effort", "none") != "none":
            chosen.pop("temperature", None)
        # LiteLLM's own default beside thinking is too short for a file; what does not fit beside the conversation is
        # refused.
        longest = self.facts.longest_answer or _LONG_ANSWER
        chosen.setdefault("max_tokens", min(longest, int(_FREE * (self.facts.context or longest / _FREE))))
