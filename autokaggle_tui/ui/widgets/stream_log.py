"""A log that grows: what an agent says or an experiment prints, wrapped at words, at its end or wherever one reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.cache import LRUCache
from textual.events import Resize
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.lines import Looks
from autokaggle_tui.ui.widgets.paragraphs import Hit, Paragraphs, TextRow

GLYPHS: Final = {
    "phase": "▸ ",
    "call": "› ",
    "result": "  ",
    "answer-yes": "✓ ",
    "answer-no": "✗ ",
    "answer-again": "! ",
    "unfit": "! ",
    "skipped": "… ",
}
"""What the first row of a piece begins with, by its look; the rows below are indented as far."""
STYLES: Final = {
    "reasoning": f"{MUTED} italic",
    "phase": "$text-primary bold",
    "call": "$text-accent",
    "result": MUTED,
    "skipped": MUTED,
    "answer-yes": "$text-success",
    "answer-no": "$text-error",
    "answer-again": "$text-warning",
    "unfit": "$text-warning",
    "hit": "$foreground on $warning 40%",
    "hit-now": "$background on $warning bold",
    "new": "$background on $primary bold",
}
"""How looks are painted. Component classes would cost each log a dozen passes through the stylesheet."""
ANSWERS: Final = {"REJECT": "answer-no", "REVISE": "answer-again"}
"""How answers look by their word; any other is a yes."""


class StreamLog(ScrollView, can_focus=True):
    """Text in pieces, each of a kind.

    Kinds are those of ``feed.StreamRow``, and ``log`` for lines that an experiment printed. Pieces of ``text`` and
    ``reasoning`` go on where the last one ended. At its end the log follows what is written; scrolled up it stays
    where it is and says how much is new.
    """

    DEFAULT_CSS = """
    StreamLog {
        background: transparent;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-gutter: stable;
        scrollbar-size-vertical: 1;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._paragraphs = Paragraphs({look: cell_len(glyph) for look, glyph in GLYPHS.items()})
        self._strips: LRUCache[tuple[int, int, int], Strip] = LRUCache(256)
        self._looks = Looks(self)
        self._following = True
        self._moving = False
        self._unseen = 0
        self._pattern: re.Pattern[str] | None = None
        self._hit: Hit | None = None

    # Writing.

    def write(self, text: str, kind: str = "text") -> None:
        """Add a piece."""
        self.extend([(text, kind)])

    def extend(self, pieces: Iterable[tuple[str, str]]) -> None:
        """Add pieces: (text, kind) of each. Cheaper than one by one."""
        before = len(self._paragraphs.rows)
        for text, kind in pieces:
            if kind == "phase":
                self._paragraphs.gap()
            self._paragraphs.write(text, _look(text) if kind == "answer" else kind)
        added = len(self._paragraphs.rows) - before
        gone = self._paragraphs.trim()
        self._unseen = 0 if self._following else self._unseen + max(added, 0)
        self._moved(self.scroll_target_y - gone if gone else None)

    def clear(self) -> None:
        """Forget everything and follow again."""
        self._paragraphs.clear()
        self._strips.clear()
        self._hit = None
        self._following, self._unseen = True, 0
        self._moved()

    def text(self) -> str:
        """Everything that is there, to copy: without the breaks that only the width asked for."""
        return "\n".join(
            f"{_glyph(paragraph.kind, paragraph.begins)}{paragraph.text}".rstrip() for paragraph in self._paragraphs
        )

    # Moving.

    @property
    def following(self) -> bool:
        """Whether the newest line is shown and stays so."""
        return self._following

    @property
    def unseen(self) -> int:
        """Rows written below since the log was scrolled up."""
        below = len(self._paragraphs.rows) - round(self.scroll_y) - self.scrollable_content_region.height
        return 0 if self._following else max(min(self._unseen, below), 0)

    def follow(self) -> None:
        """To the newest line, and stay there."""
        self._following, self._unseen = True, 0
        self._moved()

    def action_follow(self) -> None:
        """To the newest line, and stay there."""
        self.follow()

    def action_scroll_down(self) -> None:
        """Down a row."""
        self._to(self.scroll_target_y + 1)

    def action_scroll_up(self) -> None:
        """Up a row."""
        self._to(self.scroll_target_y - 1)

    def action_scroll_home(self) -> None:
        """To the oldest row."""
        self._to(0)

    def action_scroll_end(self) -> None:
        """To the newest row."""
        self.follow()

    def watch_scroll_target_y(self, _old: float, new: float) -> None:
        """Whoever scrolls to the end follows, whoever leaves it does not."""
        if not self._moving:
            self._following = round(new) >= self.max_scroll_y
            if self._following:
                self._unseen = 0

    def _moved(self, top: float | None = None) -> None:
        """Show what changed: the end when following, else ``top``, or the rows that are shown already."""
        if not self.size:
            # Not laid out yet: the first resize does it.
            return
        self._moving = True
        self._measure()
        if self._following:
            top = self.max_scroll_y
        if top is not None:
            self._to(top)
        self._moving = False
        self.refresh()

    def _measure(self) -> None:
        """Say how many rows there are."""
        size = Size(self._paragraphs.width, len(self._paragraphs.rows))
        if self.show_vertical_scrollbar and size.height > self.scrollable_content_region.height:
            # Nothing but the bar depends on it; set as usual, every delta would lay out the whole screen anew.
            self.set_reactive(Widget.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

    def _to(self, row: float) -> None:
        """Put a row on top; forced, for the scroll bar that would allow it comes one layout late."""
        self.scroll_to(y=row, animate=False, force=True)

    def on_resize(self, _event: Resize) -> None:
        """Wrap anew when the width changed."""
        width = self.scrollable_content_region.width
        if not width:
            return
        rows, top = self._paragraphs.rows, round(self.scroll_y)
        if width == self._paragraphs.width or top >= len(rows):
            self._paragraphs.wrap(width)
            self._moved()
            return
        kept = Hit(rows[top].paragraph.number, rows[top].start, rows[top].end)
        self._paragraphs.wrap(width)
        self._strips.clear()
        self._moved(self._paragraphs.row_of(kept))

    # Finding.

    def find(self, text: str) -> int:
        """Highlight every place that holds a text, in whatever case, and go to the next one.

        Returns:
            How many there are; an empty text ends the search.
        """
        self._pattern = re.compile(re.escape(text), re.IGNORECASE) if text else None
        self._hit = None
        self._strips.clear()
        self.refresh()
        hits = self._hits()
        if hits:
            rows, top = self._paragraphs.rows, round(self.scroll_y)
            first = rows[top] if top < len(rows) else rows[-1]
            shown = (first.paragraph.number, first.start)
            self._go(next((hit for hit in hits if hit[:2] >= shown), hits[-1]))
        return len(hits)

    def next(self) -> int:
        """To the next hit, from the last to the first; returns its place among all, from 1, or 0 without any."""
        return self._step(1)

    def previous(self) -> int:
        """To the hit before, from the first to the last; returns its place among all, from 1, or 0 without any."""
        return self._step(-1)

    def _hits(self) -> list[Hit]:
        return self._paragraphs.find(self._pattern) if self._pattern is not None else []

    def _step(self, by: int) -> int:
        hits = self._hits()
        if not hits:
            return 0
        # When the one that was shown is forgotten, so is all that was before it.
        place = (hits.index(self._hit) if self._hit in hits else min(-by, 0)) + by
        self._go(hits[place % len(hits)])
        return place % len(hits) + 1

    def _go(self, hit: Hit) -> None:
        self._hit = hit
        self._strips.clear()
        row = self._paragraphs.row_of(hit)
        if row is not None:
            self._to(row - self.scrollable_content_region.height // 2)
        self.refresh()

    # Painting.

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self._strips.clear()
        self._looks.clear()

    def selection_updated(self, _selection: Selection | None) -> None:
        """Another text is selected."""
        self._strips.clear()
        self.refresh()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected rows, as they are shown."""
        rows = ("".join(text for text, _ in self._pieces(row)) for row in self._paragraphs.rows)
        return selection.extract("\n".join(rows)), "\n"

    def render_line(self, y: int) -> Strip:
        """A row of the screen."""
        width, height = self.scrollable_content_region.size
        top = round(self.scroll_y)
        rows = self._paragraphs.rows
        strip = self._row(top + y, width) if top + y < len(rows) else Strip.blank(width, self._style("text"))
        if y == height - 1 and (unseen := self.unseen):
            said = f" ↓ {unseen:,} new "
            strip = strip.crop(0, max(width - cell_len(said), 0))
            return Strip([*strip, Segment(said, self._style("new"))]).adjust_cell_length(width)
        return strip

    def _row(self, place: int, width: int) -> Strip:
        row = self._paragraphs.rows[place]
        key = (row.paragraph.number, row.start, row.end)
        strip = self._strips.get(key)
        if strip is None:
            pieces = list(self._pieces(row))
            if (selection := self.text_selection) is not None and (span := selection.get_span(place)) is not None:
                pieces = _over(pieces, *span, self.screen.get_component_rich_style("screen--selection", partial=True))
            segments = [Segment(text, style) for text, style in pieces]
            strip = self._strips[key] = Strip(segments).adjust_cell_length(width, self._style("text"))
        return strip.apply_offsets(0, place)

    def _pieces(self, row: TextRow) -> Iterator[tuple[str, Style]]:
        """Text and style of the parts of a row."""
        paragraph = row.paragraph
        look = self._style(paragraph.kind)
        glyph = _glyph(paragraph.kind, paragraph.begins and row.start == 0)
        if glyph:
            yield glyph, look
        at = row.start
        for hit in self._hits_in(row):
            start, end = max(hit.start, row.start), min(hit.end, row.end)
            yield paragraph.text[at:start], look
            yield paragraph.text[start:end], look + self._style("hit-now" if hit == self._hit else "hit")
            at = end
        yield paragraph.text[at : row.end], look

    def _hits_in(self, row: TextRow) -> Iterator[Hit]:
        if self._pattern is None:
            return
        for found in self._pattern.finditer(row.paragraph.text):
            if found.end() > row.start and found.start() < row.end:
                yield Hit(row.paragraph.number, found.start(), found.end())

    def _style(self, look: str) -> Style:
        return self._looks[STYLES.get(look, "")]


def _look(answer: str) -> str:
    word = re.match(r"\W*(\w*)", answer)
    return ANSWERS.get(word.group(1).upper() if word else "", "answer-yes")


def _glyph(look: str, first: bool) -> str:
    glyph = GLYPHS.get(look, "")
    return glyph if first else " " * cell_len(glyph)


def _over(pieces: list[tuple[str, Style]], start: int, end: int, style: Style) -> list[tuple[str, Style]]:
    """Pieces with a style laid over the characters of a span; -1 is the end."""
    laid: list[tuple[str, Style]] = []
    at = 0
    for text, own in pieces:
        first = min(max(start - at, 0), len(text))
        last = len(text) if end < 0 else min(max(end - at, 0), len(text))
        parts: list[Any] = [(text[:first], own), (text[first:last], own + style), (text[last:], own)]
        laid += [part for part in parts if part[0]]
        at += len(text)
    return laid
