"""What the tests of LiteLLM models share: requests, settings, and an answer in one go."""

import traceback
from typing import Any

import pytest

from backends.backoff import Backoff
from backends.models.base import (
    Message,
    Request,
    TextDelta,
    ToolSpec,
)
from backends.models.lite.model import LiteLLMModel
from backends.models.settings import ModelSettings
from backends.models.tasks import Task
from experiments.errors import ModelError
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import Emulator

CANARY = "sk-proj-canary-a1b2c3d4e5f6a7b8"
READ = ToolSpec(
    "read_file",
    "Read a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
CLAUDE = "anthropic/claude-opus-4-5"


class Waits:
    """Pauses that pass at once and are kept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def backoff(self, **changes: Any) -> Backoff:
        return Backoff(sleep=self.sleep, draw=lambda low, high: high, **changes)


def request(*messages: Message, tools: tuple[ToolSpec, ...] = (READ,), **settings: Any) -> Request:
    task = Task("review", "reviewer", 1, (), (), ("APPROVED", "REVISE"), None)  # type: ignore[arg-type]
    asked = messages or (Message("user", "R01 review."),)
    return Request("reviewer", (Message("system", "You review."), *asked), tools, task, settings)


def settings_for(server: Emulator, **changes: Any) -> ModelSettings:
    name = CLAUDE if isinstance(server, AnthropicServer) else "openai/emulated"
    return ModelSettings(**{"model": name, "api_base": server.url, "timeout": 5.0, **changes})


async def listen(model: LiteLLMModel, asked: Request | None = None) -> list[Any]:
    return [chunk async for chunk in model.stream(asked or request())]


async def answer(server: Emulator, asked: Request | None = None, *, waits: Waits | None = None, **changes: Any) -> list:
    model = LiteLLMModel(settings_for(server, **changes), backoff=(waits or Waits()).backoff())
    return await listen(model, asked)


async def refusal(server: Emulator, **changes: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer(server, **changes)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))


def only(kind: type, chunks: list[Any]) -> list[Any]:
    return [chunk for chunk in chunks if isinstance(chunk, kind)]


SERVERS = pytest.mark.parametrize("kind", [OpenAIServer, AnthropicServer])
