"""Items one below the other with a cursor on one of them; only what is seen is ever painted."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.widgets.lines import Looks

CURSOR = "$block-cursor-foreground on $block-cursor-background"
BLURRED_CURSOR = "$block-cursor-blurred-foreground on $block-cursor-blurred-background"


class CursorView(ScrollView, can_focus=True):
    """A scrolling view of items, each of one line or more; item 0 is on top.

    While the cursor was not moved from the top it follows whatever comes there. Once it was, it stays on its item,
    and the item on its place on the screen, until it is brought back to the top.

    Attributes:
        cursor: The item under the cursor.
        following: Whether the cursor follows the top.
        head: Lines above the items that do not scroll.
        clicks: How many clicks open an item.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[Any]] = [
        *bindings("open", "down", "up", "top", "bottom", "follow"),
        Binding("down", "down", show=False),
        Binding("up", "up", show=False),
        Binding("pagedown", "page_down", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("home", "top", show=False),
        Binding("end", "bottom", show=False),
    ]
    DEFAULT_CSS = """
    CursorView {
        background: transparent;
        border: round $panel;
        border-title-color: $text-primary;
        border-subtitle-color: $text-muted;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        overflow-x: hidden;
        &:focus {
            border: round $accent;
            border-title-style: bold;
        }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    head = 0
    clicks = 2

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.following = True
        self.looks = Looks(self)
        self._placing = False

    # What a view of something fills in.

    @property
    def count(self) -> int:
        """How many items there are."""
        raise NotImplementedError

    def span(self, index: int) -> tuple[int, int]:
        """First line and number of lines of an item."""
        return index, 1

    def item_at(self, line: int) -> int:
        """The item that a line belongs to; at least ``count`` below the last."""
        return line

    def paint(self, line: int, width: int) -> Strip:
        """A line of the items."""
        raise NotImplementedError

    def paint_head(self, line: int, width: int) -> Strip:
        """A line above the items."""
        raise NotImplementedError

    def opened(self, index: int) -> None:
        """An item was chosen."""

    def head_clicked(self, x: int) -> None:
        """The lines above the items were clicked."""

    # What the view does.

    def measure(self) -> None:
        """The number of lines changed."""
        top, height = self.span(self.count - 1) if self.count else (0, 0)
        self.virtual_size = Size(self.scrollable_content_region.width, self.head + top + height)

    def place(self, index: int, *, moved: int = 0) -> None:
        """Put the cursor on an item after the items changed.

        Args:
            moved: By how many lines the item under the cursor moved down.
        """
        self._placing = True
        self.cursor = index
        self._placing = False
        if self.following:
            self.scroll_to(y=0, animate=False, force=True)
        elif moved and self.scroll_offset.y:
            self.scroll_to(y=self.scroll_offset.y + moved, animate=False, force=True)
        self.reveal()

    def reveal(self) -> None:
        """Scroll as far as the cursor's item needs to be seen."""
        if not self.count or self.following:
            return
        top, height = self.span(self.cursor)
        seen = self._seen_lines
        if top < self.scroll_offset.y or height > seen:
            self.scroll_to(y=top, animate=False, force=True)
        elif top + height > self.scroll_offset.y + seen:
            self.scroll_to(y=top + height - seen, animate=False, force=True)

    def refresh_item(self, index: int) -> None:
        """Paint one item anew."""
        if 0 <= index < self.count:
            top, height = self.span(index)
            first = max(top - self.scroll_offset.y, 0)
            last = min(top + height - self.scroll_offset.y, self._seen_lines)
            if first < last:
                self.refresh(Region(0, self.head + first, self.size.width, last - first))

    def cursor_style(self, index: int) -> str:
        """Style of an item when the cursor is on it, else an empty string."""
        if index != self.cursor:
            return ""
        return CURSOR if self.has_focus else BLURRED_CURSOR

    def render_line(self, y: int) -> Strip:
        """One line of what is seen."""
        width = self.scrollable_content_region.width
        if y < self.head:
            return self.paint_head(y, width)
        line = y - self.head + self.scroll_offset.y
        return self.paint(line, width)

    def validate_cursor(self, index: int) -> int:
        """Within the items."""
        return max(min(index, self.count - 1), 0)

    def watch_cursor(self, old: int, new: int) -> None:
        """Move the highlight; remember whether a person moved it."""
        self.refresh_item(old)
        self.refresh_item(new)
        if not self._placing:
            self.following = new == 0
            self.reveal()
            if self.following:
                self.scroll_to(y=0, animate=False, force=True)

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self.looks.clear()
        self.refresh()

    def on_resize(self, _event: events.Resize) -> None:
        """The lines are as wide as the view."""
        self.measure()
        self.reveal()

    def on_focus(self) -> None:
        """The cursor lights up."""
        self.refresh_item(self.cursor)

    def on_blur(self) -> None:
        """The cursor fades."""
        self.refresh_item(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; as many clicks as it takes open the item."""
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < self.head:
            self.head_clicked(offset.x)
            return
        index = self.item_at(offset.y - self.head + self.scroll_offset.y)
        if index < self.count:
            self.cursor = index
            if event.chain >= self.clicks:
                self.opened(index)

    def action_open(self) -> None:
        """Open what the cursor is on."""
        if self.count:
            self.opened(self.cursor)

    def action_down(self) -> None:
        """Down an item."""
        self.cursor += 1

    def action_up(self) -> None:
        """Up an item."""
        self.cursor -= 1

    def action_page_down(self) -> None:
        """Down as many lines as are seen."""
        top, height = self.span(self.cursor)
        self.cursor = max(self.item_at(top + height - 1 + max(self._seen_lines - 1, 1)), self.cursor + 1)

    def action_page_up(self) -> None:
        """Up as many lines as are seen."""
        self.cursor = min(self.item_at(max(self.span(self.cursor)[0] - self._seen_lines + 1, 0)), self.cursor - 1)

    def action_top(self) -> None:
        """To the first item, and stay on top."""
        self.follow()

    def action_bottom(self) -> None:
        """To the last item."""
        self.cursor = self.count - 1

    def action_follow(self) -> None:
        """Follow what comes on top."""
        self.follow()

    def follow(self) -> None:
        """Go to the top, and stay there as items come."""
        self.following = True
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)

    @property
    def _seen_lines(self) -> int:
        return max(self.scrollable_content_region.height - self.head, 1)
