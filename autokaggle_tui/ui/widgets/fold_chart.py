"""The score of every fold beside that of the champion: a pair of dots on a common scale, and the paired difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from textual.content import Content

from autokaggle_tui.dossier import Fold, Rival
from autokaggle_tui.ui.widgets.card import FAINT, MUTED, Card, fitted
from autokaggle_tui.wording import clock_text, gain_text, score_text

MINE, THEIRS, BOTH = "●", "○", "◉"
LEAST_TRACK, MOST_TRACK = 9, 72
ROOM_FOR_THEIRS = 52
POOLED = "      of the folds; the cv pools all rows"


@dataclass(frozen=True)
class FoldScores:
    """What the chart shows.

    Attributes:
        name: The experiment.
        folds: As far as they are done.
        expected: How many there will be.
        better: +1 when higher scores are better, else -1.
        rival: Whom it is compared with.
        since: When each fold that runs now was started; ``now``: the time.
        runs: Whether the folds that are missing are still to come.
    """

    name: str
    folds: tuple[Fold, ...] = ()
    expected: int = 0
    better: int = 1
    rival: Rival | None = None
    since: Mapping[int, float] = field(default_factory=dict)
    now: float = 0.0
    runs: bool = False


class FoldChart(Card):
    """One line per fold: fold, dots, both scores, difference. To the right is better, whatever the metric."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Score per fold", id=id)
        self._shown = FoldScores("")

    def show(self, scores: FoldScores) -> None:
        """Show these scores."""
        if scores == self._shown:
            return
        self._shown = scores
        title = [("Score per fold", "")]
        if scores.rival is not None:
            title += [(" against ", MUTED), (scores.rival.name, "")]
        self.border_title = Content.assemble(*title)
        self.border_subtitle = self._legend(scores)
        self.changed()

    def lines(self, width: int) -> list[Content]:
        """A heading, the folds, their mean."""
        shown = self._shown
        rival = shown.rival
        numbers = [fold.fold for fold in shown.folds]
        folds = sorted({*numbers, *range(shown.expected), *shown.since})
        if not folds:
            return [Content.styled("No fold was scored.", MUTED)]
        mine = {fold.fold: fold for fold in shown.folds}
        scored = {fold.fold: fold.score for fold in shown.folds if fold.score is not None}
        paired = sorted(scored.keys() & (rival.folds.keys() if rival else scored.keys()))
        layout = _Columns.fitting(width, shown)
        axis = _Axis.over([*scored.values(), *(rival.folds.values() if rival else ())], shown.better, layout.track)
        lines = [self._heading(layout)]
        for fold in folds:
            known = mine.get(fold)
            theirs = rival.folds.get(fold) if rival else None
            if known is not None and known.score is not None:
                lines.append(layout.row(str(fold + 1), axis, known.score, theirs, shown.better))
            elif known is not None and known.status != "ok":
                lines.append(layout.note(str(fold + 1), f"! {known.status}  {known.error}", "$text-error", width))
            elif fold in shown.since:
                ran = clock_text(max(shown.now - shown.since[fold], 0.0))
                lines.append(layout.note(str(fold + 1), f"● runs  {ran}", "$text-primary", width, (axis, theirs)))
            else:
                waits = "· waits" if shown.runs else "· not run"
                lines.append(layout.note(str(fold + 1), waits, MUTED, width, (axis, theirs)))
        if paired:
            ours = fmean(scored[fold] for fold in paired)
            theirs = fmean(rival.folds[fold] for fold in paired) if rival else None
            lines.append(layout.row("mean", axis, ours, theirs, shown.better, bold=True))
            lines.append(Content.styled(fitted(POOLED, width), MUTED))
        return lines

    def _heading(self, layout: _Columns) -> Content:
        rival = self._shown.rival
        track = fitted("better →", layout.track).rjust(layout.track)
        names = [self._shown.name, rival.name if rival and layout.theirs else "", "Δ" if rival else ""]
        sizes = [layout.score, layout.score, layout.gain]
        cells = [fitted(name, size).rjust(size) for name, size in zip(names, sizes, strict=True) if name]
        return Content.styled("  ".join(["fold", *([track] if layout.track else []), *cells]), MUTED)

    def _legend(self, scores: FoldScores) -> Content:
        if scores.rival is None:
            return Content("")
        return Content(f"{MINE} {scores.name}  {THEIRS} {scores.rival.name}")


@dataclass(frozen=True)
class _Axis:
    """Scores on a track of cells, the better ones to the right."""

    low: float
    high: float
    better: int
    cells: int

    @classmethod
    def over(cls, scores: list[float], better: int, cells: int) -> _Axis:
        low, high = min(scores, default=0.0), max(scores, default=0.0)
        return cls(low, high, better, cells)

    def cell(self, score: float) -> int:
        """The cell of a score, from 0."""
        if self.high == self.low:
            return self.cells // 2
        share = (score - self.low) / (self.high - self.low)
        return round((share if self.better > 0 else 1 - share) * (self.cells - 1))


@dataclass(frozen=True)
class _Columns:
    """How a width is shared out: cells of the track, a score, a gain; whether the rival's scores have room."""

    track: int
    score: int
    gain: int
    theirs: bool

    @classmethod
    def fitting(cls, width: int, shown: FoldScores) -> _Columns:
        rival = shown.rival
        scores = [fold.score for fold in shown.folds] + list(rival.folds.values() if rival else ())
        size = max([7, *(len(score_text(score)) for score in scores)])
        theirs = rival is not None and width >= ROOM_FOR_THEIRS
        gains = [fold.score - rival.folds[fold.fold] for fold in shown.folds if rival and fold.score is not None
                 and fold.fold in rival.folds]  # fmt: skip
        gain = max([size, *(len(gain_text(value)) for value in gains)]) if rival else 0
        taken = 4 + (size + 2) * (1 + theirs) + (gain + 2 if gain else 0)
        track = min(width - taken - 2, MOST_TRACK)
        return cls(track if track >= LEAST_TRACK else 0, size, gain, theirs)

    def row(
        self, label: str, axis: _Axis, mine: float, theirs: float | None, better: int, *, bold: bool = False
    ) -> Content:
        """A line with both scores."""
        gain = None if theirs is None else better * (mine - theirs)
        tone = _tone(gain)
        parts = [Content.styled(label.rjust(4), "bold" if bold else MUTED)]
        if self.track:
            parts.append(self._dots(axis, mine, theirs, tone))
        parts.append(Content.styled(score_text(mine).rjust(self.score), "bold" if bold else ""))
        if self.theirs:
            parts.append(Content.styled((score_text(theirs) if theirs is not None else "–").rjust(self.score), MUTED))
        if gain is not None:
            parts.append(Content.styled(gain_text(gain).rjust(self.gain), f"bold {tone}" if bold else tone))
        return Content("  ").join(parts)

    def note(
        self, label: str, text: str, style: str, width: int, dots: tuple[_Axis, float | None] | None = None
    ) -> Content:
        """A line of a fold that has no score."""
        parts = [Content.styled(label.rjust(4), MUTED)]
        room = width - 6
        if self.track and dots is not None:
            axis, theirs = dots
            parts.append(self._dots(axis, None, theirs, ""))
            room -= self.track + 2
        parts.append(Content.styled(fitted(text, room), style))
        return Content("  ").join(parts)

    def _dots(self, axis: _Axis, mine: float | None, theirs: float | None, tone: str) -> Content:
        here = None if mine is None else axis.cell(mine)
        there = None if theirs is None else axis.cell(theirs)
        ends = [cell for cell in (here, there) if cell is not None]
        cells: list[tuple[str, str]] = []
        for cell in range(self.track):
            if cell == here:
                cells.append((BOTH if here == there else MINE, tone or "$text-primary"))
            elif cell == there:
                cells.append((THEIRS, MUTED))
            elif len(ends) == 2 and min(ends) < cell < max(ends):
                cells.append(("━", tone))
            else:
                cells.append(("┄", FAINT))
        return Content.assemble(*cells)


def _tone(gain: float | None) -> str:
    if not gain:
        return "$text-primary" if gain is None else MUTED
    return "$text-success" if gain > 0 else "$text-error"
