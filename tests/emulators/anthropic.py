"""An Anthropic-compatible provider: /v1/messages, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .answers import Fail, Say, cut
from .server import Emulator, event

_STOP = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicServer(Emulator):
    """Speaks like Anthropic does: content blocks, signed thinking, cache counts."""

    def events(self, body: dict[str, Any], say: Say) -> Iterator[bytes]:
        yield _start(body, say)
        index = 0
        if say.reasoning:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(say.reasoning)]
            deltas.append({"type": "signature_delta", "signature": say.signature})
            yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            index += 1
        if say.text:
            deltas = [{"type": "text_delta", "text": piece} for piece in say.pieces]
            yield from _block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for call in say.calls:
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in cut(call.raw)]
            name = call.id or f"toolu_{len(self.received)}_{index}"
            yield from _block(index, {"type": "tool_use", "id": name, "name": call.name, "input": {}}, deltas)
            index += 1
        output = say.tokens.output if say.tokens else 0
        delta = {"stop_reason": _STOP[say.ending], "stop_sequence": None}
        yield event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")

    def opening(self, body: dict[str, Any], text: str) -> Iterator[bytes]:
        yield _start(body, Say())
        yield from list(_block(0, {"type": "text", "text": ""}, [{"type": "text_delta", "text": text}]))[:-1]

    def error(self, fail: Fail) -> dict[str, Any]:
        return {"type": "error", "error": {"type": _KINDS.get(fail.status, "api_error"), "message": fail.message}}


def _start(body: dict[str, Any], say: Say) -> bytes:
    tokens = say.tokens
    usage = {
        "input_tokens": tokens.input - tokens.cached if tokens else 0,
        "cache_read_input_tokens": tokens.cached if tokens else 0,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1 if tokens else 0,
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    return event({"type": "message_start", "message": message}, "message_start")


def _block(index: int, block: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[bytes]:
    yield event({"type": "content_block_start", "index": index, "content_block": block}, "content_block_start")
    for delta in deltas:
        yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
    yield event({"type": "content_block_stop", "index": index}, "content_block_stop")
