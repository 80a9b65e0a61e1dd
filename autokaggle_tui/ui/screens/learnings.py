"""LEARNINGS.md as people and agents read it, beside what the program makes of it.

Each rule with how often it bound and when it last did, and below the rules what retrospectives have appended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Markdown, Static

from autokaggle_tui.roundfiles import Text
from autokaggle_tui.state import EngineState, State, Verdict
from autokaggle_tui.ui.editor import edit
from autokaggle_tui.ui.keymap import bindings, key_of
from autokaggle_tui.ui.panescreen import NO_ENGINE, PaneScreen
from autokaggle_tui.ui.reading import READING
from autokaggle_tui.ui.widgets.card import MUTED, Row, TableCard
from autokaggle_tui.ui.widgets.document import DocumentPage, Paper
from autokaggle_tui.ui.widgets.key_bar import KeyBar
from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.ui.widgets.sheet import Column, Line, Sheet
from autokaggle_tui.ui.widgets.verdict_log import SIGNS
from autokaggle_tui.workspace import round_name
from experiments.errors import RuleError
from experiments.jail import read_text
from experiments.learned import Learning, appended_learnings
from experiments.learnings import BUILT_IN, FILE_NAME, Rule, Rules
from experiments.text import clean, one_line

ENFORCED: Mapping[str, tuple[str, str]] = {
    "block": ("■", "$text-error"),
    "warn": ("!", "$text-warning"),
    "off": ("○", MUTED),
    "prose": ("¶", MUTED),
    "unknown": ("?", "$text-warning"),
    "learned": ("◆", "$text-accent"),
}
"""Sign and colour of what a rule does when it is not kept."""

LOOK_EVERY = 0.5
LATELY = 10
"""Rounds: a rule that bound within so many stands out."""
LAST_VERDICTS = 40
PARTS = ("Rules", "Verdicts", FILE_NAME)
HEADINGS = ", ".join(f"MarkdownH{level}" for level in range(1, 7))
_INLINE = re.compile(r"[`*_]|!?\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Reading:
    """The file at one moment.

    Attributes:
        rules: None when it is broken.
        problem: What is wrong and in which line, ``cure`` what to do; both empty when nothing is.
        learned: What retrospectives have appended.
    """

    text: str = ""
    rules: Rules | None = None
    problem: str = ""
    cure: str = ""
    learned: tuple[Learning, ...] = ()


class LearningsScreen(PaneScreen[None]):
    """The document, a table of its rules, and what the selected one did lately."""

    CSS_PATH = "learnings.tcss"
    ALLOW_IN_MAXIMIZED_VIEW = "KeyBar, #parts"
    AUTO_FOCUS = "#rules Rows"
    BINDINGS: ClassVar[list[Any]] = bindings("editor", show=True)

    def __init__(self) -> None:
        super().__init__()
        self._reading: Reading | None = None
        self._rules: Rules | None = None
        self._stamp = -1
        self._seen: tuple[object, ...] = ()
        self._at = ""

    def compose(self) -> ComposeResult:
        """What is broken, if something is; rules and verdicts beside the document."""
        yield Static(id="broken", markup=False)
        yield Static(id="parts", markup=False)
        with Container(id="halves"):
            with Container(id="side"):
                with Pane("Rules", number=1, id="rules"):
                    yield Sheet(
                        Column("rule"),
                        Column("enforce"),
                        Column("sets", flows=True, least=80),
                        Column("blocked", "right"),
                        Column("warned", "right"),
                        Column("last", "right"),
                    )
                with Pane("Verdicts", number=2, id="verdicts"), VerticalScroll():
                    yield TableCard("")
            with Pane(FILE_NAME, number=3, id="document"):
                yield DocumentPage()
        yield KeyBar()

    async def on_mount(self) -> None:
        """Keep an eye on the file."""
        await self.query_one(DocumentPage).show([Paper(FILE_NAME, None, READING)])
        self.set_interval(LOOK_EVERY, self.look)
        self.look()

    def follow(self, state: State, engine: EngineState) -> None:  # noqa: ARG002 - nothing here depends on the engine
        """Show how often the rules bound."""
        if self._seen != (state.bound, state.verdicts):
            self._seen = (state.bound, state.verdicts)
            self._show()

    def action_editor(self) -> None:
        """Open the file in the person's editor."""
        if problem := edit(self.app, self.cockpit.workspace.learnings):
            self.notify(problem, severity="warning", markup=False)
        self.look()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say where one is, and which keys lead to the other parts: small screens show one or two of them."""
        here = next((node for node in event.widget.ancestors_with_self if node in self.panes), None)
        parts = []
        for number, (pane, name) in enumerate(zip(self.panes, PARTS, strict=True), start=1):
            key = key_of(self, f"pane-{number}")
            style = "bold $text-accent" if pane is here else MUTED
            parts.append(Content.styled(f"{'▸' if pane is here else ' '} {key} {name}", style))
        self.query_one("#parts", Static).update(Content("  ").join(parts))

    # Showing.

    def _show(self) -> None:
        if self._reading is None:
            return
        state = self.cockpit.state
        lines = [_line(rule_id, self._rule(rule_id), state) for rule_id in self._ids()]
        lines += [_learned(key, learning) for key, learning in self._learned().items()]
        self.query_one("#rules Sheet", Sheet).show(lines)
        bound = sum(sum(self._times(state, rule_id)) for rule_id in self._ids())
        self.query_one("#rules", Pane).subtitle(f"bound {bound:,} time{'' if bound == 1 else 's'}")
        self._show_rule()

    def _show_rule(self) -> None:
        """The selected rule, and its last verdicts."""
        if not self._at:
            return
        learning = self._learned().get(self._at)
        if learning is not None:
            self.query_one("#verdicts", Pane).entitle(f"Learned in {learning.source}")
            said = Content.styled("Prose for people and agents: it binds nobody until you make a rule of it.", MUTED)
            title = Content.styled(one_line(learning.heading), "bold")
            evidence = [[Content(line)] for line in learning.evidence.splitlines()]
            self.query_one("#verdicts TableCard", TableCard).show([[said], [Content("")], [title], *evidence])
            return
        rule = self._rule(self._at)
        told = [item for item in self.cockpit.state.verdicts if item.rule == self._at]
        recent = [_verdict(item) for item in reversed(told[-LAST_VERDICTS:])]
        if not recent:
            recent = [[Content.styled("It bound nothing so far.", MUTED)]]
        self.query_one("#verdicts", Pane).entitle(self._at)
        about = [[line] for line in _about(rule)]
        self.query_one("#verdicts TableCard", TableCard).show([*about, [Content("")], *recent])

    @on(Sheet.Reached, "#rules Sheet")
    def _rule_seen(self, event: Sheet.Reached) -> None:
        self._at = event.key
        self._show_rule()
        self._go_to_heading(event.key)

    @on(Sheet.Chosen, "#rules Sheet")
    def _rule_chosen(self, event: Sheet.Chosen) -> None:
        self._go_to_heading(event.key)
        self.action_pane(3)

    def _go_to_heading(self, rule_id: str) -> None:
        """Bring the heading of a rule, or of what was learned, to the top of the document."""
        rule, learning = self._rule(rule_id), self._learned().get(rule_id)
        if learning is None and (rule is None or not rule.line):
            return
        wanted = _plain(learning.heading if learning is not None else rule.heading if rule is not None else "")
        for block in self.query(HEADINGS).results(Static):
            if _plain(str(block.visual)) == wanted:
                block.scroll_visible(top=True)
                return

    @on(Markdown.TableOfContentsUpdated)
    def _document_ready(self) -> None:
        """The file was laid out, which takes a while: the headings are there now."""
        self.call_after_refresh(self._go_to_heading, self._at)

    def _ids(self) -> list[str]:
        rules = self._rules
        return list(BUILT_IN) if rules is None else [*rules.by_id, *(rule.id for rule in rules.prose)]

    def _rule(self, rule_id: str) -> Rule | None:
        """The rule as it was last read without fault."""
        if self._rules is None:
            return None
        known = self._rules.by_id.get(rule_id)
        return known or next((rule for rule in self._rules.prose if rule.id == rule_id), None)

    def _learned(self) -> Mapping[str, Learning]:
        """What was appended, by a key that no rule can have."""
        learned = () if self._reading is None else self._reading.learned
        return {f"{learning.source}: {learning.heading}": learning for learning in learned}

    @staticmethod
    def _times(state: State, rule_id: str) -> tuple[int, int]:
        times = state.bound.get(rule_id, {})
        return times.get("block", 0), times.get("warn", 0)

    # Reading.

    def look(self) -> None:
        """Read the file again when it changed."""
        try:
            stamp = self.cockpit.workspace.learnings.stat().st_mtime_ns
        except OSError:
            stamp = 0
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()

    @work(thread=True, exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        path = self.cockpit.workspace.learnings
        try:
            text = read_text(path, links=True)
        except FileNotFoundError:
            reading = Reading(rules=Rules.built_in(), problem=f"{FILE_NAME} is missing: the built-in rules apply.")
        except UnicodeDecodeError as error:
            reading = Reading(problem=f"{FILE_NAME} is not UTF-8 text (byte {error.start}).", cure="Save it as UTF-8.")
        except OSError as error:
            reading = Reading(problem=f"{FILE_NAME} cannot be read: {error.strerror or error}.")
        else:
            try:
                reading = Reading(clean(text), Rules.parse(text), learned=appended_learnings(text))
            except RuleError as error:
                reading = Reading(clean(text), None, one_line(error.message), one_line(error.hint))
        self.app.call_from_thread(self._take, reading)

    def _take(self, reading: Reading) -> None:
        if self.is_attached:
            self.run_worker(self._show_file(reading), exclusive=True, group="file")

    async def _show_file(self, reading: Reading) -> None:
        self._reading = reading
        self._rules = reading.rules or self._rules
        self._show_broken()
        paper = Paper(FILE_NAME, Text(reading.text) if reading.text else None, reading.problem)
        await self.query_one(DocumentPage).show([paper])
        self._show()

    def _show_broken(self) -> None:
        banner, reading = self.query_one("#broken", Static), self._reading
        if reading is None:
            return
        banner.display = bool(reading.problem)
        stays = ""
        if reading.problem and reading.rules is None:
            stays = f"\n{self._instead()}"
        banner.update(Content(f"✗ {' · '.join(part for part in (reading.problem, reading.cure) if part)}{stays}"))

    def _instead(self) -> str:
        """What is in force while the file is broken."""
        if self.cockpit.engine in NO_ENGINE:
            return "No run can begin until it is mended."
        return "The last good rules stay in force." if self._rules else "The engine keeps the last good rules."


def _line(rule_id: str, rule: Rule | None, state: State) -> Line:
    mark, style = ENFORCED[_enforced(rule)]
    blocked, warned = LearningsScreen._times(state, rule_id)
    last = next((item for item in reversed(state.verdicts) if item.rule == rule_id), None)
    return Line(
        rule_id,
        (
            Content(one_line(rule_id)),
            Content.assemble((mark, style), f" {_enforced(rule)}"),
            Content.styled(_numbers(rule), MUTED),
            _count(blocked),
            _count(warned),
            Content.styled("–" if last is None else _when(last), "bold" if _lately(last, state) else MUTED),
        ),
    )


def _learned(key: str, learning: Learning) -> Line:
    mark, style = ENFORCED["learned"]
    # No wider than the longest rule: the columns beside it say more.
    heading = Content(one_line(learning.heading, 24))
    kind = Content.assemble((mark, style), " prose")
    none = Content.styled("–", MUTED)
    return Line(key, (heading, kind, Content(""), none, none, Content.styled(learning.source, MUTED)))


def _lately(verdict: Verdict | None, state: State) -> bool:
    """Whether a rule bound in one of the last rounds."""
    now = state.now.round
    return verdict is not None and verdict.round is not None and now is not None and now - verdict.round < LATELY


def _enforced(rule: Rule | None) -> str:
    if rule is None:
        return "unknown"
    return rule.enforce if rule.id in BUILT_IN else "prose"


def _count(number: int) -> Content:
    return Content(f"{number:,}") if number else Content.styled("–", MUTED)


def _when(verdict: Verdict) -> str:
    return one_line(verdict.phase, 8) if verdict.round is None else round_name(verdict.round)


def _about(rule: Rule | None) -> Sequence[Content]:
    """What a rule does, in two lines."""
    if rule is None:
        return [Content.styled("The file is broken; what this rule does is known to the engine alone.", MUTED)]
    mark, style = ENFORCED[_enforced(rule)]
    word = {"block": "blocks", "warn": "warns only", "off": "is switched off"}[rule.enforce]
    if rule.id not in BUILT_IN:
        return [Content.assemble((mark, style), " prose for the agents: the program knows no rule of this name")]
    lifted = "; measured evidence may lift it" if rule.override else ""
    numbers = _numbers(rule)
    where = "" if rule.line else "not in the file: built-in values"
    said = " · ".join(part for part in (numbers, where) if part)
    return [
        Content.assemble((mark, style), f" {word}{lifted}"),
        *([Content.styled(said, MUTED)] if said else []),
    ]


def _numbers(rule: Rule | None) -> str:
    """The thresholds of a rule the program knows."""
    if rule is None or rule.id not in BUILT_IN:
        return ""
    return " · ".join(f"{name} {_number(rule, name)}" for name in rule.thresholds)


def _number(rule: Rule, name: str) -> str:
    """A threshold, with the built-in one beside it when it was changed."""
    value, built_in = rule.number(name), BUILT_IN[rule.id].thresholds[name].default
    return f"{value:g}" if value == built_in else f"{value:g} (built-in {built_in:g})"


def _verdict(verdict: Verdict) -> Row:
    mark, style = SIGNS.get(verdict.verdict, ("·", MUTED))
    return [
        Content.styled(_when(verdict), MUTED),
        Content.styled(f"{mark} {one_line(verdict.verdict, 20).lower()}", style),
        Content.assemble(
            one_line(verdict.reason).removeprefix(f"{verdict.verdict}: "),
            (f" [{verdict.figures}]" if verdict.figures else "", MUTED),
        ),
    ]


def _plain(heading: str) -> str:
    """A heading without its Markdown."""
    return _INLINE.sub(lambda found: found[1] or "", heading).strip()
