"""A streamed reply: opened, listened to piece by piece within its deadlines, and put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from backends.models.base import Reasoning, TextDelta, ToolCall
from backends.models.lite.wire import Thought

PATIENCE = 10
"""A whole reply may take this many times the seconds that it may be silent."""
MOST_CHARS = 1_000_000
"""Of a reply, thinking and arguments included: beyond the longest answer of any model."""


class EndlessError(Exception):
    """A reply went on beyond its deadline, or its size."""


@asynccontextmanager
async def opened(litellm: Any, arguments: Mapping[str, Any], silence: float) -> AsyncIterator[Reply]:
    """Make a call; what remains of its reply is dropped at the end.

    Args:
        silence: Seconds without a word after which it counts as failed.

    Raises:
        TimeoutError: It was silent for too long, here or while it is read.
    """
    deadline = asyncio.get_running_loop().time() + PATIENCE * silence
    async with asyncio.timeout(silence):
        stream = await litellm.acompletion(
            **arguments,
            stream=True,
            stream_options={"include_usage": True},
            drop_params=True,
            timeout=silence,
            # The tries are counted here: providers differ in what they take these for.
            max_retries=0,
            num_retries=0,
            # Without it, tools need a package that LiteLLM does not install.
            _skip_mcp_handler=True,
        )
    try:
        yield Reply(stream, silence, deadline)
    finally:
        await stream.aclose()


@dataclass
class _Call:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass
class Reply:
    """What a model says.

    Attributes:
        deadline: By the loop's clock.
        chunks: As LiteLLM gives them.
    """

    stream: Any
    silence: float
    deadline: float
    chunks: list[Any] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _thought: list[str] = field(default_factory=list)
    _calls: list[_Call] = field(default_factory=list)
    _slots: dict[int, int] = field(default_factory=dict)
    _size: int = 0

    async def pieces(self) -> AsyncIterator[TextDelta | Reasoning]:
        """Text and reasoning as they come; calls are complete only afterwards."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with asyncio.timeout_at(min(loop.time() + self.silence, self.deadline)):
                    chunk = await anext(self.stream)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if loop.time() < self.deadline:
                    raise
                raise EndlessError(f"no end of the answer after {PATIENCE * self.silence:g} s") from None
            self.chunks.append(chunk)
            for piece in self._take(chunk):
                self._size += len(piece.text)
                yield piece
            if self._size > MOST_CHARS:
                raise EndlessError(f"no end of the answer after {MOST_CHARS:,} characters")

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def said(self) -> str:
        """All that was generated: text, reasoning and arguments."""
        return "".join([*self._thought, *self._text, *(part for call in self._calls for part in call.arguments)])

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tool calls; those without a name are none."""
        return tuple(
            ToolCall(call.id or f"call_{index}", call.name, "".join(call.arguments))
            for index, call in enumerate(self._calls)
            if call.name
        )

    @property
    def finish(self) -> str | None:
        """Why the provider ended; None: it did not, the stream was cut (LiteLLM says "stop" then)."""
        reason: str | None = self.stream.received_finish_reason
        return reason

    @property
    def counts(self) -> Any:
        """The last counts that LiteLLM gave, its own inventions included; None without."""
        found = [chunk.usage for chunk in self.chunks if getattr(chunk, "usage", None) is not None]
        return found[-1] if found else None

    def thought(self, litellm: Any) -> Thought:
        """What was thought, in a form that the provider takes back."""
        message = litellm.stream_chunk_builder(self.chunks).choices[0].message
        return Thought(tuple(getattr(message, "thinking_blocks", None) or ()), "".join(self._thought))

    def _take(self, chunk: Any) -> Iterator[TextDelta | Reasoning]:
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta is None:
            return
        reasoning = getattr(delta, "reasoning_content", None)
        if reasoning:
            self._thought.append(reasoning)
            yield Reasoning(reasoning)
        if delta.content:
            self._text.append(delta.content)
            yield TextDelta(delta.content)
        for part in delta.tool_calls or ():
            self._join(part)

    def _join(self, part: Any) -> None:
        """Add a piece to its call; some servers number every call 0, so that only a new id shows a new call."""
        index = part.index or 0
        at = self._slots.get(index)
        if at is None or (part.id and self._calls[at].id not in ("", part.id)):
            at = self._slots[index] = len(self._calls)
            self._calls.append(_Call())
        call = self._calls[at]
        call.id = call.id or part.id or ""
        call.name = call.name or part.function.name or ""
        call.arguments.append(part.function.arguments or "")
        self._size += len(call.arguments[-1])
