"""The keys that are alive where the person is, and what the signs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen

from autokaggle_tui.ui.keymap import BY_ID, GROUPS, bindings, group_of, key_of
from autokaggle_tui.ui.screens.learnings import ENFORCED
from autokaggle_tui.ui.widgets.card import MUTED, TableCard
from autokaggle_tui.ui.widgets.ledger_lines import SENT
from autokaggle_tui.ui.widgets.marks import STATUS_STYLES
from autokaggle_tui.wording import MARKS

OTHERS = "Also"
BORDERS = 2
SIDEWAYS = frozenset({"scroll_left", "scroll_right", "page_left", "page_right"})
"""What every widget brings along and hardly one has a use for."""
PANES = "Go to the pane of this number"
WORDS = (
    ("cv", "the score out of fold, as the engine computed it"),
    (
        "Δ best",
        "mean of the paired differences per fold against the champion of its time; positive is better; "
        "not the difference of the cv column (cv pools all rows)",
    ),
    ("t", "how sure that gain is: paired over the folds, corrected for their overlap"),
    ("ρ pool", "the highest correlation with an earlier prediction"),
    ("lb", "the public score of its submission"),
)


@dataclass
class Entry:
    """One thing that can be done, and the keys that do it, as they are shown."""

    group: str
    said: str
    keys: list[str] = field(default_factory=list)


class HelpScreen(ModalScreen[None]):
    """Made from the bindings of the screen below, so it is never out of date."""

    CSS_PATH = "help.tcss"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[Any]] = bindings("close", "down", "up", "top", "bottom")

    def compose(self) -> ComposeResult:
        """Groups of keys in two columns, the legend beneath them."""
        below = self._below()
        with Container(id="help") as box:
            box.border_title = Content("What the keys do here")
            box.border_subtitle = Content(f"{key_of(self, 'close')} close")
            with VerticalScroll():
                with Horizontal(id="groups"):
                    for column in _columns(living(below)):
                        with Vertical(classes="column"):
                            for name, entries in column:
                                yield _card(name, entries)
                yield _legend()

    def action_close(self) -> None:
        """Back to the screen below."""
        self.dismiss()

    def action_down(self) -> None:
        """Down a line."""
        self._page.scroll_down()

    def action_up(self) -> None:
        """Up a line."""
        self._page.scroll_up()

    def action_top(self) -> None:
        """To the first line."""
        self._page.scroll_home()

    def action_bottom(self) -> None:
        """To the last line."""
        self._page.scroll_end()

    @property
    def _page(self) -> VerticalScroll:
        return self.query_one(VerticalScroll)

    def _below(self) -> Screen[Any]:
        stack = self.app.screen_stack
        at = stack.index(self) if self in stack else len(stack)
        return stack[max(at - 1, 0)]


def living(screen: Screen[Any]) -> dict[str, list[Entry]]:
    """The bindings that are alive on a screen, by group, in the order of the table of keys."""
    active = [
        item.binding
        for item in screen.active_bindings.values()
        if item.binding.description and item.binding.action not in SIDEWAYS
    ]
    entries: dict[str, Entry] = {}
    # What has a name in the table goes first: a widget's own key for the same thing joins it.
    for binding in sorted(active, key=_place):
        pane = (binding.id or "").startswith("pane-")
        said = PANES if pane else binding.tooltip or binding.description
        entry = entries.setdefault(PANES if pane else binding.description, Entry(group_of(binding) or OTHERS, said))
        shown = screen.app.get_key_display(binding)
        if shown not in entry.keys:
            entry.keys.append(shown)
    grouped = {name: [entry for entry in entries.values() if entry.group == name] for name in (*GROUPS, OTHERS)}
    return {name: found for name, found in grouped.items() if found}


def _place(binding: Binding) -> int:
    """The place in the table; behind all others when it has none."""
    known = list(BY_ID)
    return known.index(binding.id) if binding.id is not None and binding.id in BY_ID else len(known)


def _columns(groups: Mapping[str, list[Entry]]) -> tuple[list[tuple[str, list[Entry]]], ...]:
    """The groups in two columns of about the same height, in their order."""
    columns: tuple[list[tuple[str, list[Entry]]], ...] = ([], [])
    half = sum(len(entries) + BORDERS for entries in groups.values()) / 2
    height = 0
    for name, entries in groups.items():
        columns[height >= half].append((name, entries))
        height += len(entries) + BORDERS
    return columns


def _card(name: str, entries: list[Entry]) -> TableCard:
    card = TableCard(name, align="r")
    card.show([[Content.styled(_listed(entry.keys), "bold $text-accent"), Content(entry.said)] for entry in entries])
    return card


def _listed(keys: list[str]) -> str:
    """Keys side by side; a row of digits as its ends."""
    return f"{keys[0]} … {keys[-1]}" if len(keys) > 2 and all(key.isdigit() for key in keys) else " ".join(keys)


def _legend() -> TableCard:
    """The signs, made from the tables that put them on the screen; and the words over the columns."""
    signs: dict[str, Mapping[str, tuple[str, str]]] = {
        "status": {status: (mark, STATUS_STYLES.get(status, "")) for status, mark in MARKS.items()},
        "submission": {word: (mark, style) for mark, style, word in SENT.values()},
        "rule": ENFORCED,
    }
    rows = [[Content.styled(title, MUTED), _signs(marks)] for title, marks in signs.items()]
    rows += [[Content.styled(word, MUTED), Content(said)] for word, said in WORDS]
    card = TableCard("What am I looking at", align="r")
    card.show(rows)
    return card


def _signs(marks: Mapping[str, tuple[str, str]]) -> Content:
    """Each sign once, before the words that it goes with."""
    found: dict[str, list[Content]] = {}
    for word, (mark, style) in marks.items():
        found.setdefault(mark, []).append(Content.styled(word, style))
    told = [Content.assemble(mark, " ", Content(", ").join(words)) for mark, words in found.items()]
    return Content("   ").join(told)
