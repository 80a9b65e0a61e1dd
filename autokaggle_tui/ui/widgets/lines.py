"""Lines of styled text: what the cockpit's widgets are painted with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.content import Content
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

Piece = tuple[str, str]
"""Text and its style, in theme variables: ``("✓", "$text-success")``."""
Line = tuple[Piece, ...]


def width_of(line: Iterable[Piece]) -> int:
    """Cells of a line."""
    return sum(cell_len(text) for text, _ in line)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Text in exactly ``width`` cells; what is longer ends in an ellipsis."""
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]
    space = " " * (width - cells)
    return space + text if right else text + space


def hanging(head: Line, body: Line, width: int) -> list[Content]:
    """Head and body as lines of at most ``width`` cells; the body is wrapped, and keeps clear of the head.

    The last piece of the head is a margin of its own width; in too narrow a place the body begins under the head.
    """
    start = Content.assemble(*head)
    indent = start.cell_length
    if width < indent + 12:
        return (start + Content.assemble(*body)).wrap(max(width, 2))
    first, *rest = Content.assemble(*body).wrap(width - indent) or [Content()]
    return [start + first, *(line.pad_left(indent) for line in rest)]


class Looks:
    """Styles of one widget by the name a ``Piece`` gives them; made anew when the theme changes."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._known: dict[str, RichStyle] = {}

    def clear(self) -> None:
        """Forget them: the theme or the widget's own style changed."""
        self._known.clear()

    def __getitem__(self, style: str) -> RichStyle:
        known = self._known.get(style)
        if known is None:
            base = self._widget.visual_style
            known = self._known[style] = ((base + Style.parse(style)) if style else base).rich_style
        return known

    def strip(self, line: Sequence[Piece], width: int, style: str = "") -> Strip:
        """A line as the screen wants it, ``width`` cells wide.

        Args:
            style: Of the whole line, over that of its pieces: the cursor's.
        """
        segments = [Segment(text, self[style or own]) for text, own in line]
        return Strip(segments).adjust_cell_length(width, self[style])
