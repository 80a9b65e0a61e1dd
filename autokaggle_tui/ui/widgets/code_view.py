"""A view of code or a diff, however long: only the lines that are seen are painted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from textual.binding import Binding
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style
from textual.visual import Visual

from autokaggle_tui.ui.widgets.code_text import CodeLine

SIDEWAYS = 8
SIGN_STYLES = {"+": "bold $text-success", "−": "bold $text-error", "@": "$text-secondary"}
TINTS = {"+": "on $success 14%", "−": "on $error 14%"}
HIT, CURRENT = "underline $text-warning", "bold $background on $warning"


class CodeView(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines with a gutter that stays put while the text scrolls sideways."""

    BINDINGS: ClassVar[list[Any]] = [
        Binding("up", "scroll_up", show=False),
        Binding("down", "scroll_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("home", "scroll_home", show=False),
        Binding("end", "scroll_end", show=False),
        Binding("shift+left", "sideways(-1)", show=False),
        Binding("shift+right", "sideways(1)", show=False),
    ]
    ALLOW_SELECT = False
    DEFAULT_CSS = """
    CodeView { overflow: auto auto; scrollbar-size: 1 1; background: transparent; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[CodeLine] = ()
        self._gutter = 0
        self._words: re.Pattern[str] | None = None
        self._hits: list[int] = []
        self._at = 0
        self._strips: LRUCache[int, Strip] = LRUCache(512)

    def show(self, lines: Sequence[CodeLine], *, stay: bool = False) -> None:
        """Show these lines.

        Args:
            stay: Keep the place: they are the same lines in other colours.
        """
        self._lines = lines
        self._gutter = max((len(line.gutter) for line in lines), default=0) + 4 if lines else 0
        width = max((line.text.cell_length for line in lines), default=0)
        self.virtual_size = Size(self._gutter + width + 1, len(lines))
        if not stay:
            self.scroll_home(animate=False)
        self._look()
        self._repaint()

    def text(self) -> str:
        """The lines as text; those of a diff with their signs."""
        signed = any(line.sign != " " for line in self._lines)
        return "\n".join(f"{line.sign if signed else ''}{line.text.plain}" for line in self._lines)

    def find(self, words: str) -> int:
        """Mark the lines that hold these words, whatever their case, and go to the first below; says how many."""
        self._words = re.compile(re.escape(words), re.IGNORECASE) if words else None
        self._look()
        top = self.scroll_offset.y
        self._at = next((number for number, line in enumerate(self._hits) if line >= top), 0)
        self._go()
        return len(self._hits)

    def next(self) -> int:
        """To the next line found, round the end; returns its place among all, from 1, or 0 without any."""
        return self._step(1)

    def previous(self) -> int:
        """To the line found before, round the beginning; returns its place among all, from 1, or 0 without any."""
        return self._step(-1)

    def _step(self, by: int) -> int:
        self._at += by
        self._go()
        return self._at % len(self._hits) + 1 if self._hits else 0

    def action_sideways(self, way: int) -> None:
        """Scroll to the side."""
        self.scroll_relative(x=way * SIDEWAYS, animate=False)

    def notify_style_update(self) -> None:
        """Paint anew: the theme changed."""
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        """One line of what is seen."""
        number = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if number >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        strip = self._strips.get(number)
        if strip is None:
            strip = self._strips[number] = self._painted(number)
        left = self.scroll_offset.x
        gutter = strip.crop(0, self._gutter)
        code = strip.crop(self._gutter + left, self._gutter + left + max(width - self._gutter, 0))
        line = self._lines[number]
        base = self._style(TINTS.get(line.sign, "")).rich_style
        return Strip.join([gutter, code]).adjust_cell_length(width, base)

    def _painted(self, number: int) -> Strip:
        line = self._lines[number]
        style = self._style(TINTS.get(line.sign, ""))
        text = line.text
        if self._words is not None:
            current = bool(self._hits) and self._hits[self._at % len(self._hits)] == number
            for hit in self._words.finditer(text.plain):
                text = text.stylize(CURRENT if current else HIT, *hit.span())
        content = Content.assemble(
            (f" {line.gutter} ", "$foreground 35%"), (f"{line.sign} ", SIGN_STYLES.get(line.sign, "")), text
        )
        strips = Visual.to_strips(self, content, max(content.cell_length, 1), 1, style)
        return strips[0] if strips else Strip([Segment("", style.rich_style)])

    def _style(self, tint: str) -> Style:
        # A terminal's own colours cannot be mixed: a tint would be the colour at its full strength.
        if not tint or self.app.current_theme.ansi:
            return self.visual_style
        return self.visual_style + Style.parse(tint)

    def _look(self) -> None:
        words = self._words
        found = enumerate(self._lines) if words is not None else ()
        self._hits = [number for number, line in found if words is not None and words.search(line.text.plain)]

    def _go(self) -> None:
        self._repaint()
        if not self._hits:
            return
        line = self._hits[self._at % len(self._hits)]
        top, height = self.scroll_offset.y, max(self.scrollable_content_region.height, 1)
        if not top <= line < top + height:
            self.scroll_to(y=max(line - height // 3, 0), animate=False)

    def _repaint(self) -> None:
        self._strips.clear()
        self.refresh()
