"""What an experiment may be expected to gain: from what similar changes bought here, else from the family's prior."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backends.models.playbook.lessons import SCORED, Lesson, quality
from backends.models.tasks import CampaignView, ExperimentView

# Before anything is known: what a change gains, how far changes and families scatter, as shares of what is missing
# to a perfect score.
_CHANGE_SHARE = 0.003
_CHANGE_SPREAD = 0.01
_FAMILY_SPREAD = 0.02
# A similar change that was killed at the gate counts as so many usual changes for the worse.
_KILLED = 3.0


@dataclass(frozen=True)
class Estimate:
    """An expected gain over the best single model.

    Attributes:
        value: In units of the metric, never negative: what does not win is not kept.
        why: What it rests on, in a few words.
    """

    value: float
    why: str


def expected_gain(
    view: CampaignView,
    told: Sequence[Lesson],
    family: str,
    change: Mapping[str, Any],
    parent: ExperimentView | None,
) -> Estimate | None:
    """Expected improvement over the best single model (Jones, Schonlau and Welch, 1998); None before the first score.

    Args:
        told: What the registry teaches (``lessons.lessons``).
        change: Parameters that differ from the parent's; empty for a family's first configuration.
        parent: What it starts from; None for a new line.
    """
    best = view.experiment(view.best_single)
    if best is None or best.score is None:
        return None
    if parent is None or parent.score is None:
        mean, spread, why = _of_a_family(view, family, best)
    else:
        mean, spread, why = _of_a_change(view, told, change, best)
        mean -= quality(view, best) - quality(view, parent)
    return Estimate(round(_improvement(mean, spread), 10), why)


def share_of_error(view: CampaignView, over: ExperimentView | None, share: float) -> float | None:
    """A share of what is missing to a perfect score (a bounded score) or of the score itself (an error)."""
    if over is None or over.score is None:
        return None
    error = 1 - over.score if view.spec.direction == "maximize" else over.score
    return round(share * abs(error), 10)


def _of_a_change(
    view: CampaignView, told: Sequence[Lesson], change: Mapping[str, Any], best: ExperimentView
) -> tuple[float, float, str]:
    """Mean and spread of what a change gains over its parent, the prior counting as one more observation."""
    usual = share_of_error(view, best, _CHANGE_SHARE) or 0.0
    least = share_of_error(view, best, _CHANGE_SPREAD) or 0.0
    spread = max(least, _spread([lesson.gain for lesson in told if lesson.gain is not None]))
    similar = [lesson for lesson in told if lesson.holds(change)]
    seen = [-_KILLED * usual if lesson.gain is None else lesson.gain for lesson in similar]
    if not seen:
        return usual, spread, "no like change was tried yet: what one usually moves"
    return statistics.fmean([usual, *seen]), spread, "; ".join(map(str, similar[-3:]))


def _of_a_family(view: CampaignView, family: str, best: ExperimentView) -> tuple[float, float, str]:
    """Mean and spread of how a family's first configuration compares with the best."""
    usual = share_of_error(view, best, _FAMILY_SPREAD) or 0.0
    firsts: dict[str, ExperimentView] = {}
    for run in view.experiments:
        if run.kind != "blend" and run.score is not None and run.status in SCORED and run.family != family:
            firsts.setdefault(run.family, run)
    gaps = [quality(view, run) - quality(view, best) for run in firsts.values() if run.family != best.family]
    if not gaps:
        return 0.0, usual, "no other family to go by: what a new one usually moves"
    why = f"the first configurations of {len(gaps)} other families came within {-max(gaps):.5f} of the best"
    # The median, for one family that does not suit the data says nothing of the next.
    return statistics.median(gaps), max(usual, _spread([0.0, *gaps])), why


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _improvement(mean: float, spread: float) -> float:
    """E[max(x, 0)] of a normal x."""
    if spread <= 0:
        return max(mean, 0.0)
    z = mean / spread
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return max(mean * 0.5 * (1 + math.erf(z / math.sqrt(2))) + spread * density, 0.0)
