"""A sheet: rows in aligned columns under a head, one of them selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.reading import READING

GAP = 2
MARGIN = 1
SCROLLBAR = 1


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        flows: It takes the room that the others leave, and gives way first.
        least: Width of the sheet below which the column is not shown.
    """

    title: str
    align: Literal["left", "right"] = "left"
    flows: bool = False
    least: int = 0


@dataclass(frozen=True)
class Line:
    """A row: what names it, and a cell for each column of the sheet, shown or not."""

    key: str
    cells: Sequence[Content]


class Rows(OptionList):
    """The rows of a sheet."""

    BINDINGS: ClassVar[list[Any]] = bindings("open", show=True)
    DEFAULT_CSS = """
    Rows {
        height: 1fr;
        max-height: 100%;
        padding: 0;
        border: none;
        background: transparent;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        &:focus { border: none; background: transparent; background-tint: transparent; }
        & > .option-list--option { padding: 0 1; }
        & > .option-list--option-hover { background: $block-hover-background; }
        & > .option-list--option-highlighted {
            background: $block-cursor-blurred-background;
            color: $block-cursor-blurred-foreground;
            text-style: none;
        }
        &:focus > .option-list--option-highlighted {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: $block-cursor-text-style;
        }
    }
    """

    def render_line(self, y: int) -> Strip:
        """A row; under the cursor in the cursor's colours alone, so that every theme can be read."""
        strip = super().render_line(y)
        if self.scroll_offset.y + y != self.highlighted:
            return strip
        cursor = self.get_visual_style("option-list--option", "option-list--option-highlighted").rich_style
        plain = Style(color=cursor.color, bgcolor=cursor.bgcolor, dim=False)
        return Strip(
            [Segment(text, plain if style is None else style + plain) for text, style, _ in strip], strip.cell_length
        )

    def action_open(self) -> None:
        """Choose the selected row."""
        self.action_select()


class Sheet(Vertical):
    """A table that fits its width: cells are ``Content``, so colours follow the theme and text stays text."""

    DEFAULT_CSS = """
    Sheet {
        height: 1fr;
        & > .sheet--head { height: 1; color: $text-muted; padding: 0 1; text-wrap: nowrap; text-overflow: clip; }
        & > .sheet--missing { height: auto; color: $text-muted; padding: 0 1; }
    }
    """

    class Chosen(Message):
        """A row was chosen with enter or the mouse."""

        def __init__(self, sheet: Sheet, key: str) -> None:
            super().__init__()
            self.sheet = sheet
            self.key = key

        @property
        def control(self) -> Sheet:
            """The sheet."""
            return self.sheet

    class Reached(Message):
        """The cursor came to a row."""

        def __init__(self, sheet: Sheet, key: str) -> None:
            super().__init__()
            self.sheet = sheet
            self.key = key

        @property
        def control(self) -> Sheet:
            """The sheet."""
            return self.sheet

    def __init__(self, *columns: Column, missing: str = "", rows: type[Rows] = Rows, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns = columns
        self._missing = missing
        self._rows_type = rows
        self._told = False
        self._lines: tuple[Line, ...] = ()
        self._shown: tuple[int, tuple[Line, ...]] | None = None
        self._held: str | None = None

    def compose(self) -> ComposeResult:
        """Head, rows, and the sentence for when there are none."""
        yield Static(classes="sheet--head", markup=False)
        yield Static(READING, classes="sheet--missing", markup=False)
        yield self._rows_type()

    def show(self, lines: Sequence[Line]) -> None:
        """Show these rows; the cursor stays on the row it is on, if that is still there."""
        self._lines = tuple(lines)
        if not self._told:
            self.explain(self._missing)
        self._lay_out()

    def explain(self, missing: str) -> None:
        """What to say while there are no rows."""
        self._missing, self._told = missing, True
        self.query_one(".sheet--missing", Static).update(Content(missing))

    @property
    def key(self) -> str | None:
        """The row under the cursor."""
        at = self.rows.highlighted
        return None if at is None or at >= len(self._lines) else self._lines[at].key

    @property
    def rows(self) -> Rows:
        """What takes the focus."""
        return self.query_one(Rows)

    def go_to(self, key: str) -> None:
        """Put the cursor on a row."""
        self._held = key
        keys = [line.key for line in self._lines]
        # Before it has a size there are no rows yet: they come with the cursor in its place.
        if key in keys and self._shown is not None:
            self.rows.highlighted = keys.index(key)

    def on_resize(self, _event: events.Resize) -> None:
        """Columns come and go with the width."""
        self._lay_out()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_index < len(self._lines):
            self.post_message(self.Chosen(self, self._lines[event.option_index].key))

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        # The cursor may have gone on since.
        if event.option_index == self.rows.highlighted and event.option_index < len(self._lines):
            self._held = self._lines[event.option_index].key
            self.post_message(self.Reached(self, self._held))

    def _lay_out(self) -> None:
        width = self.size.width
        if width <= 0 or self._shown == (width, self._lines):
            return
        before = self._shown
        self._shown = (width, self._lines)
        self.query_one(".sheet--missing").display = not self._lines
        # The rows stay, for what is hidden loses the focus.
        self.query_one(".sheet--head").display = bool(self._lines)
        head, *rows = _laid_out(self._columns, self._lines, width - 2 * MARGIN - SCROLLBAR)
        self.query_one(".sheet--head", Static).update(head)
        keys = [line.key for line in self._lines]
        if before is not None and [line.key for line in before[1]] == keys:
            for number, row in enumerate(rows):
                self.rows.replace_option_prompt_at_index(number, row)
            return
        at, held = self.rows.highlighted, self._held
        if before is not None and at is not None and at < len(before[1]):
            held = before[1][at].key
        self.rows.clear_options()
        self.rows.add_options([Option(row) for row in rows])
        if keys:
            self.rows.highlighted = keys.index(held) if held in keys else min(at or 0, len(keys) - 1)


def _laid_out(columns: Sequence[Column], lines: Sequence[Line], width: int) -> list[Content]:
    """Head and rows, each at most ``width`` cells."""
    seen = [number for number, column in enumerate(columns) if column.least <= width]
    widths = {
        number: max([len(columns[number].title), *(line.cells[number].cell_length for line in lines)])
        for number in seen
    }
    flowing = [number for number in seen if columns[number].flows]
    room = width - GAP * (len(seen) - 1) - sum(widths[number] for number in seen if number not in flowing)
    for left, number in zip(range(len(flowing), 0, -1), flowing, strict=True):
        # What one flowing column does not need, the ones after it may have.
        widths[number] = max(room if left == 1 else min(room // left, widths[number]), 1)
        room -= widths[number]
    gap = Content(" " * GAP)
    head = gap.join(_fitted(Content(columns[number].title), widths[number], columns[number]) for number in seen)
    rows = [gap.join(_fitted(line.cells[n], widths[n], columns[n]) for n in seen) for line in lines]
    return [head, *rows]


def _fitted(cell: Content, width: int, column: Column) -> Content:
    missing = width - cell.cell_length
    if missing < 0:
        return cell.truncate(width, ellipsis=True)
    return cell.pad_left(missing) if column.align == "right" else cell.pad_right(missing)
