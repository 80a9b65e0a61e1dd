"""An app that offers just what a screen may use, and writes down what the screen asks of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static

from autokaggle_tui.commands import Answer
from autokaggle_tui.config import Config, load_config
from autokaggle_tui.loading import load_state
from autokaggle_tui.state import EngineState, State
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.palette import Commands, Models, Rounds, Themes
from autokaggle_tui.ui.themes import DEFAULT, register
from autokaggle_tui.ui.widgets.sheet import Sheet
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError
from experiments.schema import open_viewer

from .campaign_book import PID

HOSTILE = "[/red]\x1b[31mred\x07[@click=app.quit]"
"""What must be shown as text, as ``SHOWN``."""
SHOWN = "[/red]red[@click=app.quit]"


class Host(App[None]):
    """An app that writes down what screens ask of it, and answers as it is told."""

    COMMANDS = {Commands, Rounds, Models, Themes}  # noqa: RUF012 - as App has it
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (170, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]  # noqa: RUF012
    CSS_PATH = "../autokaggle_tui/ui/app.tcss"
    BINDINGS = bindings("pause", "retro", "hint", "models", "help", "quit", "palette", "learnings", "submissions")

    def __init__(self, workspace: Workspace, pid: int | None = None) -> None:
        super().__init__()
        self.animation_level = "none"
        self.workspace = workspace
        self.pid = pid
        self.now = 1_767_225_600.0 + 5 * 3600
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.opened: list[str] = []
        self.waiting: list[tuple[str, Callable[[Answer], None]]] = []
        connection = open_viewer(workspace.facts)
        self.state: State = load_state(connection)
        connection.close()
        self.config: Config | None = None
        try:
            self.config = load_config(workspace.root)
        except AutokaggleError:
            pass

    def on_mount(self) -> None:
        register(self)
        self.theme = DEFAULT

    @property
    def engine(self) -> EngineState:
        return self.state.engine(self.pid)

    def clock(self) -> float:
        return self.now

    def command(self, verb: str, *, then: Callable[[Answer], None] = lambda answer: None, **args: Any) -> None:
        self.asked.append((verb, args))
        self.waiting.append((verb, then))

    def answer(self, state: str, result: str) -> None:
        """Answer the oldest question."""
        _verb, then = self.waiting.pop(0)
        then(Answer(state, result))

    def open_round(self, name: str) -> None:
        self.opened.append(name)

    def give(self, state: State) -> None:
        """Hand the screen another state, as after a batch."""
        self.state = state
        self.screen.follow(state, self.engine)  # type: ignore[attr-defined]


@asynccontextmanager
async def showing(
    workspace: Workspace, screen: Any, *, pid: int | None = PID, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[Pilot[None]]:
    """The screen, with all that it reads at first."""
    app = Host(workspace, pid)
    async with app.run_test(size=size) as pilot:
        await app.push_screen(screen)
        await settled(pilot)
        yield pilot


async def settled(pilot: Pilot[None]) -> None:
    """Wait until everything that was begun is done."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def said(pilot: Pilot[None], selector: str) -> str:
    """What a Static or a card says, without its line breaks."""
    widget = pilot.app.screen.query_one(selector)
    shown = widget.visual if isinstance(widget, Static) else widget.render()
    return " ".join(str(shown).split())


def rows(pilot: Pilot[None], selector: str) -> list[str]:
    """The rows of a sheet as they are shown."""
    sheet = pilot.app.screen.query_one(f"{selector} Sheet", Sheet)
    return [str(option.prompt) for option in sheet.rows.options]


def toasts(pilot: Pilot[None]) -> str:
    return " ".join(toast.message for toast in pilot.app._notifications)
