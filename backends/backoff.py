"""Pauses between tries: exponential with full jitter, or as long as the provider asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How often a call is made, and how long to wait in between.

    Full jitter after Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).

    Attributes:
        base: Seconds; the n-th pause is drawn from 0 to ``base * 2**n``, at most ``cap``.
        patience: The longest wait that a provider may ask for; asked for more, nobody waits.
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
