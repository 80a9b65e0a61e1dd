"""The models: which one plays each role, what it spent, and another in its place."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static

from autokaggle_tui.commands import Answer, in_one_line
from autokaggle_tui.ledger import Usage, models_used
from autokaggle_tui.state import EngineState, Spent, State
from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.panescreen import NO_ENGINE, PaneScreen
from autokaggle_tui.ui.screens.dialogs import ConfirmDialog
from autokaggle_tui.ui.widgets.card import MUTED, Row, TableCard
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.ui.widgets.sheet import Column, Line, Rows, Sheet
from autokaggle_tui.wording import context_text, cost_text, count_text, model_text, pace_text
from autokaggle_tui.workspace import round_name
from experiments.errors import AutokaggleError, RegistryError
from experiments.schema import open_viewer
from experiments.text import one_line

OFFLINE = "playbook"
ROLES = ("researcher", "builder", "reviewer")
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
SPINS_PER_SECOND = 8
KEPT_LINES = 50
TEST = "Test it"
ABOUT = (
    "A model is asked for one line before it takes over a role. The engine makes the call; "
    "a model that does not answer changes nothing."
)


@dataclass(frozen=True)
class Setting:
    """What config.json and the registry say of models.

    Attributes:
        by_role: As in config.json.
        used: By model.
        problem: Why config.json cannot be read, or an empty string.
    """

    by_role: Mapping[str, str]
    used: Mapping[str, Usage]
    problem: str = ""


class Choices(Rows):
    """Models to choose from; choosing one tests it."""

    BINDINGS: ClassVar[list[Any]] = [
        replace(binding, description=TEST, tooltip="Ask this model for one line; it takes over the role if it answers")
        for binding in bindings("open", show=True)
    ]


class OtherModel(Input):
    """A model that is in no list."""

    BINDINGS: ClassVar[list[Any]] = [Binding("enter", "submit", TEST)]


class ModelsScreen(PaneScreen[None]):
    """Roles above, what could play them below.

    Args:
        role: The role to begin with.
        model: Put this model there at once, after its test.
    """

    CSS_PATH = "models.tcss"
    AUTO_FOCUS = "#roles Rows"

    def __init__(self, role: str = ROLES[0], model: str = "") -> None:
        super().__init__()
        self._role = role
        self._wanted = (role, model)
        self._setting = Setting({}, {})
        self._said: list[Row] = []
        self._testing = ""
        self._spinner: Timer | None = None

    def compose(self) -> ComposeResult:
        """Roles; choices beside the test call."""
        with Pane("Roles", number=1, id="roles"):
            yield Sheet(
                Column("role"),
                Column("", least=90),
                Column("now", flows=True),
                Column("from its next phase", flows=True),
                Column("calls", "right", least=112),
                Column("tokens in", "right", least=140),
                Column("out", "right", least=140),
                Column("speed", "right", least=90),
                Column("context", "right", least=90),
                Column("again", "right", least=112),
                Column("cost", "right"),
            )
        with Container(id="change"):
            with Pane(number=2, id="choices"):
                yield Sheet(Column("model", flows=True), Column("known from"), rows=Choices)
                yield OtherModel(placeholder="any other model, by its LiteLLM name", compact=True)
            with Pane("Test call", number=3, id="test"), VerticalScroll():
                yield Static(ABOUT, id="about", markup=False)
                yield TableCard("", id="said")
        yield KeyBar()

    def on_mount(self) -> None:
        """Find out what there is to choose from."""
        self._turn_to(self._role)
        self._read()

    def follow(self, state: State, engine: EngineState) -> None:
        """Show who plays what, and what it cost so far."""
        roles = [self._line(role, state, engine) for role in ROLES]
        self.query_one("#roles Sheet", Sheet).show(roles)
        total = state.spent
        self.query_one("#roles", Pane).subtitle(
            f"{count_text(total.calls)} calls",
            f"{count_text(total.tokens)} tokens",
            cost_text(total.cost, estimated=total.estimated),
        )
        self._show_choices(state)

    def choose(self, role: str, model: str) -> None:
        """Put a model in a role: after its test call, or untested when there is no engine to make it."""
        model = one_line(model).strip()
        self._turn_to(role)
        if not model:
            return
        if self._testing:
            self._say("!", "$text-warning", f"{self._testing} is being asked; wait for its answer.")
        elif model == self._effective(role):
            self._say("·", MUTED, f"{role} uses {model} already.")
        elif self.cockpit.engine in NO_ENGINE:
            question = ConfirmDialog(
                f"Use {model} untested?",
                f"No engine is running, and the engine makes the test call.\n"
                f"{role} would use it from the next start on.",
                yes="Use it untested",
                no="Leave it",
            )
            self.app.push_screen(question, lambda yes: self._change(role, model) if yes else None)
        else:
            self._begin_test(model)
            self.cockpit.command("probe-model", role=role, model=model, then=partial(self._tested, role, model))

    # What the engine answers; the person may have left the screen by then.

    def _tested(self, role: str, model: str, answer: Answer) -> None:
        self._end_test()
        told = one_line(answer.result)
        if answer.state == "done":
            self._say("✓", "$text-success", f"{model}: {told}")
            self._change(role, model)
        elif answer.state == "refused":
            # The newest line is on top: the reason stands above what follows from it.
            self._say("·", MUTED, f"{role} stays with {self._effective(role)}.")
            self._say("✗", "$text-error", f"{model}: {told}")
        else:
            self._say(
                "!", "$text-warning", f"{model}: the engine has not answered yet. Nothing was changed; try again."
            )

    def _change(self, role: str, model: str) -> None:
        self.cockpit.command("model", role=role, model=model, then=partial(self._changed, role))

    def _changed(self, role: str, answer: Answer) -> None:
        told = one_line(answer.result)
        if answer.state == "done":
            self._say("✓", "$text-success", told)
        elif answer.state == "refused":
            self._say("✗", "$text-error", f"{told} {role} stays with {self._effective(role)}.")
        else:
            self._say("!", "$text-warning", f"The engine has not answered yet; it changes the {role} at its next step.")
        if self.is_attached:
            self._read()

    # Choosing.

    @on(Sheet.Reached, "#roles Sheet")
    def _role_seen(self, event: Sheet.Reached) -> None:
        # The cursor may be elsewhere by now.
        self._pick(event.sheet.key or event.key)
        self._show_choices(self.cockpit.state)

    @on(Sheet.Chosen, "#roles Sheet")
    def _role_chosen(self, event: Sheet.Chosen) -> None:
        self._pick(event.key)
        self.query_one("#choices Sheet", Sheet).rows.focus()

    @on(Sheet.Chosen, "#choices Sheet")
    def _model_chosen(self, event: Sheet.Chosen) -> None:
        self.choose(self._role, event.key)

    @on(Input.Submitted)
    def _model_typed(self, event: Input.Submitted) -> None:
        event.stop()
        self.choose(self._role, event.value)

    def _pick(self, role: str) -> None:
        self._role = role
        self.query_one("#choices", Pane).entitle(f"Another model for the {role}")

    def _turn_to(self, role: str) -> None:
        """Put the cursor on a role."""
        self._role = role
        if self.is_attached:
            self._pick(role)
            self.query_one("#roles Sheet", Sheet).go_to(role)

    # Showing.

    def _line(self, role: str, state: State, engine: EngineState) -> Line:
        spent = state.by_role.get(role, Spent())
        phase = state.now.phase if engine not in NO_ENGINE else None
        effective = self._effective(role)
        works = phase is not None and phase.role == role
        now = phase.model if phase is not None and works else effective
        last = state.calls.get(role)
        shown = Content(one_line(now) or "–")
        if last is not None and last.asked == now:
            # Who answered must be seen beside a long name.
            shown = Content(model_text(now, most=12)) + Content.styled(f" → {one_line(last.model)}", "$text-warning")
        doing = ""
        if phase is not None and works:
            doing = f"● {round_name(state.now.round or 0)} {phase.name}"
        later = self._setting.by_role.get(role, effective)
        if now != effective:
            then = Content.styled(f"→ {one_line(effective)}", "$text-accent")
        elif later != effective:
            then = Content.styled(f"{one_line(later)} at next start", MUTED)
        else:
            then = Content.styled("the same", MUTED)
        return Line(
            role,
            (
                Content.styled(role, "bold"),
                Content.styled(doing, "$text-accent"),
                shown,
                then,
                Content(count_text(spent.calls)),
                Content(count_text(spent.input_tokens)),
                Content(count_text(spent.output_tokens)),
                Content(pace_text(last.pace) if last is not None else ""),
                Content(context_text(last.context, last.window) if last is not None else ""),
                _again(spent),
                Content(cost_text(spent.cost, estimated=spent.estimated)),
            ),
        )

    def _effective(self, role: str) -> str:
        """What plays the role from its next phase on."""
        app = self.cockpit
        running, config = app.state.now.models.get(role, ""), self._setting.by_role.get(role, "")
        return (config or running) if app.engine in NO_ENGINE else (running or config)

    def _show_choices(self, state: State) -> None:
        used = self._setting.used
        named = {*self._setting.by_role.values(), *state.now.models.values()}
        names = dict.fromkeys([OFFLINE, *sorted(named - {""}), *used])
        self.query_one("#choices Sheet", Sheet).show([self._choice(name) for name in names])

    def _choice(self, name: str) -> Line:
        usage = self._setting.used.get(name)
        calls = f"{count_text(usage.calls)} calls, {cost_text(usage.cost)}" if usage else ""
        said = "offline, needs no key" if name == OFFLINE else calls or "config.json"
        mark = "● " if name == self._effective(self._role) else "  "
        return Line(name, (Content.assemble((mark, "$text-accent"), one_line(name)), Content.styled(said, MUTED)))

    def _begin_test(self, model: str) -> None:
        self._testing = model
        frames = cycle(SPINNER if self.app.animation_level != "none" else "…")

        def spin() -> None:
            self._write([[Content.styled(next(frames), "$text-accent"), Content(f"asking {model} for one line")]])

        spin()
        self._spinner = self.set_interval(1 / SPINS_PER_SECOND, spin)

    def _end_test(self) -> None:
        self._testing = ""
        if self._spinner is not None:
            self._spinner.stop()
        self._write()

    def _say(self, mark: str, style: str, sentence: str) -> None:
        """A line in the test pane; on top, since the newest is what counts."""
        self._said = [[Content.styled(mark, style), Content(sentence)], *self._said][:KEPT_LINES]
        self._write()

    def _write(self, waiting: Sequence[Row] = ()) -> None:
        if self.is_attached:
            self.query_one("#said", TableCard).show([*waiting, *self._said])

    # Reading.

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        from autokaggle_tui.config import load_config

        workspace = self.cockpit.workspace
        by_role: Mapping[str, str] = {}
        used: Mapping[str, Usage] = {}
        problem = ""
        try:
            by_role = load_config(workspace.root).models.names()
        except AutokaggleError as error:
            problem = in_one_line(error)
        with contextlib.suppress(RegistryError, sqlite3.DatabaseError):
            connection = open_viewer(workspace.facts)
            try:
                used = {usage.model: usage for usage in models_used(connection)}
            finally:
                connection.close()
        self.app.call_from_thread(self._take, Setting(by_role, used, problem))

    def _take(self, setting: Setting) -> None:
        if not self.is_attached:
            return
        if setting.problem and setting.problem != self._setting.problem:
            self._say("✗", "$text-error", setting.problem)
        self._setting = setting
        self.follow(self.cockpit.state, self.cockpit.engine)
        (role, wanted), self._wanted = self._wanted, (self._role, "")
        if wanted:
            self.choose(role, wanted)


def _again(spent: Spent) -> Content:
    """How often calls were made again, and how often another model answered."""
    said = [f"{spent.retries}×"] if spent.retries else []
    said += [f"{spent.fallbacks} →"] if spent.fallbacks else []
    return Content.styled(" ".join(said), "$text-warning")
