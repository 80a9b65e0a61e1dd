"""What single values of config.json may be: durations, sizes, deadlines, counts, names, paths, commands and keys."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from autokaggle_tui import sizes
from autokaggle_tui.durations import PATTERN, format_duration, parse_duration
from backends.models.settings import ModelSettings
from experiments.errors import AutokaggleError


def one_line(error: AutokaggleError) -> str:
    """Message and hint, as part of a longer message."""
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _duration(value: Any) -> float:
    try:
        return parse_duration(value)
    except AutokaggleError as error:
        raise ValueError(one_line(error)) from error


def _size(value: Any) -> int:
    try:
        return sizes.parse_size(value)
    except AutokaggleError as error:
        raise ValueError(one_line(error)) from error


def _kept_size(value: Any) -> Any:
    return value if value == "all" else _size(value)


def _count_or_auto(value: Any) -> Any:
    if value == "auto" or (type(value) is int and 1 <= value <= 1024):
        return value
    raise ValueError('must be a whole number from 1 to 1024, or "auto"')


def _bytes_or_auto(value: Any) -> Any:
    if value == "auto":
        return value
    try:
        size = TypeAdapter(ByteSize).validate_python(value)
    except ValidationError:
        size = ByteSize(0)
    if isinstance(value, bool) or not _LEAST_MEMORY <= size < 1 << 50:
        raise ValueError('must be a size of at least 512 MB, e.g. "8GB" or "1500MB", or "auto"')
    return int(size)


def _deadline(value: Any) -> Any:
    """A date alone means the end of that day, as on Kaggle; a time without a zone is UTC."""
    if value is None or isinstance(value, dt.datetime):
        moment = value
    elif isinstance(value, str):
        try:
            day = dt.date.fromisoformat(value.strip())
            moment = dt.datetime.combine(day, dt.time(23, 59))
        except ValueError:
            try:
                moment = dt.datetime.fromisoformat(value.strip())
            except ValueError as error:
                raise ValueError(_DEADLINE_CURE) from error
    else:
        raise ValueError(_DEADLINE_CURE)
    if moment is None:
        return None
    try:
        return moment.replace(tzinfo=moment.tzinfo or dt.UTC).astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError(_DEADLINE_CURE) from error


def _command(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a character that no command can hold")
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into words: {error}") from error
    if not words:
        raise ValueError("must name a program, or be null")
    return value


def _keys(value: str) -> str:
    if not all(key.strip() for key in value.split(",")):
        raise ValueError('must name keys, with commas between them: "p", "f5,ctrl+r", "space", "comma"')
    return value


def _iso(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


_LEAST_MEMORY = 512_000_000
_DEADLINE_CURE = 'must be an ISO date or time, e.g. "2026-03-31" or "2026-03-31T23:59:00Z"'

Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": PATTERN, "examples": ["30m", "1h30m", "300s"]},
                {"type": "number", "exclusiveMinimum": 0},
            ]
        }
    ),
]
_SIZE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "pattern": sizes.PATTERN, "examples": ["1g", "512m", "0"]},
        {"type": "number", "minimum": 0},
    ]
}
Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(sizes.format_size, return_type=str, when_used="json"),
    WithJsonSchema(_SIZE_SCHEMA),
]
SizeOrAll = Annotated[
    int | Literal["all"],
    BeforeValidator(_kept_size),
    PlainSerializer(lambda kept: kept if kept == "all" else sizes.format_size(kept), return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"const": "all"}, *_SIZE_SCHEMA["anyOf"]]}),
]
CountOrAuto = Annotated[
    int | Literal["auto"],
    BeforeValidator(_count_or_auto),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 1024}, {"const": "auto"}]}),
]
BytesOrAuto = Annotated[
    int | Literal["auto"],
    BeforeValidator(_bytes_or_auto),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*[0-9.]+\s*([KMGTkmgt]i?)?[Bb]\s*$", "examples": ["8GB"]},
                {"type": "integer", "minimum": _LEAST_MEMORY},
                {"const": "auto"},
            ]
        }
    ),
]
RoleModel = Annotated[
    ModelSettings,
    PlainSerializer(lambda settings: settings.to_config(), when_used="json"),
]
Deadline = Annotated[
    dt.datetime | None,
    BeforeValidator(_deadline),
    PlainSerializer(_iso, return_type=str | None, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["2026-03-31"]}, {"type": "null"}]}),
]
Name = Annotated[str, Field(min_length=1, max_length=1000)]
PathText = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
CommandText = Annotated[str, Field(max_length=4000), AfterValidator(_command)]
KeysText = Annotated[str, Field(max_length=100), AfterValidator(_keys)]
