"""An OpenAI-compatible provider: /v1/chat/completions, streamed, and /v1/models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .answers import Fail, Say, cut
from .server import Emulator, event


class OpenAIServer(Emulator):
    """Speaks like OpenAI, vLLM, llama.cpp and LM Studio do.

    Attributes:
        one_index: Number every tool call 0, as some servers do.
    """

    prefix = "/v1"
    one_index = False

    def events(self, body: dict[str, Any], say: Say) -> Iterator[bytes]:
        yield _chunk(body, {"role": "assistant", "content": ""})
        for piece in cut(say.reasoning):
            yield _chunk(body, {"reasoning_content": piece})
        for piece in say.pieces:
            yield _chunk(body, {"content": piece})
        for number, call in enumerate(say.calls):
            index = 0 if self.one_index else number
            function = {"name": call.name, "arguments": ""}
            name = call.id or f"call_{len(self.received)}_{number}"
            yield _chunk(body, {"tool_calls": [{"index": index, "id": name, "type": "function", "function": function}]})
            for piece in cut(call.raw):
                yield _chunk(body, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
        yield _chunk(body, {}, finish=say.ending)
        if say.tokens is not None and (body.get("stream_options") or {}).get("include_usage"):
            usage = {
                "prompt_tokens": say.tokens.input,
                "completion_tokens": say.tokens.output,
                "total_tokens": say.tokens.input + say.tokens.output,
                "prompt_tokens_details": {"cached_tokens": say.tokens.cached},
            }
            yield event({**_envelope(body), "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"

    def opening(self, body: dict[str, Any], text: str) -> Iterator[bytes]:
        yield _chunk(body, {"role": "assistant", "content": ""})
        for piece in cut(text):
            yield _chunk(body, {"content": piece})

    def error(self, fail: Fail) -> dict[str, Any]:
        return {"error": {"message": fail.message, "type": "error", "param": None, "code": None}}


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    return event({**_envelope(body), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _envelope(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
