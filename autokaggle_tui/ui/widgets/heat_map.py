"""A heat map of the pool: one cell per pair, in colour and in figures; labels stay while the cells scroll."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low, quantiles
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import Binding
from textual.color import Color
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from autokaggle_tui.poolmap import Member, PoolMap
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.widgets.card import FAINT, MUTED, fitted
from autokaggle_tui.ui.widgets.closeness_card import TWIN
from autokaggle_tui.wording import score_text

CELL = 4
STEPS = 16
STEEPNESS = 2.2
"""Colour grows faster towards 1, where the difference matters."""
NAMES, FAMILIES = 14, 11
ROOM_FOR_FAMILY, ROOM_FOR_SCORE = 64, 96


@dataclass(frozen=True)
class Scale:
    """How a correlation is written in two figures.

    Attributes:
        nines: Nines after the point that most pairs share: with one, ``73`` is 0.973.
        low: Correlation from which on cells take colour.
        typical: A correlation of a pair, to explain the figures with.
    """

    nines: int = 0
    low: float = 0.0
    typical: float | None = None

    @classmethod
    def over(cls, values: Sequence[float]) -> Scale:
        """A scale in which most of these values differ."""
        if len(values) < 2:
            return cls(0, min(values, default=0.0), min(values, default=None))
        low = quantiles(values, n=10, method="inclusive")[0]
        nines = 2 if low >= 0.99 else 1 if low >= 0.9 else 0
        return cls(nines, max(low - 0.25 * (1 - low), -1.0), median_low(values))

    @property
    def example(self) -> str:
        """What the figures of one of the cells mean."""
        if self.typical is None:
            return ""
        figures = self.figures(self.typical)
        if figures.startswith("-"):
            return f"{figures} is -0.{figures[1:]}"
        return f"{figures} is 0{figures}" if figures.startswith(".") else f"{figures} is 0.{'9' * self.nines}{figures}"

    def figures(self, value: float) -> str:
        """Two characters, never rounded up; below the scale tenths: ``.5``."""
        if value < 0:
            return f"-{min(int(-value * 10), 9)}"
        base = 1 - 10**-self.nines
        if value < base:
            return f".{int(value * 10)}"
        return f"{min(int((value - base) * 10 ** (self.nines + 2) + 1e-9), 99):02d}"

    def share(self, value: float) -> float:
        """How much colour, from 0 to 1."""
        return min(max((value - self.low) / max(1 - self.low, 1e-9), 0.0), 1.0)


class HeatMap(ScrollView, can_focus=True, inherit_bindings=False):
    """The cells, and a cursor on one of them."""

    BINDINGS: ClassVar[list[Any]] = [
        *bindings("open", "down", "up", "top", "bottom"),
        Binding("down", "down", "Down", show=False),
        Binding("up", "up", "Up", show=False),
        Binding("left", "move(0, -1)", "Left", show=False, tooltip="A column to the left"),
        Binding("right", "move(0, 1)", "Right", show=False, tooltip="A column to the right"),
        Binding("pageup", "page(-1, 0)", "Page up", show=False, tooltip="A page of rows up"),
        Binding("pagedown", "page(1, 0)", "Page down", show=False, tooltip="A page of rows down"),
        Binding("shift+left,ctrl+left", "page(0, -1)", "Page left", show=False, tooltip="A page of columns left"),
        Binding("shift+right,ctrl+right", "page(0, 1)", "Page right", show=False, tooltip="A page of columns right"),
        Binding("home", "edge(-1)", "First column", show=False, tooltip="To the first column"),
        Binding("end", "edge(1)", "Last column", show=False, tooltip="To the last column"),
    ]
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    HeatMap {
        background: transparent;
        overflow: auto auto;
        scrollbar-size: 1 1;
    }
    """

    class Moved(Message):
        """The cursor stands on another pair."""

        def __init__(self, row: Member, column: Member) -> None:
            super().__init__()
            self.row = row
            self.column = column

    class Opened(Message):
        """A prediction was chosen."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pool = PoolMap()
        self._order: Sequence[int] = ()
        self._limit: float | None = None
        self._marks: Mapping[int, str] = {}
        self._ruled = PoolMap()
        self._at = (0, 0)
        self._scale = Scale()
        self._styles: dict[str, RichStyle] = {}
        self._shades: dict[int, RichStyle] = {}
        self._names = self._families = self._scores = 0
        self._label = 1

    def show(
        self,
        pool: PoolMap,
        scale: Scale,
        order: Sequence[int],
        limit: float | None,
        *,
        marks: Mapping[int, str] | None = None,
        ruled: PoolMap | None = None,
    ) -> None:
        """Show the pool in an order; the cursor stays on its pair if that is still there.

        Args:
            scale: ``Scale.over`` the pairs of the pool, which takes a while for a large one.
            order: Places of the members.
            limit: Pairs above it are marked; None marks none.
            marks: A sign for the row of a place, of one cell.
            ruled: What the limit is of, when that is not what the cells show.
        """
        held = self.pair
        self._pool, self._scale, self._order, self._limit = pool, scale, order, limit
        self._marks, self._ruled = marks or {}, pool if ruled is None else ruled
        self._shades.clear()
        names = {pool.members[place].name: number for number, place in enumerate(order)}
        last = max(len(order) - 1, 0)
        if held is not None and held[0].name in names and held[1].name in names:
            self._at = names[held[0].name], names[held[1].name]
        else:
            self._at = (min(1, last), 0) if held is None else (min(self._at[0], last), min(self._at[1], last))
        self._measure()
        self._moved(self._at)

    @property
    def pair(self) -> tuple[Member, Member] | None:
        """The members under the cursor: that of the row and that of the column."""
        if not self._order:
            return None
        row, column = self._at
        return self._pool.members[self._order[row]], self._pool.members[self._order[column]]

    @property
    def value(self) -> float | None:
        """The correlation under the cursor."""
        return self._value(*self._at) if self._order else None

    def go_to(self, name: str, other: str | None = None) -> None:
        """Put the cursor on a prediction's row, in the column of the other (its own when there is none)."""
        names = [self._pool.members[place].name for place in self._order]
        if name in names:
            row = names.index(name)
            self._move_to(row, names.index(other) if other in names else row)

    # Keys and mouse.

    def action_open(self) -> None:
        """Open the prediction of the row."""
        if self.pair is not None:
            self.post_message(self.Opened(self.pair[0].name))

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor by cells."""
        last = len(self._order) - 1
        row, column = self._at
        at = (min(max(row + down, 0), max(last, 0)), min(max(column + right, 0), max(last, 0)))
        if at != self._at:
            self._move_to(*at)

    def action_down(self) -> None:
        """Down a row."""
        self.action_move(1, 0)

    def action_up(self) -> None:
        """Up a row."""
        self.action_move(-1, 0)

    def action_page(self, down: int, right: int) -> None:
        """Move the cursor by what is seen."""
        rows, columns = self._seen
        self.action_move(down * rows, right * columns)

    def action_edge(self, right: int) -> None:
        """To the first or last column."""
        self.action_move(0, right * len(self._order))

    def action_top(self) -> None:
        """To the first row."""
        self.action_move(-len(self._order), 0)

    def action_bottom(self) -> None:
        """To the last row."""
        self.action_move(len(self._order), 0)

    def on_click(self, event: events.Click) -> None:
        """The cursor comes to the mouse; a second click opens the row."""
        offset = event.get_content_offset(self)
        if offset is None or not self._order:
            return
        row = offset.y - 1 + self.scroll_offset.y
        column = self._first + (offset.x - self._label) // CELL
        if 0 <= row < len(self._order) and offset.y > 0:
            in_cells = offset.x >= self._label and column < min(self._first + self._seen[1], len(self._order))
            self._move_to(row, column if in_cells else self._at[1])
            if event.chain == 2:
                self.action_open()

    def on_resize(self) -> None:
        """Labels come and go with the width."""
        self._measure()

    def on_focus(self) -> None:
        """The cursor lights up."""
        self.refresh()

    def on_blur(self) -> None:
        """The cursor fades."""
        self.refresh()

    def _move_to(self, row: int, column: int) -> None:
        before, self._at = self._at, (row, column)
        self._moved(before)

    def _moved(self, before: tuple[int, int]) -> None:
        """Bring the cursor into sight, paint what it left and what it came to, and tell where it is."""
        rows, columns = self._seen
        row, column = self._at
        top, left = self.scroll_offset.y, self._first
        self.scroll_to(
            x=CELL * min(max(left, column - columns + 1), column),
            y=min(max(top, row - rows + 1), row),
            animate=False,
            force=True,
        )
        width = self.size.width
        lines = {0, 1 + before[0] - self.scroll_offset.y, 1 + row - self.scroll_offset.y}
        self.refresh(*(Region(0, line, width, 1) for line in lines if line >= 0))
        if self.pair is not None:
            self.post_message(self.Moved(*self.pair))

    # Sizes.

    @property
    def _seen(self) -> tuple[int, int]:
        """Whole rows and columns that are seen."""
        region = self.scrollable_content_region
        return max(region.height - 1, 1), max((region.width - self._label) // CELL, 1)

    @property
    def _first(self) -> int:
        """The first column that is seen: columns are drawn whole, wherever the map is scrolled to."""
        return -(-self.scroll_offset.x // CELL)

    def _measure(self) -> None:
        members = self._pool.members
        width = self.size.width
        self._names = min(max((len(member.name) for member in members), default=0), NAMES)
        families = min(max((len(member.family) for member in members), default=0), FAMILIES)
        scores = max((len(score_text(member.score)) for member in members), default=0)
        self._families = families if width >= ROOM_FOR_FAMILY else 0
        self._scores = scores if width >= ROOM_FOR_SCORE else 0
        self._label = (
            self._names + 1 + 2 * bool(self._marks) + sum(size + 1 for size in (self._families, self._scores) if size)
        )
        self.virtual_size = Size(self._label + CELL * len(self._order), len(self._order) + 1)
        self.refresh()

    # Painting.

    def notify_style_update(self) -> None:
        """The theme changed."""
        self._styles.clear()
        self._shades.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """A row of cells behind its label, or the line of names above them."""
        width = self.scrollable_content_region.width
        first = self._first
        last = min(first + self._seen[1], len(self._order))
        row = y - 1 + self.scroll_offset.y
        if y == 0:
            head = [Segment(" " * self._label, self._style(""))]
            cells = [self._heading(column) for column in range(first, last)]
        elif row < len(self._order):
            head = self._labelled(row)
            cells = [self._cell(row, column) for column in range(first, last)]
        else:
            return Strip.blank(width, self._style(""))
        return Strip([*head, *cells]).adjust_cell_length(width, self._style(""))

    def _heading(self, column: int) -> Segment:
        name = self._pool.members[self._order[column]].name
        number = re.fullmatch(r"[A-Z](\d{3,})", name)
        short = fitted(number[1] if number else name, CELL - 1)
        return Segment(
            short.rjust(CELL - 1) + " ", self._style("bold $text-accent" if column == self._at[1] else MUTED)
        )

    def _labelled(self, row: int) -> list[Segment]:
        member = self._pool.members[self._order[row]]
        here = row == self._at[0]
        name = fitted(member.name, self._names).ljust(self._names)
        segments = [Segment(f"{name} ", self._style("bold $text-accent" if here else "bold"))]
        if self._marks:
            segments.append(Segment(f"{self._marks.get(self._order[row], ' ')} ", self._style("bold $text-warning")))
        if self._families:
            family = fitted(member.family, self._families).ljust(self._families)
            segments.append(Segment(f"{family} ", self._style(MUTED)))
        if self._scores:
            segments.append(Segment(f"{score_text(member.score).rjust(self._scores)} ", self._style(MUTED)))
        return segments

    def _cell(self, row: int, column: int) -> Segment:
        value = self._value(row, column)
        ruled = self._ruled.value(self._order[row], self._order[column])
        twin = row != column and ruled is not None and self._limit is not None and ruled > self._limit
        if row == column:
            text = "  ╲ "
        elif value is None:
            text = "  ? "
        else:
            text = f" {self._scale.figures(value)}{TWIN if twin else ' '}"
        if (row, column) == self._at:
            return Segment(text, self._style("bold $background on $accent" if self.has_focus else "bold on $panel"))
        if row == column or value is None:
            return Segment(text, self._style(FAINT))
        return Segment(text, self._shade(value, twin))

    def _value(self, row: int, column: int) -> float | None:
        return self._pool.value(self._order[row], self._order[column])

    def _style(self, style: str) -> RichStyle:
        known = self._styles.get(style)
        if known is None:
            base = self.visual_style
            known = self._styles[style] = ((base + Style.parse(style)) if style else base).rich_style
        return known

    def _shade(self, value: float, twin: bool) -> RichStyle:
        """Colour by value in a few steps; above the limit another colour, bold and underlined."""
        step = round(self._scale.share(value) * STEPS)
        key = -1 - step if twin else step
        known = self._shades.get(key)
        if known is None:
            known = self._shades[key] = self._mixed(step / STEPS, twin).rich_style
        return known

    def _mixed(self, share: float, twin: bool) -> Style:
        variables = self.app.theme_variables
        ground, colour = (Color.parse(variables[name]) for name in ("background", "warning" if twin else "primary"))
        mark = Style(bold=True, underline=True) if twin else Style()
        if ground.ansi is not None or colour.ansi is not None:
            # The terminal's own colours cannot be mixed.
            tone = Style(foreground=colour) if twin or share > 0.7 else Style(dim=share < 0.3)
            return self.visual_style + tone + mark
        if twin:
            return Style(background=ground.blend(colour, 0.22), foreground=colour) + mark
        background = ground.blend(colour, 0.04 + 0.76 * share**STEEPNESS)
        return Style(background=background, foreground=background + background.get_contrast_text(0.92))
