"""What LiteLLM knows about a model without asking anybody: size, prices, abilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from backends.models.names import provider_of
from backends.models.settings import ModelSettings

_ASKS = ("ollama", "ollama_chat", "github_copilot")
"""Providers that LiteLLM asks over the network when it looks a model up."""
_RESELLERS = ("bedrock", "vertex_ai", "openrouter", "azure_ai", "databricks", "litellm_proxy")


@dataclass(frozen=True)
class Facts:
    """A model as its settings and LiteLLM's own tables describe it.

    Attributes:
        entry: LiteLLM's entry; None for a model that it does not know.
        takes: Names of the parameters that the provider takes.
    """

    settings: ModelSettings
    entry: Mapping[str, Any] | None
    takes: frozenset[str]

    @property
    def context(self) -> int | None:
        """Tokens that the model can hold."""
        return self.settings.context or (self.entry or {}).get("max_input_tokens")

    @property
    def longest_answer(self) -> int | None:
        """Tokens of the longest answer."""
        return (self.entry or {}).get("max_output_tokens")

    @property
    def own_prices(self) -> tuple[float, float] | None:
        """Dollars per token in and out, as the settings give them."""
        first, second = self.settings.input_price, self.settings.output_price
        return None if first is None or second is None else (first / 1e6, second / 1e6)

    @property
    def price_known(self) -> bool:
        """Whether a call's cost can be told."""
        return self.own_prices is not None or bool(self.entry and self.entry["priced"])

    @cached_property
    def native_tools(self) -> bool | None:
        """Whether the model calls tools by the provider's own means; None: only a call shows it."""
        if "tools" not in self.takes:
            return False
        return None if self.entry is None else bool(self.entry.get("supports_function_calling"))

    @property
    def json_schema(self) -> bool | None:
        """Whether the provider holds an answer to a schema."""
        if "response_format" not in self.takes:
            return False
        return None if self.entry is None else bool(self.entry.get("supports_response_schema"))

    @property
    def claude(self) -> bool:
        """It speaks Anthropic's dialect: marks for the cache, signed thinking."""
        provider = provider_of(self.settings.model)
        return provider == "anthropic" or (provider in _RESELLERS and "claude" in self.settings.model.lower())


def facts_of(settings: ModelSettings, litellm: Any) -> Facts:
    """Look a model up in LiteLLM's tables."""
    provider = provider_of(settings.model)
    entry = None
    if provider not in _ASKS:
        try:
            info = litellm.get_model_info(settings.model)
        except Exception:  # noqa: BLE001 - what it raises for a model that it does not know differs by version
            info = None
        if info is not None:
            # A missing price reads as 0 there.
            raw = litellm.model_cost.get(info["key"], {})
            entry = {**info, "priced": "input_cost_per_token" in raw or "output_cost_per_token" in raw}
    name = settings.model.partition("/")[2]
    takes = [] if provider == "github_copilot" else litellm.get_supported_openai_params(name, provider)
    return Facts(settings, entry, frozenset(takes or _USUAL))


_USUAL = ("tools", "response_format", "temperature", "max_tokens")
