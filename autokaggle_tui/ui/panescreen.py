"""Screens made of panes: the keys that go to a pane, zoom it, and move in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.widget import Widget

from autokaggle_tui.ui.following import Answer, FollowingScreen
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.widgets.pane import Pane

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState

NO_ENGINE: frozenset[EngineState] = frozenset({"finished", "stopped", "failed", "died"})
"""States in which nobody obeys."""


class PaneScreen(FollowingScreen[Answer]):
    """A screen whose panes are numbered from 1 in the order in which they are composed."""

    BINDINGS: ClassVar[list[Any]] = [
        *bindings("back", show=True),
        *bindings("zoom", "down", "up", "top", "bottom", *(f"pane-{number}" for number in range(1, 8))),
    ]

    @property
    def panes(self) -> Sequence[Widget]:
        """All panes, also those that this size has no room for."""
        return list(self.query(Pane))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only panes that exist can be gone to."""
        if action == "pane" and isinstance(number := parameters[0], int):
            return number <= len(self.panes)
        return super().check_action(action, parameters)

    def action_pane(self, number: int) -> None:
        """Go to a pane; one that is not seen fills the screen."""
        pane = self.panes[number - 1]
        if self.maximized is not None and self.maximized is not pane:
            self.minimize()
        target = next((widget for widget in (pane, *pane.query("*")) if widget.can_focus), None)
        if not all(node.display for node in pane.ancestors_with_self if isinstance(node, Widget)):
            self.maximize(pane, container=False)
        if target is not None:
            target.focus()

    def action_zoom(self) -> None:
        """Give the whole screen to the focused pane, or give it back."""
        if self.maximized is not None:
            self.minimize()
            return
        focused = self.focused
        panes = self.panes
        held = next((node for node in focused.ancestors_with_self if node in panes), None) if focused else None
        if isinstance(held, Widget):
            self.maximize(held, container=False)

    def action_back(self) -> None:
        """Out of the zoom, or back to where one came from."""
        if self.maximized is not None:
            self.minimize()
        else:
            self.dismiss()

    def action_down(self) -> None:
        """Down a row or line."""
        self._move("down", "cursor_down", "scroll_down")

    def action_up(self) -> None:
        """Up a row or line."""
        self._move("up", "cursor_up", "scroll_up")

    def action_top(self) -> None:
        """To the first row or line."""
        self._move("top", "first", "scroll_home")

    def action_bottom(self) -> None:
        """To the last row or line."""
        self._move("bottom", "last", "scroll_end")

    def _move(self, *actions: str) -> None:
        """Run the first of these actions that the focused widget has."""
        methods = (getattr(self.focused, f"action_{action}", None) for action in actions)
        if (method := next((method for method in methods if method), None)) is not None:
            method()
