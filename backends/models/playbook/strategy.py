"""What to try next: a pure function of what the registry shows.

Of the candidates the most worth per second that the rules allow and the time holds is proposed. A blend comes when
enough is new in the pool, and last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backends.models.playbook.candidates import Candidate, candidates, fits
from backends.models.playbook.gains import expected_gain, share_of_error
from backends.models.playbook.lessons import SCORED, known, lessons
from backends.models.tasks import CampaignView

# No plan takes more than this share of what is left while the pool has no two members to blend.
_FIRST_SHARE = 0.45
_NEW_FOR_A_BLEND = 3
# Less than this is not worth starting a model for, even when there is none.
_LEAST_SECONDS = 5.0

Avoid = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class Proposal:
    """What the playbook would do this round.

    Attributes:
        parent: The experiment it starts from, or None.
        params: Changes to the recipe's defaults.
        expected_gain: In units of the metric, positive is better; None when nothing is known.
        members: Of a blend; empty means that the engine chooses from the whole pool.
        minutes: How long the run may take; None without a time limit.
        reason: Why this and why now, in a sentence.
    """

    kind: Literal["model", "tune", "blend", "stop"]
    family: str
    parent: str | None
    params: Mapping[str, Any]
    idea: str
    hypothesis: str
    expected_gain: float | None
    members: tuple[str, ...]
    minutes: float | None
    reason: str


def propose(view: CampaignView, *, avoid: Avoid = ()) -> Proposal:
    """The next round's plan.

    Args:
        avoid: Families with parameters that were sent back this round (``blend`` for a blend).
    """
    allowed = [c for c in candidates(view) if _allowed(view, c, avoid)]
    fitting = [c for c in allowed if fits(view, c.seconds)]
    if not fitting and not view.pool and allowed and (view.seconds_left or 0.0) >= _LEAST_SECONDS:
        # Recipes shorten themselves: a hurried model is better than no submission.
        fitting = [min(allowed, key=lambda c: c.seconds)]
    blend = None if any(family == "blend" for family, _ in avoid) else _blend(view, fitting)
    if blend is not None:
        return blend
    if fitting:
        best = max(fitting, key=lambda c: (c.rank, -c.recipe.order, c.recipe.family))
        return _run(view, best)
    if allowed:
        least = min(c.seconds for c in allowed)
        return _stop(
            f"Nothing fits any more: the shortest idea needs about {least:.0f} s of {view.seconds_left or 0:.0f} s."
        )
    return _stop("Every family has been tried with every change worth trying, and the pool is blended.")


def _allowed(view: CampaignView, candidate: Candidate, avoid: Avoid) -> bool:
    recipe = candidate.recipe
    for family, params in avoid:
        if family == recipe.family and recipe.key(known(recipe, params)) == recipe.key(candidate.params):
            return False
    past = [e for e in view.experiments if e.round is not None and e.round != view.round]
    streak = 0
    for run in reversed(past):
        if run.kind == "blend" or run.family != recipe.family:
            break
        streak += 1
    if streak >= int(_threshold(view, "tunnel-vision", "max_running", 2)):
        return False
    if candidate.kind != "tune":
        return True
    window = int(_threshold(view, "research-over-tuning", "window", 3))
    recent = past[len(past) - (window - 1) :] if window > 1 else []
    tuned = sum(run.kind == "tune" for run in recent)
    return tuned + 1 <= int(_threshold(view, "research-over-tuning", "max_tuning", 1)) and any(
        e.kind == "model" and e.status in SCORED for e in past
    )


def _threshold(view: CampaignView, rule: str, name: str, default: float) -> float:
    """A rule's number; a rule that is off does not bind."""
    about = view.rules.get(rule, {})
    if about.get("enforce") == "off":
        return math.inf
    value = about.get(name, about.get("thresholds", {}).get(name, default))
    return float(value)


def _allowance(view: CampaignView, seconds: float) -> float | None:
    """Wall seconds a run may take: what it would like and some more, within a fair share of what is left."""
    if view.seconds_left is None:
        return None
    share = view.seconds_left
    if view.rounds_left is not None:
        share = min(share, 1.5 * view.seconds_left / max(view.rounds_left, 1))
    if len(view.pool) < 2:
        share = min(share, _FIRST_SHARE * view.seconds_left)
    return min(max(2.0 * seconds, 12.0), max(share, 5.0))


def _blend(view: CampaignView, fitting: Sequence[Candidate]) -> Proposal | None:
    """A blend of the pool, when it is time for one."""
    pool = view.pool
    earlier = [e for e in view.experiments if e.kind == "blend" and e.status != "crash"]
    last = earlier[-1] if earlier else None
    since = view.experiments[view.experiments.index(last) + 1 :] if last is not None else view.experiments
    fresh = [e for e in since if e.in_pool and e.kind != "blend"]
    if len(pool) < 2 or not fresh:
        return None
    untried = any(c.variant is None for c in fitting)
    if view.rounds_left == 1:
        reason = "It is the last round: what the pool holds is worth more together."
    elif not fitting:
        reason = "No time or no idea is left for another model; the pool has something new since the last blend."
    elif len(fresh) >= _NEW_FOR_A_BLEND and not (untried and last is None and len(pool) < 4):
        reason = f"{len(fresh)} predictions joined the pool since the last blend."
    else:
        return None
    least = view.lowest_correlation
    lowest = "" if least is None else f" The least alike of them correlate at {least:.4f}."
    champion = view.experiment(view.champion)
    return Proposal(
        kind="blend",
        family="blend",
        parent=view.champion,
        params={},
        idea=f"weighted blend of the pool ({len(pool)} models)",
        hypothesis="Models that err differently cancel part of each other's error; weights are cross-fitted." + lowest,
        expected_gain=share_of_error(view, champion, 0.01),
        members=(),
        minutes=None if view.seconds_left is None else max(view.seconds_left, 5.0) / 60,
        reason=reason,
    )


def _run(view: CampaignView, best: Candidate) -> Proposal:
    recipe, variant = best.recipe, best.variant
    allowance = _allowance(view, best.seconds)
    gain = expected_gain(view, lessons(view), recipe.family, {} if variant is None else variant.params, best.parent)
    return Proposal(
        kind=best.kind,
        family=recipe.family,
        parent=best.parent.id if best.parent is not None else None,
        params=dict(best.params),
        idea=recipe.idea if variant is None else f"{recipe.label}: {variant.idea}",
        hypothesis=recipe.hypothesis if variant is None else variant.hypothesis,
        expected_gain=gain.value if gain is not None else None,
        members=(),
        minutes=None if allowance is None else allowance / 60,
        reason=best.why,
    )


def _stop(reason: str) -> Proposal:
    return Proposal("stop", "none", None, {}, "stop", "Another round would not pay.", None, (), None, reason)
