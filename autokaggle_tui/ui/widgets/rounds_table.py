"""The rounds table: a line for every round and experiment, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from autokaggle_tui.ui.keymap import bindings
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.cursor_view import CursorView
from autokaggle_tui.ui.widgets.lines import Line, fit
from autokaggle_tui.ui.widgets.rounds_columns import COLUMNS, GAP, MARGIN, ROOMY, Context, Placed, layout
from autokaggle_tui.workspace import round_name
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Now, Result, State

NATURAL = "round"


class RoundsTable(CursorView):
    """Every round and experiment. Nothing is kept per cell: rows are painted as they are seen.

    Attributes:
        filter: Only rows that hold each of these words in name, family, status or idea are shown.
        sort_column: Name of the column it is sorted by, ``round`` to begin with.
        descending: Whether the larger (for scores: the better) come first.
    """

    DEFAULT_CLASSES = "follows"
    BINDINGS: ClassVar[list[Any]] = bindings("sort", "sort-reverse")
    head = 1

    filter: reactive[str] = reactive("")

    class Opened(Message):
        """A row was chosen with enter or a double click."""

        def __init__(self, table: RoundsTable, name: str) -> None:
            super().__init__()
            self.table = table
            self.name = name

        @property
        def control(self) -> RoundsTable:
            """The table."""
            return self.table

    class Sorted(Message):
        """A person wants another order: by ``column``, ``reverse`` to the way it is sorted at first."""

        def __init__(self, table: RoundsTable, column: str, reverse: bool) -> None:
            super().__init__()
            self.table = table
            self.column = column
            self.reverse = reverse

        @property
        def control(self) -> RoundsTable:
            """The table."""
            return self.table

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.border_title = "Rounds"
        self.sort_column = NATURAL
        self.descending = True
        self._results: Mapping[str, Result] = {}
        self._reading = True
        self._facts: Context | None = None
        self._short = True
        self._names: list[str] = []
        self._said = ""
        self._columns: tuple[Placed, ...] = ()

    @property
    def count(self) -> int:
        """Rows that the filter lets through."""
        return len(self._names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the rows, from the top."""
        return tuple(self._names)

    @property
    def selected(self) -> str | None:
        """The row under the cursor."""
        return self._names[self.cursor] if self._names else None

    def go_to(self, name: str) -> None:
        """Put the cursor on a row, if it is there."""
        if name in self._names:
            self.cursor = self._names.index(name)

    def show(self, state: State, engine: EngineState, now: float) -> None:  # noqa: ARG002
        """Show the results as they are."""
        if self._reading != (engine == "reading"):
            self._reading = engine == "reading"
            self.refresh()
        before, results = self._results, state.results
        context, was = Context(state.now, state.champion, self._short), self._facts
        self._facts = context
        if results is not before:
            self._results = results
            if self._reorder():
                return
            self._lay_out()
            for index, name in enumerate(self._names):
                if results[name] is not before.get(name):
                    self.refresh_item(index)
        changed: set[str | None] = set()
        if was is not None and was.champion != context.champion:
            changed |= {was.champion, context.champion}
        if was is not None and _ticking(was.now) != _ticking(context.now):
            changed |= {was.now.experiment, context.now.experiment, _round_name(was), _round_name(context)}
        for index, name in enumerate(self._names if changed else ()):
            if name in changed:
                self.refresh_item(index)

    def sort_by(self, column: str, *, reverse: bool = False) -> None:
        """Sort by a column.

        Args:
            column: Its name; what there is no column for means the natural order.
            reverse: Against the way the column is sorted at first.
        """
        self.sort_column = column if column in COLUMNS else NATURAL
        self.descending = COLUMNS[self.sort_column].descending != reverse
        self._reorder(always=True)

    def sort_next(self) -> None:
        """Sort by the next of the columns that are seen."""
        seen = [column.name for column, _, _ in self._columns] or list(COLUMNS)
        at = seen.index(self.sort_column) if self.sort_column in seen else -1
        self._choose(seen[(at + 1) % len(seen)], reverse=False)

    def sort_reverse(self) -> None:
        """Turn the order round."""
        self._choose(self.sort_column, reverse=self.descending == COLUMNS[self.sort_column].descending)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.sort_next()

    def action_sort_reverse(self) -> None:
        """Turn the order round."""
        self.sort_reverse()

    def watch_filter(self) -> None:
        """Other rows are let through."""
        self._reorder(always=True)

    def on_resize(self, _event: events.Resize) -> None:
        """Columns come and go with the width."""
        self._lay_out()

    def opened(self, index: int) -> None:
        """Tell which row was chosen."""
        self.post_message(self.Opened(self, self._names[index]))

    def head_clicked(self, x: int) -> None:
        """A click on a title sorts by it, another turns the order round."""
        for column, start, width in self._columns:
            if start <= x < start + width + GAP:
                if column.name == self.sort_column:
                    self.sort_reverse()
                else:
                    self._choose(column.name, reverse=False)
                return

    def paint_head(self, line: int, width: int) -> Strip:  # noqa: ARG002
        """The titles, with a sign at the one it is sorted by."""
        pieces = [(" " * MARGIN, "")]
        for column, _, room in self._columns:
            sign = ("▼" if self.descending else "▲") if column.name == self.sort_column else ""
            title = f"  {column.title}" if column.name == NATURAL else column.title
            style = "bold $text-accent" if sign else f"bold {MUTED}"
            pieces.append((fit(title + sign, room, right=column.right) + " " * GAP, style))
        return self.looks.strip(pieces, width)

    def paint(self, line: int, width: int) -> Strip:
        """A row."""
        if line >= len(self._names):
            return self.looks.strip(self._missing() if line == 0 else (), width)
        return self.looks.strip(self._row(self._results[self._names[line]]), width, self.cursor_style(line))

    def text(self) -> str:
        """The rows as they are seen, for the clipboard."""
        titles = "\t".join(column.title for column, _, _ in self._columns)
        rows = (
            "\t".join(column.piece(self._results[name], self._known)[0].strip() for column, _, _ in self._columns)
            for name in self._names
        )
        return "\n".join((titles, *rows))

    def _choose(self, column: str, *, reverse: bool) -> None:
        self.sort_by(column, reverse=reverse)
        self.post_message(self.Sorted(self, column, reverse))

    def _row(self, result: Result) -> Line:
        pieces = [(" " * MARGIN, "")]
        for column, _, room in self._columns:
            text, style = column.piece(result, self._known)
            pieces.append((fit(text, room, right=column.right) + " " * GAP, style))
        return tuple(pieces)

    def _missing(self) -> Line:
        nothing = "Reading…" if self._reading else "No rounds yet."
        said = f"No round holds “{one_line(self.filter, 40)}”." if self._results else nothing
        return ((f"{' ' * (MARGIN + 2)}{said}", MUTED),)

    def _reorder(self, *, always: bool = False) -> bool:
        """Find the rows and their order anew; tells whether they are others than before."""
        names, held, at = self._ordered(), self.selected, self.cursor
        same, self._names = names == self._names, names
        self._entitle()
        if same and not always:
            return False
        self._lay_out()
        self.measure()
        there = 0 if self.following else names.index(held) if held in names else min(at, max(len(names) - 1, 0))
        self.place(there, moved=there - at)
        self.refresh()
        return True

    def _ordered(self) -> list[str]:
        wanted = self._words
        # Oldest first, as the state has them; the newest first among equals.
        results = [result for result in reversed(list(self._results.values())) if _holds(result, wanted)]
        if self.sort_column == NATURAL:
            return [result.name for result in (results if self.descending else reversed(results))]
        key, better = COLUMNS[self.sort_column].key, 1 if self._facts is None else self._facts.now.better
        keyed = [(key(result, better), result.name) for result in results]
        known = [pair for pair in keyed if pair[0] is not None and pair[0] == pair[0] and pair[0] != ""]
        known.sort(key=lambda pair: pair[0], reverse=self.descending)  # type: ignore[arg-type, return-value]
        placed = {name for _, name in known}
        return [name for _, name in known] + [name for _, name in keyed if name not in placed]

    @property
    def _known(self) -> Context:
        assert self._facts is not None, "there are no rows without facts"
        return self._facts

    @property
    def _words(self) -> list[str]:
        return self.filter.casefold().split()

    def _entitle(self) -> None:
        total = len(self._results)
        kept = sum(result.status == "keep" for result in self._results.values())
        said = f"{total} · {kept} kept" if total else ""
        if self.filter:
            said = f"{len(self._names)} of {total} · “{one_line(self.filter, 24)}”"
        if said != self._said:
            self._said = said
            self.border_subtitle = Content(said)

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width
        columns = layout(width, self._results.values())
        self._short = width < ROOMY
        if self._facts is not None:
            self._facts = Context(self._facts.now, self._facts.champion, self._short)
        if columns != self._columns:
            self._columns = columns
            self.refresh()


def _holds(result: Result, words: Sequence[str]) -> bool:
    if not words:
        return True
    text = "\n".join((result.name, result.family, result.status, result.idea)).casefold()
    return all(word in text for word in words)


def _ticking(now: Now) -> tuple[object, ...]:
    """What the row of the open round shows of where the run stands."""
    return now.experiment, now.folds_done, now.folds, now.round, now.phase and now.phase.name


def _round_name(context: Context) -> str | None:
    return None if context.now.round is None else round_name(context.now.round)
