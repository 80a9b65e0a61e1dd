"""Blends, submissions and leaderboard: what was tried and sent, what goes next, and where that stands."""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.agreement import Agreement, agreement
from autokaggle_tui.commands import in_one_line
from autokaggle_tui.failures import explain
from autokaggle_tui.ledger import (
    Candidate,
    Ledger,
    Quota,
    Room,
    candidates,
    is_bounded,
    load_ledger,
    obstacle,
    quota,
    room,
)
from autokaggle_tui.scored import load_shots
from autokaggle_tui.state import EngineState, State
from autokaggle_tui.ui.keymap import bindings, key_of
from autokaggle_tui.ui.panescreen import PaneScreen
from autokaggle_tui.ui.screens.dialogs import ConfirmDialog
from autokaggle_tui.ui.widgets.board_plot import BoardPlot, legend
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.ledger_lines import (
    before_sending,
    blend_line,
    blend_verdict,
    candidate_line,
    doubt_text,
    place_line,
    plan_text,
    sent_line,
)
from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.ui.widgets.sheet import Column, Sheet
from autokaggle_tui.wording import clock_text
from experiments.errors import AutokaggleError, RegistryError
from experiments.learnings import Rules
from experiments.schema import open_viewer

LOOK_EVERY = 2.0
"""What the engine does while it still takes a submission."""
SHOWN = 50
NO_LEDGER = Ledger()
NOT_COMPARED = Agreement()
BLENDING, SENDING, PLACING = "blending", "sending", "placing"
PARTS = {BLENDING: "Blends", SENDING: "Submissions", PLACING: "Leaderboard"}
PART_OF = {1: BLENDING, 2: BLENDING, 3: SENDING, 4: SENDING, 5: PLACING}
FIRST_PANE = {BLENDING: 1, SENDING: 3, PLACING: 5}


@dataclass(frozen=True)
class Reading:
    """What the files and the registry hold beyond the state.

    Attributes:
        agreed: How far leaderboard and cross-validation agree.
        limit: Submissions a day, None without one.
        problem: What could not be read, or an empty string.
    """

    ledger: Ledger = NO_LEDGER
    room: Room | None = None
    agreed: Agreement = NOT_COMPARED
    limit: int | None = None
    deadline: datetime | None = None
    problem: str = ""


class SubmissionsScreen(PaneScreen[None]):
    """Blending above, below it sending and the leaderboard; small screens show one part at a time."""

    CSS_PATH = "submissions.tcss"
    AUTO_FOCUS = "#blends Rows"
    BINDINGS: ClassVar[list[Any]] = bindings("submit", "previous", "next")

    def __init__(self) -> None:
        super().__init__()
        self._reading = Reading()
        self._seen = State()
        self._known: tuple[object, ...] = ()
        self._stamps: tuple[int, ...] = ()
        self._candidates: tuple[Candidate, ...] = ()

    def compose(self) -> ComposeResult:
        """Blends and the pool; submissions and what comes next."""
        yield Static(id="parts", markup=False)
        with Container(id="blending", classes="part"):
            with Pane("Blends", number=1, id="blends"):
                yield Sheet(
                    Column("blend"),
                    Column("members", flows=True, least=90),
                    Column("cv", "right"),
                    Column("Δ best", "right"),
                    Column("t", "right"),
                    Column("status"),
                    Column("judged by", flows=True),
                    missing="No blend was tried yet: the loop plans one when the pool has members that differ.",
                )
                with VerticalScroll(id="verdict", can_focus=False):
                    yield Static(markup=False)
            with Pane("What the rules allow now", number=2, id="pool"):
                yield Sheet(
                    Column("model"),
                    Column("family"),
                    Column("cv", "right"),
                    Column("behind", "right"),
                    Column("standing", flows=True),
                    missing="The pool is empty: a blend needs two complete predictions.",
                )
        with Container(id="below"):
            with Container(id="sending", classes="part"):
                with Pane("Submissions", number=3, id="sent"):
                    yield Sheet(
                        Column("sent, UTC"),
                        Column("what"),
                        Column("state"),
                        Column("public", "right"),
                        Column("note", flows=True),
                        missing="Nothing was submitted yet.",
                    )
                with Pane("Next", number=4, id="next"):
                    yield Static(id="plan", markup=False)
                    yield Sheet(
                        Column("what"),
                        Column("kind"),
                        Column("cv", "right"),
                        Column("why", flows=True),
                        missing="Nothing waits to be sent.",
                    )
            with Container(id="placing", classes="part"), Pane("Leaderboard", number=5, id="board"):
                yield BoardPlot()
        yield KeyBar()

    def on_mount(self) -> None:
        """The first part, and an eye on the two files that people edit."""
        self._show_part(BLENDING)
        self.set_interval(LOOK_EVERY, self.look)
        self._stamps = self._stamp()

    def follow(self, state: State, engine: EngineState) -> None:  # noqa: ARG002 - nothing here depends on the engine
        """Show submissions at once; read blends and pool again when one of them changed."""
        seen = self._seen
        if (state.results, state.submissions) == (seen.results, seen.submissions) and (
            state.queue is seen.queue and state.board is seen.board
        ):
            return
        self._seen = state
        rows = state.results.values()
        known = (
            state.champion,
            sum(row.in_pool for row in rows),
            *((row.name, row.status) for row in rows if row.kind == "blend"),
            *((item.id, item.state, item.public_score) for item in state.submissions.values()),
        )
        if known != self._known:
            self._known = known
            self._read()
        self._show_sent(state)

    # Submitting.

    def action_submit(self) -> None:
        """Ask whether to submit what is selected in the focused pane."""
        name = self._selected()
        if self._doubted(name):
            self._ask_again(name or "")
            return
        chosen = next((item for item in self._candidates if item.name == name), None)
        if chosen is None:
            self.notify(self._why_not(name), severity="warning", markup=False)
            return
        now = self.cockpit.clock()
        today = self._quota(now)
        if why := obstacle(today, self._reading.deadline, now):
            self.notify(f"Not now: {why}.", title=f"Submit {chosen.name}", severity="warning", markup=False)
            return
        question = ConfirmDialog(
            f"Submit {chosen.name}?", before_sending(chosen, today), yes=f"Submit {chosen.name}", no="Not now"
        )
        self.app.push_screen(question, lambda yes: self._submit(chosen.name) if yes else None)

    def _doubted(self, name: str | None) -> bool:
        """Whether nobody knows if its submission arrived."""
        sent = [item for item in self.cockpit.state.submissions.values() if item.experiment == name]
        return any(item.state == "unknown" for item in sent) and not any(item.state == "accepted" for item in sent)

    def _ask_again(self, name: str) -> None:
        question = ConfirmDialog(
            f"Submit {name} again?", doubt_text(name), yes=f"Submit {name} again", no="Leave it as it is"
        )
        self.app.push_screen(
            question,
            lambda yes: self.cockpit.command("approve", experiment=name, said="send-again") if yes else None,
        )

    def _selected(self) -> str | None:
        """The experiment under the cursor of the focused pane; of Next when none has the focus."""
        focused = self.focused
        sheets = [node for node in focused.ancestors if isinstance(node, Sheet)] if focused is not None else []
        sheet = sheets[0] if sheets else self.query_one("#next Sheet", Sheet)
        if sheet is self.query_one("#sent Sheet") and sheet.key is not None:
            sent = self.cockpit.state.submissions.get(int(sheet.key))
            return sent.experiment if sent is not None else None
        return sheet.key

    def _why_not(self, name: str | None) -> str:
        """Why this is nothing to submit."""
        if not self._candidates:
            return "Nothing waits to be sent."
        if name is None:
            return f"Nothing is selected here; {key_of(self, 'pane-4')} shows what waits to be sent."
        row = self.cockpit.state.results.get(name)
        if row is not None and row.in_pool and row.score is not None:
            return f"{name} was sent already, or may have been."
        return f"{name} has no complete prediction."

    def _submit(self, name: str) -> None:
        self.cockpit.command("submit", experiment=name)

    @on(Sheet.Chosen, "#next Sheet")
    def _chosen(self) -> None:
        self.action_submit()

    # Looking around.

    @on(Sheet.Chosen, "#blends Sheet, #pool Sheet")
    def _opened(self, event: Sheet.Chosen) -> None:
        self.cockpit.open_round(event.key)

    @on(Sheet.Chosen, "#sent Sheet")
    def _sent_opened(self, event: Sheet.Chosen) -> None:
        sent = self.cockpit.state.submissions.get(int(event.key))
        if sent is not None:
            self.cockpit.open_round(sent.experiment)

    @on(Sheet.Reached, "#blends Sheet")
    def _show_verdict(self) -> None:
        """What became of the selected blend."""
        name = self.query_one("#blends Sheet", Sheet).key
        blend = next((item for item in self._reading.ledger.blends if item.name == name), None)
        self.query_one("#verdict Static", Static).update(blend_verdict(blend) if blend else "")

    def action_pane(self, number: int) -> None:
        """Go to a pane, and to the part that holds it."""
        self._show_part(PART_OF.get(number, BLENDING))
        super().action_pane(number)

    def action_next(self) -> None:
        """The next part."""
        self._step(1)

    def action_previous(self) -> None:
        """The part before."""
        self._step(-1)

    def _step(self, by: int) -> None:
        ids = {node.id for node in self.focused.ancestors} if self.focused is not None else set()
        parts = list(PARTS)
        held = next((place for place, part in enumerate(parts) if part in ids), -by)
        self.action_pane(FIRST_PANE[parts[(held + by) % len(parts)]])

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tab and mouse bring their part along."""
        part = next((node.id for node in event.widget.ancestors if node.id in PARTS), None)
        if part:
            self._show_part(part)

    def _show_part(self, part: str) -> None:
        if self.query_one(f"#{part}").has_class("-chosen"):
            return
        for name in PARTS:
            self.query_one(f"#{name}").set_class(name == part, "-chosen")
        self.query_one("#below").set_class(part != BLENDING, "-chosen")
        tabs = [
            Content.styled(f"▸ {label}", "bold $text-accent") if name == part else Content.styled(f"  {label}", MUTED)
            for name, label in PARTS.items()
        ]
        other = Content.assemble((f"   {key_of(self, 'next')} ", "bold $text-accent"), ("the next part", MUTED))
        self.query_one("#parts", Static).update(Content("  ").join(tabs) + other)

    # Showing.

    def _show(self) -> None:
        blends, open_room = self._reading.ledger.blends, self._reading.room
        self.query_one("#blends Sheet", Sheet).show([blend_line(blend) for blend in blends])
        self._show_verdict()
        kept = sum(blend.status == "keep" for blend in blends)
        self.query_one("#blends", Pane).subtitle(f"{len(blends):,} tried", f"{kept:,} kept" if blends else "")
        pool = self.query_one("#pool", Pane)
        if self._reading.problem:
            self.query_one("#pool Sheet", Sheet).explain(f"✗ {self._reading.problem}")
        if open_room is None:
            pool.subtitle("")
            return
        self.query_one("#pool Sheet", Sheet).show([place_line(place, open_room) for place in open_room.places])
        within = f"within {open_room.margin:.3g} of {open_room.best}" if math.isfinite(open_room.margin) else ""
        alike = f"{len(open_room.pairs):,} pairs above {open_room.limit:g}" if open_room.limit < 1 else ""
        pool.subtitle(f"{open_room.few} to {open_room.many} members", within if open_room.best else "", alike)

    def _show_sent(self, state: State) -> None:
        now = self.cockpit.clock()
        submissions = sorted(state.submissions.values(), key=lambda item: -item.id)
        self.query_one("#sent Sheet", Sheet).show([sent_line(item) for item in submissions])
        today, deadline = self._quota(now), self._reading.deadline
        resets = f"resets in {clock_text(today.resets_at - now)}" if today.limit else ""
        of = f" of {today.limit}" if today.limit is not None else ""
        self.query_one("#sent", Pane).subtitle(f"{today.used}{of} used today", resets)
        self._candidates = candidates(state.results, state.champion, submissions, state.queue, better=state.now.better)
        self.query_one(BoardPlot).show(state.board, self._reading.agreed, state.now.better)
        self.query_one("#board", Pane).subtitle(legend(self._reading.agreed))
        self.query_one("#next Sheet", Sheet).show([candidate_line(item) for item in self._candidates[:SHOWN]])
        self.query_one("#plan", Static).update(
            plan_text(self._candidates, state.champion, obstacle(today, deadline, now), key_of(self, "submit"))
        )
        left = "" if today.left is None else f"{today.left} left today"
        ends = ""
        if deadline is not None:
            to_go = deadline.timestamp() - now
            ends = f"deadline {deadline:%Y-%m-%d %H:%M} UTC{f', in {clock_text(to_go)}' if to_go > 0 else ', over'}"
        self.query_one("#next", Pane).subtitle(left, ends)

    def _quota(self, now: float) -> Quota:
        return quota(self.cockpit.state.submissions.values(), self._reading.limit, now)

    # Reading.

    def _stamp(self) -> tuple[int, ...]:
        """Times of the files that people edit."""
        stamps = []
        for path in (self.cockpit.workspace.config, self.cockpit.workspace.learnings):
            try:
                stamps.append(path.stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
        return tuple(stamps)

    def look(self) -> None:
        """Read again when config.json or LEARNINGS.md changed; and what is left of the day."""
        stamps = self._stamp()
        if stamps != self._stamps:
            self._stamps = stamps
            self._read()
        self._show_sent(self.cockpit.state)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        self.app.call_from_thread(self._take, self._reading_now(self.cockpit.state))

    def _reading_now(self, state: State) -> Reading:
        from autokaggle_tui.config import load_config

        workspace = self.cockpit.workspace
        problem = ""
        limit, deadline = self._reading.limit, self._reading.deadline
        rules = Rules.built_in()
        try:
            config = load_config(workspace.root)
            limit, deadline = config.max_submissions_per_day, config.deadline
            rules = Rules.load(workspace.learnings)
        except AutokaggleError as error:
            problem = in_one_line(error)
        try:
            connection = open_viewer(workspace.facts)
            try:
                ledger = load_ledger(connection, above=rules["stacking-correlation"].number("max_correlation"))
                agreed = agreement(load_shots(connection), state.now.better)
            finally:
                connection.close()
        except RegistryError as error:
            return Reading(limit=limit, deadline=deadline, problem=problem or in_one_line(error))
        except sqlite3.DatabaseError as error:
            said = explain(error, workspace.root) or error
            return Reading(limit=limit, deadline=deadline, problem=problem or in_one_line(said))
        bounded = is_bounded(state.now.metric or "", workspace)
        found = room(ledger.pool, ledger.pairs, rules, better=state.now.better, bounded=bounded)
        return Reading(ledger, found, agreed, limit, deadline, problem)

    def _take(self, reading: Reading) -> None:
        if self.is_attached:
            self._reading = reading
            self._show()
            self._show_sent(self.cockpit.state)
