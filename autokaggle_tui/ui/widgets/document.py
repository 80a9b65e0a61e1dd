"""Published Markdown, laid out: one paper beneath the other, front matter as a small table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from autokaggle_tui.roundfiles import Text
from autokaggle_tui.ui.widgets.card import MUTED, Lines, Row, TableCard
from autokaggle_tui.ui.widgets.prose import Block, laid_out, sections

SHOWN_CHARACTERS = 100_000
_LONG_NUMBER = re.compile(r"-?\d+\.\d{5,}(?:e-?\d+)?")
_FIELD = re.compile(r"([A-Za-z_][\w.-]*):(?:\s+(.*))?$")


@dataclass(frozen=True)
class Paper:
    """One file of a round.

    Attributes:
        name: As in rounds/, e.g. ``R07_plan.md``.
        text: None when the file is not there.
        missing: What to say then: which phase writes it.
    """

    name: str
    text: Text | None
    missing: str = ""


class DocumentPage(VerticalScroll):
    """Papers to read."""

    DEFAULT_CSS = """
    DocumentPage {
        padding: 0 1;
        scrollbar-size-vertical: 1;
        & > .document--missing { color: $text-muted; padding: 1 2; height: auto; }
        & > .document--paper { height: auto; border: round $panel; border-title-color: $text-primary; padding: 0 1; }
        & .document--note { color: $text-warning; height: auto; }
        & TableCard { border: none; padding: 0; margin: 0 0 1 0; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=True)
        self._papers: tuple[Paper, ...] | None = None

    async def show(self, papers: Sequence[Paper]) -> None:
        """Show these papers; nothing moves when they are the same as before."""
        if self._papers == tuple(papers):
            return
        same_files = [paper.name for paper in self._papers or ()] == [paper.name for paper in papers]
        self._papers = tuple(papers)
        async with self.batch():
            await self.remove_children()
            for paper in papers:
                if paper.text is None or paper.text.problem:
                    said = paper.missing if paper.text is None else paper.text.problem
                    await self.mount(Static(said, classes="document--missing", markup=False))
                else:
                    await self.mount(_Sheet(paper.name, paper.text))
        if not same_files:
            self.scroll_home(animate=False)

    def text(self) -> str:
        """What is shown, as it was written."""
        return "\n\n".join(paper.text.text for paper in self._papers or () if paper.text is not None)


class _Sheet(Vertical):
    """One paper in its border."""

    def __init__(self, name: str, text: Text) -> None:
        super().__init__(classes="document--paper")
        self.border_title = Content(name)
        self._matter, self._body = split_matter(text.text)
        self._cut = text.cut or len(self._body) > SHOWN_CHARACTERS

    def compose(self) -> ComposeResult:
        if self._matter:
            card = TableCard("")
            card.border_title = None
            card.show([_field(name, value) for name, value in self._matter])
            yield card
        for section in sections(self._body[:SHOWN_CHARACTERS]):
            if section.level:
                yield HEADINGS[section.level - 1](section.heading)
            if section.blocks:
                yield Prose(section.blocks)
        if self._cut:
            yield Static("… cut here; e opens the whole file.", classes="document--note", markup=False)


class Prose(Lines):
    """What stands below a heading."""

    DEFAULT_CSS = """
    Prose { margin: 0 0 1 0; }
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self._blocks = blocks

    def lines(self, width: int) -> list[Content]:
        """All blocks."""
        return laid_out(self._blocks, width)


class MarkdownH1(Static):
    """A heading of the first level."""

    DEFAULT_CSS = """
    MarkdownH1 { color: $text-primary; text-style: bold; margin: 0 0 1 0; }
    """


class MarkdownH2(Static):
    """A heading of the second level."""

    DEFAULT_CSS = """
    MarkdownH2 { color: $text-accent; text-style: bold; margin: 0 0 1 0; }
    """


class MarkdownH3(Static):
    """A heading of the third level."""

    DEFAULT_CSS = """
    MarkdownH3 { text-style: bold; }
    """


class MarkdownH4(MarkdownH3):
    """A heading of the fourth level."""


class MarkdownH5(MarkdownH3):
    """A heading of the fifth level."""


class MarkdownH6(MarkdownH3):
    """A heading of the sixth level."""


HEADINGS: tuple[type[Static], ...] = (MarkdownH1, MarkdownH2, MarkdownH3, MarkdownH4, MarkdownH5, MarkdownH6)


def split_matter(text: str) -> tuple[list[tuple[str, str]], str]:
    """Front matter as (name, value) in the order of the file, and what follows it.

    Values are shown as they were written: nothing is parsed that a broken or hostile file could make expensive.
    """
    lines = text.lstrip("\n").split("\n")
    if lines[0].strip() != "---":
        return [], text
    end = next((number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---"), None)
    if end is None:
        return [], text
    fields: list[tuple[str, str]] = []
    for line in lines[1:end]:
        match = _FIELD.match(line)
        if match:
            fields.append((match[1], match[2] or ""))
        elif fields and line.strip():
            name, value = fields[-1]
            part = line.strip().removeprefix("- ")
            listed = line.strip().startswith("- ") or _FIELD.match(part)
            fields[-1] = (name, f"{value}{' · ' if listed and value else ' ' if value else ''}{part}")
    return [(name, _unquoted(value)) for name, value in fields], "\n".join(lines[end + 1 :])


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
    return value


def _field(name: str, value: str) -> Row:
    if _LONG_NUMBER.fullmatch(value):
        value = f"{float(value):.6g}"
    return [Content.styled(name.replace("_", " "), MUTED), Content(value or "–")]
