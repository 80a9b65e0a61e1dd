"""How figures are written, the same on the screen, headless and in the command line's tables."""

from __future__ import annotations

from collections.abc import Mapping

from autokaggle_tui.agreement import ENOUGH
from experiments.text import gain_text, one_line, score_text

__all__ = [
    "MARKS",
    "QUEUED",
    "agreement_line",
    "arrow",
    "clock_text",
    "context_text",
    "cost_text",
    "count_text",
    "gain_text",
    "model_text",
    "pace_text",
    "score_text",
    "sending_word",
]

MARKS: Mapping[str, str] = {
    "open": "●",
    "running": "●",
    "keep": "✓",
    "imported": "✓",
    "discard": "✗",
    "killed": "✗",
    "blocked": "✗",
    "crash": "!",
    "timeout": "!",
    "invalid": "!",
}
"""A sign for each status, always beside its word: colour and shape alone say nothing."""


QUEUED: Mapping[str, str] = {"waiting": "a free submission", "asking": "your word"}
"""What an open place in the queue waits for, by its state."""


def sending_word(state: str, scoring: str) -> str:
    """How a submission stands, in a word: an accepted one is ``scoring`` first, and may end in an ``error``."""
    if state == "accepted" and scoring != "complete":
        return "scoring" if scoring == "pending" else "error"
    return state


def agreement_line(scored: int, rho: float | None, parted: int) -> str:
    """``12 scored, rank correlation 0.91, 2 pairs the other way round``."""
    said = f"{scored} scored"
    if rho is not None:
        said += f", rank correlation {rho:.2f}"
    elif scored < ENOUGH:
        said += f"; {ENOUGH} are needed to compare"
    return said + (f", {parted} pair{'' if parted == 1 else 's'} the other way round" if parted else "")


def arrow(direction: str | None) -> str:
    """``↑`` when higher scores are better, ``↓`` when lower ones are."""
    return {"maximize": "↑", "minimize": "↓"}.get(direction or "", "")


def clock_text(seconds: float | None) -> str:
    """A span of time to read at a glance: ``8.4s``, ``3:07``, ``2:05:09``, ``3d 4h``."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def cost_text(dollars: float | None, *, estimated: bool = False) -> str:
    """Dollars; ``$?`` when a price is unknown, ``~$1.84`` when they rest on guesses."""
    if dollars is None:
        return "$?"
    about = "~" if estimated and dollars else ""
    return about + (f"${dollars:,.2f}" if dollars >= 0.01 or dollars == 0 else f"${dollars:.4f}")


def pace_text(pace: float | None) -> str:
    """Tokens a second: ``61 t/s``; nothing when they are unknown."""
    return "" if pace is None else f"{pace:.0f} t/s" if pace >= 10 else f"{pace:.1f} t/s"


def context_text(used: int | None, window: int | None) -> str:
    """How full a model's context is: ``12.3k/200k 6%``; nothing when that is unknown."""
    if used is None:
        return ""
    return f"{count_text(used)}/{count_text(window)} {used / window:.0%}" if window else count_text(used)


def model_text(model: str, asked: str = "", *, most: int = 300) -> str:
    """Models without their providers: ``gpt-5``, or ``claude-opus → gpt-5`` where another answered than was asked.

    Args:
        most: Characters that each name may take.
    """
    names = [one_line(name.rpartition("/")[2], most) for name in (asked, model) if name]
    return " → ".join(names)


def count_text(number: int) -> str:
    """A count in three figures: ``950``, ``12.3k``, ``1.2M``."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
