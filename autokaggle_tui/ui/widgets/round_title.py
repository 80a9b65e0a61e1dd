"""The head of a round's screen: what it is, how it stands, what it tries, and its neighbours in time."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from autokaggle_tui.state import Result
from autokaggle_tui.ui.widgets.card import MUTED, fitted
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES
from autokaggle_tui.wording import MARKS, clock_text, cost_text, gain_text, score_text
from experiments.text import one_line

UNFINISHED = "unfinished"
SOURCES = {"try": "tried by hand", "imported": "imported", "closing": "closing blend"}


class RoundTitle(Widget):
    """Two lines: figures, then the idea and where to go from here."""

    DEFAULT_CSS = """
    RoundTitle { height: 2; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    class Turned(Message):
        """A neighbour was clicked: the one before (-1) or after (1)."""

        def __init__(self, way: int) -> None:
            super().__init__()
            self.way = way

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._of = ""
        self._result: Result | None = None
        self._neighbours: tuple[str, str] = ("", "")
        self._alive = True
        self._doing = ""

    def show(
        self,
        name: str,
        result: Result | None,
        *,
        before: str = "",
        after: str = "",
        alive: bool = True,
        doing: str = "",
    ) -> None:
        """Show a round.

        Args:
            before: The round before it, or an empty string; ``after``: the one after.
            alive: Whether an engine runs: without one nothing is running, whatever the registry says.
            doing: What is done in it now, e.g. ``fold 3/5``.
        """
        shown = (name, result, (before, after), alive, doing)
        if shown != (self._of, self._result, self._neighbours, self._alive, self._doing):
            self._of, self._result, self._neighbours, self._alive, self._doing = shown
            self.refresh()

    def on_click(self, event: events.Click) -> None:
        """To the neighbour under the mouse."""
        offset = event.get_content_offset(self)
        before, after = self._ways
        if offset is None or offset.y != 1:
            return
        from_end = self.content_size.width - offset.x
        if from_end <= len(after):
            self.post_message(self.Turned(1))
        elif before and from_end <= len(self._way):
            self.post_message(self.Turned(-1))

    @property
    def _ways(self) -> tuple[str, str]:
        before, after = self._neighbours
        return f"‹ {before}" if before else "", f"{after} ›" if after else ""

    @property
    def _way(self) -> str:
        return "   ".join(part for part in self._ways if part)

    def render(self) -> Content:
        """Both lines."""
        width = self.content_size.width
        return Content("\n").join([self._figures(width), self._idea(width)])

    def _figures(self, width: int) -> Content:
        result = self._result
        head = Content.styled(self._of, "bold $text-accent")
        if result is None:
            return head
        status = result.status if self._alive or result.status not in ("running", "open") else UNFINISHED
        mark, style = MARKS.get(status, "■"), STATUS_STYLES.get(status, "$text-warning")
        words = dict.fromkeys((one_line(result.family), one_line(result.kind), SOURCES.get(result.source, "")))
        what = " · ".join(word for word in words if word) or ("EDA" if result.round == 0 else "")
        parts = [
            head,
            *([Content.styled(fitted(what, max(width // 3, 12)), "bold")] if what else []),
            Content.styled(f"{mark} {status}", style),
        ]
        if self._doing:
            parts.append(Content(self._doing))
        if result.score is not None:
            parts.append(Content.assemble(("cv ", MUTED), (score_text(result.score), "bold")))
        if result.gain is not None:
            tone = "$text-success" if result.gain > 0 else "$text-error" if result.gain < 0 else ""
            parts.append(Content.assemble(("Δ ", MUTED), (gain_text(result.gain), tone)))
        if result.lb is not None:
            parts.append(Content.assemble(("LB ", MUTED), score_text(result.lb)))
        spent = [clock_text(result.seconds)] if result.seconds else []
        spent += [cost_text(result.cost)] if result.cost or result.cost is None else []
        if spent:
            parts.append(Content.styled(" · ".join(spent), MUTED))
        line = parts[0]
        for part in parts[1:]:
            joined = line + Content("   ") + part
            if joined.cell_length > width:
                break
            line = joined
        return line

    def _idea(self, width: int) -> Content:
        way = Content.styled(self._way, MUTED)
        room = max(width - way.cell_length - 2, 0)
        idea = Content(fitted(one_line(self._result.idea) if self._result else "", room))
        return idea.pad_right(max(width - way.cell_length - idea.cell_length, 0)) + way
