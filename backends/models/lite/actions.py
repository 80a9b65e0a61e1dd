"""Tools for models that cannot call them: one JSON object per answer, held to a schema where the server can."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from backends.models.base import Message, ToolCall, ToolSpec
from backends.models.lite.wire import Question, Wire
from experiments.text import one_line

_DECODER = json.JSONDecoder()
_STARTS = 50
"""Braces at which an object is looked for; every look may read the whole text."""

_CUT = re.compile(r'\{\s*"action"\s*:\s*\{\s*"answer"\s*:\s*"([^"\\]{1,40})"\s*,\s*"reason"\s*:\s*"([^"\\]+)')
"""An answer whose reason went on until it was cut: its word is whole."""
_WRITE = "write_file"
_REASON = {"type": "string", "minLength": 1, "maxLength": 1000}
"""Bounded: a weak model goes on until it is cut, and half an object is none."""


@dataclass(frozen=True)
class Action:
    """What an answer came to: a tool call, or a line.

    Attributes:
        line: The one-line answer, or the raw text where no action was found in it.
    """

    call: ToolCall | None
    line: str


def instruct(question: Question) -> list[Wire]:
    """The conversation in plain user and assistant turns, with the rules of the JSON at its head."""
    system = [message.content for message in question.messages if message.role == "system"]
    turns: list[Wire] = []
    names: dict[str, str] = {}
    for message in question.messages:
        if message.role == "system":
            continue
        names.update({call.id: call.name for call in message.tool_calls})
        turn = _turn(message, names)
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1] = {**turn, "content": f"{turns[-1]['content']}\n\n{turn['content']}"}
        else:
            turns.append(turn)
    return [{"role": "system", "content": "\n\n".join([*system, _rules(question)])}, *turns]


def schema(question: Question) -> Wire:
    """``response_format`` for the action: the answer is open once all files are written, or no tool writes them."""
    missing = owed(question)
    stuck = repeats(question.messages)
    tools = [tool for tool in question.tools if not stuck or (missing and tool.name == _WRITE)]
    choices = [_object({"tool": {"const": tool.name}, "arguments": _closed(tool, missing)}) for tool in tools]
    if not missing:
        word: Wire = {"type": "string", "enum": list(question.answers)} if question.answers else {"type": "string"}
        choices.append(_object({"answer": word, "reason": _REASON}))
    # Not at the root: several servers take only an object there.
    action = choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {"type": "json_schema", "json_schema": {"name": "action", "schema": _object({"action": action})}}


def owed(question: Question) -> tuple[str, ...]:
    """The files that a model still has to write since it was last spoken to; none where it has no tool for it."""
    if not any(tool.name == _WRITE for tool in question.tools):
        return ()
    messages = question.messages
    since = max((place for place, message in enumerate(messages) if message.role == "user"), default=0)
    written = {
        path
        for before, message in pairwise(messages[since:])
        if message.role == "tool" and message.content.startswith("staged ")
        for path in question.outputs
        if any(call.name == _WRITE and path in call.arguments for call in before.tool_calls)
    }
    return tuple(path for path in question.outputs if path not in written)


def repeats(messages: Sequence[Message]) -> bool:
    """Whether the last two calls were the same and told the same: a weak model would go on for ever.

    With only the answer open, or the files that it owes, it comes out of the circle.
    """
    last = [
        (call.name, call.arguments, message.content)
        for before, message in pairwise(messages[-4:])
        if message.role == "tool"
        for call in before.tool_calls
    ]
    return messages[-1].role == "tool" and len(last) == 2 and last[0] == last[1]


def read(text: str, number: int) -> Action:
    """Find the action in an answer, lenient about what surrounds it and about its spelling.

    Args:
        number: Makes the call's id unique.
    """
    for found in _objects(text):
        inner = found.get("action", found)
        data = inner if isinstance(inner, dict) else found
        name = data.get("tool") or data.get("name") or data.get("function")
        if isinstance(name, str) and name:
            arguments = data.get("arguments", data.get("parameters", {}))
            raw = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            return Action(ToolCall(f"json_{number}", name, raw), "")
        word = data.get("answer")
        if isinstance(word, str) and word.strip():
            reason = one_line(str(data.get("reason") or ""), 2_000)
            return Action(None, f"{word.strip()}: {reason}" if reason else word.strip())
    cut = _CUT.match(text.strip())
    return Action(None, f"{cut[1]}: {one_line(cut[2])}" if cut else text)


def _objects(text: str) -> Iterable[dict[str, Any]]:
    """The JSON objects in a text, outermost first, in order."""
    at = text.find("{")
    for _ in range(_STARTS):
        if at < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict):
                yield value
        at = text.find("{", end)


def _turn(message: Message, names: dict[str, str]) -> Wire:
    if message.role == "tool":
        return {
            "role": "user",
            "content": f"Result of {names.get(message.tool_call_id, 'the tool')}:\n{message.content}",
        }
    if message.tool_calls:
        return {"role": "assistant", "content": "\n".join(_spell(call) for call in message.tool_calls)}
    if message.role == "assistant":
        word, _, reason = message.content.partition(":")
        if word.strip().isalpha() and word.strip().isupper():
            said = {"action": {"answer": word.strip(), "reason": reason.strip()}}
            return {"role": "assistant", "content": json.dumps(said, ensure_ascii=False)}
    return {"role": message.role, "content": message.content or "(nothing)"}


def _spell(call: ToolCall) -> str:
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.arguments
    return json.dumps({"action": {"tool": call.name, "arguments": arguments}}, ensure_ascii=False)


def _rules(question: Question) -> str:
    words = " or ".join(json.dumps(word) for word in question.answers) or "a word"
    answer = f'{{"action": {{"answer": WORD, "reason": TEXT}}}} to end the task; WORD is {words}.'
    if not question.tools:
        return f"Reply with one JSON object and nothing else:\n{answer}"
    return "\n".join(
        [
            "Reply with one JSON object and nothing else. Either",
            '{"action": {"tool": NAME, "arguments": {...}}} to run a tool, whose result you are told next, or',
            answer,
            "Tools, with the schema of their arguments:",
            *(f"- {tool.name}: {tool.description} {_compact(tool)}" for tool in question.tools),
        ]
    )


def _compact(tool: ToolSpec) -> str:
    properties = {
        name: {key: value for key, value in rule.items() if key != "title"}
        for name, rule in tool.parameters.get("properties", {}).items()
    }
    return json.dumps({"properties": properties, "required": tool.parameters.get("required", [])})


def _closed(tool: ToolSpec, missing: Sequence[str]) -> Wire:
    closed = {"type": "object", "properties": {}, **tool.parameters, "additionalProperties": False}
    if tool.name == _WRITE and missing:
        path = {"type": "string", "enum": list(missing)}
        closed["properties"] = {**closed["properties"], "path": path}
    return closed


def _object(properties: Wire) -> Wire:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
