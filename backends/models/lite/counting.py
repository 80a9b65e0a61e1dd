"""Tokens and dollars of a call: as the provider counts them, else estimated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from backends.models.base import Usage
from backends.models.lite.facts import Facts
from backends.models.lite.wire import Wire


def sent_counts(chunks: Sequence[Any]) -> bool:
    """Whether the provider itself counted: LiteLLM makes counts up where it did not."""
    counts = (getattr(chunk, "usage", None) for chunk in chunks)
    return any(count is not None and (count.prompt_tokens or count.completion_tokens) for count in counts)


def counted(counts: Any, facts: Facts, litellm: Any) -> Usage:
    """What the provider counted, as LiteLLM's ``Usage``."""
    details = getattr(counts, "prompt_tokens_details", None)
    cached = int(getattr(details, "cached_tokens", None) or 0)
    into, out = int(counts.prompt_tokens or 0), int(counts.completion_tokens or 0)
    return Usage(into, out, _cost(into, out, facts, litellm, counts), cached_tokens=cached)


async def estimated(messages: Sequence[Wire], tools: Sequence[Wire], said: str, facts: Facts, litellm: Any) -> Usage:
    """Counts by a tokenizer that need not be the model's own."""

    def count() -> tuple[int, int]:
        model = facts.settings.model
        asked = litellm.token_counter(model=model, messages=list(messages), tools=list(tools) or None)
        return asked, litellm.token_counter(model=model, text=said) if said else 0

    into, out = await asyncio.to_thread(count)
    return Usage(into, out, _cost(into, out, facts, litellm), estimated=True)


def _cost(into: int, out: int, facts: Facts, litellm: Any, counts: Any = None) -> float | None:
    if facts.own_prices is not None:
        return into * facts.own_prices[0] + out * facts.own_prices[1]
    if not facts.price_known:
        return None
    # With the counts LiteLLM knows what was read from the provider's cache, which costs less.
    split = litellm.cost_per_token(
        model=facts.settings.model, prompt_tokens=into, completion_tokens=out, usage_object=counts
    )
    return float(sum(split))
