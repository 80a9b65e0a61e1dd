"""Amounts of storage as people write them: ``20g``, ``512m``, ``1.5 GB``; a unit is 1,024 of the one before."""

from __future__ import annotations

import re

from experiments.errors import UsageError

PATTERN = r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([kKmMgGtT]?)(?:i?[bB])?\s*$"
"""A number of bytes, or one with a unit. Also valid in a JSON schema."""

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_LARGEST = 2**60
_HINT = 'write it like "20g", "512m", or a number of bytes'


def parse_size(text: str | float) -> int:
    """Bytes in an amount of storage.

    Args:
        text: ``20g``, ``1.5 GB``, ``512m``, ``0``; or bytes as a number.

    Raises:
        UsageError: It is no amount of storage, or larger than 2^60 bytes.
    """
    if isinstance(text, str):
        match = re.match(PATTERN, text)
        if match is None:
            raise UsageError(f"{text!r} is not an amount of storage", hint=_HINT)
        amount = float(match[1]) * _UNITS[match[2].lower()]
    elif isinstance(text, (int, float)) and not isinstance(text, bool):
        # An integer may be too large for a float.
        amount = float(min(text, 2 * _LARGEST))
    else:
        raise UsageError(f"{text!r} is not an amount of storage", hint=_HINT)
    if not 0 <= amount <= _LARGEST:
        raise UsageError(f"an amount of storage must lie within 0 and 2^60 bytes, not {text!r}", hint=_HINT)
    return int(amount)


def format_size(amount: int) -> str:
    """Text that ``parse_size`` reads as the same amount: 1073741824 -> ``1g``."""
    for unit in "tgmk":
        if amount and amount % _UNITS[unit] == 0:
            return f"{amount // _UNITS[unit]}{unit}"
    return str(amount)


def size_text(amount: float) -> str:
    """An amount to read at a glance: ``66 GB``, ``0.4 GB``, ``12 MB``, ``3.1 kB``."""
    for unit, name in (("t", "TB"), ("g", "GB"), ("m", "MB")):
        value = amount / _UNITS[unit]
        if value >= 0.1:
            return f"{value:.1f} {name}" if value < 10 else f"{value:,.0f} {name}"
    value = amount / 1024
    return f"{value:.1f} kB" if 0 < value < 10 else f"{value:.0f} kB"
