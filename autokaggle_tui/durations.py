"""Durations as people write them: 300s, 45m, 2h, 1h30m, 90."""

from __future__ import annotations

import re

from experiments.errors import UsageError

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_duration(text: str) -> float:
    """Seconds of a duration; a bare number is seconds.

    Raises:
        UsageError: It is no duration, or not positive.
    """
    plain = text.strip().lower().replace(" ", "")
    seconds = 0.0
    if re.fullmatch(r"\d+(?:\.\d+)?", plain):
        seconds = float(plain)
    elif _WHOLE.fullmatch(plain):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(plain))
    if not 0 < seconds < 1e9:
        raise UsageError(f"{text!r} is no duration.", hint="Write it as 300s, 45m, 2h or 1h30m.")
    return seconds
