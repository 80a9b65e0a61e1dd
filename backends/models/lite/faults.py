"""Why a call failed, and what can be done about it: again, another way, or a person."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from backends.backoff import retry_after
from backends.models.lite.keys import Key
from backends.models.lite.reply import EndlessError
from backends.models.names import provider_of
from backends.models.settings import ModelSettings
from experiments.text import one_line


class Cure(Enum):
    """What can be done about a fault."""

    AGAIN = "again"
    PERSON = "person"
    SHORTER = "shorter"
    WITHOUT_TOOLS = "without tools"
    WITHOUT_SCHEMA = "without schema"


@dataclass(frozen=True)
class Fault:
    """A failed call; its texts hold no key.

    Attributes:
        retry_after: Seconds that the provider asks to wait.
        otherwise: What to do where the cure is none: a model that has called tools before is not refused for them.
        tries: How often it may be tried at most: a fault that takes minutes each time is not worth all of them.
    """

    cure: Cure
    message: str
    hint: str = ""
    retry_after: float | None = None
    otherwise: Cure = Cure.PERSON
    tries: int | None = None


class FaultError(Exception):
    """A call failed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_TOO_LONG = re.compile(
    r"context[ _]?(length|size|window|limit)|maximum context|prompt is too long|input is too long|too many tokens"
    r"|exceed_context_size|context the overflows|reduce the length of the (messages|either)|maximum prompt length"
    r"|input token count",
    re.IGNORECASE,
)
_TOOLS = re.compile(r"\btools?\b|tool[-_ ]?(choice|use|call)|function[-_ ]call", re.IGNORECASE)
_SCHEMA = re.compile(r"response_format|json_schema|structured|grammar|output_format|guided", re.IGNORECASE)
_NO_MONEY = re.compile(r"insufficient_quota|exceeded your current quota|credit balance|billing", re.IGNORECASE)
_PREFIX = re.compile(r"^(?:(?:litellm\.)?\w*(?:Error|Exception|Timeout)(?::|\s-)\s*(?:-\s)?)+(?=\S)")
_SUFFIX = re.compile(r"\s*Handle with `litellm\.\w+`\.?")
_SILENT = re.compile(r"timeout on reading data|timed out", re.IGNORECASE)
_BROKEN = re.compile(
    r"payload is not completed|server disconnected|^connection error\.?$|connection (reset|closed|aborted)"
    r"|peer closed|incomplete chunked|cannot connect to host|connect call failed|connection refused",
    re.IGNORECASE,
)
_GARBLED = re.compile(r"^(Expecting \S+|Unterminated string|Extra data|Invalid (control|\\escape))")
_BODY = re.compile(r"b?(['\"]?)(\{.*\})\1", re.DOTALL)
_MOST_CHARS = 8_000
"""Of an error's text, which may be a page, or what somebody made up."""
_NOT_TRIED_AGAIN = frozenset({400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 451})


def fault_of(error: BaseException, settings: ModelSettings, key: Key) -> Fault:
    """The fault behind an exception of LiteLLM or of the connection below it."""
    text = key.shield.hide(str(error))[:_MOST_CHARS]
    status = _status(error)
    headers = getattr(error, "litellm_response_headers", None) or {}
    wait = retry_after(headers, text=text if status in (429, 503) else "")
    said = key.shield.hide(_said(text))
    name = settings.model
    if isinstance(error, TimeoutError) or status == 408:
        return Fault(Cure.AGAIN, f"{name}: {_silence(settings)}", tries=2)
    if isinstance(error, EndlessError):
        return Fault(Cure.AGAIN, f"{name}: {error}", tries=1)
    if _NO_MONEY.search(text) and status in (400, 402, 403, 429) and wait is None:
        return Fault(Cure.PERSON, f"{name}: {said}", _HINTS[402])
    if status in (400, 404, 413, 422, 500) and _TOO_LONG.search(text):
        return Fault(Cure.SHORTER, f"{name}: the conversation is too long: {said}")
    if status in (400, 404, 422, 500, 501) and _TOOLS.search(text):
        return Fault(Cure.WITHOUT_TOOLS, f"{name}: {said}", _hint(status, settings, key), otherwise=_plain(status))
    if status in (400, 422, 500) and _SCHEMA.search(text):
        return Fault(Cure.WITHOUT_SCHEMA, f"{name}: {said}", _hint(status, settings, key), otherwise=_plain(status))
    if status in _NOT_TRIED_AGAIN:
        return Fault(Cure.PERSON, f"{name}: {_TITLES.get(status, 'refused')}: {said}", _hint(status, settings, key))
    where = f" ({settings.api_base})" if settings.api_base and status in (None, 500) else ""
    return Fault(Cure.AGAIN, f"{name}: {_plainly(said, settings)}{where}", retry_after=wait)


def _silence(settings: ModelSettings) -> str:
    return f"no word for {settings.timeout:g} s"


def _status(error: BaseException) -> int | None:
    value = getattr(error, "status_code", None)
    return value if isinstance(value, int) else None


def _plain(status: int) -> Cure:
    return Cure.PERSON if status in _NOT_TRIED_AGAIN else Cure.AGAIN


def _said(text: str) -> str:
    """What the provider said, out of LiteLLM's wrapping."""
    found = _BODY.search(text)
    if found:
        try:
            body: Any = json.loads(found[2])
        except (ValueError, RecursionError):
            body = None
        inner = body.get("error", body) if isinstance(body, dict) else None
        message = inner.get("message") if isinstance(inner, dict) else inner
        if isinstance(message, str) and message.strip():
            return one_line(message)
    return one_line(_SUFFIX.sub("", _PREFIX.sub("", text.split("Original exception:")[0].strip())) or "it failed")


def _plainly(said: str, settings: ModelSettings) -> str:
    """What libraries below say of a connection, in a person's words."""
    if _SILENT.search(said):
        return _silence(settings)
    if _BROKEN.search(said):
        return "no connection, or it broke off"
    return "the answer came garbled" if _GARBLED.match(said) else said


_TITLES = {
    400: "the request is not accepted",
    401: "the key is not accepted",
    402: "the account has no credit",
    403: "the account may not use this model",
    404: "there is no such model",
    422: "the request is not accepted",
}
_HINTS = {
    402: "Add credit to the account with the provider, or choose another model.",
    403: "Allow the model for the account with the provider, or choose another one.",
}


def _hint(status: int, settings: ModelSettings, key: Key) -> str:
    provider = provider_of(settings.model)
    if status == 401:
        return (
            f"Check the key of {provider} in the environment variable {key.env}."
            if key.env
            else "Name the environment variable that holds the key with api_key_env."
        )
    if status == 404:
        where = f" at {settings.api_base}" if settings.api_base else ""
        return f"Check the name of the model with {provider}{where}: what follows {provider + '/'!r} is its own name."
    return _HINTS.get(status, "Check the settings of this model in config.json, or choose another one.")
