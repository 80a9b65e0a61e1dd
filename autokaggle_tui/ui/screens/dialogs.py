"""Questions to the person: yes or no, what becomes of the loop, a hint to the agents."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from autokaggle_tui.ui.keymap import bindings, key_of
from autokaggle_tui.ui.widgets.card import MUTED

Leaving = Literal["keep", "pause", "stop"]

HINT_LIMIT = 20_000
LEAVINGS: tuple[tuple[Leaving, str, str], ...] = (
    ("keep", "Keep running", "the loop goes on; attach looks in again"),
    ("pause", "Pause", "it holds between folds until you resume it"),
    ("stop", "Stop", "it ends after its step; nothing is lost"),
)


class ConfirmDialog(ModalScreen[bool]):
    """A question with two answers; enter alone says no.

    Args:
        detail: What follows from a yes, any number of lines.
        yes: What the person does by agreeing, in a word or two; ``no``: what by not agreeing.
    """

    CSS_PATH = "dialogs.tcss"
    AUTO_FOCUS = "#no"
    BINDINGS: ClassVar[list[Any]] = bindings("answer-yes", "answer-no", "answer-other")

    def __init__(self, question: str, detail: str = "", yes: str = "Yes", no: str = "No") -> None:
        super().__init__()
        self._question, self._detail, self._yes, self._no = question, detail, yes, no

    def compose(self) -> ComposeResult:
        """The question in the border, the detail, the two answers."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._question)
            yield Static(Content(self._detail), classes="dialog--detail", markup=False)
            with Horizontal(classes="dialog--answers"):
                yield Button(self._labelled(self._no, "answer-no"), id="no", compact=True)
                yield Button(self._labelled(self._yes, "answer-yes"), id="yes", compact=True)

    def _labelled(self, word: str, name: str) -> Content:
        return Content.assemble(key_of(self, name), "  ", word)

    def action_answer_yes(self) -> None:
        """Yes."""
        self.dismiss(True)

    def action_answer_no(self) -> None:
        """No."""
        self.dismiss(False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.dismiss(event.button.id == "yes")


class QuitDialog(ModalScreen[Leaving | None]):
    """What becomes of the loop when the screen closes; None: the screen stays."""

    CSS_PATH = "dialogs.tcss"
    BINDINGS: ClassVar[list[Any]] = bindings("quit-keep", "quit-pause", "quit-stop", "cancel")

    def compose(self) -> ComposeResult:
        """Three ways to leave, the harmless one first."""
        with Vertical(classes="dialog") as box:
            box.border_title = Content("Leave the screen?")
            box.border_subtitle = Content(f"{key_of(self, 'cancel')} stay here")
            yield OptionList(*(Option(self._prompt(*leaving), id=leaving[0]) for leaving in LEAVINGS), compact=True)

    def _prompt(self, name: str, label: str, detail: str) -> Content:
        key = key_of(self, f"quit-{name}")
        return Content.assemble((key, "bold $accent"), f"  {label:<14}", (detail, MUTED))

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(LEAVINGS[event.option_index][0])

    def action_quit_keep(self) -> None:
        """Leave it running."""
        self.dismiss("keep")

    def action_quit_pause(self) -> None:
        """Pause it."""
        self.dismiss("pause")

    def action_quit_stop(self) -> None:
        """Stop it."""
        self.dismiss("stop")

    def action_cancel(self) -> None:
        """Stay."""
        self.dismiss(None)


class HintDialog(ModalScreen[str | None]):
    """A few lines to the agents; None when the person thought better of it.

    Args:
        draft: What stands there already.
    """

    CSS_PATH = "dialogs.tcss"
    AUTO_FOCUS = "TextArea"
    BINDINGS: ClassVar[list[Any]] = bindings("send", "cancel")

    def __init__(self, draft: str = "") -> None:
        super().__init__()
        self._draft = draft

    def compose(self) -> ComposeResult:
        """The text, and what becomes of it."""
        with Vertical(classes="dialog -wide") as box:
            box.border_title = Content("A hint to the agents")
            box.border_subtitle = Content(f"{key_of(self, 'send')} send · {key_of(self, 'cancel')} cancel")
            yield Static(
                "All three read it at their next phase. An idea, a warning, a link: plain words.",
                classes="dialog--detail",
                markup=False,
            )
            yield TextArea(self._draft, compact=True, placeholder="e.g. try target encoding of job × month")
            yield Static("", classes="dialog--complaint", markup=False)

    def action_send(self) -> None:
        """Send it, unless there is nothing to send."""
        text = self.query_one(TextArea).text.strip()
        if not text:
            self._complain("! There is nothing to send yet.")
        elif len(text) > HINT_LIMIT:
            self._complain(f"! {len(text):,} characters are too many for a hint ({HINT_LIMIT:,}): name a file instead.")
        else:
            self.dismiss(text)

    def action_cancel(self) -> None:
        """Leave without a hint."""
        self.dismiss(None)

    @on(TextArea.Changed)
    def _changed(self) -> None:
        self._complain("")

    def _complain(self, sentence: str) -> None:
        self.query_one(".dialog--complaint", Static).update(Content(sentence))
