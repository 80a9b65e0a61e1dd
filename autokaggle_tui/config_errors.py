"""What is wrong with a config, in words: one line for each problem, with key and cure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from experiments.errors import ConfigError

_LONGEST_VALUE = 60


def explain(error: ValidationError, model: type[BaseModel], path: Path) -> ConfigError:
    """Turn what pydantic found into one ConfigError.

    Args:
        error: The failed validation.
        model: The class that was validated.
        path: The file it came from.
    """
    lines = [f"{_key(problem)}{_message(problem, model)}" for problem in error.errors(include_url=False)]
    if len(lines) == 1:
        return ConfigError(f"{path}: {lines[0]}")
    return ConfigError(f"{path} has {len(lines)} problems:\n" + "\n".join(f"  {line}" for line in lines))


def _key(problem: ErrorDetails) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{_safe(part)}" for part in problem["loc"])
    return f"{path[1:]}: " if path else ""


def _message(problem: ErrorDetails, model: type[BaseModel]) -> str:
    kind = problem["type"]
    context: Mapping[str, Any] = problem.get("ctx", {})
    given = _shown(problem["input"])
    match kind:
        case "missing":
            return "is missing; add it"
        case "extra_forbidden":
            return _unknown_key(problem["loc"], model)
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {context['expected']}, not {given}{_near_value(problem, context)}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be an object, {{...}}, not {given}"
        case "tuple_type" | "list_type":
            return f"must be a list, [...], not {given}"
        case "int_type" | "int_from_float" | "int_parsing" | "int_parsing_size":
            return f"must be a whole number, not {given}"
        case "float_type" | "float_parsing" | "finite_number":
            return f"must be a number, not {given}"
        case "bool_type" | "bool_parsing":
            return f"must be true or false, not {given}"
        case "string_type":
            return f"must be text in quotes, not {given}"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"is longer than {context['max_length']} characters"
        case "string_pattern_mismatch":
            return f"{given} holds characters that cannot be there; {_pattern_cure(str(problem['loc'][-1]))}"
        case "greater_than_equal":
            return f"must be {context['ge']:.0f} or more, not {given}"
        case "less_than_equal":
            return f"must be {context['le']:.0f} or less, not {given}"
        case _:
            return f"{problem['msg']} (it is {given})"


def _pattern_cure(key: str) -> str:
    if key == "competition":
        return 'use the last part of the competition\'s address: letters, digits, "-", "_" and "."'
    return "write a path"


def _near_value(problem: ErrorDetails, context: Mapping[str, Any]) -> str:
    if not isinstance(problem["input"], str):
        return ""
    allowed = [word for word in context["expected"].split("'") if word.isidentifier() and word != "or"]
    near = difflib.get_close_matches(problem["input"].lower(), allowed, n=1, cutoff=0.3)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_key(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    *parents, last = location
    section, key = ".".join(map(str, parents)), str(last)
    known = dict(_known_keys(model))
    siblings = known.get(section, [])
    for place, names in known.items():
        if key in names:
            return f"unknown key here; it belongs {f'inside {place!r}' if place else 'at the top level'}"
    near = difflib.get_close_matches(key.lower(), siblings, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known here: {', '.join(siblings)}"


def _known_keys(model: type[BaseModel], place: str = "") -> Iterator[tuple[str, list[str]]]:
    """(dotted place, keys) of a model and of the models inside it."""
    yield place, [field.alias or name for name, field in model.model_fields.items()]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _known_keys(field.annotation, f"{place}.{name}".lstrip("."))


def _safe(key: str) -> str:
    """A key as it stands, unless it could disturb a terminal or fill it."""
    return key if key.isprintable() and 0 < len(key) <= _LONGEST_VALUE else _shown(key)


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value, default=repr)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
