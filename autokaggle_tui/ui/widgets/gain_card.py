"""What an experiment gained over the champion of its time, against the noise of the folds it was measured on."""

from __future__ import annotations

from textual.content import Content

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.ui.widgets.card import FAINT, MUTED, Card, table
from autokaggle_tui.wording import MARKS, gain_text, score_text

LEAST_SCALE = 24
SAME_EVERYWHERE = 1000.0


class GainCard(Card):
    """The gain, its standard error, t and what that means; a small scale from nothing to what was asked."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Gain over the champion", id=id)
        self._dossier = Dossier("")
        self._min_t = 0.0

    def show(self, dossier: Dossier, min_t: float) -> None:
        """Show an experiment's gain.

        Args:
            min_t: What rule noise-floor asks of five folds; what it asked of this very gain is in the dossier.
        """
        if (dossier, min_t) == (self._dossier, self._min_t):
            return
        self._dossier, self._min_t = dossier, min_t
        self.changed()

    def lines(self, width: int) -> list[Content]:
        """Figures, scale, sentence, and the reason the experiment ended as it did."""
        shown = self._dossier
        lines: list[Content] = []
        if shown.gain is None and not shown.reason:
            lines += Content.styled(self._nothing(), MUTED).wrap(width)
        elif shown.gain is not None:
            lines += table(self._figures(shown.gain), width, "lr")
            if shown.standard_error and width >= LEAST_SCALE:
                lines += self._scale(shown.gain, abs(shown.standard_error), width)
            lines += self._sentence(shown.gain).wrap(width)
        # The noise floor's own sentence repeats these figures.
        if shown.reason and not any(word.rule == "noise-floor" for word in shown.words):
            lines += Content.assemble((f"{MARKS.get(shown.status, '·')} {shown.status}: ", "bold"), shown.reason).wrap(
                width
            )
        return lines

    @property
    def _asked(self) -> float:
        return self._min_t if self._dossier.required_t is None else self._dossier.required_t

    def _nothing(self) -> str:
        shown = self._dossier
        if shown.source == "imported":
            return "Imported: nobody can vouch for its folds, so nothing is paired."
        if shown.score is not None:
            return "The first score of this campaign: there was nothing to compare it with."
        if shown.status == "running":
            return "Told when the last fold is done."
        return "It came to no score, so there is no gain."

    def _figures(self, gain: float) -> list[list[Content]]:
        shown = self._dossier
        tone = "$text-success" if gain > 0 else "$text-error" if gain < 0 else ""
        rival = shown.rival
        over = f"over {rival.name} {rival.family} {score_text(rival.score)}" if rival else ""
        rows = [["Δ", gain_text(gain), over]]
        if shown.t is None:
            rows.append(["±", "–", "not known: too few folds can be compared"])
        elif self._spread():
            rows.append(
                [
                    "±",
                    score_text(abs(shown.standard_error or 0.0)),
                    "standard error: of folds, rows or seeds the largest",
                ]
            )
        else:
            rows.append(["±", "none", "the same on every fold"])
        rows.append(["t", "–" if shown.t is None else f"{shown.t:.2f}", f"{self._asked:.2f} is asked"])
        return [
            [_muted(sign), Content.styled(figure, f"bold {tone}" if sign == "Δ" else ""), _muted(said)]
            for sign, figure, said in rows
        ]

    def _spread(self) -> bool:
        """Whether the folds differ at all in what they gain."""
        return self._dossier.t is not None and 0 < abs(self._dossier.t) < SAME_EVERYWHERE

    def _sentence(self, gain: float) -> Content:
        shown = self._dossier
        if shown.t is None:
            return Content("? The noise of this gain is not known.")
        if gain > 0 and shown.t >= self._asked:
            return Content.styled("✓ above the noise", "$text-success")
        if shown.t <= -self._asked and gain < 0:
            return Content.styled("✗ worse, by more than the noise", "$text-error")
        return Content.styled("≈ within the noise", "$text-warning")

    def _scale(self, gain: float, error: float, width: int) -> list[Content]:
        """The gain with one standard error to either side, from nothing to what is asked."""
        if not self._spread():
            return []
        asked = self._asked * error
        low = min(0.0, gain - 1.5 * error)
        high = max(0.0, asked, gain + 1.5 * error)
        last = width - 1

        def cell(value: float) -> int:
            return round((value - low) / (high - low) * last)

        zero, goal, here = cell(0.0), cell(asked), cell(gain)
        left, right = cell(gain - error), cell(gain + error)
        marks: dict[int, tuple[str, str]] = dict.fromkeys(range(left, right + 1), ("━", ""))
        marks |= {left: ("├", ""), right: ("┤", ""), zero: ("│", MUTED), goal: ("┃", "$text-warning")}
        marks[here] = ("●", "$text-primary")
        track = Content.assemble(*(marks.get(at, ("┄", FAINT)) for at in range(width)))
        labels = [" "] * (width + 8)
        for at, text in ((goal, "asked"), (zero, "0")):
            start = min(max(at - len(text) // 2, 0), width - len(text))
            labels[start : start + len(text)] = text
        return [track, Content.styled("".join(labels)[:width], MUTED)]


def _muted(text: str) -> Content:
    return Content.styled(text, MUTED)
