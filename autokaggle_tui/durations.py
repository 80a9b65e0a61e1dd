"""Spans of time as people write them: ``2h``, ``300s``, ``90``, ``1h30m``."""

from __future__ import annotations

import re

from experiments.errors import UsageError

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
PATTERN = (
    rf"^\s*(?:{_NUMBER}|(?=[0-9])(?:{_NUMBER}\s*[dD])?\s*(?:{_NUMBER}\s*[hH])?"
    rf"\s*(?:{_NUMBER}\s*[mM](?:in)?)?\s*(?:{_NUMBER}\s*[sS])?)\s*$"
)
"""Seconds; or days, hours, minutes and seconds in this order, each optional. Also valid in a JSON schema."""

_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0))
_SHORTEST = 1e-3
_LONGEST = 3_660 * 86_400.0
_HINT = 'write it like "2h", "1h30m", "300s", or a number of seconds'


def parse_duration(text: str | float) -> float:
    """Seconds in a span of time.

    Args:
        text: ``2h``, ``300s``, ``90`` (seconds), ``1h30m``, ``1.5h``, ``2d``; or seconds as a number.

    Raises:
        UsageError: It is not a span of time, not above zero, or longer than ten years.
    """
    if isinstance(text, str):
        match = re.match(PATTERN, text)
        if match is None:
            raise UsageError(f"{text!r} is not a span of time", hint=_HINT)
        bare, *parts = match.groups()
        seconds = sum(float(n) * size for n, (_, size) in zip(parts, _UNITS, strict=True) if n)
        seconds += float(bare or 0)
    elif isinstance(text, (int, float)) and not isinstance(text, bool):
        # An integer may be too large for a float.
        seconds = float(min(text, 2 * _LONGEST))
    else:
        raise UsageError(f"{text!r} is not a span of time", hint=_HINT)
    if not _SHORTEST <= seconds <= _LONGEST:
        raise UsageError(f"a span of time must lie above 0 and within ten years, not {text!r}", hint=_HINT)
    return seconds


def format_duration(seconds: float) -> str:
    """Text that ``parse_duration`` reads as the same time, to a microsecond: 5400 -> ``1h30m``."""
    parts = []
    rest = round(seconds, 6)
    for unit, size in _UNITS[:-1]:
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(f"{int(whole)}{unit}")
    if (left := f"{rest:.6f}".rstrip("0").rstrip(".")) not in ("", "0"):
        parts.append(f"{left}s")
    return "".join(parts) or "0s"
