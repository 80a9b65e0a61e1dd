"""Text that grows at its end, wrapped at words into rows of a width; the oldest is forgotten."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Final, NamedTuple

from rich.cells import split_graphemes

from experiments.text import clean

KEPT_ROWS: Final = 4_000
LONGEST: Final = 4_096
"""Characters of a paragraph; what is longer goes on in another, so that no step takes long."""
TAB: Final = "    "
GROWING: Final = frozenset({"text", "reasoning"})
"""Kinds that come in pieces: what is said next goes on where the last piece ended."""
GAP: Final = "gap"


@dataclass(slots=True)
class Paragraph:
    """One line of text as it was said, however many rows it takes.

    Attributes:
        begins: Whether a piece of its kind begins here; else it goes on with what is above it.
    """

    number: int
    kind: str
    text: str
    begins: bool


class TextRow(NamedTuple):
    """What one row of the screen shows: a part of a paragraph."""

    paragraph: Paragraph
    start: int
    end: int


class Hit(NamedTuple):
    """A place where a search found something."""

    paragraph: int
    start: int
    end: int


class Paragraphs:
    """Paragraphs and the rows they make at the current width.

    Args:
        indents: Cells that rows of a kind are indented by; others are not.

    Attributes:
        rows: From the oldest to the newest.
    """

    def __init__(self, indents: dict[str, int]) -> None:
        self.rows: list[TextRow] = []
        self._paragraphs: deque[Paragraph] = deque()
        self._indents = indents
        self._width = 80
        self._numbers = count()

    @property
    def width(self) -> int:
        """Cells of a row."""
        return self._width

    def write(self, text: str, kind: str) -> None:
        """Add a piece of text; control characters are removed, tabs become spaces."""
        lines = _readable(text).split("\n")
        last = self._paragraphs[-1] if self._paragraphs else None
        grown = last if last is not None and kind in GROWING and last.kind == kind else None
        begins = grown is None
        if begins:
            self._close()
        if kind not in GROWING and len(lines) > 1 and not lines[-1]:
            # A line break at the end of a whole piece ends it; it does not begin an empty line.
            lines.pop()
        for part in (part for line in lines for part in _parts(line)):
            if grown is not None and len(grown.text) + len(part) <= LONGEST:
                self._extend(grown, part)
            else:
                self._append(Paragraph(next(self._numbers), kind, part, begins))
            grown, begins = None, False

    def gap(self) -> None:
        """An empty row between what was said and what follows; none at the top."""
        self._close()
        if self._paragraphs:
            self._append(Paragraph(next(self._numbers), GAP, "", False))

    def trim(self) -> int:
        """Forget the oldest paragraphs beyond ``KEPT_ROWS``; returns how many rows went with them."""
        gone = 0
        surplus = len(self.rows) - KEPT_ROWS
        while gone < surplus and len(self._paragraphs) > 1:
            oldest = self._paragraphs.popleft()
            while gone < len(self.rows) and self.rows[gone].paragraph is oldest:
                gone += 1
        del self.rows[:gone]
        return gone

    def wrap(self, width: int) -> None:
        """Make the rows anew for another width."""
        self._width = max(width, 1)
        self.rows = [row for paragraph in self._paragraphs for row in self._rows(paragraph, 0)]

    def clear(self) -> None:
        """Forget everything."""
        self._paragraphs.clear()
        self.rows.clear()

    def __iter__(self) -> Iterator[Paragraph]:
        return iter(self._paragraphs)

    def find(self, pattern: re.Pattern[str]) -> list[Hit]:
        """Every place where a pattern is found, from the oldest to the newest."""
        return [
            Hit(paragraph.number, found.start(), found.end())
            for paragraph in self._paragraphs
            for found in pattern.finditer(paragraph.text)
            if found.end() > found.start()
        ]

    def row_of(self, hit: Hit) -> int | None:
        """The row that holds a hit's beginning; None when it was forgotten."""
        found = None
        for place, row in enumerate(self.rows):
            if row.paragraph.number == hit.paragraph and row.start <= hit.start:
                found = place
        return found

    def _close(self) -> None:
        """Drop the empty lines at the end that a piece in the making had left open."""
        while self._paragraphs and self._paragraphs[-1].kind in GROWING and not self._paragraphs[-1].text:
            self._paragraphs.pop()
            self.rows.pop()

    def _append(self, paragraph: Paragraph) -> None:
        self._paragraphs.append(paragraph)
        self.rows.extend(self._rows(paragraph, 0))

    def _extend(self, paragraph: Paragraph, text: str) -> None:
        """Lengthen the last paragraph: rows above its last one are as they will be."""
        start = self.rows.pop().start
        paragraph.text += text
        self.rows.extend(self._rows(paragraph, start))

    def _rows(self, paragraph: Paragraph, start: int) -> Iterator[TextRow]:
        width = max(self._width - self._indents.get(paragraph.kind, 0), 1)
        return (TextRow(paragraph, begin, end) for begin, end in wrapped(paragraph.text, width, start))


def wrapped(text: str, width: int, start: int = 0) -> Iterable[tuple[int, int]]:
    """Spans of a text that fit into rows, broken at spaces where there are any; at least one span.

    Args:
        width: Cells of a row. A wide character in a row of one cell stands alone.
        start: Where to begin; the spans before it are known.
    """
    return _wrapped_ascii(text, width, start) if text.isascii() else _wrapped_wide(text, width, start)


def _wrapped_ascii(text: str, width: int, start: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    while len(text) - start > width:
        # A space right behind the row is a place to break at too; the row does not show it.
        space = text.rfind(" ", start + 1, start + width + 1)
        if space == start + width == len(text) - 1:
            return [*spans, (start, space)]
        if space < 0 or text[start:space].isspace():
            spans.append((start, start + width))
            start += width
        else:
            spans.append((start, space))
            start = space + 1
    spans.append((start, len(text)))
    return spans


def _wrapped_wide(text: str, width: int, start: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    begin, cells = start, 0
    space, cells_behind_space = -1, 0
    for first, end, size in split_graphemes(text[start:])[0]:
        first, end = first + start, end + start
        blank = text[first:end] == " "
        while cells + size > width and first > begin:
            if blank and end == len(text):
                return [*spans, (begin, first)]
            cut = first if blank else space
            if cut < 0 or text[begin:cut].isspace():
                spans.append((begin, first))
                begin, cells, space = first, 0, -1
            else:
                spans.append((begin, cut))
                # The space that did not fit is not shown, so it takes no cell of the new row.
                begin, cells, space = cut + 1, -size if blank else cells - cells_behind_space, -1
        cells += size
        if blank and first > begin:
            space, cells_behind_space = first, cells
    spans.append((begin, len(text)))
    return spans


def _parts(line: str) -> Iterator[str]:
    """A line in pieces that are short enough; an empty one is a piece too."""
    yield line[:LONGEST]
    for start in range(LONGEST, len(line), LONGEST):
        yield line[start : start + LONGEST]


def _readable(text: str) -> str:
    if text.isprintable():
        return text
    return clean(text).replace("\t", TAB).replace("\u2028", "\n").replace("\u2029", "\n")
