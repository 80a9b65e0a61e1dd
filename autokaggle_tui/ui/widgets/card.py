"""Cards: bordered pieces of the screen whose lines are laid out anew for every width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

Row = Sequence[Content]

MUTED = "$foreground-muted"
"""Of secondary text. ``$text-muted`` is made for CSS: inside ``Content`` it comes out at full strength."""
FAINT = "$foreground 30%"

GAP = 2
HANG = 4
LEAST_FLOW = 32


class Lines(Widget):
    """Text whose lines a subclass says in :meth:`lines`, for whatever width it gets."""

    DEFAULT_CSS = """
    Lines { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._laid: tuple[int, Content, int] | None = None

    def lines(self, width: int) -> list[Content]:
        """The lines at this many cells."""
        raise NotImplementedError

    def changed(self) -> None:
        """Lay out again: what the lines show is no longer the same."""
        before, self._laid = self._laid, None
        width = self.content_size.width
        # A clock that ticks must not move everything around it.
        steady = before is not None and before[0] == width and before[2] == self._layout_for(width)[2]
        self.refresh(layout=not steady)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as there are at this width."""
        return self._layout_for(width)[2]

    def render(self) -> Content:
        """All lines."""
        return self._layout_for(self.content_size.width)[1]

    def _layout_for(self, width: int) -> tuple[int, Content, int]:
        if self._laid is None or self._laid[0] != width:
            lines = self.lines(width) if width > 0 else []
            self._laid = (width, Content("\n").join(lines), max(len(lines), 1))
        return self._laid


class Card(Lines):
    """Lines in a box with a title."""

    DEFAULT_CSS = """
    Card {
        border: round $panel;
        border-title-color: $text-primary;
        border-subtitle-color: $text-muted;
        padding: 0 1;
    }
    """

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = Content(title)


class TableCard(Card):
    """Rows in aligned columns, the last of which wraps beneath itself; or a sentence when there are none."""

    def __init__(
        self, title: str, *, align: str = "", missing: str = "", least: int = LEAST_FLOW, id: str | None = None
    ) -> None:
        super().__init__(title, id=id)
        self._align = align
        self._least = least
        self._missing = missing
        self._rows: tuple[Row, ...] = ()

    def show(self, rows: Sequence[Row], missing: str | None = None) -> None:
        """Show these rows.

        Args:
            missing: What to say when there are none, if not what the card says anyway.
        """
        self._rows = tuple(rows)
        self._missing = self._missing if missing is None else missing
        self.changed()

    def lines(self, width: int) -> list[Content]:
        """The rows, or what is said instead."""
        if not self._rows:
            return Content.styled(self._missing, MUTED).wrap(width)
        return table(self._rows, width, self._align, self._least)


def table(rows: Sequence[Row], width: int, align: str = "", least: int = LEAST_FLOW) -> list[Content]:
    """Rows as lines of columns two cells apart.

    A row of one cell is a sentence of its own. Where the last column would have too little room to be read, it
    stands beneath its row.

    Args:
        align: ``l`` or ``r`` for each column, ``l`` for those left out.
        least: Cells that the last column needs at least to be read, if it is that wide at all.
    """
    columns = max((len(row) for row in rows), default=0)
    widths = [max((row[i].cell_length for row in rows if len(row) > max(i, 1)), default=0) for i in range(columns)]
    taken = sum(size + GAP for size in widths[:-1] if size)
    beneath = taken > width // 3 and width - taken < min(least, widths[-1] if widths else 0)
    lines: list[Content] = []
    for row in rows:
        if len(row) == 1:
            lines += row[0].wrap(width)
            continue
        cells = [
            _aligned(cell, size, align[i : i + 1])
            for i, (cell, size) in enumerate(zip(row[:-1], widths, strict=False))
            if size
        ]
        head = Content(" " * GAP).join(cells)
        last = row[-1]
        if beneath:
            lines.append(head.truncate(width, ellipsis=True))
            lines += [line.pad_left(HANG) for line in last.wrap(max(width - HANG, 1))] if last else []
            continue
        if align[columns - 1 : columns] == "r":
            last = _aligned(last, widths[-1], "r")
        flowing = last.wrap(max(width - taken, 1)) if last else [last]
        lines.append(head + Content(" " * GAP) + flowing[0] if cells else flowing[0])
        lines += [line.pad_left(taken) for line in flowing[1:]]
    return lines


def fitted(text: str, width: int) -> str:
    """Text of at most ``width`` cells, the last an ellipsis when it was longer."""
    if cell_len(text) <= width:
        return text
    return Content(text).truncate(width, ellipsis=True).plain if width > 0 else ""


def _aligned(cell: Content, width: int, side: str) -> Content:
    missing = max(width - cell.cell_length, 0)
    return cell.pad_left(missing) if side == "r" else cell.pad_right(missing)
