"""The ways of blending that a blend was chosen from, and what the rules say of each."""

from __future__ import annotations

from textual.content import Content

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.ui.widgets.card import MUTED, Row, TableCard
from autokaggle_tui.wording import gain_text, score_text

SHOWN = 14


class WaysCard(TableCard):
    """One line per way: the chosen one, then by score; then what a person should know of the choice."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Ways of blending, cross-fitted", align="lrrl", id=id)

    def show_ways(self, dossier: Dossier) -> None:
        """Show what a blend was chosen from."""
        rows: list[Row] = []
        for way in dossier.ways[:SHOWN]:
            mark, style = ("●", "bold $text-success") if way.chosen else ("·", "") if way.allowed else ("✗", MUTED)
            noise = "" if way.error is None else f"±{score_text(way.error)}"
            rows.append(
                [
                    Content.styled(f"{mark} {way.label}", style),
                    Content.styled(f"×{way.members}", MUTED),
                    Content.styled(score_text(way.score), style),
                    Content.assemble(
                        (f"{gain_text(way.gain)} {noise}".strip() + "  ", MUTED),
                        (", ".join(way.rules), "$text-warning" if way.allowed else "$text-error"),
                    ),
                ]
            )
        if len(dossier.ways) > SHOWN:
            rows.append([Content.styled(f"and {len(dossier.ways) - SHOWN} more: blend --json has all", MUTED)])
        rows += [[Content.styled(note, MUTED)] for note in dossier.blend_notes]
        open_still = dossier.status in ("running", "open")
        self.show(rows, "Told when the blend is fitted." if open_still else "Nothing is known of what was tried.")
