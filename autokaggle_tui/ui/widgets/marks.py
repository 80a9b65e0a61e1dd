"""Signs and colours of states, and how what runs is written: the same in every widget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.wording import clock_text

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Now

STATUS_STYLES: Mapping[str, str] = {
    "open": "$text-accent",
    "running": "$text-accent",
    "keep": "$text-success",
    "imported": "$text-secondary",
    "done": MUTED,
    "discard": MUTED,
    "killed": "$text-warning",
    "blocked": "$text-warning",
    "crash": "$text-error",
    "timeout": "$text-error",
    "invalid": "$text-error",
}
"""The colour that goes with the sign in ``wording.MARKS``."""

ENGINE_MARKS: Mapping[EngineState, tuple[str, str]] = {
    "reading": ("…", MUTED),
    "starting": ("…", "$text-accent"),
    "running": ("●", "$text-success"),
    "pausing": ("…", "$text-warning"),
    "paused": ("❙❙", "$text-warning"),
    "stopping": ("■", "$text-warning"),
    "finished": ("■", "$text-success"),
    "stopped": ("■", MUTED),
    "failed": ("✗", "$text-error"),
    "died": ("✗", "$text-error"),
}
"""Sign and colour of what the engine does, beside its word."""


def stopwatch(seconds: float) -> str:
    """A time that ticks, in whole seconds: ``0:08``, ``12:40``, ``1:02:05``."""
    return f"0:{int(max(seconds, 0)):02d}" if seconds < 60 else clock_text(seconds)


def fold_text(now: Now) -> str:
    """The fold that the running experiment is at: ``fold 3/5``."""
    return f"fold {min(now.folds_done + 1, max(now.folds, 1))}/{max(now.folds, 1)}"


def progress(now: Now, at: float) -> float:
    """How much of the running experiment is done, from 0 to 1.

    A fold that runs counts by the time it has had against the mean of those that are done.
    """
    if now.experiment is None or now.folds <= 0:
        return 0.0
    done = float(now.folds_done)
    if now.fold_seconds:
        each = max(sum(now.fold_seconds) / len(now.fold_seconds), 1e-3)
        done += sum(min((at - since) / each, 0.95) for since in now.running.values())
    return min(max(done / now.folds, 0.0), 1.0)
