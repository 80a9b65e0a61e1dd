"""The rules of LEARNINGS.md with how often each one bound and when it last did, and the last notices of the engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.lines import Line, hanging
from autokaggle_tui.workspace import round_name
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Notice, State
    from experiments.learnings import Rule, Rules

KEPT = 30
"""Notices that are shown."""

ENFORCED: Mapping[str, tuple[str, str]] = {
    "block": ("■", "$text-success"),
    "warn": ("▲", "$text-warning"),
    "off": ("○", MUTED),
}
"""Sign and colour of how a rule is enforced, beside its word."""

Bound = Mapping[str, Mapping[str, int]]


class LearningsPane(ScrollView, can_focus=True):
    """What holds, and what was noticed."""

    ALLOW_SELECT = False
    DEFAULT_CLASSES = "follows"
    BINDINGS: ClassVar[list[Any]] = bindings("down", "up", "top", "bottom")
    DEFAULT_CSS = """
    LearningsPane {
        background: transparent;
        border: round $panel;
        border-title-color: $text-primary;
        border-subtitle-color: $text-muted;
        padding: 0 0 0 1;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        overflow-x: hidden;
        &:focus {
            border: round $accent;
            border-title-style: bold;
        }
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = "Learnings"
        self._rules: Rules | None = None
        self._bound: Bound = {}
        self._last: Mapping[str, int] = {}
        self._notices: tuple[Notice, ...] = ()
        self._lines: list[Content] = []

    def show(self, state: State, engine: EngineState, now: float) -> None:  # noqa: ARG002
        """Show how often the rules bound, and the last notices."""
        if state.bound is not self._bound or state.notices is not self._notices:
            self._bound, self._notices = state.bound, state.notices
            self._last = {one.rule: one.round for one in state.verdicts if one.rule and one.round is not None}
            self._write()

    def show_rules(self, rules: Rules, bound: Bound) -> None:
        """Show these rules."""
        if rules is not self._rules or bound is not self._bound:
            self._rules, self._bound = rules, bound
            self._write()

    def on_resize(self, _event: events.Resize) -> None:
        """Wrap anew."""
        self._write()

    def action_down(self) -> None:
        """Down a line."""
        self.action_scroll_down()

    def action_up(self) -> None:
        """Up a line."""
        self.action_scroll_up()

    def action_top(self) -> None:
        """To the first line."""
        self.scroll_home(animate=False)

    def action_bottom(self) -> None:
        """To the last line."""
        self.scroll_end(animate=False)

    def render_line(self, y: int) -> Strip:
        """One line of what is seen."""
        line = y + self.scroll_offset.y
        width, base = self.scrollable_content_region.width, self.visual_style
        segments = self._lines[line].render_segments(base) if line < len(self._lines) else []
        return Strip(segments).adjust_cell_length(width, base.rich_style)

    def notify_style_update(self) -> None:
        """The theme changed."""
        super().notify_style_update()
        self.refresh()

    def text(self) -> str:
        """All of it, for the clipboard."""
        return "\n".join(line.plain.rstrip() for line in self._lines)

    def _write(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        self._lines = self._rule_lines(width) + self._notice_lines(width)
        self.virtual_size = Size(width, len(self._lines))
        self.refresh()

    def _rule_lines(self, width: int) -> list[Content]:
        rules = [] if self._rules is None else list(self._rules)
        active = [rule for rule in rules if rule.active]
        off = [rule for rule in rules if not rule.active]
        told = (_rule(rule, self._bound, self._last.get(rule.id)) for rule in active)
        lines = [Content.assemble(*line).truncate(width, ellipsis=True) for line in told]
        if off:
            said = ", ".join(one_line(rule.id, 40) for rule in off)
            sign, style = ENFORCED["off"]
            lines += hanging(((f"{sign} off    ", style),), ((said, MUTED),), width)
        self.border_subtitle = Content(f"{len(active)} rules" if rules else "")
        return lines

    def _notice_lines(self, width: int) -> list[Content]:
        if not self._notices:
            return []
        lines = [Content.styled(" Notices ".center(width, "─"), FAINT)] if self._lines or self._rules else []
        for notice in reversed(self._notices[-KEPT:]):
            sign, style = ("!", "$text-warning") if notice.kind == "warning" else ("·", MUTED)
            at = time.strftime("%H:%M", time.localtime(notice.at))
            lines += hanging(((f"{sign} ", style), (f"{at} ", MUTED)), ((one_line(notice.text), ""),), width)
        return lines


def _rule(rule: Rule, bound: Bound, last: int | None) -> Line:
    sign, style = ENFORCED[rule.enforce]
    times = sum(bound.get(rule.id, {}).values())
    count = f"{times}×" if times else ""
    when = f"  {round_name(last)}" if times and last is not None else ""
    return (
        (f"{sign} {rule.enforce:<5}", style),
        (f"{count:>5}  ", "bold" if times else ""),
        (one_line(rule.id, 60), ""),
        (when, MUTED),
    )
