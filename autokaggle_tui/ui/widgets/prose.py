"""Markdown as lines of styled text. Textual's own widget makes a widget of every block, and a long plan a long wait.

Nothing in it can be clicked: a link is shown with its address. HTML is shown as it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from textual.content import Content

from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.code_text import TAB, coloured_lines, plain_lines
from autokaggle_tui.ui.widgets.prose_table import table_lines

BULLETS = ("•", "◦", "▪")
INLINE = {"strong": "bold", "em": "italic", "s": "strike", "link": "underline $text-primary"}
CODE = "$text-warning"
LEAST_WIDTH = 12

Block = Callable[[int], list[Content]]
"""Says its lines at a width."""


@dataclass(frozen=True)
class Section:
    """What stands below a heading.

    Attributes:
        level: Of the heading, from 1; 0 for what stands before the first.
        blocks: Paragraphs, lists, tables, code.
    """

    level: int = 0
    heading: Content = field(default_factory=Content)
    blocks: tuple[Block, ...] = ()


def sections(text: str) -> list[Section]:
    """A Markdown text in its sections."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    found: list[Section] = []
    level, heading, blocks = 0, Content(), []  # type: int, Content, list[Block]
    for node in SyntaxTreeNode(parser.parse(text.expandtabs(TAB))).children:
        if node.type == "heading":
            if blocks or level:
                found.append(Section(level, heading, tuple(blocks)))
            level, heading, blocks = int(node.tag[1:]), _inline(node.children), []
        else:
            blocks.append(_block(node, 0))
    if blocks or level:
        found.append(Section(level, heading, tuple(blocks)))
    return found


def laid_out(blocks: Sequence[Block], width: int, *, loose: bool = True) -> list[Content]:
    """The lines of blocks, one after the other, with an empty line between them when ``loose``."""
    lines: list[Content] = []
    for block in blocks:
        own = block(max(width, LEAST_WIDTH))
        if lines and own and loose:
            lines.append(Content())
        lines += own
    return lines


def _block(node: SyntaxTreeNode, depth: int) -> Block:
    if node.type in ("bullet_list", "ordered_list"):
        return _list(node, depth)
    if node.type == "blockquote":
        return _quote(node, depth)
    if node.type in ("fence", "code_block"):
        return _code(node)
    if node.type == "table":
        return _table(node)
    if node.type == "hr":
        return lambda width: [Content.styled("─" * width, FAINT)]
    style = "bold" if node.type == "heading" else ""
    said = _inline(node.children) if node.children else Content(node.content)
    return said.stylize_before(style).wrap if style else said.wrap


def _list(node: SyntaxTreeNode, depth: int) -> Block:
    first = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None
    bullet = BULLETS[min(depth, len(BULLETS) - 1)]
    marks = [bullet if first is None else f"{first + place}." for place in range(len(node.children))]
    room = max((len(mark) for mark in marks), default=1) + 1
    # markdown-it hides the paragraphs of a list whose items stand close.
    loose = any(child.type == "paragraph" and not child.hidden for item in node.children for child in item.children)
    items = [
        (Content.styled(f"{mark:>{room - 1}} ", "$text-primary"), [_block(child, depth + 1) for child in item.children])
        for mark, item in zip(marks, node.children, strict=True)
    ]

    def lines(width: int) -> list[Content]:
        return laid_out([_item(mark, blocks, loose) for mark, blocks in items], width, loose=loose)

    return lines


def _item(mark: Content, blocks: list[Block], loose: bool) -> Block:
    def lines(width: int) -> list[Content]:
        indent = mark.cell_length
        first, *rest = laid_out(blocks, width - indent, loose=loose) or [Content()]
        return [mark + first, *(line.pad_left(indent) for line in rest)]

    return lines


def _quote(node: SyntaxTreeNode, depth: int) -> Block:
    blocks = [_block(child, depth) for child in node.children]
    bar = Content.styled("▌ ", FAINT)
    return lambda width: [bar + line for line in laid_out(blocks, width - 2)]


def _code(node: SyntaxTreeNode) -> Block:
    is_python = node.info.strip().lower().split()[:1] in (["python"], ["py"])
    code = coloured_lines(node.content) if is_python else plain_lines(node.content)

    def lines(width: int) -> list[Content]:
        pieces = (piece for line in code for piece in (line.fold(width - 2) if line else [line]))
        return [_padded(piece, width) for piece in pieces]

    return lines


def _padded(line: Content, width: int) -> Content:
    filled = Content(" ") + line
    return filled.pad_right(max(width - filled.cell_length, 0)).stylize_before("on $surface")


def _table(node: SyntaxTreeNode) -> Block:
    rows = [[_inline(cell.children) for cell in row.children] for part in node.children for row in part.children]
    head, *body = rows or [[]]
    return lambda width: table_lines(head, body, width)


def _inline(nodes: Iterable[SyntaxTreeNode]) -> Content:
    """Running text."""
    return Content.assemble(*(_piece(node) for node in nodes))


def _piece(node: SyntaxTreeNode) -> Content:
    if node.type in INLINE:
        inner = _inline(node.children).stylize_before(INLINE[node.type])
        return inner + _address(str(node.attrs.get("href", "")), inner.plain) if node.type == "link" else inner
    if node.type == "image":
        alt = node.content or "image"
        return Content.styled(f"[{alt}]", "italic") + _address(str(node.attrs.get("src", "")), alt)
    if node.type == "code_inline":
        return Content.styled(node.content, CODE)
    if node.type == "softbreak":
        return Content(" ")
    if node.type == "hardbreak":
        return Content("\n")
    return _inline(node.children) if node.children else Content(node.content)


def _address(address: str, said: str) -> Content:
    return Content() if not address or address == said else Content.styled(f" ({address})", MUTED)
