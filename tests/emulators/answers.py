"""What an emulated provider answers: words, tool calls, errors and breakdowns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Tokens:
    """What the provider counts: ``cached`` is part of ``input``."""

    input: int = 100
    output: int = 20
    cached: int = 0


@dataclass(frozen=True)
class Call:
    """A tool call; arguments as text are sent as they are, also when they are no JSON."""

    name: str
    arguments: str | Mapping[str, Any]
    id: str = ""

    @property
    def raw(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


@dataclass(frozen=True)
class Say:
    """An answer, streamed in several pieces.

    Attributes:
        tokens: None: the provider sends no counts.
        signature: Of the reasoning, where the provider signs it.
        finish: Why it ended, in OpenAI's words; by default what follows from the calls.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    tokens: Tokens | None = field(default_factory=Tokens)
    signature: str = "signed"
    finish: Literal["", "stop", "tool_calls", "length"] = ""

    @property
    def ending(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")

    @property
    def pieces(self) -> list[str]:
        """The text in pieces of a few characters."""
        return cut(self.text)


@dataclass(frozen=True)
class Fail:
    """An HTTP error.

    Attributes:
        body: The whole body where it is not the provider's own form around ``message``.
    """

    status: int
    message: str = "something is wrong"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None


@dataclass(frozen=True)
class Break:
    """A breakdown.

    ``drop`` and ``hang`` come before the reply; ``html`` is a page with status 200; those with ``mid`` come after a
    first piece of the text: the connection drops, hangs, carries garbage, or ends cleanly as if all had been said.
    """

    how: Literal["drop", "hang", "html", "mid drop", "mid hang", "mid garbage", "mid end", "mid flood"]
    text: str = "This is what was "


Answer = Say | Fail | Break
Script = Callable[[dict[str, Any]], Answer] | list[Answer | Callable[[dict[str, Any]], Answer]]


def tool(name: str, **arguments: Any) -> Say:
    """An answer that is one tool call."""
    return Say(calls=(Call(name, arguments),))


def cut(text: str, size: int = 12) -> list[str]:
    """A text in pieces."""
    return [text[at : at + size] for at in range(0, len(text), size)]


_OPENAI = {
    "error": {
        "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 "
        "tokens. Please reduce the length of the messages.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}
_VLLM = {
    "object": "error",
    "message": "This model's maximum context length is 4096 tokens. However, you requested 4196 tokens (4096 in the "
    "messages, 100 in the completion). Please reduce the length of the messages or completion.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
_LLAMA_CPP = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size. try increasing the context size or enable context "
        "shift",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }
}
_LM_STUDIO = {
    "error": "Trying to keep the first 5129 tokens when context the overflows. However, the model is loaded with "
    "context length of only 4096 tokens, which is not enough."
}
_OPENROUTER = {
    "error": {
        "message": "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens "
        "(8900 of text input, 100 in the output). Please reduce the length of either one.",
        "code": 400,
        "metadata": {"provider_name": None},
    }
}
_XAI = {"code": "400", "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens."}
_GEMINI = {
    "error": {
        "code": 400,
        "message": "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        "status": "INVALID_ARGUMENT",
    }
}
TOO_LONG: dict[str, Fail] = {
    name: Fail(400, body=json.dumps(body))
    for name, body in {
        "openai": _OPENAI,
        "hosted_vllm": _VLLM,
        "llamafile": _LLAMA_CPP,
        "lm_studio": _LM_STUDIO,
        "openrouter": _OPENROUTER,
        "xai": _XAI,
        "litellm_proxy": _GEMINI,
    }.items()
}
"""The context is too long, as each server says it."""
TOO_LONG_ANTHROPIC = [
    Fail(400, "prompt is too long: 209000 tokens > 200000 maximum"),
    Fail(
        400,
        "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or "
        "`max_tokens` and try again",
    ),
]
