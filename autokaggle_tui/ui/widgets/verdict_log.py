"""What the Reviewer, the rules and the engine said, newest first: the round, the verdict, the rule it names, why."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.cursor_view import CursorView
from autokaggle_tui.ui.widgets.lines import Line, hanging
from autokaggle_tui.workspace import round_name
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, State, Verdict

KEPT = 100
"""Verdicts that are shown."""

SIGNS: Mapping[str, tuple[str, str]] = {
    "APPROVED": ("✓", "$text-success"),
    "REVISE": ("!", "$text-warning"),
    "REJECT": ("✗", "$text-error"),
    "block": ("✗", "$text-error"),
    "warn": ("!", "$text-warning"),
    "fallback": ("↺", "$text-secondary"),
    "RETRO": ("◆", "$text-accent"),
}
"""Sign and colour of a verdict, beside its word."""

ABOUT = {"review": "plan", "verify": "result", "retro": ""}


def verdict_line(verdict: Verdict) -> tuple[Line, Line]:
    """A verdict as its round and the rest: ``R16`` and ``✗ block noise-floor: gain +0.00004 · t 0.60 < 1.50``.

    Figures say in less room what the reason says in a sentence, which the round's own screen has.
    """
    name = "–" if verdict.round is None else round_name(verdict.round)
    sign, style = SIGNS.get(verdict.verdict, ("·", MUTED))
    word = one_line(verdict.verdict, 20)
    # The Reviewer's line begins with the word itself.
    said = one_line(verdict.figures) or one_line(verdict.reason).removeprefix(word).lstrip(":. ")
    what = one_line(verdict.rule, 40) if verdict.rule else ABOUT.get(verdict.phase, one_line(verdict.phase, 20))
    gap = " " if what else ""
    rest = ((f"{sign} {word.lower()}{gap}", style), (what, "bold" if verdict.rule else ""))
    return ((f"{name:<3} ", MUTED),), (*rest, (f": {said}", "") if said else ("", ""))


class VerdictLog(CursorView):
    """The last verdicts, wrapped; new ones come on top."""

    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    VerdictLog {
        padding: 0 0 0 1;
    }
    """
    clicks = 1

    class Opened(Message):
        """A verdict was chosen: the round it is about is wanted."""

        def __init__(self, widget: Widget, name: str) -> None:
            super().__init__()
            self.widget = widget
            self.name = name

        @property
        def control(self) -> Widget:
            """The log, or the line of a small screen."""
            return self.widget

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._reading = True
        self.border_title = "Verdicts"
        self._seen: tuple[Verdict, ...] = ()
        self._verdicts: list[Verdict] = []
        self._lines: list[Content] = []
        self._tops: list[int] = []
        self._wrapped: dict[int, list[Content]] = {}
        self._width = 0
        self._unread = 0

    @property
    def count(self) -> int:
        """Verdicts that are shown: none before there is a width to wrap them to."""
        return len(self._tops)

    def span(self, index: int) -> tuple[int, int]:
        """First line and number of lines of a verdict."""
        end = self._tops[index + 1] if index + 1 < len(self._tops) else len(self._lines)
        return self._tops[index], end - self._tops[index]

    def item_at(self, line: int) -> int:
        """The verdict that a line belongs to."""
        return bisect_right(self._tops, line) - 1 if line < len(self._lines) else self.count

    def show(self, state: State, engine: EngineState, now: float) -> None:  # noqa: ARG002
        """Show the last verdicts."""
        if self._reading != (engine == "reading"):
            self._reading = engine == "reading"
            self.refresh()
        if state.verdicts is self._seen:
            return
        self._seen = state.verdicts
        last = self._verdicts[0].id if self._verdicts else 0
        held, above = (self._verdicts[self.cursor].id, self.span(self.cursor)[0]) if self.count else (None, 0)
        self._verdicts = list(reversed(state.verdicts[-KEPT:]))
        self._wrap()
        ids = [verdict.id for verdict in self._verdicts]
        self._unread += sum(one > last for one in ids)
        there = 0 if self.following else ids.index(held) if held in ids else self.cursor
        self.place(there, moved=self.span(self.validate_cursor(there))[0] - above if self.count else 0)
        self._entitle()

    def watch_cursor(self, old: int, new: int) -> None:
        """At the top everything has been seen."""
        super().watch_cursor(old, new)
        self._entitle()

    def follow(self) -> None:
        """Go to the newest, and stay there."""
        super().follow()
        self._entitle()

    def on_resize(self, _event: events.Resize) -> None:
        """Wrap anew."""
        self._wrap()

    def opened(self, index: int) -> None:
        """Ask for the verdict's round."""
        number = self._verdicts[index].round
        if number is not None:
            self.post_message(self.Opened(self, round_name(number)))

    def paint(self, line: int, width: int) -> Strip:
        """A line of a verdict."""
        if line >= len(self._lines):
            said = (("Reading…" if self._reading else "No verdicts yet.", MUTED),) if line == 0 else ()
            return self.looks.strip(said, width)
        base = self.visual_style
        # Unlike in a table, a cursor that nobody moves would only be a stain here.
        style = self.cursor_style(self.item_at(line)) if self.has_focus else ""
        if style:
            return self.looks.strip(((self._lines[line].plain, ""),), width, style)
        return Strip(self._lines[line].render_segments(base)).adjust_cell_length(width, base.rich_style)

    def text(self) -> str:
        """All of it, for the clipboard."""
        return "\n".join("".join(text for part in verdict_line(one) for text, _ in part) for one in self._verdicts)

    def _wrap(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        if width != self._width:
            self._wrapped.clear()
            self._width = width
        known = self._wrapped
        self._wrapped = {one.id: known.get(one.id) or hanging(*verdict_line(one), width) for one in self._verdicts}
        self._lines, self._tops = [], []
        for one in self._verdicts:
            self._tops.append(len(self._lines))
            self._lines += self._wrapped[one.id]
        self.measure()
        self.refresh()

    def _entitle(self) -> None:
        unread = 0 if self.following else self._unread
        if unread != self._unread or unread:
            self.border_subtitle = Content(f"↑ {unread} new" if unread else "")
        self._unread = unread


class VerdictLine(Widget):
    """The newest verdict in one line, for small screens."""

    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    VerdictLine {
        height: 1;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._verdict: Verdict | None = None

    def show(self, state: State, engine: EngineState, now: float) -> None:  # noqa: ARG002
        """Show the newest verdict."""
        newest = state.verdicts[-1] if state.verdicts else None
        if newest is not self._verdict:
            self._verdict = newest
            self.refresh()

    def on_click(self) -> None:
        """Ask for the verdict's round."""
        if self._verdict is not None and self._verdict.round is not None:
            self.post_message(VerdictLog.Opened(self, round_name(self._verdict.round)))

    def render(self) -> Content:
        """The line."""
        if self._verdict is None:
            return Content("")
        head, rest = verdict_line(self._verdict)
        return Content.assemble(*head, *rest)
