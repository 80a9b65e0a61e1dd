"""The cockpit: header, phases, three agents, rounds, chart and verdicts at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.panescreen import PaneScreen
from autokaggle_tui.ui.widgets.agent_pane import AgentPane
from autokaggle_tui.ui.widgets.find_bar import FindBar
from autokaggle_tui.ui.widgets.header_bar import HeaderBar
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.learnings_pane import LearningsPane
from autokaggle_tui.ui.widgets.phase_bar import PhaseBar
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.score_chart import ScoreChart
from autokaggle_tui.ui.widgets.stream_log import StreamLog
from autokaggle_tui.ui.widgets.verdict_log import VerdictLine, VerdictLog
from experiments.errors import RuleError

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, State
    from autokaggle_tui.ui.feed import LogRow, StreamRow
    from experiments.learnings import Rules

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
    ALLOW_IN_MAXIMIZED_VIEW = "#banner, FindBar, KeyBar"
    BINDINGS: ClassVar[list[Any]] = [
        *bindings("back", show=False),
        *bindings("filter", "follow", "hit-next", "hit-previous", "copy"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sought: RoundsTable | StreamLog = RoundsTable(id="rounds")
        self._rules: Rules | None = None
        self._learnings_time = 0
        self._announced = ("", False)
        self._furnished = False

    def on_mount(self) -> None:
        """Leave the panes for later: composed with the screen they are styled twice, and rendered twice unseen."""
        self.call_later(self._furnish)

    async def _furnish(self) -> None:
        """Mount the panes, and show them; the stylesheet says which a size has room for."""
        with self.app.batch_update():
            await self.mount_all(
                [
                    HeaderBar(id="header"),
                    PhaseBar(id="phases"),
                    Horizontal(
                        *(AgentPane(role, number, id=role) for number, role in enumerate(ROLES, 1)), id="agents"
                    ),
                    Horizontal(
                        self._sought,
                        Vertical(ScoreChart(id="chart"), VerdictLog(id="verdicts"), id="side"),
                        LearningsPane(id="learnings"),
                        id="below",
                    ),
                    VerdictLine(id="verdict"),
                    Static(id="banner", markup=False),
                    FindBar(),
                    KeyBar(),
                ]
            )
            self._set_up()
        self._furnished = True
        # Laid out and painted now, and not at the next tick of the screen's clock.
        self.post_message(Resize(self.app.size, self.app.size))
        self.call_after_refresh(self.cockpit.begin)

    def _set_up(self) -> None:
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
        self.set_focus(self.query_one(RoundsTable))
        self.set_interval(0.5, self._beat)

    # Following.

    def follow(self, state: State, engine: EngineState) -> None:
        """Show the state in every pane."""
        if not self._furnished:
            return
        now = self.cockpit.clock()
        for widget in self.query(".follows"):
            cast(Follower, widget).show(state, engine, now)
        if self._rules is None:
            # The first frame does not wait for them.
            if self.cockpit.known:
                self._read_rules()
        else:
            self.query_one(LearningsPane).show_rules(self._rules, state.bound)
        self._show_banner(state, engine)

    def stream(self, streamed: Sequence[StreamRow], logged: Sequence[LogRow]) -> None:  # noqa: ARG002
        """Hand each agent what it said."""
        for role in ROLES:
            rows = [row for row in streamed if row.role == role]
            if rows:
                self.query_one(f"#{role}", AgentPane).feed(rows)

    def _beat(self) -> None:
        """What moves without events: time, and LEARNINGS.md when somebody edits it."""
        self._show_time()
        self._read_rules()

    def _show_time(self) -> None:
        """Elapsed time, ETA, tokens a second."""
        app = self.cockpit
        for widget in (self.query_one(HeaderBar), self.query_one(PhaseBar), *self.query(AgentPane)):
            widget.show(app.state, app.engine, app.clock())

    def _read_rules(self) -> None:
        """Read LEARNINGS.md when it changed; a broken one leaves the rules that were shown."""
        from experiments.learnings import Rules

        path = self.cockpit.workspace.learnings
        try:
            changed = path.stat().st_mtime_ns
        except OSError:
            changed = 0
        if self._rules is not None and changed == self._learnings_time:
            return
        self._learnings_time = changed
        self._rules = self._rules or Rules.built_in()
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
