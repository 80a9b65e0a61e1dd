"""Preflight: whether a model can play a role, said before round 0 instead of in round 3."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from backends.models.base import Message, ToolSpec
from backends.models.errors import RefusedError
from backends.models.names import provider_of
from backends.models.settings import ModelSettings
from experiments.errors import ModelError
from experiments.text import one_line

CALL_SECONDS = 30.0
REACH_SECONDS = 5.0
_ANSWER_TOKENS = 1024
_ADDRESSES = {
    "hosted_vllm": ("HOSTED_VLLM_API_BASE", ""),
    "litellm_proxy": ("LITELLM_PROXY_API_BASE", ""),
    "llamafile": ("LLAMAFILE_API_BASE", "http://127.0.0.1:8080/v1"),
    "lm_studio": ("LM_STUDIO_API_BASE", ""),
    "ollama": ("OLLAMA_API_BASE", "http://localhost:11434"),
    "ollama_chat": ("OLLAMA_API_BASE", "http://localhost:11434"),
}
"""Servers of one's own: the variable that LiteLLM reads an address from, and its default."""
_LISTING = ("openai", *_ADDRESSES)
_OLLAMA = ("ollama", "ollama_chat")
_TOOL = ToolSpec("look", "Look around; not needed for this task.", {"type": "object", "properties": {}})
_PROMPT = "This is a test of the connection. Answer with the one word DONE."


@dataclass(frozen=True)
class Preflight:
    """What is known of a model before it plays.

    Attributes:
        key_env: The variable that holds its key; empty where none is needed or known.
        key_present: None where no key is needed, or the provider knows its caller by other means.
        endpoint: Address of the server; empty for the provider's own.
        reached: The server answered, or the model did; None: not tried.
        json_schema: The server holds answers to a schema; None: unknown.
        priced: The cost of calls can be told.
        context: Tokens that it can hold; None: unknown.
        problem: Why it cannot play; empty when nothing speaks against it.
        hint: What to do about the problem, or what to know without one.
    """

    model: str
    key_env: str = ""
    key_present: bool | None = None
    endpoint: str = ""
    reached: bool | None = None
    tools: Literal["native", "json", "unknown"] = "unknown"
    json_schema: bool | None = None
    priced: bool = False
    context: int | None = None
    problem: str = ""
    hint: str = ""


async def preflight(settings: ModelSettings, *, call: bool) -> Preflight:
    """Look a model over, within ``CALL_SECONDS`` at most; its fallbacks are not looked at.

    Args:
        call: Make one tiny call. Else nothing is asked but what a server of one's own has.
    """
    if not provider_of(settings.model):
        return Preflight(settings.model, tools="native", priced=True)
    from backends.models.lite.keys import key_of
    from backends.models.lite.library import ready
    from backends.models.lite.line import Line

    line = Line.to(settings, await ready())
    found = Preflight(
        settings.model,
        key_env=line.key.env if line.key.present is not None else "",
        key_present=line.key.present,
        endpoint=_endpoint(settings),
        tools=_tools(line),
        json_schema=line.manners.schema if line.manners.schema is not None else line.facts.json_schema,
        priced=line.facts.price_known,
        context=line.facts.context,
        hint=_advice(settings),
    )
    try:
        key_of(settings).demand(settings)
    except RefusedError as error:
        return replace(found, problem=error.message, hint=error.hint)
    if provider_of(settings.model) in _ADDRESSES and not found.endpoint:
        name = _ADDRESSES[provider_of(settings.model)][0]
        return replace(
            found,
            problem=f"{settings.model}: where is the server?",
            hint=f"Set api_base in config.json, or the environment variable {name}.",
        )
    if found.endpoint:
        found = await _reach(settings, found)
    return await _call(settings, found) if call and not found.problem else found


async def _call(settings: ModelSettings, found: Preflight) -> Preflight:
    """Let the model say one word, with a tool at hand that it does not need."""
    from backends.backoff import Backoff
    from backends.models.lite.library import ready
    from backends.models.lite.line import Line
    from backends.models.lite.model import LiteLLMModel
    from backends.models.lite.wire import Question

    most = min(settings.max_tokens or _ANSWER_TOKENS, _ANSWER_TOKENS)
    asked = settings.model_copy(
        update={"max_tokens": most, "timeout": min(settings.timeout, CALL_SECONDS), "fallbacks": ()}
    )
    question = Question((Message("user", _PROMPT),), (_TOOL,), ("DONE",))
    try:
        async with (
            asyncio.timeout(CALL_SECONDS),
            aclosing(LiteLLMModel(asked, backoff=Backoff(attempts=1)).ask(question)) as chunks,  # type: ignore[type-var]
        ):
            async for _ in chunks:
                pass
    except TimeoutError:
        return replace(
            found,
            reached=False,
            problem=f"{settings.model}: no answer within {CALL_SECONDS:.0f} s",
            hint="A model on a slow machine may need a first call of its own to be loaded; then try again.",
        )
    except ModelError as error:
        # A provider that refuses was reached.
        return replace(found, reached=isinstance(error, RefusedError), problem=error.message, hint=error.hint)
    line = Line.to(settings, await ready())
    schema = line.manners.schema if line.manners.schema is not None else found.json_schema
    # Tools that were offered and not refused count as supported.
    return replace(found, reached=True, tools=line.mode, json_schema=schema)


async def _reach(settings: ModelSettings, found: Preflight) -> Preflight:
    """Whether the server at an address answers, and has the model."""
    try:
        async with asyncio.timeout(REACH_SECONDS):
            if provider_of(settings.model) not in _LISTING:
                await _connect(found.endpoint)
                return replace(found, reached=True)
            names = await _listed(settings, found.endpoint)
    except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
        return replace(
            found,
            reached=False,
            problem=f"{settings.model}: {found.endpoint} is not reached: {_why(error)}",
            hint="Start the server there, or correct api_base in config.json.",
        )
    found = replace(found, reached=True)
    name = settings.model.partition("/")[2]
    if names is None or {name, f"{name}:latest"} & set(names):
        return found
    return replace(
        found,
        problem=f"{settings.model}: {found.endpoint} has no model {name!r}",
        hint=f"It has: {one_line(', '.join(names), 500)}." if names else "It has none: load one there first.",
    )


async def _listed(settings: ModelSettings, endpoint: str) -> list[str] | None:
    """The models that a server has; None where it does not say, or takes any name."""
    from backends.models.lite.keys import NO_KEY, key_of

    ollama = provider_of(settings.model) in _OLLAMA
    key = key_of(settings)
    value = key.argument or os.environ.get(key.env, "")
    headers = {"Authorization": f"Bearer {value}"} if value and value != NO_KEY else {}
    address = endpoint.rstrip("/") + ("/api/tags" if ollama else "/models")
    async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as reply:
        if reply.status != 200:
            return None
        listed: Any = await reply.json(content_type=None)
    rows = listed.get("models" if ollama else "data") if isinstance(listed, dict) else None
    if not isinstance(rows, list) or any(not isinstance(row, dict) for row in rows):
        return None
    # llama-server has one model and answers to every name.
    if any(row.get("owned_by") == "llamacpp" for row in rows):
        return None
    return [str(row.get("name" if ollama else "id")) for row in rows]


async def _connect(address: str) -> None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    _, writer = await asyncio.open_connection(parts.hostname, port)
    writer.close()


def _endpoint(settings: ModelSettings) -> str:
    variable, default = _ADDRESSES.get(provider_of(settings.model), ("", ""))
    return settings.api_base or os.environ.get(variable, "") or default


def _tools(line: Any) -> Literal["native", "json", "unknown"]:
    shown = line.settings.tools != "auto" or line.manners.native is not None or line.facts.native_tools is not None
    mode: Literal["native", "json"] = line.mode
    return mode if shown else "unknown"


def _advice(settings: ModelSettings) -> str:
    if provider_of(settings.model) in _OLLAMA and settings.context is None:
        return "Set context: Ollama cuts longer conversations at its own, small default and does not say so."
    return ""


def _why(error: Exception) -> str:
    return "no answer" if isinstance(error, TimeoutError) else one_line(str(error) or type(error).__name__)
