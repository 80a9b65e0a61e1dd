"""What would be submitted first: the best there is that no rule in force forbids."""

from __future__ import annotations

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.clearance import clear
from experiments.rules import blocking
from experiments.schema import Row


def best_allowed(campaign: Campaign) -> Row | None:
    """The best of champion, blends and best single model that no rule forbids; told of those that one does."""
    for best in _ranked(campaign):
        blocked = blocking(clear(campaign, best))
        if not blocked:
            return best
        reason = f"{blocked[0].rule}: {blocked[0].reason}"
        campaign.registry.event("submission_skipped", experiment=best["id"], reason=reason)
    return None


def veto(campaign: Campaign, best: Row) -> str:
    """The Reviewer's standing word against an experiment, or an empty string."""
    row = campaign.registry.row(
        "SELECT detail FROM phases WHERE round = ? AND phase = 'verify' AND outcome = 'REJECT'", [best["round"]]
    )
    return str(row["detail"].get("line", "")) if row and best["status"] == "keep" else ""


def _ranked(campaign: Campaign) -> list[Row]:
    """The champion, cross-fitted blends and the best single model, best first: each counts."""
    registry, metric = campaign.registry, campaign.metric
    champion, single = registry.champion(), registry.best_single(metric.direction)
    blends = registry.rows("SELECT * FROM experiments WHERE kind = 'blend' AND in_pool ORDER BY rowid")
    found = {row["id"]: row for row in (champion, *blends, single) if row is not None}
    return sorted(found.values(), key=lambda row: -metric.gain(row["score"], 0.0))
