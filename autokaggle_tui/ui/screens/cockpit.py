"""The cockpit: header, phases, three agents, rounds, chart and verdicts at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Footer, Static

from autokaggle_tui.state import EngineState, State
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.panescreen import PaneScreen
from autokaggle_tui.ui.widgets.agent_pane import AgentPane
from autokaggle_tui.ui.widgets.find_bar import FindBar
from autokaggle_tui.ui.widgets.header_bar import HeaderBar
from autokaggle_tui.ui.widgets.learnings_pane import LearningsPane
from autokaggle_tui.ui.widgets.phase_bar import PhaseBar
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.score_chart import ScoreChart
from autokaggle_tui.ui.widgets.stream_log import StreamLog
from autokaggle_tui.ui.widgets.verdict_log import VerdictLine, VerdictLog
from experiments.errors import RuleError
from experiments.learnings import Rules

if TYPE_CHECKING:
    from autokaggle_tui.ui.feed import LogRow, StreamRow

ROLES = ("researcher", "builder", "reviewer")
LAST_WORDS = 4
"""Lines of a dead engine that the banner has room for; all of them are in engine.out and engine.log."""
PANES = (*ROLES, "rounds", "chart", "verdicts", "learnings")
"""Panes by their number, from 1."""


class Follower(Protocol):
    """A widget that shows the state; these have the class ``follows``."""

    def show(self, state: State, engine: EngineState, now: float) -> None:
        """Show it."""


class CockpitScreen(PaneScreen[None]):
    """The main screen."""

    CSS_PATH = "cockpit.tcss"
    AUTO_FOCUS = "#rounds"
    ALLOW_IN_MAXIMIZED_VIEW = "#banner, FindBar, Footer"
    BINDINGS: ClassVar[list[Any]] = [
        *bindings("back", show=False),
        *bindings("filter", "follow", "hit-next", "hit-previous", "copy"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sought: RoundsTable | StreamLog = RoundsTable(id="rounds")
        self._rules = Rules.built_in()
        self._learnings_time = 0
        self._announced = ("", False)

    def compose(self) -> ComposeResult:
        """Lay the panes out; the stylesheet says which a size has room for."""
        yield HeaderBar(id="header")
        yield PhaseBar(id="phases")
        with Horizontal(id="agents"):
            for number, role in enumerate(ROLES, start=1):
                yield AgentPane(role, number, id=role)
        with Horizontal(id="below"):
            yield self._sought
            with Vertical(id="side"):
                yield ScoreChart(id="chart")
                yield VerdictLog(id="verdicts")
            yield LearningsPane(id="learnings")
        yield VerdictLine(id="verdict")
        yield Static(id="banner", markup=False)
        yield FindBar()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Titles, the first agent on small screens, the remembered order, and a clock."""
        for number, title in ((4, "Rounds"), (5, "CV score"), (6, "Verdicts"), (7, "Learnings")):
            self.panes[number - 1].border_title = Content(f"{number} {title}")
        remembered = self.cockpit.ui
        chosen = remembered.agent if remembered.agent in ROLES else ROLES[0]
        self._choose(self.query_one(f"#{chosen}", AgentPane))
        if remembered.zoomed in PANES:
            self.call_after_refresh(self.maximize, self.query_one(f"#{remembered.zoomed}"), container=False)
        if remembered.sort_column:
            self.query_one(RoundsTable).sort_by(remembered.sort_column, reverse=remembered.sort_reverse)
        self.set_interval(0.5, self._beat)
        self._beat()

    # Following.

    def follow(self, state: State, engine: EngineState) -> None:
        """Show the state in every pane."""
        now = self.cockpit.clock()
        for widget in self.query(".follows"):
            cast(Follower, widget).show(state, engine, now)
        self.query_one(LearningsPane).show_rules(self._rules, state.bound)
        self._show_banner(state, engine)

    def stream(self, streamed: Sequence[StreamRow], logged: Sequence[LogRow]) -> None:  # noqa: ARG002
        """Hand each agent what it said."""
        for role in ROLES:
            rows = [row for row in streamed if row.role == role]
            if rows:
                self.query_one(f"#{role}", AgentPane).feed(rows)

    def _beat(self) -> None:
        """What moves without events: elapsed time, ETA, tokens a second, and LEARNINGS.md when somebody edits it."""
        app = self.cockpit
        for widget in (self.query_one(HeaderBar), self.query_one(PhaseBar), *self.query(AgentPane)):
            widget.show(app.state, app.engine, app.clock())
        self._read_rules()

    def _read_rules(self) -> None:
        """Read LEARNINGS.md when it changed; a broken one leaves the rules that were shown."""
        path = self.cockpit.workspace.learnings
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed == self._learnings_time:
            return
        self._learnings_time = changed
        try:
            self._rules = Rules.load(path)
        except RuleError as error:
            said = f"{error.message} The last good rules stay in force."
            self.notify(said, title="LEARNINGS.md", severity="warning", markup=False)
        self.query_one(LearningsPane).show_rules(self._rules, self.cockpit.state.bound)

    def _show_banner(self, state: State, engine: EngineState) -> None:
        """What a person must know before anything else: no registry, no engine, and why."""
        said, alarm = announced = self._announcement(state, engine)
        if announced == self._announced:
            return
        self._announced = announced
        banner = self.query_one("#banner", Static)
        banner.display = bool(said)
        banner.set_class(alarm, "-alarm")
        banner.update(Content(said))

    def _announcement(self, state: State, engine: EngineState) -> tuple[str, bool]:
        """What the banner says, and whether it is bad news."""
        app, now = self.cockpit, state.now
        if app.problem:
            return f"✗ {app.problem}", True
        if app.unstarted:
            said = "\n".join(app.words.splitlines()[-LAST_WORDS:])
            return f"✗ The engine did not start. r tries again.\n{said}", True
        if engine in ("died", "failed"):
            words = app.words.splitlines() or [now.reason or "It left no last words; see engine.log in the workspace."]
            said = "\n".join(words[-LAST_WORDS:])
            return f"✗ The engine {engine}. r starts it again; the run goes on where it stopped.\n{said}", True
        if now.mode == "idle" and engine not in ("starting", "reading"):
            return "■ Nothing has run here yet. r starts the engine.", False
        if engine in ("finished", "stopped"):
            return f"■ The run {engine}: {now.reason or 'by command'}. r plays on, q leaves.", False
        return "", False

    # Panes.

    @property
    def panes(self) -> list[Widget]:
        """All panes by their number, also those that this size has no room for."""
        return [self.query_one(f"#{name}") for name in PANES]

    def action_pane(self, number: int) -> None:
        """Go to a pane; small screens show the agent that was gone to last."""
        pane = self.panes[number - 1]
        if isinstance(pane, AgentPane):
            self._choose(pane)
            self.cockpit.ui.remember(agent=pane.id)
        super().action_pane(number)

    def watch_maximized(self, pane: Widget | None) -> None:
        """The zoom survives a restart."""
        self.cockpit.ui.remember(zoomed="" if pane is None else pane.id)

    def action_back(self) -> None:
        """Out of the zoom, or out of the filter; the cockpit itself is left by quitting."""
        if (bar := self.query_one(FindBar)).display:
            bar.close()
            self._sought.focus()
        elif self.maximized is not None:
            self.minimize()

    def _choose(self, chosen: AgentPane) -> None:
        """The one agent that small screens show."""
        for pane in self.query(AgentPane):
            pane.set_class(pane is chosen, "-chosen")

    def action_follow(self) -> None:
        """Every stream back to its newest line."""
        for log in self.query(StreamLog):
            log.follow()
        self.query_one(VerdictLog).follow()

    @on(RoundsTable.Sorted)
    def _sorted(self, event: RoundsTable.Sorted) -> None:
        self.cockpit.ui.remember(sort_column=event.column, sort_reverse=event.reverse)

    def action_copy(self) -> None:
        """Copy the selected text, or else what the focused pane holds."""
        text = self.get_selected_text() or ""
        if not text and self.focused is not None and hasattr(self.focused, "text"):
            text = self.focused.text()
        if text:
            self.app.copy_to_clipboard(text)
            lines = len(text.splitlines())
            self.notify(f"Copied {lines} line{'' if lines == 1 else 's'}.")

    # Filter and find: one line at the bottom, for the table's rows or a stream's lines.

    def action_filter(self) -> None:
        """Ask for words."""
        self._sought = self.focused if isinstance(self.focused, StreamLog) else self.query_one(RoundsTable)
        self.query_one(FindBar).open("filter rounds" if isinstance(self._sought, RoundsTable) else "find lines")

    @on(FindBar.Changed)
    def _look_for(self, event: FindBar.Changed) -> None:
        if isinstance(self._sought, RoundsTable):
            self._sought.filter = event.words
        else:
            self._sought.find(event.words)

    @on(FindBar.Done)
    def _looked(self) -> None:
        bar = self.query_one(FindBar)
        if not bar.words:
            bar.close()
        self._sought.focus()

    def action_hit_next(self) -> None:
        """The next line found."""
        if isinstance(self._sought, StreamLog):
            self._sought.next()

    def action_hit_previous(self) -> None:
        """The line found before."""
        if isinstance(self._sought, StreamLog):
            self._sought.previous()

    @on(RoundsTable.Opened)
    @on(VerdictLog.Opened)
    def _open(self, event: RoundsTable.Opened | VerdictLog.Opened) -> None:
        self.cockpit.open_round(event.name)
