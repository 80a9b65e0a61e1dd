"""The phases of the round, from research to verdict, and how far the running experiment is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.lines import Line, width_of
from autokaggle_tui.ui.widgets.marks import ENGINE_MARKS, fold_text, progress, stopwatch
from autokaggle_tui.workspace import round_name
from experiments.text import one_line

if TYPE_CHECKING:
    from autokaggle_tui.state import EngineState, Now, PhaseDone, State

COURSE = ("research", "plan", "review", "code", "run", "findings", "verify")
"""What every round goes through; a retrospective, a revision, fixes and a submission come in between."""
AFTER = {"retro": -1, "eda": 6, "revise": 2, "fix": 3, "submit": 6}
"""Where in ``COURSE`` a round is after one of those."""
WORDS = {"eda": "EDA"}

DONE = ("✓", "$text-success")
ACTIVE = ("●", "$text-accent")
AHEAD = ("○", FAINT)
OUTCOMES: Mapping[str, tuple[str, str]] = {
    "REVISE": ("!", "$text-warning"),
    "REJECT": ("✗", "$text-error"),
    "crash": ("!", "$text-error"),
    "timeout": ("!", "$text-error"),
    "invalid": ("!", "$text-error"),
    "killed": ("✗", "$text-warning"),
    "refused": ("✗", "$text-error"),
    "failed": ("✗", "$text-error"),
    "unknown": ("!", "$text-warning"),
}
"""Sign and colour of outcomes that are no plain success."""

SKIPPED = "skipped"
HELD: frozenset[EngineState] = frozenset({"pausing", "paused", "stopping"})
LEAST_ROOM = 34
ROOM_SHARE = 3
"""What part of the line is kept free for what stands on the right, so that the phases keep their places."""
MOST_BAR = 40
LEAST_BAR = 6


@dataclass(frozen=True)
class Step:
    """A phase on the bar; ``named`` says whether its word is shown beside the sign."""

    word: str
    sign: str
    style: str
    state: str
    named: bool = True

    @property
    def line(self) -> Line:
        """Sign and word."""
        style = {"done": "", "active": "bold $text-accent", "ahead": MUTED}[self.state]
        return ((self.sign, self.style), (f" {self.word}" if self.named else "", style))


def steps(state: State) -> tuple[Step, ...]:
    """The phases of the current round: done, at work, ahead."""
    now = state.now
    if now.experiment is not None and not _of_round(now):
        return (Step(f"Run {one_line(now.experiment, 16)}", *ACTIVE, "active"),)
    done = [item for item in now.phases if not (item.name == "submit" and item.outcome == SKIPPED)]
    found = [_done(item) for item in done]
    current = "run" if now.experiment is not None else now.phase.name if now.phase is not None else ""
    if current:
        attempt = now.phase.attempt if now.phase is not None and current != "run" else 1
        word = _word(current) + (f" {attempt}" if attempt > 1 else "")
        found.append(Step(word, *ACTIVE, "active"))
    if now.round == 0 or (not done and not current):
        return tuple(found)
    last = current or done[-1].name
    # A fix goes back to before the run; everything else only goes forward.
    at = AFTER["fix"] if last == "fix" else max(_place(name) for name in (*(item.name for item in done), last))
    result = state.results.get(round_name(now.round)) if now.round is not None else None
    blend = result is not None and result.kind == "blend"
    ahead = [name for name in COURSE[at + 1 :] if not (blend and name == "code")]
    return (*found, *(Step(_word(name), *AHEAD, "ahead") for name in ahead))


def _of_round(now: Now) -> bool:
    """Whether what runs is the experiment of the round: a person's own and the closing blend have none."""
    return now.round is not None and now.experiment == round_name(now.round)


def _place(phase: str) -> int:
    """How far in ``COURSE`` a round is with this phase; -1 before it begins."""
    return COURSE.index(phase) if phase in COURSE else AFTER.get(phase, -1)


def _done(item: PhaseDone) -> Step:
    sign, style = OUTCOMES.get(item.outcome, DONE)
    return Step(_word(item.name), sign, style, "done")


def _word(phase: str) -> str:
    return WORDS.get(phase, one_line(phase, 16).capitalize())


def rail(found: tuple[Step, ...], width: int) -> Line:
    """The steps in at most ``width`` cells: those that are done lose their words first, then the last ones ahead."""
    shown = list(found)
    order = [i for i, step in enumerate(shown) if step.state == "done"]
    order += [i for i, step in reversed(list(enumerate(shown))) if step.state == "ahead"]
    line = _rail(shown)
    for index in order:
        if width_of(line) <= width:
            break
        step = shown[index]
        shown[index] = Step(step.word, step.sign, step.style, step.state, named=False)
        line = _rail(shown)
    return line


def _rail(shown: list[Step]) -> Line:
    pieces: list[tuple[str, str]] = []
    for before, step in zip([None, *shown], shown, strict=False):
        if before is not None:
            pieces.append((" › " if before.named and step.named else " ", FAINT))
        pieces += step.line
    return tuple(pieces)


def bar(fraction: float, width: int) -> Line:
    """A bar to the half cell."""
    halves = round(fraction * width * 2)
    full, half = divmod(halves, 2)
    head = "━" * full + ("╸" if half else "")
    return (head, "$text-accent"), ("─" * (width - len(head)), FAINT)


class PhaseBar(Widget):
    """One line; the phases on the left keep their places, what moves stands on the right."""

    DEFAULT_CLASSES = "follows"
    DEFAULT_CSS = """
    PhaseBar {
        height: 1;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._said: Line = _reading()
        self._steps: tuple[Step, ...] = ()
        self._fraction: float | None = None
        self._figures: tuple[str, ...] = ()
        self._held = False
        self._reached = ("", 0, 0.0)

    def show(self, state: State, engine: EngineState, now: float) -> None:
        """Show where the round is."""
        said = _over(state, engine)
        found = () if said else steps(state)
        fraction = None if said or state.now.experiment is None else self._ahead(state.now, now)
        figures = () if said else _figures(state.now, fraction, engine, now)
        seen = (said, found, fraction, figures, engine in HELD)
        if seen != (self._said, self._steps, self._fraction, self._figures, self._held):
            self._said, self._steps, self._fraction, self._figures, self._held = seen
            self.refresh()

    def render(self) -> Content:
        """The line."""
        width = self.content_size.width
        if self._said:
            return Content.assemble(*self._said)
        left = rail(self._steps, width - max(LEAST_ROOM, width // ROOM_SHARE))
        room = width - width_of(left) - 3
        right = self._right(room)
        return Content.assemble(*left, " " * max(room + 3 - width_of(right), 0), *right)

    def _right(self, room: int) -> Line:
        """Bar and figures, or who is at work: as much as ``room`` cells hold."""
        style = "$text-warning" if self._held else "" if self._fraction is not None else MUTED
        figures = next((((text, style),) for text in self._figures if cell_len(text) <= room), ())
        left = room - width_of(figures) - 2
        if self._fraction is None or left < LEAST_BAR:
            return figures
        return (*bar(self._fraction, min(left, MOST_BAR)), ("  ", ""), *figures)

    def _ahead(self, now: Now, at: float) -> float:
        """The fraction that is done, which goes back only when folds are run again."""
        name, folds, reached = self._reached
        fraction = progress(now, at)
        if name == now.experiment and now.folds_done >= folds:
            fraction = max(fraction, reached)
        self._reached = (now.experiment or "", now.folds_done, fraction)
        # No finer than can be seen.
        return round(fraction, 3)


def _over(state: State, engine: EngineState) -> Line:
    """What is said when no round is played."""
    now = state.now
    sign, style = ENGINE_MARKS[engine]
    reason = one_line(now.reason, 200).rstrip(".")
    because = f": {reason}" if reason else ""
    if engine == "died":
        place = "" if now.round is None else f" in {round_name(now.round)}"
        at = "run" if now.experiment is not None else now.phase.name if now.phase is not None else ""
        phase = f" at {_word(at)}" if at else ""
        return (f"{sign} the engine died{place}{phase}", f"bold {style}"), ("; what is done is kept", MUTED)
    if engine == "reading":
        return _reading()
    if engine == "starting":
        return ((f"{sign} the engine is starting", style),)
    if now.mode == "ended" and now.outcome:
        return (sign, f"bold {style}"), (f" run {now.outcome}{because}", "")
    if now.mode == "idle":
        return ((f"{sign} nothing has run here yet", MUTED),)
    return ()


def _reading() -> Line:
    sign, style = ENGINE_MARKS["reading"]
    return ((f"{sign} reading the registry", style),)


def _figures(now: Now, fraction: float | None, engine: EngineState, at: float) -> tuple[str, ...]:
    """Fold, share and time left of the experiment, or who is at work and for how long; then shorter forms of it."""
    held = f"{ENGINE_MARKS[engine][0]} {engine}" if engine in HELD else ""
    if fraction is not None:
        eta = now.eta(at)
        left = "–" if eta is None else stopwatch(eta)
        # As wide as what it takes the place of, so that nothing moves.
        last = f"{held:<9}" if held else f"eta {left:>{max(5, cell_len(left))}}"
        share = f"{round(fraction * 100):>3}%"
        return f"{fold_text(now)}  {share}  {last}", f"{share}  {last}", share
    if engine == "paused" and now.paused_since is not None:
        return f"{held} {stopwatch(at - now.paused_since)}", held
    if held:
        return (held,)
    if now.phase is None:
        return ()
    role, spent = now.phase.role, stopwatch(at - now.phase.since)
    model = one_line(now.phase.model.rpartition("/")[2], 30)
    return f"{role} · {model} · {spent}", f"{role} · {spent}", spent
