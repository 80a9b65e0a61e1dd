"""The app: drains the feed, keeps the state, hands it to the screens, and asks the engine for what keys want."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.screen import Screen

from autokaggle_tui.config_text import read_json
from autokaggle_tui.failures import explain, record_bug
from autokaggle_tui.ui.following import FollowingScreen
from autokaggle_tui.ui.keymap import bindings, keymap, own_keys, problems
from autokaggle_tui.ui.screens.cockpit import CockpitScreen
from autokaggle_tui.ui.themes import THEMES, register
from autokaggle_tui.ui.uistate import UiState
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError

if TYPE_CHECKING:
    from autokaggle_tui.commands import Answer
    from autokaggle_tui.launching import Launch, Start
    from autokaggle_tui.state import EngineState, State
    from autokaggle_tui.ui.feed import Batch, Feed

TICKS_PER_SECOND = 12
RUNNING: frozenset[str] = frozenset({"reading", "starting", "running", "pausing", "paused", "stopping"})


# The cockpit is painted before anything else is imported: what follows the engine, what asks and starts it, other
# screens and the palette come when they are needed.


def _provider(name: str) -> Callable[[], Any]:
    """A provider of the palette, imported when the palette is first opened."""

    def load() -> Any:
        return getattr(importlib.import_module("autokaggle_tui.ui.palette"), name)

    return load


class AutokaggleApp(App[None]):
    """A viewer of one workspace.

    Args:
        start: How to start an engine when none runs; None looks on and starts nothing.
        clock: Unix seconds.

    Attributes:
        known: Whether the registry was looked at yet.
        pid: Of the engine that holds the lock, None when there is none.
        launch: The engine this viewer is starting.
        words: The last words of an engine that ended by itself.
        unstarted: The last engine that this viewer started did not come up.
    """

    TITLE = "autokaggle"
    # Read with the app's, the first screen's stylesheet costs no second parsing of all of them.
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "screens/cockpit.tcss"]
    COMMANDS: ClassVar[set[Any]] = {_provider(name) for name in ("Commands", "Rounds", "Models", "Themes")}
    ENABLE_COMMAND_PALETTE = True
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (170, "-wide")]  # noqa: RUF012 - as App has it
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (20, "-short"), (32, "-tall")]  # noqa: RUF012 - as App has it
    BINDINGS: ClassVar[list[Any]] = bindings(
        "pause", "retro", "hint", "models", "help", "quit", "kill", "stop", "restart",
        "submissions", "correlations", "learnings", "theme", "palette",
    )  # fmt: skip

    def __init__(
        self, workspace: Workspace, start: Start | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self.workspace = workspace
        self.start = start
        self.clock = clock
        self._state: State | None = None
        self.known = False
        self.pid: int | None = None
        self.launch: Launch | None = None
        self.words = ""
        self.unstarted = False
        self.problem = ""
        self.ui = UiState.load()
        self._feed: Feed | None = None
        self._opened_by = os.getppid()
        self._terminal = False
        self._bound_for: EngineState = "reading"
        register(self)
        self.theme = self.ui.theme if self.ui.theme in self.available_themes else THEMES[0].name
        self._variables = self.get_css_variables()
        self.stylesheet.set_variables(self._variables)

    @property
    def state(self) -> State:
        """The facts so far."""
        if self._state is None:
            # Before the registry was looked at there are none: the first frame needs no records.
            from autokaggle_tui.state import State

            self._state = State()
        return self._state

    @property
    def engine(self) -> EngineState:
        """What the engine does, as far as it can be told."""
        if not self.known:
            return "reading"
        if self.pid is None and self.launch is not None and self.launch.state() != "ended":
            return "starting"
        return self.state.engine(self.pid)

    def get_default_screen(self) -> CockpitScreen:
        """The cockpit; the others are shown above it."""
        return CockpitScreen()

    def on_mount(self) -> None:
        """Leave when the terminal or the system says so."""
        self.theme_changed_signal.subscribe(self, lambda theme: self.ui.remember(theme=theme.name))
        self._terminal = not self.is_headless and sys.stdin.isatty()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)

    def refresh_css(self, animate: bool = True) -> None:
        """Style everything anew, unless the colours are those that the stylesheet has: so it is at the start."""
        variables = self.get_css_variables()
        if variables != self._variables:
            self._variables = variables
            super().refresh_css(animate)

    def begin(self) -> None:
        """Follow the campaign; the cockpit calls it when its first frame is painted."""
        # What is there now stays: no collection needs to look at it again.
        gc.freeze()
        gc.enable()
        from autokaggle_tui.ui.feed import Feed

        self._feed = Feed(self.workspace)
        self._feed.start()
        self.set_interval(1 / TICKS_PER_SECOND, self._tick)
        self._read_keys()
        if self.start is not None:
            self._launch(self.start)

    def _read_keys(self) -> None:
        """The person's own keys. All else in config.json is the engine's, which checks it."""
        try:
            config = read_json(self.workspace.config)
        except AutokaggleError as error:
            self.notify(str(error), title=error.title, severity="error", markup=False)
            return
        keys = own_keys(config)
        self.set_keymap(keymap(keys))
        for sentence in problems(keys):
            self.notify(sentence, title="config.json", severity="warning", markup=False)

    def _handle_exception(self, error: Exception) -> None:
        """A bug of ours ends the screen with one line; the loop goes on."""
        super()._handle_exception(error)
        self._exit_renderables[:] = [Text(f"Bug: {record_bug(error, self.workspace.root)} The loop is not concerned.")]

    def on_unmount(self) -> None:
        """Leave nothing running behind the screen but the engine."""
        if self._feed is not None:
            self._feed.stop()

    # What screens use.

    def command(self, verb: str, *, then: Callable[[Answer], None] | None = None, **args: Any) -> None:
        """Ask the engine for something; its answer is shown, or handed to ``then``."""
        self._ask(verb, args, then or partial(self._told, verb))

    def open_round(self, name: str) -> None:
        """Look at a round or experiment."""
        if name in self.state.results:
            from autokaggle_tui.ui.screens.round import RoundScreen

            self._show(RoundScreen(name), toggle=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which of the loop's keys are alive now."""
        engine = self.engine
        if action == "pause":
            return engine == "running"
        if action == "resume":
            return engine in ("paused", "pausing")
        if action == "restart":
            return engine not in RUNNING
        return super().check_action(action, parameters)

    # Actions.

    def action_pause(self) -> None:
        """Hold the loop between folds."""
        self.command("pause")

    def action_resume(self) -> None:
        """Let the loop go on."""
        self.command("resume")

    def action_retro(self) -> None:
        """Open the next round with a retrospective."""
        self.command("retro")

    def action_kill(self) -> None:
        """Kill the running experiment."""
        if self._nobody():
            return
        name = self.state.now.experiment
        if name is None:
            self.notify("No experiment is running.", severity="warning")
            return
        self._confirm(
            f"Kill {name}?", "The experiment counts as killed; the loop goes on.", lambda: self.command("kill")
        )

    def action_stop(self) -> None:
        """Stop the engine after its step, or at once when it is stopping already."""
        pid = self.pid
        if self._nobody():
            return
        if self.engine == "stopping" and pid:
            detail = "The step it is in will be done again by the next start. Nothing is lost."
            self._confirm("Stop at once?", detail, partial(self._terminate, pid))
            return
        detail = "The engine ends after its current step; the same command goes on later."
        self._confirm("Stop the engine?", detail, lambda: self.command("stop"))

    def action_restart(self) -> None:
        """Start the engine again, with the options of the last run."""
        import sqlite3

        from autokaggle_tui.launching import Start, last_options

        try:
            options = last_options(self.workspace)
        except (AutokaggleError, sqlite3.Error):
            options = None
        self._launch(options or self.start or Start())

    def action_hint(self) -> None:
        """Tell the agents something."""
        from autokaggle_tui.ui.screens.dialogs import HintDialog

        self.push_screen(HintDialog(), lambda text: self.command("hint", text=text) if text else None)

    def action_models(self) -> None:
        """Open the models."""
        from autokaggle_tui.ui.screens.models import ModelsScreen

        self._show(ModelsScreen())

    def action_submissions(self) -> None:
        """Open blends and submissions."""
        from autokaggle_tui.ui.screens.submissions import SubmissionsScreen

        self._show(SubmissionsScreen())

    def action_correlations(self) -> None:
        """Open the heat map of the pool."""
        from autokaggle_tui.ui.screens.correlation import CorrelationScreen

        self._show(CorrelationScreen())

    def action_learnings(self) -> None:
        """Open LEARNINGS.md."""
        from autokaggle_tui.ui.screens.learnings import LearningsScreen

        self._show(LearningsScreen())

    def action_help(self) -> None:
        """Show the keys that are alive."""
        from autokaggle_tui.ui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())

    def action_theme(self) -> None:
        """The next theme."""
        names = [theme.name for theme in THEMES]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    async def action_quit(self) -> None:
        """Leave; with a running engine ask first what becomes of it."""
        if self.engine not in RUNNING:
            self.exit()
            return
        from autokaggle_tui.ui.screens.dialogs import QuitDialog

        if not isinstance(self.screen, QuitDialog):
            self.push_screen(QuitDialog(), self._leave)

    # Following.

    def _tick(self) -> None:
        if not self.is_running:
            # Leaving takes the widgets away first.
            return
        assert self._feed is not None
        if (self.is_web and os.getppid() != self._opened_by) or (self._terminal and not sys.stdin.isatty()):
            # The server of this tab, or the terminal, is gone without a word.
            self.exit()
        batches = self._feed.drain()
        before, engine = self.state, self.engine
        for batch in batches:
            self._take(batch)
        if engine in RUNNING and self.engine == "died":
            self.notify(
                "r starts it again; the run goes on where it stopped.",
                title="The engine died",
                severity="error",
            )
        if batches or self.state is not before or self.engine != engine:
            self._hand_on()
        if self.launch is not None and self.launch.state() == "ended":
            self._died()

    def _take(self, batch: Batch) -> None:
        from autokaggle_tui.notifying import notice
        from autokaggle_tui.reducing import reduce

        if batch.state is not None:
            self._state = batch.state
        for event in batch.events:
            self._state = reduce(self.state, event)
            found = notice(event)
            if found is not None:
                self.notify(found.text, title=found.title, severity=found.severity, markup=False)
        if batch.pid is None and (self.pid is not None or not self.known):
            self.words = self._last_words()
        self.known = True
        if batch.pid is not None:
            self.launch, self.words, self.unstarted = None, "", False
        self.pid = batch.pid
        self.problem = batch.problem
        if batch.streamed or batch.logged:
            for screen in self.screen_stack:
                if isinstance(screen, FollowingScreen) and screen.is_mounted:
                    screen.stream(batch.streamed, batch.logged)

    def _hand_on(self) -> None:
        """Give the state to the screen that is seen; the others catch up when they are."""
        for screen in self.screen_stack[-2:] if self.screen.is_modal else self.screen_stack[-1:]:
            # One that was just pushed has no widgets yet; it is told when it is seen.
            if isinstance(screen, FollowingScreen) and screen.is_mounted:
                screen.follow(self.state, self.engine)
        if self._bound_for != self.engine:
            # Laying the footer out anew costs more than all the rest.
            self._bound_for = self.engine
            self.refresh_bindings()

    def _died(self) -> None:
        """The engine this viewer started ended before it had the lock."""
        launch, self.launch = self.launch, None
        if launch is not None and self.pid is None:
            self.words = self._last_words() or f"It ended with code {launch.exit_code}; see engine.log."
            self.unstarted = True
            self._hand_on()

    def _last_words(self) -> str:
        from autokaggle_tui.launching import last_words

        return last_words(self.workspace)

    def _launch(self, start: Start) -> None:
        """Start a detached engine unless one is running."""
        from autokaggle_tui.launching import ensure_engine

        self.unstarted = False
        try:
            self.launch = ensure_engine(self.workspace, start)
        except (AutokaggleError, OSError) as error:
            self.notify(str(error), title="The engine cannot be started", severity="error", markup=False)
        self._hand_on()

    # Helpers.

    def _show(self, screen: Screen[Any], *, toggle: bool = True) -> None:
        """Open a screen beside the cockpit; the key that opened it closes it, another replaces it."""
        top = self.screen
        if top.is_modal:
            return
        if isinstance(top, CockpitScreen):
            self.push_screen(screen)
        elif toggle and type(top) is type(screen):
            self.pop_screen()
        else:
            self.switch_screen(screen)

    def _terminate(self, pid: int) -> None:
        """End an engine at once, if it is still the same."""
        if self.workspace.engine_pid() != pid:
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError as error:
            self.notify(f"Process {pid}: {error.strerror}.", severity="warning", markup=False)

    def _nobody(self) -> bool:
        """Whether no engine is there to obey; says so."""
        if self.engine in RUNNING:
            return False
        self.notify("No engine is running: r starts it.", severity="warning")
        return True

    def _confirm(self, question: str, detail: str, act: Callable[[], None]) -> None:
        from autokaggle_tui.ui.screens.dialogs import ConfirmDialog

        self.push_screen(ConfirmDialog(question, detail), lambda yes: act() if yes else None)

    def _leave(self, choice: str | None) -> None:
        if choice == "keep":
            self.exit()
        elif choice is not None and self.pid is None and self.launch is not None:
            # It has no registry to take commands from yet, and nothing that could be lost.
            if choice == "stop":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.launch.pid, signal.SIGTERM)
                self.exit()
            else:
                self.notify("The engine is still starting; pause it in a moment.", severity="warning")
        elif choice is not None:
            self.command(choice, then=self._left)

    def _left(self, answer: Answer) -> None:
        if answer.state == "done":
            self.exit()
        else:
            self._told("leaving", answer)

    def _ask(self, verb: str, args: dict[str, Any], then: Callable[[Answer], None]) -> None:
        """Ask in a thread that nobody waits for: leaving the screen does not wait for the engine's answer."""
        from autokaggle_tui.commands import Answer, ask

        def wait() -> None:
            try:
                answer = ask(self.workspace, verb, args)
            except AutokaggleError as error:
                answer = Answer("refused", str(error))
            except Exception as error:  # noqa: BLE001 - above a thread there is nobody whom an exception would reach
                place = self.workspace.root
                answer = Answer("refused", str(explain(error, place) or record_bug(error, place)))
            # The screen may be gone.
            with contextlib.suppress(RuntimeError):
                self.call_from_thread(then, answer)

        threading.Thread(target=wait, name=f"ask {verb}", daemon=True).start()

    def _told(self, verb: str, answer: Answer) -> None:
        if answer.state == "done":
            if verb == "pause":
                # The event says so in every viewer.
                return
            self.notify(answer.result, title=verb.capitalize(), markup=False)
        elif answer.state == "refused":
            self.notify(answer.result, title=f"{verb.capitalize()}: refused", severity="warning", markup=False)
        else:
            self.notify("The engine has not answered yet; it will obey.", title=verb.capitalize(), markup=False)
