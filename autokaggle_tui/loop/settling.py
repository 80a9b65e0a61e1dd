"""What a submission came to: did it arrive, and what did it score? By the list of the platform, never by sending."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop import queueing
from autokaggle_tui.loop.submitting import lose, record, take_over, tell
from backends.platforms.base import Platform, Receipt, Sent
from experiments.errors import PlatformError
from experiments.registry import Registry
from experiments.schema import Row

LOOKS = 3
"""How often something is looked for in vain before it is shown as unknown."""
NEVER = Receipt("", "refused", None, "never arrived; may be sent again")
DOUBTFUL = "state IN ('intent', 'unknown')"


@dataclass(frozen=True)
class Found:
    """What a look at the platform's list changed.

    Attributes:
        scored: Something was scored, for good or bad.
        team: Ours, as the platform spells it; empty when it knows no teams, or nothing was submitted yet.
    """

    scored: bool = False
    team: str = ""


def lose_all(registry: Registry) -> None:
    """At the start of a process: what an earlier one had on its way cannot be any more."""
    with registry.transaction():
        for row in registry.rows("SELECT id FROM submissions WHERE state = 'intent' AND lost_at IS NULL"):
            lose(registry, row["id"])


def unsettled(registry: Registry) -> int:
    """How many submissions may still change: of which nobody knows, or that are being scored."""
    return int(
        registry.value(
            f"SELECT count(*) FROM submissions WHERE ({DOUBTFUL} AND lost_at IS NOT NULL) "
            "OR (state = 'accepted' AND scoring = 'pending')"
        )
    )


async def settle(campaign: Campaign, platform: Platform) -> Found:
    """Look at the platform's list once, and make facts of what it says.

    Nothing is ever sent again on a guess. What is missing from the list may be sent again only when it is certain
    that it never arrived: at once where the list never lags; else after the lag, when the platform's own count of
    the day has no room for it either. What is neither found nor certain becomes ``unknown`` after some looks.

    Raises:
        PlatformError: The platform could not be asked; that counts as a look in vain.
    """
    registry = campaign.registry
    doubtful = registry.rows(f"SELECT * FROM submissions WHERE {DOUBTFUL} AND lost_at IS NOT NULL ORDER BY id")
    try:
        listed = await asyncio.to_thread(platform.submissions)
        missing = [row for row in doubtful if row["token"] not in {sent.token for sent in listed}]
        witness = _Witness(await _used(platform, missing, registry), listed, registry.now())
    except PlatformError as error:
        for row in doubtful:
            _in_vain(platform, registry, row, f"the platform cannot be asked: {error.message}")
        raise
    known = {sent.token: sent for sent in listed if sent.token}
    for row in doubtful:
        sent = known.get(row["token"])
        if sent is not None:
            record(registry, row["id"], sent.receipt)
        elif not platform.listing_lag or (_lag_over(platform, registry, row) and witness.rules_out(row)):
            with registry.transaction():
                record(registry, row["id"], NEVER)
                _send_again(registry, row)
        else:
            _in_vain(platform, registry, row, "it is not in the platform's list")
    scored = _take_scores(registry, known)
    take_over(campaign, listed)
    return Found(scored, next((sent.team for sent in reversed(listed) if sent.team), ""))


@dataclass(frozen=True)
class _Witness:
    """The platform's count of today's submissions: a second word on what its list lacks."""

    used: int | None
    listed: Sequence[Sent]
    now: datetime

    def rules_out(self, row: Row) -> bool:
        """Whether the count has no room for a submission that the list lacks."""
        if self.used is None:
            return False
        today = self.now.date()
        if datetime.fromtimestamp(row["at"], UTC).date() != today:
            return False
        # Those that ended in an error may not count: without them the room is found larger, never smaller.
        counted = [sent for sent in self.listed if sent.submitted_at.date() == today and sent.status != "error"]
        return self.used <= len(counted)


async def _used(platform: Platform, missing: Sequence[Row], registry: Registry) -> int | None:
    """Today's submissions by the platform's count; None where nobody needs it."""
    if not platform.listing_lag or not any(_lag_over(platform, registry, row) for row in missing):
        return None
    quota = await asyncio.to_thread(platform.quota, registry.now())
    return quota.used


def _lag_over(platform: Platform, registry: Registry, row: Row) -> bool:
    """Whether the list should have it by now, if it arrived."""
    return bool(registry.clock() - row["lost_at"] >= platform.listing_lag.total_seconds())


def _in_vain(platform: Platform, registry: Registry, row: Row, why: str) -> None:
    """One more look that settled nothing: told the first time, and when it is enough of them."""
    looks = row["looks"] + 1
    with registry.transaction():
        registry.update("submissions", row["id"], looks=looks)
        if row["state"] == "intent" and looks >= LOOKS and _lag_over(platform, registry, row):
            note = f"it may have arrived: {why}. It is not sent again by itself."
            registry.update("submissions", row["id"], state="unknown", note=note)
            tell(registry, row["id"])
        elif looks == 1:
            registry.event("warning", text=f"submission of {row['experiment']} is still open: {why}")


def _send_again(registry: Registry, row: Row) -> None:
    """What never arrived waits for its next chance, as if it had never been tried."""
    queueing.put(registry, row["experiment"], "waiting", "it never arrived")


def _take_scores(registry: Registry, known: Mapping[str, Sent]) -> bool:
    """Scores, errors and private scores of what was accepted; whether something was scored now."""
    scored = False
    for row in registry.rows("SELECT * FROM submissions WHERE state = 'accepted' ORDER BY id"):
        sent = known.get(row["token"])
        if sent is None:
            continue
        if row["private_score"] != sent.private_score:
            with registry.transaction():
                registry.update("submissions", row["id"], private_score=sent.private_score)
                tell(registry, row["id"])
        receipt = sent.receipt
        waits = row["scoring"] == "pending" or (row["public_score"] is None and receipt.public_score is not None)
        if waits and receipt.state == "accepted" and receipt.scoring != "pending":
            said = receipt if receipt.message else replace(receipt, message=row["note"])
            record(registry, row["id"], said)
            scored = True
    return scored


def resolve(registry: Registry, experiment: str, arrived: bool) -> str:
    """A person's word on a submission of which nobody knows whether it arrived; what became of it, in a sentence.

    Returns:
        An empty string when there is no such submission.
    """
    row = registry.row(
        "SELECT * FROM submissions WHERE experiment = ? AND state = 'unknown' ORDER BY id DESC", [experiment]
    )
    if row is None:
        return ""
    if arrived:
        note = "a person says that it arrived"
        record(registry, row["id"], Receipt(row["ref"], "accepted", None, note, scoring="complete"))
        return f"{experiment} counts as submitted; its score follows when the platform lists it"
    record(registry, row["id"], Receipt("", "refused", None, "a person says that it may be sent again"))
    return f"{experiment} may be sent again"
