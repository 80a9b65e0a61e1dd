"""Keys of providers: which environment variable holds one, whether it is there, and how it stays out of texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from backends.models.errors import RefusedError
from backends.models.names import provider_of
from backends.models.settings import ModelSettings
from experiments.redaction import SHORTEST, Redactor

NO_KEY = "none"
"""Sent where a server wants no key and LiteLLM wants one."""
HOSTED: Mapping[str, tuple[str, ...]] = {
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET"),
    "azure_ai": ("AZURE_AI_API_KEY",),
    "cerebras": ("CEREBRAS_API_KEY",),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "deepinfra": ("DEEPINFRA_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "github": ("GITHUB_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "mistral": ("MISTRAL_API_KEY",),
    "moonshot": ("MOONSHOT_API_KEY",),
    "nvidia_nim": ("NVIDIA_NIM_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    "sambanova": ("SAMBANOVA_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
    "xai": ("XAI_API_KEY",),
}
"""Providers in the network that take one key: any of these variables holds it."""
OWN: Mapping[str, str] = {
    "hosted_vllm": "HOSTED_VLLM_API_KEY",
    "litellm_proxy": "LITELLM_PROXY_API_KEY",
    "llamafile": "LLAMAFILE_API_KEY",
    "lm_studio": "LM_STUDIO_API_KEY",
    "ollama": "OLLAMA_API_KEY",
    "ollama_chat": "OLLAMA_API_KEY",
}
"""Servers of one's own: a key is possible and rarely needed."""


@dataclass(frozen=True)
class Key:
    """The key of one model's provider.

    Attributes:
        env: The variable that holds it, or should; empty where no variable is known.
        present: None where the provider has other ways to know its caller (cloud accounts), or needs no key.
        argument: What LiteLLM is told; None: it finds the key itself.
        shield: Takes the key out of texts.
    """

    env: str
    present: bool | None
    argument: str | None
    shield: Redactor

    def demand(self, settings: ModelSettings) -> None:
        """Make sure that the key is there.

        Raises:
            RefusedError: It is missing.
        """
        if self.present is not False:
            return
        if provider_of(settings.model) == "github_copilot":
            raise RefusedError(
                f"{settings.model}: not signed in to GitHub Copilot",
                hint="Sign in once with LiteLLM, so that ~/.config/litellm/github_copilot/access-token exists.",
            )
        raise RefusedError(
            f"{settings.model}: the environment variable {self.env} is not set",
            hint=f"Put the key of {provider_of(settings.model)} into {self.env} and start again, "
            "or name another variable with api_key_env.",
        )


def key_of(settings: ModelSettings, environment: Mapping[str, str] | None = None) -> Key:
    """The key that a model's settings lead to."""
    found = os.environ if environment is None else environment
    provider = provider_of(settings.model)
    names = (settings.api_key_env,) if settings.api_key_env else HOSTED.get(provider, (OWN.get(provider, ""),))
    env = next((name for name in names if found.get(name, "").strip()), names[0])
    value = found.get(env, "").strip()
    shield = _shield({name: found.get(name, "") for name in (*names, env)})
    if settings.api_key_env:
        return Key(env, bool(value), value or None, shield)
    if provider == "github_copilot":
        return Key("", _copilot_token(found).is_file(), None, shield)
    if provider not in HOSTED:
        return Key(env, True if value else None, None, shield)
    if settings.api_base and not (value and _private(settings.api_base)):
        # The provider's own key does not travel in clear text to another machine.
        return Key("", None, NO_KEY, shield)
    return Key(env, bool(value), None, shield)


def _private(address: str) -> bool:
    """Nobody on the way can read what is sent there."""
    parts = urlsplit(address)
    return parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")


def _shield(secrets: Mapping[str, str]) -> Redactor:
    return Redactor([(name, value.strip()) for name, value in secrets.items() if len(value.strip()) >= SHORTEST])


def _copilot_token(environment: Mapping[str, str]) -> Path:
    folder = environment.get("GITHUB_COPILOT_TOKEN_DIR") or Path.home() / ".config" / "litellm" / "github_copilot"
    return Path(folder) / environment.get("GITHUB_COPILOT_ACCESS_TOKEN_FILE", "access-token")
