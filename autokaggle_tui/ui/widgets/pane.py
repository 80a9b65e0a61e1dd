"""A pane: a bordered part of a screen that holds others, with its number and name in the border."""

from __future__ import annotations

from textual.containers import Vertical
from textual.content import Content


class Pane(Vertical):
    """A box with a title; the border lights up while something in it has the focus."""

    ALLOW_MAXIMIZE = True
    DEFAULT_CSS = """
    Pane {
        border: round $panel;
        border-title-color: $text-primary;
        border-subtitle-color: $text-muted;
        padding: 0 1;
        &:focus-within {
            border: round $accent;
            border-title-style: bold;
        }
    }
    """

    def __init__(self, title: str = "", *, number: int = 0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._number = number
        self.entitle(title)

    def entitle(self, title: str) -> None:
        """Another title behind the pane's number."""
        self.border_title = Content(f"{self._number} {title}" if self._number else title)

    def subtitle(self, *parts: str) -> None:
        """What the lower border says; empty parts are left out."""
        said = " · ".join(part for part in parts if part)
        self.border_subtitle = Content(said)
