"""Pauses between tries: exponential with full jitter, or as long as the server asks."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_RETRY_IN = re.compile(
    r"re-?try in ([\d.]{1,9}) ?s|try again in ([\d.]{1,9}) ?s|retryDelay\W{1,8}([\d.]{1,9})s", re.IGNORECASE
)
"""Gemini says in the text alone how long to wait, and of every limit, a minute's too, that a quota is exceeded."""


@dataclass(frozen=True)
class Backoff:
    """How often a call is made, and how long to wait in between.

    Full jitter after Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

    Attributes:
        base: Seconds; the n-th pause is drawn from 0 to ``base * 2**n``, at most ``cap``.
        patience: The longest wait that a server may ask for; asked for more, nobody waits.
        sleep: Waits that many seconds.
        draw: A random number between two.
    """

    attempts: int = 4
    base: float = 2.0
    cap: float = 30.0
    patience: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[float, float], float] = random.uniform

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Seconds to wait after a failed attempt (counted from 1); None: it is not worth another."""
        if attempt >= self.attempts or (asked is not None and asked > self.patience):
            return None
        drawn = self.draw(0.0, min(self.cap, self.base * 2.0 ** (attempt - 1)))
        return drawn if asked is None else max(asked, drawn)


def retry_after(headers: Mapping[str, str], now: datetime | None = None, *, text: str = "") -> float | None:
    """Seconds that a reply asks to wait: RFC 9110, 10.2.3, seconds or a date; else in its text."""
    value = str(headers.get("retry-after") or "").strip()
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, OverflowError):
        when = parsedate_to_datetime(value)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    said = _RETRY_IN.search(text)
    with suppress(ValueError):
        return float(next(filter(None, said.groups()))) if said else None
    return None
