"""A round's own screen: overview, plan, review, code, log and findings, up to date while the round is played."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget
from textual.widgets import TabbedContent, TabPane, Tabs

from autokaggle_tui.state import EngineState, State
from autokaggle_tui.ui.editor import edit
from autokaggle_tui.ui.following import FollowingScreen
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.papers import PAPERS, papers_of
from autokaggle_tui.ui.reading import READING, Reading, read_round
from autokaggle_tui.ui.widgets.code_page import CodePage
from autokaggle_tui.ui.widgets.code_view import CodeView
from autokaggle_tui.ui.widgets.document import DocumentPage, Paper
from autokaggle_tui.ui.widgets.find_bar import FindBar
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.log_page import LogPage
from autokaggle_tui.ui.widgets.marks import fold_text, stopwatch
from autokaggle_tui.ui.widgets.overview import Overview, Surroundings
from autokaggle_tui.ui.widgets.round_title import RoundTitle
from experiments.errors import AutokaggleError

if TYPE_CHECKING:
    from autokaggle_tui.ui.feed import LogRow, StreamRow

TABS = ("overview", "plan", "review", "code", "log", "findings")
ALIVE: frozenset[EngineState] = frozenset({"starting", "running", "pausing", "paused", "stopping"})
BEAT_SECONDS = 0.5


class RoundScreen(FollowingScreen[None]):
    """One round or experiment.

    Args:
        name: ``R07``, ``T03``, ``B01`` or an imported name.
    """

    CSS_PATH = "round.tcss"
    AUTO_FOCUS = "#overview"
    BINDINGS: ClassVar[list[Any]] = [
        *bindings("back", show=True),
        *bindings("previous", "next", "round-previous", "round-next", "versus"),
        Binding("left", "previous", show=False),
        Binding("right", "next", show=False),
        *bindings("diff", "editor", show=True),
        *bindings("copy", "filter", "hit-next", "hit-previous", "follow", "down", "up", "top", "bottom"),
        *bindings(*(f"pane-{number}" for number in range(1, len(TABS) + 1))),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.round_name = name
        self._loaded: Reading | None = None
        self._stamp: tuple[Any, ...] = ()
        self._loading = self._stale = False
        self._hits = 0

    def compose(self) -> ComposeResult:
        """Title, tabs, the line to find with, and the keys."""
        yield RoundTitle(id="title")
        with TabbedContent(id="tabs", initial="tab-overview"):
            with TabPane("1 Overview", id="tab-overview"):
                yield Overview(id="overview")
            with TabPane("2 Plan", id="tab-plan"):
                yield DocumentPage(id="plan")
            with TabPane("3 Review", id="tab-review"):
                yield DocumentPage(id="review")
            with TabPane("4 Code", id="tab-code"):
                yield CodePage(id="code")
            with TabPane("5 Log", id="tab-log"):
                yield LogPage(id="log")
            with TabPane("6 Findings", id="tab-findings"):
                yield DocumentPage(id="findings")
        yield FindBar()
        yield KeyBar()

    def on_mount(self) -> None:
        """The tabs take no focus: what they show does."""
        self.query_one(Tabs).can_focus = False
        self.set_interval(BEAT_SECONDS, self._beat)

    # Following.

    def follow(self, state: State, engine: EngineState) -> None:
        """Show the title at once; read the rest anew when something about this round changed."""
        if not self.is_mounted:
            return
        self._show_title(state, engine)
        stamp = self._stamp_of(state, engine)
        if stamp != self._stamp:
            self._stamp = stamp
            self._show_overview()
            self._reload()

    def stream(self, streamed: Sequence[StreamRow], logged: Sequence[LogRow]) -> None:  # noqa: ARG002
        """Add what the experiment of this round just printed."""
        rows = [(row.at, row.fold, row.text) for row in logged if row.experiment == self.round_name]
        if rows and self.is_mounted:
            self.query_one(LogPage).add(self.round_name, rows)

    def _show_title(self, state: State, engine: EngineState) -> None:
        names = list(state.results)
        at = names.index(self.round_name) if self.round_name in state.results else len(names)
        now, doing = state.now, ""
        if engine in ALIVE and now.experiment == self.round_name:
            eta = now.eta(self.cockpit.clock())
            doing = fold_text(now) + (f" · eta {stopwatch(eta)}" if eta is not None else "")
        elif engine in ALIVE and now.phase is not None and self._is_played(state):
            doing = now.phase.name
        self.query_one(RoundTitle).show(
            self.round_name,
            state.results.get(self.round_name),
            before=names[at - 1] if 0 < at <= len(names) else "",
            after=names[at + 1] if at + 1 < len(names) else "",
            alive=engine in ALIVE,
            doing=doing,
        )

    def _stamp_of(self, state: State, engine: EngineState) -> tuple[Any, ...]:
        """Equal as long as nothing that this screen shows has changed."""
        now = state.now
        mine = self._is_played(state)
        moving = (now.phases, now.phase, now.folds_done, now.running, now.experiment) if mine else ()
        said = state.verdicts[-1].id if state.verdicts else 0
        sent = [item.state for item in state.submissions.values() if item.experiment == self.round_name]
        row = state.results.get(self.round_name)
        return self.round_name, row, state.champion, len(state.results), moving, said, sent, engine in ALIVE

    def _is_played(self, state: State) -> bool:
        """Whether the engine works on this very round or experiment."""
        row = state.results.get(self.round_name)
        in_round = row is not None and row.round is not None and row.round == state.now.round
        return in_round or state.now.experiment == self.round_name

    def _reload(self) -> None:
        if self._loading:
            self._stale = True
        else:
            self._loading = True
            self._load(self.round_name)

    @work(thread=True, group="dossier", exit_on_error=False)
    def _load(self, name: str) -> None:
        try:
            read = read_round(self.cockpit.workspace, name)
        except AutokaggleError as error:
            self.app.call_from_thread(self._failed, error)
            return
        self.app.call_from_thread(self.call_next, self._show, read)

    def _failed(self, error: AutokaggleError) -> None:
        self._loading = False
        self.query_one(Overview).explain(f"✗ {error}")
        self.notify(str(error), title=error.title, severity="error", markup=False)

    async def _show(self, loaded: Reading) -> None:
        self._loading = False
        if self._stale or loaded.dossier.name != self.round_name:
            self._stale = False
            self._reload()
        if not self.is_attached or loaded.dossier.name != self.round_name:
            return
        blend = loaded.dossier.is_blend
        other_keys = blend != (self._loaded is not None and self._loaded.dossier.is_blend)
        self._loaded = loaded
        tabs = self.query_one("#tabs", TabbedContent)
        tabs.get_tab("tab-code").label = Content("4 Members" if blend else "4 Code")
        tabs.get_tab("tab-plan").label = Content("2 EDA" if loaded.dossier.round == 0 else "2 Plan")
        self._show_overview()
        self.query_one(LogPage).show(loaded.dossier, loaded.log, loaded.printed)
        await self._show_tab()
        if other_keys:
            self.refresh_bindings()

    def _show_overview(self) -> None:
        if self._loaded is None or self._loaded.dossier.name != self.round_name:
            return
        state, rules = self.cockpit.state, self._loaded.rules
        now = state.now
        alone = now.round is not None and now.round == self._loaded.dossier.round
        stacking = rules["stacking-correlation"]
        self.query_one(Overview).show(
            self._loaded.dossier,
            Surroundings(
                expected=now.folds,
                better=now.better,
                min_t=rules["noise-floor"].number("min_t"),
                limit=stacking.number("max_correlation") if stacking.active else None,
                now=self.cockpit.clock(),
                since=now.running if now.experiment == self.round_name and self.cockpit.engine in ALIVE else {},
                phase=now.phase if alone and self.cockpit.engine in ALIVE else None,
                known=state.results,
            ),
        )

    async def _show_tab(self) -> None:
        """Bring the active tab up to date; the others wait until they are looked at."""
        loaded = self._loaded
        if loaded is None:
            if self.tab in PAPERS:
                await self.query_one(f"#{self.tab}", DocumentPage).show([Paper("", None, READING)])
            return
        dossier = loaded.dossier
        if self.tab in PAPERS:
            await self.query_one(f"#{self.tab}", DocumentPage).show(papers_of(self.tab, dossier, loaded.texts))
        elif self.tab == "code":
            self.query_one(CodePage).show(dossier, self.cockpit.state.results)

    def _beat(self) -> None:
        if self.is_current:
            self._show_title(self.cockpit.state, self.cockpit.engine)
            self.query_one(Overview).tick(self.cockpit.clock())

    # Tabs and rounds.

    @property
    def tab(self) -> str:
        """The tab that is seen: one of ``TABS``."""
        return self.query_one("#tabs", TabbedContent).active.removeprefix("tab-")

    @on(TabbedContent.TabActivated)
    async def _activated(self) -> None:
        self.query_one(FindBar).close()
        await self._show_tab()
        # A new focus refreshes the keys as well.
        self._page().focus()

    def action_pane(self, number: int) -> None:
        """Go to a tab."""
        self.query_one("#tabs", TabbedContent).active = f"tab-{TABS[number - 1]}"

    def action_previous(self) -> None:
        """The tab to the left."""
        self.action_pane((TABS.index(self.tab) - 1) % len(TABS) + 1)

    def action_next(self) -> None:
        """The tab to the right."""
        self.action_pane((TABS.index(self.tab) + 1) % len(TABS) + 1)

    def action_round(self, way: int) -> None:
        """The round before or after, on the same tab."""
        names = list(self.cockpit.state.results)
        if self.round_name not in names:
            return
        at = names.index(self.round_name) + way
        if 0 <= at < len(names):
            self.round_name = names[at]
            self._loaded = None
            self.follow(self.cockpit.state, self.cockpit.engine)

    @on(RoundTitle.Turned)
    def _turned(self, event: RoundTitle.Turned) -> None:
        self.action_round(event.way)

    def action_back(self) -> None:
        """Leave the search, then the screen."""
        if self.query_one(FindBar).display:
            self.query_one(FindBar).close()
            self._page().focus()
        else:
            self.dismiss()

    def _page(self) -> Widget:
        """What in the active tab takes the focus."""
        pane = self.query_one("#tabs", TabbedContent).active_pane
        found = [widget for widget in pane.query("*") if widget.focusable and widget.display] if pane else []
        return found[0] if found else self

    # Moving, finding, copying.

    def action_down(self) -> None:
        """Down a line."""
        self._page().scroll_down(animate=False)

    def action_up(self) -> None:
        """Up a line."""
        self._page().scroll_up(animate=False)

    def action_top(self) -> None:
        """To the first line."""
        self._page().scroll_home(animate=False)

    def action_bottom(self) -> None:
        """To the last line."""
        self._page().scroll_end(animate=False)

    def action_versus(self) -> None:
        """Compare the folds with the other champion."""
        said = self.query_one(Overview).compare()
        self.notify(
            f"Folds are compared with {said}." if said else "Its champion is the champion of now.", markup=False
        )

    def action_diff(self) -> None:
        """Code, or what changed since its parent."""
        self.query_one(CodePage).toggle()

    def action_follow(self) -> None:
        """Stay at the newest line of the log."""
        self.query_one(LogPage).follow()

    def _searched(self) -> CodeView | LogPage | None:
        if self.tab == "log":
            return self.query_one(LogPage)
        return self.query_one(CodeView) if self.tab == "code" else None

    def action_filter(self) -> None:
        """Ask for words to find."""
        self.query_one(FindBar).open()

    @on(FindBar.Changed)
    def _find(self, event: FindBar.Changed) -> None:
        searched = self._searched()
        self._hits = searched.find(event.words) if searched is not None else 0
        if event.words:
            self.query_one(FindBar).tell(f"{self._hits:,} found" if self._hits else "not found")

    @on(FindBar.Done)
    def _found(self) -> None:
        self._page().focus()

    def action_hit_next(self) -> None:
        """The next place found."""
        if (searched := self._searched()) is not None:
            self._tell_hit(searched.next())

    def action_hit_previous(self) -> None:
        """The place found before."""
        if (searched := self._searched()) is not None:
            self._tell_hit(searched.previous())

    def _tell_hit(self, place: int) -> None:
        if place:
            self.query_one(FindBar).tell(f"{place:,} of {self._hits:,}")

    def action_copy(self) -> None:
        """Copy what the tab shows."""
        shown: dict[str, Any] = {"code": self.query_one(CodeView), "log": self.query_one(LogPage)}
        text = str(shown.get(self.tab, self.query_one(f"#{self.tab}")).text())
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {len(text.splitlines()):,} lines.")
        else:
            self.notify("There is nothing to copy here.", severity="warning")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that mean nothing on this tab are not there."""
        if not self.is_mounted:
            return True
        blend = self._loaded is not None and self._loaded.dossier.is_blend
        if action == "diff":
            return self.tab == "code" and not blend
        if action in ("filter", "hit_next", "hit_previous"):
            return self.tab == "log" or (self.tab == "code" and not blend)
        if action == "follow":
            return self.tab == "log"
        if action == "versus":
            return self.tab == "overview"
        return super().check_action(action, parameters)

    def action_editor(self) -> None:
        """Open the file of this tab in the person's editor."""
        path = self._file()
        if path is None:
            self.notify("There is no file to open here.", severity="warning")
        elif problem := edit(self.app, path):
            self.notify(problem, severity="warning", markup=False)
        else:
            self._reload()

    def _file(self) -> Path | None:
        if self._loaded is None:
            return None
        suffixes = {"log": ["run.log"]}.get(self.tab) or [suffix for suffix, _ in PAPERS.get(self.tab, ())]
        files = [self._loaded.dossier.file(suffix) for suffix in suffixes or ["experiment.py"]]
        return next((file.path for file in files if file is not None), None)
