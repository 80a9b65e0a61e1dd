"""A widget that keeps the lines it is made of, and makes them anew for another size."""

from __future__ import annotations

from textual import events
from textual.strip import Strip
from textual.widget import Widget

from autokaggle_tui.ui.widgets.lines import Line, Looks


class Drawing(Widget, can_focus=True):
    """Lines drawn for one size; a subclass sets them in :meth:`draw`."""

    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.drawn: list[Line] = []
        self._looks = Looks(self)

    def draw(self, width: int, height: int) -> list[Line]:
        """The lines for this many cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Make the lines anew: what they show, or the size, is no longer the same."""
        self.drawn = self.draw(*self.content_size)
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """Draw for the new size."""
        self.redraw()

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self._looks.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line."""
        return self._looks.strip(self.drawn[y] if y < len(self.drawn) else (), self.content_size.width)
