"""Code as lines of coloured text, and the difference of two. Pure and slow for long files: call it in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from textual.content import Content, Span

CONTEXT = 3
TAB = 4

STYLES = {
    "Comment": "italic $foreground 55%",
    "Keyword": "$text-accent",
    "Keyword.Constant": "$text-warning",
    "Literal.Number": "$text-warning",
    "Literal.String": "$text-success",
    "Literal.String.Doc": "italic $text-success 80%",
    "Name.Builtin": "$text-secondary",
    "Name.Class": "bold $text-primary",
    "Name.Decorator": "$text-primary",
    "Name.Exception": "$text-secondary",
    "Name.Function": "bold $text-primary",
    "Operator.Word": "$text-accent",
}
"""Styles by kind of token; a kind that is not named looks like the one it belongs to."""


@dataclass(frozen=True)
class CodeLine:
    """A line as it is shown.

    Attributes:
        gutter: Line numbers, already aligned.
        sign: ``+``, ``−``, ``@`` (between two hunks) or a space.
    """

    gutter: str
    sign: str
    text: Content


def plain_lines(text: str) -> list[Content]:
    """Lines without colours."""
    return [Content(line) for line in _expanded(text).split("\n")]


def coloured_lines(text: str) -> list[Content]:
    """Lines of Python in colours of the theme."""
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

    code = _expanded(text)
    spans: list[list[Span]] = [[]]
    column = 0
    known: dict[object, str] = {}
    for kind, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        style = known.get(kind)
        if style is None:
            style = known[kind] = _style_of(str(kind).removeprefix("Token."))
        for number, piece in enumerate(value.split("\n")):
            if number:
                spans.append([])
                column = 0
            if style and piece.strip():
                spans[-1].append(Span(column, column + len(piece), style))
            column += len(piece)
    lines = code.split("\n")
    return [Content(line, spans=own) for line, own in zip(lines, [*spans, *([[]] * len(lines))], strict=False)]


def numbered(lines: Sequence[Content]) -> list[CodeLine]:
    """Lines with their numbers."""
    width = len(str(len(lines)))
    return [CodeLine(f"{number:>{width}}", " ", line) for number, line in enumerate(lines, start=1)]


@dataclass(frozen=True)
class Difference:
    """A unified diff: its lines, and how many were added and removed."""

    lines: list[CodeLine]
    added: int
    removed: int


def difference(old: Sequence[Content], new: Sequence[Content]) -> Difference:
    """What changed from old to new, with three lines of context around each change."""
    matcher = SequenceMatcher(None, [line.plain for line in old], [line.plain for line in new])
    width = len(str(max(len(old), len(new))))
    blank = " " * width
    lines: list[CodeLine] = []
    added = removed = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        place = f"lines {first[3] + 1}–{max(last[4], first[3] + 1)}, before {first[1] + 1}–{max(last[2], first[1] + 1)}"
        lines.append(CodeLine(f"{blank} {blank}", "@", Content.styled(place, "$text-secondary")))
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                pairs = zip(range(old_from, old_to), range(new_from, new_to), strict=True)
                lines += [CodeLine(f"{a + 1:>{width}} {b + 1:>{width}}", " ", new[b]) for a, b in pairs]
                continue
            lines += [CodeLine(f"{a + 1:>{width}} {blank}", "−", old[a]) for a in range(old_from, old_to)]
            lines += [CodeLine(f"{blank} {b + 1:>{width}}", "+", new[b]) for b in range(new_from, new_to)]
            removed += old_to - old_from
            added += new_to - new_from
    return Difference(lines, added, removed)


def _expanded(text: str) -> str:
    return text.rstrip("\n").expandtabs(TAB)


def _style_of(kind: str) -> str:
    while kind:
        if kind in STYLES:
            return STYLES[kind]
        kind = kind.rpartition(".")[0]
    return ""
