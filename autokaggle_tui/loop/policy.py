"""Whether an experiment is submitted now, waits, or is not submitted at all. Pure: no registry, no platform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from autokaggle_tui.config_submit import Submit
from backends.platforms.base import Quota

Action = Literal["send", "wait", "ask", "skip"]
Occasion = Literal["round", "end", "queue", "person"]

END_OF_DAY = timedelta(hours=1)
"""Before midnight UTC: then a submission that was kept for the end may go to what waits."""


@dataclass(frozen=True)
class Decision:
    """What the policy says: send it, let it wait in the queue, ask the person, or leave it."""

    action: Action
    reason: str


@dataclass(frozen=True)
class Case:
    """What a decision rests on.

    Attributes:
        occasion: A round is over, a run ends, a place in the queue comes up, or a person named it.
        status: Of the experiment.
        round: The round that is over, for ``every N rounds``.
        approved: A person said yes to this one.
        barred: What rules and Reviewer say against it; empty when nothing.
    """

    occasion: Occasion
    status: str
    round: int | None
    policy: Submit
    now: datetime
    deadline: datetime | None
    approved: bool = False
    barred: str = ""


def allowance(server: Quota, used: int, limit: int | None) -> Quota:
    """What is left of today by the platform's count and by ours, whichever is less.

    Args:
        used: Submissions of this UTC day that arrived or may have, by our own ledger.
        limit: The person's own limit; None for none.
    """
    limits = [most for most in (server.limit, limit) if most is not None]
    by_total = server.by_total and server.left == 0
    return replace(server, used=max(server.used, used), limit=min(limits, default=None), by_total=by_total)


def wanted(case: Case) -> Decision | None:
    """What can be said without a look at the quota: why it is not submitted, or that a person is asked; else None."""
    if case.barred:
        return Decision("skip", case.barred)
    by_itself = case.occasion != "person" and not case.approved
    if by_itself and case.policy.when == "never":
        return Decision("skip", "submit.when is never: only what you submit yourself is sent")
    if case.occasion == "round" and (why := _not_due(case)):
        return Decision("skip", why)
    if case.deadline is not None and case.now > case.deadline:
        return Decision("skip", f"the deadline ({case.deadline:%Y-%m-%d %H:%M} UTC) has passed")
    if by_itself and case.policy.when == "ask":
        return Decision("ask", "submit.when is ask: it waits for your word")
    return None


def decide(case: Case, today: Quota) -> Decision:
    """What becomes of an experiment of which ``wanted`` said nothing.

    Args:
        today: From ``allowance``.
    """
    if today.limit is None:
        return Decision("send", "no daily limit")
    if today.limit == 0:
        return Decision("skip", "max_submissions_per_day is 0: nothing is submitted")
    left = today.limit - today.used
    if left <= 0 and today.by_total:
        return Decision("skip", "the submissions of the whole competition are used up")
    last_day = case.deadline is not None and case.deadline <= today.resets_at
    if left <= 0:
        spent = f"the daily limit of {today.limit} is used up"
        if last_day:
            return Decision("skip", f"{spent}, and the deadline comes before the next day")
        return Decision("wait", spent)
    free = case.occasion in ("end", "person") or case.approved or last_day
    if left == 1 and today.limit > 1 and case.policy.keep_last and not free:
        if today.resets_at - case.now > END_OF_DAY:
            return Decision("wait", "the last submission of the day is kept for the end of the run or of the day")
        if case.occasion == "round":
            # The queue knows what is the best of the day.
            return Decision("wait", "the last submission of the day goes to the best that waits")
    return Decision("send", f"{today.used} of {today.limit} used today")


def _not_due(case: Case) -> str:
    """Why a round is no occasion for a submission; empty when it is."""
    every = case.policy.every
    if every is None:
        return "" if case.status == "keep" else f"no gain ({case.status})"
    number = case.round or 0
    return "" if number % every == 0 else f"the next is submitted after round {number - number % every + every}"
