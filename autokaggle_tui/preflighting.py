"""What is known of a model before it plays, in words: for ``doctor`` and after a test call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from autokaggle_tui.doctor_machine import Check
from autokaggle_tui.wording import count_text
from backends.models.names import PLAYBOOK, REPLAY
from backends.models.settings import ModelSettings
from experiments.errors import ModelError
from experiments.text import one_line

if TYPE_CHECKING:
    from backends.models.preflight import Preflight

Examine = Callable[[ModelSettings], Awaitable["Preflight"]]


_PRICE = "Give its input_price and output_price (dollars per million tokens), or cap tokens in place of dollars."


def facts_line(found: Preflight) -> str:
    """Key, server, tools, price and context in a line; a key by the name of its variable alone."""
    tools = {"native": "calls tools", "json": "tools by JSON", "unknown": "tools untried"}
    server = one_line(found.endpoint, 200) or "provider"
    parts = [
        "" if found.key_present is None else f"{found.key_env} is {'set' if found.key_present else 'not set'}",
        "" if found.reached is None else f"{server} {'answers' if found.reached else 'does not answer'}",
        tools.get(found.tools, found.tools),
        "answers by schema" if found.json_schema else "",
        "price known" if found.priced else "price unknown",
        "context unknown" if found.context is None else f"{count_text(found.context)} context",
    ]
    return ", ".join(part for part in parts if part)


def check_of(role: str, settings: ModelSettings, found: Preflight, *, budget: float | None) -> Check:
    """The doctor's line for a role.

    Args:
        budget: Dollars that config.json allows; they cannot be kept where a price is unknown.
    """
    text = f"{one_line(found.model, 200)}: {facts_line(found)}"
    if settings.fallbacks:
        text += f"; then {one_line(', '.join(settings.fallbacks), 300)}"
    if found.problem:
        problem = one_line(found.problem.removeprefix(f"{found.model}: "), 400)
        return Check(role, "fail", f"{text}; {problem}", one_line(found.hint, 400))
    if budget is not None and not found.priced:
        return Check(role, "fail", f"{text}; budget.usd cannot be kept without a price", _PRICE)
    if found.context is None:
        return Check(role, "warn", text, "Give its context (tokens) in config.json, so that it is never overrun.")
    return Check(role, "ok", text, one_line(found.hint, 400))


async def check_models(
    models: Mapping[str, ModelSettings], *, budget: float | None, examine: Examine | None = None
) -> list[Check]:
    """A line for each role. Every model is asked for one word, the playbook and recordings for none.

    Args:
        models: By role.
        examine: How a model is looked over; None for a tiny call.
    """
    look = examine or _called
    waiting = {
        settings: asyncio.ensure_future(_looked(settings, look))
        for settings in dict.fromkeys(models.values())
        if not _stands_alone(settings.model)
    }
    checks = []
    for role, settings in models.items():
        if settings not in waiting:
            checks.append(_alone(role, settings))
            continue
        found = await waiting[settings]
        if isinstance(found, ModelError):
            checks.append(Check(role, "fail", one_line(found.message, 600), one_line(found.hint, 300)))
        else:
            checks.append(check_of(role, settings, found, budget=budget))
    return checks


async def require_models(
    models: Mapping[str, ModelSettings], *, budget: float | None, examine: Examine | None = None
) -> tuple[list[str], dict[ModelSettings, str]]:
    """See that every role's model can play, each by one tiny call.

    Returns:
        (what a person should know, and the loop can do without; the models out of reach, and why).

    Raises:
        ModelError: A model cannot play for a reason that does not pass by itself, or has no price beside a budget.
    """
    look = examine or _called
    alone = {settings for settings in models.values() if _stands_alone(settings.model)}
    roles = {settings: [role for role in models if models[role] == settings] for settings in models.values()}
    asked = [settings for settings in roles if settings not in alone]
    warnings: list[str] = []
    away: dict[ModelSettings, str] = {}
    for settings, found in zip(asked, await asyncio.gather(*(look(settings) for settings in asked)), strict=True):
        who = " and ".join(roles[settings])
        if found.problem and found.reached is not False:
            raise ModelError(f"{who}: {found.problem}", hint=found.hint)
        if found.problem:
            away[settings] = found.problem
            warnings.append(f"{who}: {found.problem}; the playbook stands in until it answers.")
        _afford(who, found, budget)
        for name in settings.fallbacks:
            if _stands_alone(name):
                continue
            other = await _uncalled(settings.renamed(name))
            if other.problem:
                warnings.append(f"{who}, fallback: {other.problem}")
            _afford(who, other, budget)
    return warnings, away


def _afford(who: str, found: Preflight, budget: float | None) -> None:
    if budget is not None and not found.priced:
        raise ModelError(f"{who}: {found.model} has no known price, so budget.usd cannot be kept.", hint=_PRICE)


async def try_model(settings: ModelSettings) -> str:
    """Let a model say one word; a line for a person, with what is known of it.

    Raises:
        ModelError: It cannot play.
    """
    if settings.model == PLAYBOOK:
        return f"{PLAYBOOK} answers offline, no key needed"
    if _stands_alone(settings.model):
        from backends.models.replay import Replay

        tape = Replay.open(Path(settings.model.removeprefix(REPLAY)))
        count = sum(map(len, tape.calls.values()))
        return f"{one_line(tape.name)} holds {count} recorded call{'' if count == 1 else 's'}, no key needed"
    began = time.monotonic()
    found = await _called(settings)
    if found.problem:
        raise ModelError(found.problem, hint=found.hint)
    return f"{one_line(found.model, 200)} answers in {time.monotonic() - began:.1f} s; {facts_line(found)}"


def _stands_alone(model: str) -> bool:
    return model == PLAYBOOK or model.startswith(REPLAY)


def _alone(role: str, settings: ModelSettings) -> Check:
    if settings.model == PLAYBOOK:
        return Check(role, "ok", f"{PLAYBOOK}: offline, needs no key")
    from backends.models.registry import open_model

    try:
        open_model(settings)
    except ModelError as error:
        return Check(role, "fail", one_line(error.message, 600), one_line(error.hint, 300))
    return Check(role, "ok", f"{one_line(settings.model, 300)}: a recording, needs no key")


async def _looked(settings: ModelSettings, examine: Examine) -> Preflight | ModelError:
    try:
        return await examine(settings)
    except ModelError as error:
        return error


async def _called(settings: ModelSettings) -> Preflight:
    return await _preflight(settings, call=True)


async def _uncalled(settings: ModelSettings) -> Preflight:
    return await _preflight(settings, call=False)


async def _preflight(settings: ModelSettings, *, call: bool) -> Preflight:
    # It brings LiteLLM with it, which takes seconds.
    from backends.models.preflight import preflight

    return await preflight(settings, call=call)
