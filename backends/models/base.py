"""The contract of a model: a request in, a stream of typed chunks out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from backends.models.tasks import Role, Task


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """A piece of what the model thinks aloud."""

    text: str


@dataclass(frozen=True)
class ToolCall:
    """A request to run a tool.

    Attributes:
        arguments: As the model gave them: JSON text, not yet parsed.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """What a call cost.

    Attributes:
        input_tokens: All of the prompt, what was read from the provider's cache included.
        cost: US dollars, or None when the price is unknown.
        estimated: The provider sent no counts; these are guesses.
        cached_tokens: Of the input: read from the provider's cache.
    """

    input_tokens: int
    output_tokens: int
    cost: float | None
    estimated: bool = False
    cached_tokens: int = 0


@dataclass(frozen=True)
class Retrying:
    """A call failed and is made again; what it had said so far does not count.

    Attributes:
        wait: Seconds until then.
    """

    reason: str
    wait: float
    attempt: int


@dataclass(frozen=True)
class FellBack:
    """The next model of the role's fallbacks is asked; what was said so far does not count."""

    model: str
    reason: str


@dataclass(frozen=True)
class Done:
    """The end of a stream."""

    reason: Literal["stop", "tool_calls", "length"]


Chunk = TextDelta | Reasoning | ToolCall | Usage | Retrying | FellBack | Done


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-able form, as kept in the registry."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Message:
        """The inverse of ``to_json``."""
        calls = tuple(ToolCall(**call) for call in data.get("tool_calls", ()))
        return cls(data["role"], data["content"], calls, data.get("tool_call_id", ""))


@dataclass(frozen=True)
class ToolSpec:
    """A tool as a model is told of it; ``parameters`` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """Everything a model gets for one call."""

    role: Role
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    task: Task
    settings: Mapping[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """Anything that can play a role.

    Attributes:
        context: Tokens that it can hold; None when unknown or without a limit.
    """

    name: str
    context: int | None

    def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer a request, chunk by chunk; the last chunk is ``Done``.

        Raises:
            UnavailableError: The provider is down, also after retries and fallbacks.
            RefusedError: It does not accept key, name, account or request.
            ContextOverflowError: The messages are longer than the model can hold.
            ModelError: It cannot answer for another reason.
        """
