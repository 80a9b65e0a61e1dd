"""The members of a blend with their weights."""

from __future__ import annotations

from collections.abc import Mapping

from textual.content import Content

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.state import Result
from autokaggle_tui.ui.widgets.card import FAINT, MUTED, Row, TableCard
from autokaggle_tui.wording import score_text
from experiments.text import one_line

BAR = 16


class MembersCard(TableCard):
    """One line per member, the heaviest first."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("Members", align="lllrr", id=id)

    def show_members(self, dossier: Dossier, known: Mapping[str, Result]) -> None:
        """Show a blend's members.

        Args:
            known: Results by name, for families and scores.
        """
        rows: list[Row] = []
        most = max((weight for _, weight in dossier.members), default=1.0) or 1.0
        for name, weight in sorted(dossier.members, key=lambda member: -member[1]):
            result = known.get(name)
            filled = round(max(weight, 0.0) / most * BAR)
            rows.append(
                [
                    Content.styled(name, "bold"),
                    Content.styled(one_line(result.family) if result else "", MUTED),
                    Content.assemble(("━" * filled, "$text-primary"), ("━" * (BAR - filled), FAINT)),
                    Content(f"{weight:.3f}"),
                    Content.styled(score_text(result.score if result else None), MUTED),
                ]
            )
        open_still = dossier.status in ("running", "open")
        self.show(rows, "Chosen when the blend is fitted." if open_still else "No blend came about.")
