"""A conversation as LiteLLM takes it: messages, tools, marks for the provider's cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.models.base import Message, Request, ToolSpec

Wire = dict[str, Any]
_SILENT = "(no answer)"
_EMPTY = "(nothing)"
_QUOTED = 2_000


@dataclass(frozen=True)
class Question:
    """What a model is asked, whatever for.

    Attributes:
        answers: Words that the answer may begin with.
        outputs: Paths that are to be written before it.
        defaults: Settings of the role, which those of the model override.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    answers: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Request) -> Question:
        """The question in a role's request."""
        outputs = tuple(f"rounds/{name}" for name in request.task.outputs)
        return cls(request.messages, request.tools, request.task.answers, request.settings, outputs)


@dataclass(frozen=True)
class Thought:
    """What a model thought before its tool calls: some want it back with the results.

    Attributes:
        blocks: Signed thinking of an Anthropic model.
        text: Thinking as plain text.
    """

    blocks: tuple[Wire, ...] = ()
    text: str = ""


def native(messages: Iterable[Message], thoughts: Mapping[str, Thought]) -> list[Wire]:
    """Messages with tool calls as such.

    Args:
        thoughts: By the id of the first tool call that followed them.
    """
    return [_native(message, thoughts) for message in messages]


def _native(message: Message, thoughts: Mapping[str, Thought]) -> Wire:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content or _EMPTY}
    if not message.tool_calls:
        return {"role": message.role, "content": message.content or _SILENT}
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _sound(call.arguments)}}
        for call in message.tool_calls
    ]
    wire: Wire = {"role": "assistant", "content": message.content or None, "tool_calls": calls}
    thought = thoughts.get(message.tool_calls[0].id)
    if thought and thought.blocks:
        wire["thinking_blocks"] = list(thought.blocks)
    elif thought and thought.text:
        wire["reasoning_content"] = thought.text
    return wire


def numbered(messages: Iterable[Wire]) -> list[Wire]:
    """Messages whose tool calls are numbered through, in nine letters and digits.

    What another model called them may be no name here (Mistral), or one name for several (Anthropic).
    """
    told: list[Wire] = []
    count = 0
    waiting: list[tuple[str, str]] = []
    for message in messages:
        if message.get("tool_calls"):
            names = [f"call{count + at:05d}" for at in range(len(message["tool_calls"]))]
            count += len(names)
            waiting = [(call["id"], name) for call, name in zip(message["tool_calls"], names, strict=True)]
            calls = [{**call, "id": name} for call, name in zip(message["tool_calls"], names, strict=True)]
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            found = next((pair for pair in waiting if pair[0] == message["tool_call_id"]), None)
            if found is not None:
                waiting.remove(found)
                message = {**message, "tool_call_id": found[1]}
        told.append(message)
    return told


def _sound(arguments: str) -> str:
    """Arguments that every server can parse: many fail on a history that holds malformed ones."""
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        parsed = None
    return arguments or "{}" if isinstance(parsed, dict) else json.dumps({"malformed": arguments[:_QUOTED]})


def tool_list(tools: Sequence[ToolSpec]) -> list[Wire]:
    """Tools as OpenAI describes them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def open_turn_without_thought(messages: Sequence[Wire]) -> bool:
    """Whether the last tool calls came without signed thinking: then Anthropic takes no thinking with the results."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    return (
        last is not None
        and messages[-1]["role"] == "tool"
        and bool(last.get("tool_calls"))
        and not last.get("thinking_blocks")
    )


def marked(messages: Sequence[Wire]) -> list[Wire]:
    """Messages with marks up to which Anthropic keeps them: the system prompt, and the last word of the user's side."""
    first = next((at for at, message in enumerate(messages) if message["role"] == "system"), None)
    last = next((at for at in reversed(range(len(messages))) if messages[at]["role"] in ("user", "tool")), None)
    return [_mark(message) if at in (first, last) else message for at, message in enumerate(messages)]


def _mark(message: Wire) -> Wire:
    mark = {"type": "ephemeral"}
    if message["role"] == "tool":
        return {**message, "cache_control": mark}
    return {**message, "content": [{"type": "text", "text": message["content"], "cache_control": mark}]}
