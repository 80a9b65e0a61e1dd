"""How alike a prediction is to the closest of the pool, and where the rule on stacking draws its line."""

from __future__ import annotations

from textual.content import Content

from autokaggle_tui.dossier import Dossier, Neighbour
from autokaggle_tui.ui.widgets.card import FAINT, MUTED, Card, fitted
from autokaggle_tui.wording import score_text

TWIN = "≡"
"""Marks a pair above the threshold."""
LEAST_TRACK = 10
COLUMNS = (("spearman", "ranks"), ("error", "errors"))
"""What is told beside Pearson, if it was measured."""
FIGURE = 6
NAME_ROOM = 14


class ClosenessCard(Card):
    """The closest five as bars up to 1, with the threshold marked on each; how alike in ranks and errors."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Closest in the pool", id=id)
        self._dossier = Dossier("")
        self._limit: float | None = None
        self._shown: tuple[Dossier, float | None] | None = None

    def show(self, dossier: Dossier, limit: float | None) -> None:
        """Show an experiment's neighbours.

        Args:
            limit: Threshold of rule stacking-correlation; None when the rule is off.
        """
        if (dossier, limit) == self._shown:
            return
        self._shown = (dossier, limit)
        self._dossier = dossier
        # The rule is about the members of a blend; a blend is like its members by its making.
        self._limit = None if dossier.is_blend else limit
        count = dossier.compared
        self.border_subtitle = Content(f"{len(dossier.neighbours)} of {count:,}" if count else "")
        self.changed()

    def lines(self, width: int) -> list[Content]:
        """Titles, bars and a sentence."""
        near = self._dossier.neighbours
        if not near:
            return Content.styled(self._nothing(), MUTED).wrap(width)
        names = min(max(len(other.name) for other in near), NAME_ROOM)
        families = min(max(len(other.family) for other in near), NAME_ROOM)
        scores = max(len(score_text(other.score)) for other in near)
        shown = [item for item in COLUMNS if any(getattr(other, item[0]) is not None for other in near)]
        room = width - names - families - scores - 7 - 2 * 4 - len(shown) * (FIGURE + 2)
        if room < LEAST_TRACK:
            room, scores = room + scores + 2, 0
        lines = []
        for other in near:
            line = self._line(other, names, families, scores, room if room >= LEAST_TRACK else 0, near[-1].pearson)
            lines.append(Content("  ").join([line, *(_figure(getattr(other, name)) for name, _ in shown)]))
        if shown:
            titles = "  ".join(title.rjust(FIGURE) for title in ("ρ", *(title for _, title in shown)))
            # Pearson's column ends with a place for the mark.
            first, rest = titles[:FIGURE], titles[FIGURE:]
            lines.insert(0, Content.styled(f"{first} {rest}".rjust(lines[0].cell_length), MUTED))
        return [*lines, *self._sentence(near[0]).wrap(width)]

    def _line(self, other: Neighbour, names: int, families: int, scores: int, room: int, least: float) -> Content:
        twin = self._limit is not None and other.pearson > self._limit
        parts = [
            Content.styled(fitted(other.name, names).ljust(names), "bold"),
            Content.styled(fitted(other.family, families).ljust(families), MUTED),
        ]
        if scores:
            parts.append(Content.styled(score_text(other.score).rjust(scores), MUTED))
        if room:
            parts.append(self._bar(other.pearson, least, room, twin))
        tone = "bold underline $text-warning" if twin else ""
        parts.append(Content.assemble((f"{other.pearson:.4f}", tone), (TWIN if twin else " ", tone)))
        return Content("  ").join(parts)

    def _bar(self, value: float, least: float, room: int, twin: bool) -> Content:
        low = 1 - 1.6 * (1 - min(least, 1 if self._limit is None else self._limit))
        span = max(1 - low, 1e-9)
        filled = round(min(max((value - low) / span, 0.0), 1.0) * room)
        mark = -1 if self._limit is None else min(round((self._limit - low) / span * room), room - 1)
        tone = "$text-warning" if twin else "$text-primary"
        cells = []
        for cell in range(room):
            full = cell < filled
            cells.append(("╋" if full else "┃", "$text-warning") if cell == mark else ("━", tone if full else FAINT))
        return Content.assemble(*cells)

    def _sentence(self, closest: Neighbour) -> Content:
        if self._dossier.is_blend:
            return Content.styled("A blend is like its members by its making.", MUTED)
        if self._limit is None:
            return Content.styled("stacking-correlation is off: nothing is too alike.", MUTED)
        if closest.pearson > self._limit:
            return Content.styled(
                f"{TWIN} above {self._limit:g} (stacking-correlation): a fitted blend keeps one of them; "
                "a plain average may take both.",
                "$text-warning",
            )
        return Content.styled(f"┃ {self._limit:g}, stacking-correlation: every pair is below it.", MUTED)

    def _nothing(self) -> str:
        shown = self._dossier
        if shown.in_pool:
            return "It is the only prediction in the pool."
        if shown.status == "running":
            return "Told when the last fold is done."
        return "It is not in the pool, so it was compared with nothing."


def _figure(value: float | None) -> Content:
    return Content.styled(("–" if value is None else f"{value:.4f}").rjust(FIGURE), MUTED)
