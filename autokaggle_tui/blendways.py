"""The ways of blending that a fitted blend was chosen from, as its report in the registry has them.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.fitting import MALFORMED, fit
from experiments.text import one_line

MOST = 100


@dataclass(frozen=True)
class BlendWay:
    """One way of blending.

    Attributes:
        label: E.g. ``hill climbing of ranks``.
        members: How many models it takes.
        score: Cross-fitted.
        gain: Over the best single model, with its standard error and t.
        allowed: No rule forbids it.
        rules: What fired, e.g. ``small-blends (warn)``.
    """

    label: str
    members: int
    score: float | None
    gain: float | None
    error: float | None
    t: float | None
    allowed: bool
    chosen: bool
    rules: tuple[str, ...]


def read_ways(report: Any) -> tuple[BlendWay, ...]:
    """The ways of a report, the chosen one first; what is damaged is left out."""
    listed = report.get("candidates") if isinstance(report, Mapping) else None
    found = []
    for one in listed[:MOST] if isinstance(listed, Sequence) else ():
        try:
            found.append(fit(_way(one)))
        except MALFORMED:
            continue
    return tuple(found)


def read_notes(report: Any) -> tuple[str, ...]:
    """What the report says of the blend that was taken, or why there is none."""
    if not isinstance(report, Mapping):
        return ()
    chosen = report.get("chosen")
    said = chosen.get("notes") if isinstance(chosen, Mapping) else [report.get("reason")]
    return tuple(one_line(str(note), 1000) for note in said or () if note) if isinstance(said, list) else ()


def _way(one: Mapping[str, Any]) -> BlendWay:
    gain = one["gain"]
    return BlendWay(
        label=one_line(str(one["label"]), 100),
        members=len(one["members"]),
        score=one["score"],
        gain=gain["gain"],
        error=gain["se"],
        t=gain["t"],
        allowed=one["allowed"],
        chosen=one["chosen"],
        rules=tuple(
            one_line(f"{ruling['rule']} ({ruling['verdict']})", 60)
            for ruling in one["rulings"]
            if ruling["verdict"] != "pass"
        ),
    )
