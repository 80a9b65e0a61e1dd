"""The text of config.json: reading JSON, with the place and the cure when it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from experiments.errors import ConfigError
from experiments.jail import read_text
from experiments.redaction import hide, looks_like_key


def read_json(path: Path) -> Any:
    """The values of a JSON file; a key given twice is refused.

    Raises:
        ConfigError: The file is missing, unreadable, not UTF-8 or not JSON, or holds a credential.
    """
    try:
        text = read_text(path, links=True, encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no {path}",
            hint="make a workspace with `autokaggle-tui init --train train.csv --target COLUMN`, "
            "or look around with `autokaggle-tui demo`",
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    if looks_like_key(text) or hide(text) != text:
        raise ConfigError(
            f"{path} holds a credential, and agents may read this file.",
            hint="Take it out and set it in the environment of the engine instead.",
        )
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path}, line {error.lineno}, column {error.colno}: {error.msg}", hint=_json_hint(text, error)
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is given twice; keep one")
        found[key] = value
    return found


def _json_hint(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "the file is empty: `autokaggle-tui init` writes one"
    here = text[error.pos : error.pos + 2]
    if here.startswith(("#", "/")):
        return "JSON has no comments: remove it"
    if here.startswith("'"):
        return 'JSON writes text in double quotes: "..."'
    if here.startswith(("}", "]", '"')):
        return "look for a comma that is missing, or one too many before a closing bracket"
    return "look for a missing comma, quote or bracket just before this place"
