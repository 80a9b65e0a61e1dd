"""The columns of the rounds table: what stands in them, how they sort, and which of them a width has room for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.lines import Piece
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES, fold_text
from autokaggle_tui.wording import MARKS, clock_text, cost_text, gain_text, score_text
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import Now, Result

GAP = 2
MARGIN = 1
STAR = 2
LEAST_IDEA = 14
ROOMY = 100
"""Width from which families are written out."""
MIDDLING = 85
"""Width from which names of imported predictions get some room."""
SHORT = {"lightgbm": "lgbm", "xgboost": "xgb", "catboost": "cat", "extra_trees": "trees", "random_forest": "forest"}


@dataclass(frozen=True)
class Context:
    """What a row depends on besides its result."""

    now: Now
    champion: str | None
    short: bool = True


Key = float | str | None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: What settings call it.
        piece: What stands in it, and its style.
        key: What it sorts by, given +1 when higher scores are better and -1 when lower; results without it come last.
        descending: Whether the larger come first.
    """

    name: str
    title: str
    width: int
    piece: Callable[[Result, Context], Piece]
    key: Callable[[Result, int], Key]
    right: bool = False
    descending: bool = True


def _name(result: Result, context: Context) -> Piece:
    star = "★ " if result.name == context.champion else "  "
    style = "bold $text-accent" if result.name == context.champion else ("" if result.round is not None else MUTED)
    return star + one_line(result.name), style


def _model(result: Result, context: Context) -> Piece:
    family = one_line(result.family)
    return SHORT.get(family, family) if context.short else family, ""


def _score(result: Result, context: Context) -> Piece:
    if result.score is None:
        return ("·····", FAINT) if result.status == "running" else ("–", FAINT)
    if result.name == context.champion:
        return score_text(result.score), "bold $text-accent"
    return score_text(result.score), "" if result.status == "keep" else MUTED


def _gain(result: Result, _context: Context) -> Piece:
    return gain_text(result.gain), "$text-success" if result.status == "keep" else MUTED


def _status(result: Result, context: Context) -> Piece:
    now = context.now
    word = result.status
    if word == "running":
        word = fold_text(now) if now.experiment == result.name else "run"
    elif word == "open" and now.phase is not None and now.round == result.round:
        word = now.phase.name
    return f"{MARKS.get(result.status, '○')} {word}", STATUS_STYLES.get(result.status, MUTED)


def _idea(result: Result, _context: Context) -> Piece:
    idea = "EDA: a look at the data" if result.round == 0 and not result.idea else one_line(result.idea)
    return idea, "" if result.status in ("keep", "running", "open") else MUTED


def _rho(result: Result, _context: Context) -> Piece:
    return ("" if result.rho is None else f"{result.rho:.4f}"), MUTED


def _t(result: Result, _context: Context) -> Piece:
    return ("" if result.t is None else f"{result.t:.1f}"), MUTED


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("round", "R", STAR + 3, _name, lambda result, _: result.started_at),
        Column("model", "model", 7, _model, lambda result, _: result.family.casefold(), descending=False),
        Column(
            "cv",
            "cv",
            7,
            _score,
            lambda result, better: None if result.score is None else result.score * better,
            right=True,
        ),
        Column("gain", "Δ best", 8, _gain, lambda result, _: result.gain, right=True),
        Column("t", "t", 5, _t, lambda result, _: result.t, right=True),
        Column(
            "lb",
            "lb",
            7,
            lambda result, _: ("" if result.lb is None else score_text(result.lb), "$text-warning"),
            lambda result, better: None if result.lb is None else result.lb * better,
            right=True,
        ),
        Column("rho", "ρ pool", 7, _rho, lambda result, _: result.rho, right=True, descending=False),
        Column("status", "status", 10, _status, lambda result, _: result.status, descending=False),
        Column(
            "time",
            "time",
            7,
            lambda result, _: (clock_text(result.seconds) if result.seconds else "", MUTED),
            lambda result, _: result.seconds or None,
            right=True,
        ),
        Column(
            "cost",
            "cost",
            6,
            lambda result, _: ("" if result.cost == 0 else cost_text(result.cost), MUTED),
            lambda result, _: result.cost or None,
            right=True,
        ),
        Column("idea", "idea", LEAST_IDEA, _idea, lambda result, _: result.idea.casefold(), descending=False),
    )
}
"""By name, in the order of the screen."""

ALWAYS = ("round", "model", "cv", "gain", "status", "idea")
MORE = ("rho", "lb", "t", "time", "cost")
"""What is added, in this order, while the idea keeps its room."""

FIRST_TO_GO = ("gain", "model")
"""What leaves a very narrow table once the idea is gone."""

Placed = tuple[Column, int, int]
"""A column with its place and width."""


def layout(width: int, results: Collection[Result]) -> tuple[Placed, ...]:
    """The columns that a width has room for; names and scores get the room they need, the idea what is left."""
    roomy = width >= ROOMY
    names = max((len(result.name) for result in results if width >= MIDDLING or result.round is not None), default=3)
    scores = [score for result in results if (score := result.score) is not None]
    digits = max((len(score_text(score)) for score in (min(scores), max(scores))), default=7) if scores else 7
    widths = {name: column.width for name, column in COLUMNS.items()}
    widths["round"] = STAR + min(max(names, 3), 12 if roomy else 8 if width >= MIDDLING else 5)
    widths["model"] = 12 if roomy else 7
    widths["cv"] = widths["lb"] = max(min(digits, 14), 7)
    widths["gain"] = widths["cv"] + 1
    chosen = set(ALWAYS)

    def left() -> int:
        return width - 2 * MARGIN - sum(widths[name] + GAP for name in chosen if name != "idea")

    for name in MORE:
        if not any(COLUMNS[name].key(result, 1) is not None for result in results):
            continue
        chosen.add(name)
        if left() < LEAST_IDEA + (4 if name != "rho" else 0):
            chosen.discard(name)
            break
    if left() < LEAST_IDEA // 2:
        chosen.discard("idea")
    for name in FIRST_TO_GO:
        if left() < -GAP:
            chosen.discard(name)
    widths["idea"] = max(left(), 0)
    placed, at = [], MARGIN
    for name, column in COLUMNS.items():
        if name in chosen:
            placed.append((column, at, widths[name]))
            at += widths[name] + GAP
    return tuple(placed)
