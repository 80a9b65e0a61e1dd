"""A table of running text in as many cells as there are: columns that have no room wrap."""

from __future__ import annotations

import re
from collections.abc import Sequence

from textual.content import Content

from autokaggle_tui.ui.widgets.card import FAINT, GAP

LEAST_COLUMN = 6
_NUMBER = re.compile(r"[-+−]?[\d.,]+(?:e[-+]?\d+)?\s?%?|–|-|")


def table_lines(head: Sequence[Content], rows: Sequence[Sequence[Content]], width: int) -> list[Content]:
    """Head, a rule, rows; columns of figures are aligned to the right."""
    widths = _widths([head, *rows], width)
    right = [all(_NUMBER.fullmatch(row[n].plain) for row in rows if n < len(row)) for n in range(len(widths))]
    titles = _laid_out([cell.stylize_before("bold $text-primary") for cell in head], widths, right)
    rule = Content.styled((" " * GAP).join("─" * size for size in widths), FAINT)
    return [*titles, rule, *(line for row in rows for line in _laid_out(row, widths, right))]


def _widths(rows: Sequence[Sequence[Content]], width: int) -> list[int]:
    """Cells of each column: what it needs, the widest giving way first."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max((row[n].cell_length for row in rows if n < len(row)), default=1) or 1 for n in range(columns)]
    room = width - GAP * (columns - 1)
    while sum(widths) > room and max(widths) > LEAST_COLUMN:
        widest = widths.index(max(widths))
        others = sum(widths) - widths[widest]
        second = max((size for n, size in enumerate(widths) if n != widest), default=LEAST_COLUMN)
        widths[widest] = max(room - others, min(second, widths[widest] - 1), LEAST_COLUMN)
    return widths


def _laid_out(row: Sequence[Content], widths: Sequence[int], right: Sequence[bool]) -> list[Content]:
    """The lines of one row."""
    cells = [(cell.wrap(size) or [Content()]) for cell, size in zip(row, widths, strict=False)]
    lines = []
    for number in range(max((len(cell) for cell in cells), default=0)):
        parts = []
        for cell, size, is_right in zip(cells, widths, right, strict=False):
            part = (cell[number] if number < len(cell) else Content()).rstrip()
            missing = max(size - part.cell_length, 0)
            parts.append(part.pad_left(missing) if is_right else part.pad_right(missing))
        lines.append(Content(" " * GAP).join(parts))
    return lines
