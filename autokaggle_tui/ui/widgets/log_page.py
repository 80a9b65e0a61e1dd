"""What an experiment printed: the published log, or line by line while it runs."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.roundfiles import LogLine, Text
from autokaggle_tui.ui.reading import READING
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.code_text import CodeLine
from autokaggle_tui.ui.widgets.code_view import CodeView
from autokaggle_tui.ui.widgets.stream_log import StreamLog


class LogPage(Vertical):
    """A heading and the lines beneath it: of a file as many as it has, of a stream the newest."""

    DEFAULT_CSS = """
    LogPage {
        & > .log--head { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > StreamLog { height: 1fr; padding: 0 1; }
        & > CodeView { height: 1fr; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._of = ""
        self._file: Text | None = None
        self._printed: set[LogLine] = set()
        self._early: list[tuple[str, LogLine]] = []

    def compose(self) -> ComposeResult:
        """Heading, file and stream; one of them is seen."""
        yield Static(Content.styled(READING, MUTED), classes="log--head", markup=False)
        yield CodeView(id="log-file")
        yield StreamLog(id="log-stream")

    def show(self, dossier: Dossier, file: Text | None, printed: Sequence[LogLine]) -> None:
        """Show the log of an experiment.

        Args:
            file: The published log; None while there is none.
            printed: What it printed so far, when there is no file.
        """
        changed = (dossier.name, file) != (self._of, self._file)
        if changed:
            self._of, self._file = dossier.name, file
            self._printed.clear()
            self._stream.clear()
            self._stream.display = file is None
            self._view.display = file is not None
        if file is None:
            self.add(dossier.name, printed)
            self.add(dossier.name, [row for name, row in self._early if name == dossier.name])
            self._say(_heading(dossier, bool(self._printed)))
        elif changed:
            lines = [] if file.problem else _file_lines(file.text)
            self._view.show(lines)
            said = file.problem or f"{len(lines):,} lines{', the rest is cut' if file.cut else ''}"
            self._say(Content.assemble((f"{dossier.name}_run.log", "bold"), (f"  {said}", MUTED)))
        self._early.clear()

    def add(self, name: str, rows: Sequence[LogLine]) -> None:
        """Add lines that came since; those that are there already are left out."""
        if name != self._of:
            self._early += [(name, row) for row in rows]
            return
        if self._file is not None:
            return
        fresh = [row for row in dict.fromkeys(rows) if row not in self._printed]
        self._printed.update(fresh)
        self._stream.extend((f"fold {fold + 1} │ {text}", "log") for _, fold, text in fresh)

    def find(self, words: str) -> int:
        """Mark the lines that hold these words; says how many."""
        return self._seen.find(words)

    def next(self) -> int:
        """To the next place found; returns which it is, from 1, or 0 without any."""
        return self._seen.next()

    def previous(self) -> int:
        """To the place found before; returns which it is, from 1, or 0 without any."""
        return self._seen.previous()

    def follow(self) -> None:
        """To the newest line, and stay there as lines come."""
        if self._file is None:
            self._stream.follow()
        else:
            self._view.scroll_end(animate=False)

    def text(self) -> str:
        """The lines."""
        return self._seen.text()

    @property
    def _view(self) -> CodeView:
        return self.query_one(CodeView)

    @property
    def _stream(self) -> StreamLog:
        return self.query_one(StreamLog)

    @property
    def _seen(self) -> CodeView | StreamLog:
        return self._stream if self._file is None else self._view

    def _say(self, head: Content) -> None:
        self.query_one(".log--head", Static).update(head)


def _file_lines(text: str) -> list[CodeLine]:
    lines = text.rstrip("\n").expandtabs(4).split("\n")
    width = len(str(len(lines)))
    return [
        CodeLine(
            f"{number:>{width}}", " ", Content.styled(line, "bold $text-primary" if line.startswith("--- ") else "")
        )
        for number, line in enumerate(lines, start=1)
    ]


def _heading(dossier: Dossier, printed: bool) -> Content:
    name = dossier.name
    if dossier.status == "running":
        said = "runs; f follows" if printed else "runs and has printed nothing yet"
        return Content.assemble(("● ", "$text-accent"), (name, "bold"), (f" {said}", MUTED))
    if dossier.source == "imported":
        return Content.styled("Imported: it did not run here.", MUTED)
    if dossier.round == 0:
        return Content.styled("Round 0 looks at the data and runs no experiment.", MUTED)
    if printed:
        return Content.styled(f"{name}_run.log was never written; this is what the experiment printed.", MUTED)
    return Content.styled(f"No log yet: the engine writes {name}_run.log when the experiment ends.", MUTED)
