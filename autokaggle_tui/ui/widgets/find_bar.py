"""A line to find with: the words, and which of the places found is shown."""

from __future__ import annotations

from textual import on
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static


class FindBar(Horizontal):
    """Hidden until it is asked for; what is looked through answers by :meth:`tell`."""

    DEFAULT_CSS = """
    FindBar {
        display: none;
        height: 1;
        padding: 0 1;
        background: $surface;
        & > Static { width: auto; height: 1; margin: 0 1 0 0; color: $text-primary; }
        & > .find--place { color: $text-muted; margin: 0; }
        & > Input { width: 1fr; border: none; background: transparent; padding: 0; }
    }
    """

    class Changed(Message):
        """Other words are looked for; empty ones end the search."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    class Done(Message):
        """The words are complete: the keys belong to what is looked through again."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._label = Static("find", markup=False)
        self._input = Input(compact=True, select_on_focus=False)
        self._place = Static(classes="find--place", markup=False)

    def open(self, label: str = "find") -> None:
        """Ask for words."""
        if not self.children:
            # Nobody waits for what is not seen yet.
            self.mount(self._label, self._input, self._place)
        self._label.update(label)
        self.display = True
        self._input.focus()

    def close(self) -> None:
        """Forget the words."""
        self._input.value = ""
        self.tell("")
        self.display = False

    @property
    def words(self) -> str:
        """What is looked for."""
        return self._input.value

    def tell(self, place: str) -> None:
        """Say which of the places is shown, e.g. ``2 of 7``."""
        self._place.update(Content(place))

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Done())
