"""Credentials of this process, kept out of everything that is written down or shown. Standard library only.

The program is armed once, when it starts. From then on ``hide`` takes the values of known secrets out of texts; it is
asked where text of lower layers comes in (``experiments.text.clean``), and where the registry, live.db and the
engine's output are written. Worker processes know no secret, so there is nothing to hide.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST = 8
"""Shorter values are no credentials, and would be found in ordinary words."""
LONGEST_WORD = 20
LONGEST_FILE = 100_000

_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|WEBHOOK)(_|$)|(^|_)PAT$")
_PROVIDERS = (
    *("KAGGLE", "ANTHROPIC", "OPENAI", "AZURE", "GEMINI", "GOOGLE", "VERTEX", "VERTEXAI", "MISTRAL", "GROQ", "COHERE"),
    *("CO", "DEEPSEEK", "XAI", "OPENROUTER", "TOGETHER", "TOGETHERAI", "FIREWORKS", "PERPLEXITY", "PERPLEXITYAI"),
    *("REPLICATE", "HF", "HUGGINGFACE", "CEREBRAS", "SAMBANOVA", "NVIDIA", "DATABRICKS", "WATSONX", "MOONSHOT"),
    *("DASHSCOPE", "VOYAGE", "LITELLM", "OLLAMA", "AWS"),
)
_ENGINES = re.compile(rf"({'|'.join(_PROVIDERS)})_")


_SHAPES = re.compile(
    r"\b(?:sk-(?:ant|proj|or)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,}|KGAT_[A-Za-z0-9]{16,}|hf_[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|gh[opsu]_[A-Za-z0-9]{36}|AKIA[A-Z0-9]{16})"
)


class Redactor:
    """Hides the values of known secrets.

    Args:
        secrets: By name, the values; what is written in their place names them.
    """

    def __init__(self, secrets: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._secrets = tuple(secrets.items() if isinstance(secrets, Mapping) else secrets)
        found = {form: name for name, value in self._secrets for form in _forms(value)}
        # A longer one may hold a shorter one.
        self._hidden = tuple(
            (form, form.encode(), f"[{found[form]} hidden]") for form in sorted(found, key=len, reverse=True)
        )

    def with_secret(self, name: str, value: str) -> Redactor:
        """One that hides another value as well."""
        return self if (name, value) in self._secrets else Redactor((*self._secrets, (name, value)))

    def hide(self, text: str) -> str:
        """The text without the values."""
        for form, _, instead in self._hidden:
            if form in text:
                text = text.replace(form, instead)
        return text

    def hide_bytes(self, data: bytes) -> bytes:
        """The same for UTF-8 bytes."""
        for _, form, instead in self._hidden:
            if form in data:
                data = data.replace(form, instead.encode())
        return data

    def hide_all(self, value: Any) -> Any:
        """A value out of JSON with every text in it hidden; other values as they are."""
        if not self._hidden:
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, dict):
            return {self.hide_all(key): self.hide_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.hide_all(item) for item in value)
        return value


def known_secrets(environment: Mapping[str, str], home: Path) -> list[tuple[str, str]]:
    """(name, value) of the credentials in an environment and in Kaggle's files.

    Args:
        home: The user's home folder.
    """
    found = [
        (name, value.strip())
        for name, value in environment.items()
        if _SECRET.search(name.upper()) and not value.startswith(("/", "~"))
    ]
    pairs = [(environment.get("KAGGLE_USERNAME", ""), environment.get("KAGGLE_KEY", ""))]
    kept = home / ".kaggle"
    named = Path(environment.get("KAGGLE_CONFIG_DIR") or kept)
    tokens = [folder / name for folder in (kept, named) for name in ("access_token", "access_token.txt")]
    tokens += [Path(environment[name]) for name in ("KAGGLE_API_TOKEN", "KAGGLE_API_V1_TOKEN") if environment.get(name)]
    found += [("KAGGLE_API_TOKEN", _short_text(path)) for path in tokens]
    signed_in = _json(_short_text(kept / "credentials.json"))
    found += [("KAGGLE_API_TOKEN", str(signed_in.get(name) or "")) for name in ("refresh_token", "access_token")]
    xdg = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    for folder in dict.fromkeys((kept, named, xdg)):
        data = _json(_short_text(folder / "kaggle.json"))
        pairs.append((str(data.get("username") or ""), str(data.get("key") or "")))
    for user, key in pairs:
        # The second is how an HTTP header carries both.
        found += (
            [("KAGGLE_KEY", key), ("KAGGLE_KEY", base64.b64encode(f"{user}:{key}".encode()).decode())] if key else []
        )
    return [(name, value) for name, value in found if _may_be_secret(value)]


def looks_like_key(text: str) -> bool:
    """Whether a text holds a key of one of the well-known providers, by its shape."""
    return _SHAPES.search(text) is not None


def without_credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment for a person's own program, without what only the engine needs: Kaggle's and models' keys.

    Other secrets stay: the program that sends a message may need its own.
    """
    return {
        name: value
        for name, value in environment.items()
        if not (_ENGINES.match(name.upper()) and (_SECRET.search(name.upper()) or name.upper() == "KAGGLE_USERNAME"))
    }


def arm(environment: Mapping[str, str], home: Path) -> None:
    """From now on hide these credentials, in this process."""
    global _armed
    _armed = Redactor(known_secrets(environment, home))


def learn(name: str, value: str) -> None:
    """From now on hide another credential too: one that came over the network."""
    global _armed
    if _may_be_secret(value):
        _armed = _armed.with_secret(name, value)


def disarm() -> None:
    """Hide nothing any more."""
    global _armed
    _armed = Redactor()


def armed() -> Redactor:
    """The process's redactor; one that hides nothing before ``arm``."""
    return _armed


def hide(text: str) -> str:
    """The text without the values of known secrets."""
    return _armed.hide(text)


_armed = Redactor()


def _forms(value: str) -> set[str]:
    """A value as it may stand in an address, in JSON, in a header or in bytes that were shown."""
    plain = value.encode("utf-8", "replace")
    forms = {value, quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    return forms | {base64.b64encode(plain).decode().rstrip("="), base64.urlsafe_b64encode(plain).decode().rstrip("=")}


def _may_be_secret(value: str) -> bool:
    """Not ``true``, ``anything`` or ``00000000``, which would be found where they mean nothing."""
    return len(value) >= SHORTEST and len(set(value)) >= 4 and not (value.isalpha() and len(value) < LONGEST_WORD)


def _json(text: str) -> dict[str, Any]:
    """An object, empty where the text is none."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _short_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_FILE).decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        # ValueError: what was given as a path is a token that can be none.
        return ""
