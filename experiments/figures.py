"""The figures of a ruling that matter, in a few words. Standard library only: viewers show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from experiments.text import gain_text, one_line, score_text

Figures = Mapping[str, Any]

MOST = 160
_NAMES = 3


def figures_text(rule: str | None, figures: Any) -> str:
    """E.g. ``gain +0.00040 ± 0.00060 · t 0.67 < 1.50``; empty when there are none, or none that could be.

    Args:
        rule: Id of the rule.
        figures: Of its ruling (``rulings.Ruling.figures``), as the registry keeps them.
    """
    if not isinstance(figures, Mapping):
        return ""
    told = _RULES.get(rule or "")
    try:
        parts = [] if told is None else told(figures)
        evidence = figures.get("evidence")
        if isinstance(evidence, Mapping):
            parts.append(f"evidence {_gain(evidence['gain'])} · t {_number(evidence['t'], 2)}")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
        # Written by another version, or by a hand.
        return ""
    return one_line(" · ".join(part for part in parts if part), MOST)


def _champion(figures: Figures) -> list[str]:
    noise = "" if figures["se"] is None else f" ± {score_text(float(figures['se']))}"
    t, asked = figures["t"], figures["required_t"]
    return [f"gain {_gain(figures['gain'])}{noise}", f"t {_compared(t, asked, 2)}"]


def _gate(figures: Figures) -> list[str]:
    margin = _score(figures["margin"])
    behind = figures["behind"]
    said = f"behind {_score(behind)} > {margin}" if behind is not None else f"no score, margin {margin}"
    return [f"fold 1 {_score(figures['fold_score'])} against {_score(figures['best_fold_score'])}", said]


def _correlation(figures: Figures) -> list[str]:
    pairs = figures["pairs"]
    limit = f"{float(figures['max_correlation']):g}"
    first = f"{pairs[0][0]}-{pairs[0][1]} {float(pairs[0][2]):.4f} > {limit}" if pairs else ""
    return [first, _more(len(pairs) - 1, "pair")]


def _gap(figures: Figures) -> list[str]:
    behind = list(figures["behind"].items())
    margin = _score(figures["margin"])
    listed = [f"{name} {_score(value)}" for name, value in behind[:_NAMES]]
    return [f"{', '.join(listed)} > {margin}" if listed else "", _more(len(behind) - _NAMES, "member")]


def _small(figures: Figures) -> list[str]:
    return [f"{int(figures['members'])} members, {int(figures['min_members'])} to {int(figures['max_members'])} may be"]


def _tuning(figures: Figures) -> list[str]:
    tuned = [str(name) for name in figures["recent_tuning"]]
    window, most = int(figures["window"]), int(figures["max_tuning"])
    before = f" ({', '.join(tuned[-_NAMES:])})" if tuned else ""
    return [f"tuning {len(tuned) + 1} of {window}{before}, {most} may be"]


def _tunnel(figures: Figures) -> list[str]:
    running = [str(name) for name in figures["rounds_running"]]
    listed = f" ({', '.join(running[-_NAMES:])})" if running else ""
    return [f"{figures['family']} × {len(running)}{listed}, {int(figures['max_running'])} may be"]


def _given_up(figures: Figures) -> list[str]:
    needed = int(figures["min_configurations"])
    early = [f"{family} {int(count)}" for family, count in figures["configurations"].items() if int(count) < needed]
    return [f"{', '.join(early[:_NAMES])} < {needed} configurations" if early else ""]


def _building(figures: Figures) -> list[str]:
    return [f"{name} {'✓' if figures[key] else '✗'}" for name, key in (("EDA", "has_eda"), ("brief", "has_brief"))]


def _repeats(figures: Figures) -> list[str]:
    return [f"repeats {figures['repeats']} ({figures['status']})"] if "repeats" in figures else []


_RULES: Mapping[str, Callable[[Figures], list[str]]] = {
    "noise-floor": _champion,
    "fold1-gate": _gate,
    "stacking-correlation": _correlation,
    "diversity-threshold": _gap,
    "small-blends": _small,
    "research-over-tuning": _tuning,
    "tunnel-vision": _tunnel,
    "false-negatives": _given_up,
    "research-before-building": _building,
    "no-repeats": _repeats,
}


def _compared(value: Any, asked: Any, digits: int) -> str:
    if value is None:
        return f"unknown, {_number(asked, digits)} is asked"
    sign = "<" if float(value) < float(asked) else "≥"
    return f"{_number(value, digits)} {sign} {_number(asked, digits)}"


def _number(value: Any, digits: int) -> str:
    return "–" if value is None else f"{float(value):.{digits}f}"


def _score(value: Any) -> str:
    return "–" if value is None or not math.isfinite(float(value)) else score_text(float(value))


def _gain(value: Any) -> str:
    return "–" if value is None else gain_text(float(value))


def _more(count: int, what: str) -> str:
    return "" if count <= 0 else f"{count} more {what}{'' if count == 1 else 's'}"
