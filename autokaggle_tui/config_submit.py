"""Section ``submit`` of config.json: when the loop submits by itself."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from autokaggle_tui.config_section import Section

EVERY = re.compile(r"every ([1-9][0-9]{0,3}) rounds?")
WHEN = ("gain", "ask", "never")
_CURE = 'must be "gain", "every N rounds" (e.g. "every 5 rounds"), "ask" or "never"'


def _when(value: Any) -> Any:
    if value in WHEN or (isinstance(value, str) and EVERY.fullmatch(value)):
        return value
    raise ValueError(_CURE)


When = Annotated[
    str,
    BeforeValidator(_when),
    WithJsonSchema({"anyOf": [{"enum": list(WHEN)}, {"type": "string", "pattern": f"^{EVERY.pattern}$"}]}),
]


class Submit(Section):
    """When the loop submits by itself; ``autokaggle-tui submit`` works whatever is written here."""

    when: When = "gain"
    """"gain": what beats the champion by more than noise; "every N rounds": the best that was not sent yet; "ask": as
    "gain", but each waits for `approve RNN`; "never": only what you submit yourself."""
    keep_last: bool = True
    """Whether the last submission of a UTC day is kept for the end of the run, or of the day, whichever comes first."""

    @property
    def every(self) -> int | None:
        """Rounds from one submission to the next; None when it does not go by rounds."""
        found = EVERY.fullmatch(self.when)
        return int(found[1]) if found else None
