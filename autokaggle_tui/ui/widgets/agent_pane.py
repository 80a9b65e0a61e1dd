"""An agent's pane: what it says, which model it is, whether it works, and how fast."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult

from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.ui.widgets.stream_log import StreamLog
from autokaggle_tui.wording import context_text, count_text, model_text

if TYPE_CHECKING:
    from autokaggle_tui.state import Call, EngineState, PhaseNow, State
    from autokaggle_tui.ui.feed import StreamRow

WINDOW_SECONDS: Final = 3.0
LEAST_SECONDS: Final = 1.0
CHARACTERS_PER_TOKEN: Final = 4
SPOKEN: Final = frozenset({"text", "reasoning"})
AT_WORK: Final[frozenset[EngineState]] = frozenset({"running", "pausing", "stopping"})
ROOMY: Final = 48


class AgentPane(Pane):
    """One of the three agents.

    Args:
        role: ``researcher``, ``builder`` or ``reviewer``.
        number: Of the pane, the key that goes to it.
    """

    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    AgentPane {
        padding: 0 0 0 1;
        &.-active { border: round $primary; border-title-style: bold; }
        &.-active:focus-within { border: round $accent; }
    }
    """

    def __init__(self, role: str, number: int, *, id: str | None = None) -> None:
        super().__init__(role.capitalize(), number=number, id=id)
        self._role = role
        self._spoken: deque[tuple[float, int]] = deque()
        self._shown: tuple[str, tuple[str, ...]] | None = None
        self.subtitle("idle")

    def compose(self) -> ComposeResult:
        """The log fills it."""
        yield StreamLog()

    def feed(self, rows: Sequence[StreamRow]) -> None:
        """Add what the agent said."""
        self.query_one(StreamLog).extend([(row.text, row.kind) for row in rows])
        self._spoken.extend((row.at, len(row.text)) for row in rows if row.kind in SPOKEN)

    def show(self, state: State, engine: EngineState, now: float) -> None:
        """Show who works on what, and how full the model's context is; in a roomy pane what it spoke, too.

        Args:
            now: Unix seconds.
        """
        phase = state.now.phase
        active = phase if phase is not None and phase.role == self._role and engine in AT_WORK else None
        model = active.model if active else state.now.models.get(self._role, "")
        used = state.by_role.get(self._role)
        spoken = used.output_tokens if used is not None else 0
        last, roomy = state.calls.get(self._role), self.size.width >= ROOMY
        replaced = last is not None and last.asked == model
        # What follows the names must be seen, too.
        most = max(11, self.size.width // (4 if replaced else 2))
        told = (
            model_text(last.model, model, most=most) if last is not None and replaced else model_text(model, most=most),
            self._pace(now, active),
            f"{count_text(spoken)} tokens" if spoken and roomy else "",
            _context(last, roomy),
        )
        title = self._role.capitalize() if active is None else f"{self._role.capitalize()} ● {_name(active)}"
        if (title, told) == self._shown:
            return
        self._shown = (title, told)
        self.entitle(title)
        self.subtitle(*told)
        self.set_class(active is not None, "-active")

    def _pace(self, now: float, active: PhaseNow | None) -> str:
        """Tokens a second of the last moments, as far as they can be told from what is streamed."""
        while self._spoken and self._spoken[0][0] < now - WINDOW_SECONDS:
            self._spoken.popleft()
        if active is None:
            return "idle"
        if not self._spoken:
            return "thinks"
        seconds = max(now - self._spoken[0][0], LEAST_SECONDS)
        return f"{sum(length for _, length in self._spoken) / CHARACTERS_PER_TOKEN / seconds:.0f} t/s"


def _context(last: Call | None, roomy: bool) -> str:
    if last is None:
        return ""
    if roomy and (said := context_text(last.context, last.window)):
        return f"context {said}"
    return "" if last.filled is None else f"{last.filled:.0%} full"


def _name(phase: PhaseNow) -> str:
    return phase.name if phase.attempt == 1 else f"{phase.name} {phase.attempt}"
