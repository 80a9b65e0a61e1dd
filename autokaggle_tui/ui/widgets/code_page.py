"""An experiment's code, or what it changed in its parent's; of a blend its members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.worker import get_current_worker

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.roundfiles import read_text
from autokaggle_tui.state import Result
from autokaggle_tui.ui.reading import READING
from autokaggle_tui.ui.widgets.card import MUTED
from autokaggle_tui.ui.widgets.code_text import CodeLine, Difference, coloured_lines, difference, numbered, plain_lines
from autokaggle_tui.ui.widgets.code_view import CodeView
from autokaggle_tui.ui.widgets.members_card import MembersCard


@dataclass(frozen=True)
class _Wanted:
    """What is to be shown: equal when nothing changed."""

    name: str
    path: Path | None
    changed: int
    parent: str | None
    stated: bool
    family: str
    diff: bool


class CodePage(Vertical):
    """A heading and the code beneath it; long files appear at once and get their colours a moment later."""

    DEFAULT_CSS = """
    CodePage {
        & > .code--head { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        & > CodeView { height: 1fr; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._wanted: _Wanted | None = None
        self._dossier = Dossier("")
        self._known: Mapping[str, Result] = {}
        self.diff = False

    def compose(self) -> ComposeResult:
        """Heading and code."""
        yield Static(Content.styled(READING, MUTED), classes="code--head", markup=False)
        yield CodeView(id="code-view")
        with VerticalScroll(can_focus=True):
            yield MembersCard()

    def on_mount(self) -> None:
        """Members are shown once it is known that there are some."""
        self.query_one(VerticalScroll).display = False

    def show(self, dossier: Dossier, known: Mapping[str, Result]) -> None:
        """Show an experiment's code, or a blend's members; nothing happens when it is there already.

        Args:
            known: Results by name.
        """
        self._dossier, self._known = dossier, known
        self.query_one(VerticalScroll).display = dossier.is_blend
        self.query_one(CodeView).display = self.query_one(".code--head").display = not dossier.is_blend
        if dossier.is_blend:
            self.query_one(MembersCard).show_members(dossier, known)
            return
        file = dossier.file("experiment.py")
        wanted = _Wanted(
            dossier.name,
            file.path if file else None,
            file.changed if file else 0,
            dossier.parent,
            dossier.stated,
            dossier.family,
            self.diff,
        )
        if wanted == self._wanted:
            return
        again = self._wanted is not None and (self._wanted.name, self._wanted.diff) == (wanted.name, wanted.diff)
        self._wanted = wanted
        if wanted.path is None:
            self._say(Content.styled(_no_code(dossier), MUTED))
            self.query_one(CodeView).show([])
        else:
            self._read(wanted, wanted.path, again)

    def toggle(self) -> None:
        """Code or difference."""
        self.diff = not self.diff
        self.show(self._dossier, self._known)

    @work(thread=True, exclusive=True, group="code", exit_on_error=False)
    def _read(self, wanted: _Wanted, path: Path, stay: bool) -> None:
        worker = get_current_worker()
        mine = read_text(path)
        if mine.problem:
            self.app.call_from_thread(self._shown, wanted, Content(f"{path.name}: {mine.problem}"), [], stay)
            return
        other = None
        if wanted.diff and wanted.parent is not None:
            other = read_text(path.with_name(f"{wanted.parent}_experiment.py"))
        # Colours take a second for 5,000 lines; the text is there at once.
        for lines_of in (plain_lines, coloured_lines):
            if worker.is_cancelled:
                return
            lines: list[CodeLine]
            new = lines_of(mine.text)
            if not wanted.diff:
                lines, head = numbered(new), _title(path.name, len(new), mine.cut)
            elif other is None or other.problem:
                lines, head = numbered(new), _no_parent(wanted)
            else:
                changes = difference(lines_of(other.text), new)
                lines, head = changes.lines, _changes(wanted, changes)
            self.app.call_from_thread(self._shown, wanted, head, lines, stay)
            stay = True

    def _shown(self, wanted: _Wanted, head: Content, lines: list[CodeLine], stay: bool) -> None:
        if wanted == self._wanted and self.is_attached:
            self._say(head)
            self.query_one(CodeView).show(lines, stay=stay)

    def _say(self, head: Content) -> None:
        self.query_one(".code--head", Static).update(head)


def _title(name: str, count: int, cut: bool) -> Content:
    return Content.assemble((name, "bold"), (f"  {count:,} lines{', cut' if cut else ''}", MUTED))


def _changes(wanted: _Wanted, changes: Difference) -> Content:
    why = "its parent" if wanted.stated else f"the {wanted.family} before it; no parent is named"
    head = Content.assemble((wanted.name, "bold"), " against ", (str(wanted.parent), "bold"), (f", {why}  ", MUTED))
    if not changes.lines:
        return head + Content("no difference")
    return head + Content.assemble((f"+{changes.added} ", "$text-success"), (f"−{changes.removed}", "$text-error"))


def _no_parent(wanted: _Wanted) -> Content:
    if wanted.parent is None:
        return Content(f"Nothing to compare {wanted.name} with: it has no parent and is the first {wanted.family}.")
    return Content(f"Nothing to compare {wanted.name} with: {wanted.parent}_experiment.py is not in rounds/.")


def _no_code(dossier: Dossier) -> str:
    if dossier.source == "imported":
        return "Imported: its predictions came without code."
    if dossier.round == 0:
        return "Round 0 looks at the data and runs no experiment."
    if dossier.status in ("open", "running"):
        return f"{dossier.name}_experiment.py is not there yet; the Builder writes it in phase code."
    return f"{dossier.name}_experiment.py is not in rounds/; the Builder writes it in phase code."
