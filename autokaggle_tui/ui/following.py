"""Screens that follow the campaign: the app hands them the state and what is streamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from textual.screen import Screen

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, State
    from autokaggle_tui.ui.app import AutokaggleApp
    from autokaggle_tui.ui.feed import LogRow, StreamRow

Answer = TypeVar("Answer")


class FollowingScreen(Screen[Answer]):
    """A screen that is told of every change."""

    @property
    def cockpit(self) -> AutokaggleApp:
        """The app, with what it offers to screens."""
        return cast("AutokaggleApp", self.app)

    def on_screen_resume(self) -> None:
        """Catch up with what happened below another screen."""
        self.follow(self.cockpit.state, self.cockpit.engine)

    def follow(self, state: State, engine: EngineState) -> None:
        """Show the state; called after every batch, often with most of it unchanged."""

    def stream(self, streamed: Sequence[StreamRow], logged: Sequence[LogRow]) -> None:
        """Show what agents and experiments just said."""
