"""The score chart: every experiment as a dot in the order of play, the champion's score as a line above them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from autokaggle_tui.ui.widgets.braille import Canvas
from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.drawing import Drawing
from autokaggle_tui.ui.widgets.lines import Line, fit
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Result, State

BEST, KEPT, OTHER, BOARD = "$text-accent", "$text-success", MUTED, "$text-warning"
BOARD_SIGN, BOARD_ABOVE, BOARD_BELOW = "◇", "▵", "▿"
BEYOND_TOP, BEYOND_BOTTOM = "▴", "▾"
DOTS_FOR_BLOCKS = 2.2
"""Dots across for each experiment from which one is drawn larger than a dot."""
NEAR = 2.5
"""How far below the best the scale reaches, in median distances from it."""
ROWS_PER_TICK = 2.5
LEAST_SPREAD = 1e-9
LEAST_SCORE = 1e-12
"""Scores below this are drawn as none."""
LONGEST_LABEL = 10


@dataclass(frozen=True)
class Point:
    """An experiment on the chart."""

    name: str
    score: float
    kept: bool
    lb: float | None


@dataclass(frozen=True)
class Scale:
    """The scores that the chart has room for, and those that are written beside it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    def dot(self, score: float, height: int) -> int:
        """The dot of a score, from the top; outside the chart when it is off the scale."""
        return round((self.high - score) / (self.high - self.low) * (height - 1))

    @property
    def width(self) -> int:
        """Cells of the longest label."""
        return max((cell_len(label) for label in self.labels), default=0)


def points(results: Mapping[str, Result]) -> tuple[Point, ...]:
    """What the chart shows of the results, oldest first."""
    return tuple(
        Point(result.name, result.score, result.status == "keep", result.lb)
        for result in results.values()
        if result.score is not None and math.isfinite(result.score)
    )


def scale(shown: Sequence[Point], better: int, rows: int) -> Scale:
    """The part of the scores that tells something: near the best, however bad the worst are.

    Args:
        better: +1 when higher scores are better, else -1.
        rows: Character rows of the chart.
    """
    best = max((point.score for point in shown), key=lambda score: score * better)
    behind = sorted((best - point.score) * better for point in shown)
    spread = behind[-1]
    if len(behind) > 2:
        spread = min(spread, NEAR * statistics.median(behind) or spread)
    boards = [point.lb for point in shown if point.lb is not None and math.isfinite(point.lb)]
    near = [board for board in boards if -spread <= (best - board) * better <= 2 * spread]
    ends = [best, best - spread * better, *near]
    low, high = min(ends), max(ends)
    equal = high - low <= max(abs(high) * LEAST_SPREAD, LEAST_SCORE)
    room = max(abs(high), LEAST_SCORE) * 1e-3 if equal else (high - low) * 0.04
    low, high = low - room, high + room
    return Scale(low, high, *_ticks(low, high, max(int(rows / ROWS_PER_TICK), 2)))


def _ticks(low: float, high: float, most: int) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Round numbers within the scale, about so many, written with the digits that tell them apart."""
    size = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (size * factor for factor in (1, 2, 5, 10, 20))
    step = next(step for step in steps if math.floor(high / step) - math.ceil(low / step) <= most)
    values = tuple(number * step for number in range(math.floor(high / step), math.ceil(low / step) - 1, -1))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    labels = tuple(f"{value:,.{digits}f}" for value in values)
    if max(map(len, labels), default=0) > LONGEST_LABEL:
        short = (tuple(f"{value:.{precision}g}" for value in values) for precision in range(3, 16))
        labels = next((told for told in short if len(set(told)) == len(told)), labels)
    return values, labels


class ScoreChart(Drawing):
    """The course of the campaign; drawn anew only when scores or size change."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    ScoreChart {
        background: transparent;
        border: round $panel;
        border-title-color: $text-primary;
        border-subtitle-color: $text-muted;
        padding: 0 1;
        &:focus {
            border: round $accent;
            border-title-style: bold;
        }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = "CV score"
        self._seen: Mapping[str, Result] = {}
        self._reading = True
        self._points: tuple[Point, ...] = ()
        self._better = 1

    def show(self, state: State, engine: EngineState, now: float) -> None:  # noqa: ARG002
        """Show the scores so far."""
        if self._reading != (engine == "reading"):
            self._reading = engine == "reading"
            self.redraw()
        if state.results is self._seen and state.now.better == self._better:
            return
        self._seen = state.results
        shown = points(state.results)
        if shown != self._points or state.now.better != self._better:
            self._points, self._better = shown, state.now.better
            self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """The lines of the chart; the legend to them goes into the border."""
        lines, self.border_subtitle = self._chart(width, height)
        return lines

    def _chart(self, width: int, height: int) -> tuple[list[Line], Content]:
        if not self._points:
            return [(("Reading…" if self._reading else "No scores yet.", MUTED),)], Content()
        if width < 8 or height < 1:
            return [], Content()
        rows = height - 1 if height >= 6 else height
        found = scale(self._points, self._better, rows)
        label = found.width if found.width + 10 <= width else 0
        canvas = Canvas(width - (label + 2 if label else 0), rows)
        used = self._plot(canvas, found)
        ticks: dict[int, str] = {}
        for value, text in zip(found.ticks, found.labels, strict=True):
            ticks.setdefault(found.dot(value, canvas.height) // 4, text)
        lines = []
        for row in range(rows):
            axis: Line = ()
            if label:
                axis = ((fit(ticks.get(row, ""), label, right=True), MUTED), (" ┤" if row in ticks else " │", FAINT))
            lines.append((*axis, *canvas.line(row)))
        if rows < height:
            lines.append(self._order(width, label + 2 if label else 0))
        return lines, _legend(used, width)

    def _plot(self, canvas: Canvas, found: Scale) -> set[str]:
        """Draw dots, line and marks; returns the signs that were used."""
        shown, last = self._points, len(self._points) - 1
        place = [round(i * (canvas.width - 2) / max(last, 1)) for i in range(len(shown))]
        dot = [found.dot(point.score, canvas.height) for point in shown]
        size = 2 if canvas.width >= DOTS_FOR_BLOCKS * len(shown) else 1
        for point, x, y in zip(shown, place, dot, strict=True):
            if not point.kept and 0 <= y < canvas.height:
                canvas.block(x, y, OTHER, size)
        kept = [index for index, point in enumerate(shown) if point.kept]
        for index, following in zip(kept, [*kept[1:], None], strict=True):
            end = canvas.width - 1 if following is None else place[following]
            canvas.level(place[index], end, dot[index], BEST)
            if following is not None:
                canvas.upright(end, dot[index], dot[following], BEST)
        for index in kept:
            canvas.block(place[index], dot[index] - (size == 2), KEPT, size)
        used = set()
        for point, x, y in zip(shown, place, dot, strict=True):
            if not 0 <= y < canvas.height:
                sign = BEYOND_TOP if y < 0 else BEYOND_BOTTOM
                canvas.sign(x, 0 if y < 0 else canvas.height - 1, sign, OTHER)
                used.add(sign)
            if point.lb is not None and math.isfinite(point.lb):
                y = found.dot(point.lb, canvas.height)
                sign = BOARD_ABOVE if y < 0 else BOARD_SIGN if y < canvas.height else BOARD_BELOW
                canvas.sign(x, min(max(y, 0), canvas.height - 1), sign, BOARD)
                used.add(sign)
        return used

    def _order(self, width: int, indent: int) -> Line:
        """The first and the last experiment, below the chart."""
        first, last = (one_line(self._points[index].name, 12) for index in (0, -1))
        room = width - indent - cell_len(first)
        if len(self._points) == 1 or room < cell_len(last) + 1:
            return ((" " * indent + first, MUTED),)
        return ((f"{' ' * indent}{first}{fit(last, room, right=True)}", MUTED),)


def _legend(used: Collection[str], width: int) -> Content:
    """What the signs mean, as far as there is room for it."""
    parts = [(("━", BEST), (" champion", "")), (("•", OTHER), (" round", ""))]
    boards = "".join(sign for sign in (BOARD_SIGN, BOARD_ABOVE, BOARD_BELOW) if sign in used)
    if boards:
        parts.append(((boards, BOARD), (" LB", "")))
    beyond = "".join(sign for sign in (BEYOND_TOP, BEYOND_BOTTOM) if sign in used)
    if beyond:
        parts.append(((beyond, OTHER), (" off scale", "")))
    lines = [Content.assemble(*part) for part in parts]
    while lines and sum(line.cell_length + 2 for line in lines) > width:
        lines.pop()
    return Content("  ").join(lines)
