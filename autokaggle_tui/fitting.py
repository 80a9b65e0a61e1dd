"""Whether a record holds what its annotations say: rows may come from another version or a damaged disk.

Standard library only: viewers ask it of every record they make.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, cast

from experiments.errors import RegistryError

Record = TypeVar("Record")
Check = Callable[[Any], bool]


class MalformedError(ValueError):
    """A row is not what it should be; it is left out."""


MALFORMED = (MalformedError, KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What handling a row that is not what it should be may raise."""


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float


Moment = Annotated[float, Between(0, 253_402_300_799)]
"""Unix seconds up to the year 9999, which calendars can show."""
Count = Annotated[int, Between(0, 100_000)]
"""How many of something that there is a place for each of, in memory or on the screen."""


def fit(record: Record) -> Record:
    """The record itself.

    Raises:
        MalformedError: A field holds something else than its annotation says.
    """
    for name, check in _checks(cast(Any, type(record))):
        if not check(getattr(record, name)):
            raise MalformedError(f"{type(record).__name__}.{name} is {getattr(record, name)!r:.100}")
    return record


@contextmanager
def intact() -> Iterator[None]:
    """For reading a registry: a row that is not what it should be is told as such.

    Raises:
        RegistryError: One was malformed.
    """
    try:
        yield
    except MALFORMED as error:
        detail = f"{type(error).__name__}: {error}"
        raise RegistryError(
            f"the registry holds a row that cannot be ({detail:.200}).", hint="Restore autokaggle.db from a backup."
        ) from error


@functools.cache
def _checks(kind: Any) -> tuple[tuple[str, Check], ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple((item.name, _check(hints[item.name])) for item in fields(kind) if hints[item.name] is not Any)


def _check(hint: Any) -> Check:
    """What tells whether a value is of this kind."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return lambda _value: True
    if origin is Annotated:
        number, bounds = _check(inner[0]), inner[1]
        return lambda value: number(value) and bounds.low <= value <= bounds.high
    if origin in (typing.Union, types.UnionType):
        checks = [_check(part) for part in inner]
        return lambda value: any(check(value) for check in checks)
    if origin is not None and issubclass(origin, Mapping):
        key, item = map(_check, inner)
        return lambda value: isinstance(value, Mapping) and all(key(k) and item(v) for k, v in value.items())
    if origin is tuple and inner[-1:] != (...,):
        parts = [_check(part) for part in inner]
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(parts)
            and all(c(v) for c, v in zip(parts, value, strict=True))
        )
    if origin is not None and issubclass(origin, Sequence):
        each = _check(inner[0])
        return lambda value: isinstance(value, tuple | list) and all(each(part) for part in value)
    return _plain(hint)


def _plain(kind: Any) -> Check:
    if kind is float:
        return lambda value: type(value) is float or (type(value) is int and abs(value) < 2**53)
    if kind is int:
        return lambda value: type(value) is int and abs(value) < 2**63
    if kind in (str, bool) or is_dataclass(kind):
        return lambda value: type(value) is kind
    return lambda value: isinstance(value, kind)
