"""Models that could not answer: how long nobody asks them, so that the loop goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.models.errors import UnavailableError
from backends.models.settings import ModelSettings
from experiments.errors import ModelError
from experiments.text import one_line

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 1800.0
REFUSED_PAUSE = 600.0
"""A key or a name is put right by a person; nothing tells when, so it is tried again now and then."""


@dataclass(frozen=True)
class Outage:
    """One model that is left alone.

    Attributes:
        until: By the monotonic clock.
        pause: Seconds from the failure until then.
    """

    reason: str
    until: float
    pause: float


@dataclass
class Outages:
    """Outages by the settings of the model: other settings are another model."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[ModelSettings, Outage] = field(default_factory=dict)

    def failed(self, settings: ModelSettings, error: ModelError) -> Outage:
        """A model could not answer: the pause doubles with each time in a row, or is what the provider asked for."""
        if isinstance(error, UnavailableError):
            before = self._known.get(settings)
            pause = min(FIRST_PAUSE if before is None else 2 * before.pause, LONGEST_PAUSE)
            pause = max(pause, min(error.retry_after or 0.0, LONGEST_PAUSE))
            # That it is asked again is said with the pause.
            reason = error.message
        else:
            pause, reason = REFUSED_PAUSE, str(error)
        outage = Outage(one_line(reason), self.clock() + pause, pause)
        self._known[settings] = outage
        return outage

    def answered(self, settings: ModelSettings) -> None:
        """The model is there."""
        self._known.pop(settings, None)

    def now(self, settings: ModelSettings) -> Outage | None:
        """The outage during which this model is not to be asked, or None."""
        known = self._known.get(settings)
        return known if known is not None and self.clock() < known.until else None
