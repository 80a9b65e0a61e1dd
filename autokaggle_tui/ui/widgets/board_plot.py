"""Where we stand, and every scored submission as a point: its cross-validation across, its public score upwards."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from textual.content import Content

from autokaggle_tui.agreement import Agreement, Shot, picks
from autokaggle_tui.standing import Board, board_facts, board_line
from autokaggle_tui.ui.widgets.braille import Canvas
from autokaggle_tui.ui.widgets.card import FAINT, MUTED
from autokaggle_tui.ui.widgets.drawing import Drawing
from autokaggle_tui.ui.widgets.lines import Line, fit
from autokaggle_tui.wording import agreement_line, score_text
from experiments.text import one_line

MODEL, BLEND, BEST, PARTED = "•", "◆", "◉", "✗"
LEAST_ROWS = 4
"""Of the plot; with less room for it there is none."""
NONE_SCORED = "No submission is scored yet: with each one this shows whether the leaderboard agrees with the CV."


def facts_lines(board: Board | None, found: Agreement, better: int, width: int) -> list[Line]:
    """What is said in words, wrapped."""
    said: list[tuple[str, str]] = []
    if board is not None:
        as_of = f"{datetime.fromtimestamp(board.at, UTC):%m-%d %H:%M} UTC"
        said.append((f"{board_line(board_facts(board, better))} ({as_of})", ""))
    if found.warning:
        # What may be the cause is told by `submissions`; here the points need the room.
        said.append((f"! {found.warning.partition('. ')[0]}.", "$text-warning"))
    elif found.shots:
        said.append((agreement_line(len(found.shots), found.rho, len(found.parted)), ""))
    chosen = picks(found, better)
    if chosen:
        named = "; ".join(f"{one_line(pick.experiment)}: {pick.why}" for pick in chosen)
        said.append((f"for the final score: {named}", ""))
    if not found.shots:
        said.append((NONE_SCORED, MUTED))
    return [((line.plain, style),) for text, style in said for line in Content(text).wrap(max(width, 1))]


class BoardPlot(Drawing):
    """The leaderboard in words, and cross-validation against it; the better, the further right and up."""

    DEFAULT_CSS = """
    BoardPlot { height: 1fr; background: transparent; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._board: Board | None = None
        self._found = Agreement()
        self._better = 1

    def show(self, board: Board | None, found: Agreement, better: int) -> None:
        """Show this; nothing is drawn again when nothing changed."""
        if (board, found, better) != (self._board, self._found, self._better) or not self.drawn:
            self._board, self._found, self._better = board, found, better
            self.redraw()

    def draw(self, width: int, height: int) -> list[Line]:
        """Where we stand in words; with room for it the points beneath."""
        lines = facts_lines(self._board, self._found, self._better, width)
        rows = height - len(lines) - 1
        if len(self._found.shots) >= 2 and rows >= LEAST_ROWS and width >= 24:
            return [*lines, (), *plot(self._found, self._better, width, rows)]
        return lines


def plot(found: Agreement, better: int, width: int, height: int) -> list[Line]:
    """The points with their axes: so many lines of so many cells, the last one the scale of the CV."""
    shots = found.shots
    low, high = _ends([shot.lb for shot in shots], better)
    left, right = _ends([shot.cv for shot in shots], better)
    labels = [score_text(high), score_text(low)]
    margin = max(map(len, labels)) + 2
    canvas = Canvas(width - margin, height - 1)
    parted = {name for pair in found.parted for name in pair}
    chosen = {pick.experiment for pick in picks(found, better)}
    # What is selected is drawn last: it is seen where points lie on each other.
    for shot in sorted(shots, key=lambda shot: shot.experiment in chosen):
        x = round(_share(shot.cv, left, right) * (canvas.width - 2))
        y = round((1 - _share(shot.lb, low, high)) * (canvas.height - 2))
        canvas.sign(x, y, *_sign(shot, parted, chosen))
    lines: list[Line] = []
    for row in range(canvas.rows):
        text = labels[0] if row == 0 else labels[1] if row == canvas.rows - 1 else "LB" if row == 1 else ""
        lines.append(((fit(text, margin - 2, right=True), MUTED), (" │", FAINT), *canvas.line(row)))
    start, end = f"{' ' * margin}{score_text(left)}", f"CV {score_text(right)}"
    lines.append(((f"{start}{fit(end, max(width - len(start), 0), right=True)}", MUTED),))
    return lines


def legend(found: Agreement) -> str:
    """What the signs mean, as far as they are there."""
    parts = [f"{MODEL} model", f"{BLEND} blend" if any(shot.kind == "blend" for shot in found.shots) else ""]
    parts += [f"{BEST} select", f"{PARTED} they part" if found.parted else ""] if found.shots else []
    return "  ".join(part for part in parts if part) if len(found.shots) >= 2 else ""


def _sign(shot: Shot, parted: set[str], chosen: set[str]) -> tuple[str, str]:
    if shot.experiment in chosen:
        return BEST, "$text-accent"
    if shot.experiment in parted:
        return PARTED, "$text-warning"
    return (BLEND, "$text-success") if shot.kind == "blend" else (MODEL, "")


def _ends(values: Sequence[float], better: int) -> tuple[float, float]:
    """The worst and the best."""
    ordered = sorted(values, key=lambda value: value * better)
    return ordered[0], ordered[-1]


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between the ends, 0 to 1; the middle when there is nothing between them."""
    return (value - low) / (high - low) if high != low else 0.5
