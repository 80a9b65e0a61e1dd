"""The last line of a screen: the keys that are alive on it, with what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.binding import Binding
from textual.content import Content
from textual.style import Style
from textual.widget import Widget

if TYPE_CHECKING:
    from textual import events

GAPS = (2, 1)
LAST_ONES = 2
"""Entries at the end that stay when others have to leave: help, and the way out."""


@dataclass(frozen=True)
class Entry:
    """One key.

    Attributes:
        key: As Textual names it.
        shown: As a person reads it.
        help: A sentence for the tooltip.
        alive: A dead one is there all the same, dimmed.
    """

    key: str
    shown: str
    label: str
    help: str
    alive: bool


class KeyBar(Widget):
    """One line of keys, which can be clicked. Textual's own footer is a widget for each key, and as many layouts."""

    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """
    ALLOW_SELECT = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: tuple[Entry, ...] = ()

    def on_mount(self) -> None:
        """Follow what is alive."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Any) -> None:
        if not (self.app.app_focus and self.is_attached):
            return
        entries = tuple(self._alive())
        if entries != self._entries:
            self._entries = entries
            self.refresh()

    def _alive(self) -> list[Entry]:
        """Each action once, with the first of its keys."""
        found: dict[str, Entry] = {}
        for active in self.screen.active_bindings.values():
            binding: Binding = active.binding
            if binding.show and binding.action not in found:
                shown = self.app.get_key_display(binding)
                help = active.tooltip or binding.description
                found[binding.action] = Entry(binding.key, shown, binding.description, help, active.enabled)
        return list(found.values())

    def render(self) -> Content:
        """What fits."""
        return fitted(self._entries, self.content_size.width)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Say more about the key under the mouse."""
        self.tooltip = event.style.meta.get("help")


def fitted(entries: Sequence[Entry], width: int) -> Content:
    """The keys in one line of ``width`` cells; those in the middle leave first."""
    shown = [_piece(entry) for entry in entries]
    while len(shown) > 1:
        used = sum(piece.cell_length for piece in shown)
        for gap in GAPS:
            if used + gap * (len(shown) - 1) <= width:
                return Content(" " * gap).join(shown)
        shown.pop(max(len(shown) - LAST_ONES - 1, 0))
    return Content("").join(shown)


def _piece(entry: Entry) -> Content:
    dim = "" if entry.alive else " dim"
    text = Content.assemble(
        (entry.shown, f"bold $footer-key-foreground{dim}"),
        (f" {entry.label}" if entry.label else "", f"$footer-description-foreground{dim}"),
    )
    act = "app.bell" if not entry.alive else f"app.simulate_key({entry.key!r})"
    return text.stylize(Style.from_meta({"@click": act, "help": entry.help}))
