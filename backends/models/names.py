"""Names of models: what stands by itself, what a prefix takes, and the providers that LiteLLM reaches."""

from __future__ import annotations

import difflib

from experiments.errors import ModelError

PLAYBOOK = "playbook"
REPLAY = "replay:"
PROVIDERS: tuple[str, ...] = (
    "anthropic",
    "azure",
    "azure_ai",
    "bedrock",
    "cerebras",
    "cohere",
    "databricks",
    "deepinfra",
    "deepseek",
    "fireworks_ai",
    "gemini",
    "github",
    "github_copilot",
    "groq",
    "hosted_vllm",
    "huggingface",
    "litellm_proxy",
    "llamafile",
    "lm_studio",
    "mistral",
    "moonshot",
    "nvidia_nim",
    "ollama",
    "ollama_chat",
    "openai",
    "openrouter",
    "perplexity",
    "replicate",
    "sagemaker_chat",
    "sambanova",
    "together_ai",
    "vertex_ai",
    "watsonx",
    "xai",
)
"""Beginnings of LiteLLM names, before the slash."""
_FAMILIES = {"gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude": "anthropic", "gemini": "gemini"}


def check_model(name: str) -> str:
    """The name, if a backend takes it; whether the provider knows the model is a matter of preflight.

    Raises:
        ModelError: No backend takes the name; the hint says which name is meant, or what exists.
    """
    provider, slash, rest = name.partition("/")
    if name == PLAYBOOK or (name.startswith(REPLAY) and name != REPLAY):
        return name
    if slash and provider in PROVIDERS and rest.strip() and name.isprintable() and " " not in name:
        return name
    raise ModelError(f"no model {name!r}", hint=_hint(name, provider if slash else ""))


def provider_of(name: str) -> str:
    """The part of a name before the slash; empty for names that stand by themselves."""
    return name.partition("/")[0] if "/" in name and not name.startswith(REPLAY) else ""


def _hint(name: str, provider: str) -> str:
    if provider:
        near = difflib.get_close_matches(provider, PROVIDERS, n=1)
        return (
            f"did you mean {near[0] + name[len(provider) :]!r}?"
            if near and near[0] != provider
            else f"a name is PROVIDER/MODEL, with a provider of LiteLLM: {', '.join(PROVIDERS)}"
        )
    family = next((owner for start, owner in _FAMILIES.items() if name.lower().startswith(start)), None)
    if family:
        return f"did you mean {f'{family}/{name}'!r}?"
    near = difflib.get_close_matches(name, [PLAYBOOK], n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"use {PLAYBOOK!r}, {REPLAY}FILE, or a LiteLLM name such as anthropic/..., openai/..., ollama_chat/..."
