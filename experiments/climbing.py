"""Hill climbing: which members a blend takes, how often, and what the rules allow it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.objectives import Walk
from experiments.rules import TOLERANCE, BlendLimits


def climb(
    walk: Walk, allowed: Sequence[int], n_members: int, max_members: int | None, *, again: bool = True
) -> np.ndarray:
    """Greedy selection from the best single member on; the best prefix of the walk counts.

    Args:
        walk: Empty.
        allowed: Members that may be taken, the best single first.
        max_members: Distinct members at most.
        again: Whether a member may be taken more than once (which gives it more weight).

    Returns:
        (n_members,) how often each member was taken.
    """
    counts = np.zeros(n_members, dtype=np.int64)
    counts[allowed[0]] = 1
    best = counts.copy()
    lowest = float(walk.costs(allowed[:1])[0])
    lowest_tie = float(walk.ties(allowed[:1])[0])
    walk.take(allowed[0])
    for _ in range(walk.steps - 1):
        full = max_members is not None and np.count_nonzero(counts) >= max_members
        open_to = [j for j in allowed if (counts[j] and again) or not (counts[j] or full)]
        if not open_to:
            break
        looked_at = walk.shortlist(open_to)
        costs = walk.costs(looked_at)
        level = [j for j, cost in zip(looked_at, costs, strict=True) if cost <= costs.min()]
        ties = walk.ties(level) if len(level) > 1 or costs.min() <= lowest else np.zeros(1)
        taken, cost, tie = level[int(np.argmin(ties))], float(costs.min()), float(ties.min())
        walk.take(taken)
        counts[taken] += 1
        if cost < lowest or (cost == lowest and tie < lowest_tie):
            best, lowest, lowest_tie = counts.copy(), cost, tie
    return best


def allowed_members(
    costs: np.ndarray,
    correlations: np.ndarray,
    limits: BlendLimits,
    bounded: bool,
    vouched: np.ndarray | None = None,
) -> tuple[list[int], bool]:
    """Members the limits allow, best first, and whether their weights may be fitted.

    Args:
        costs: (m,) of each member alone, lower is better.
        vouched: (m,) bool, those whose folds can be vouched for: the best of them is what others are measured by.
    """
    order = [int(j) for j in np.argsort(costs, kind="stable") if np.isfinite(costs[j])]
    if not order:
        return [0], False
    best = float(costs[best_member(costs, vouched)])
    margin = limits.margin(best, bounded) * TOLERANCE
    near = [j for j in order if costs[j] - best <= margin]
    if limits.max_correlation is None:
        return near, True
    distinct: list[int] = []
    for j in near:
        if all(correlations[j, kept] <= limits.max_correlation for kept in distinct):
            distinct.append(j)
    if len(distinct) >= 2 or len(near) < 2:
        return distinct, True
    return near, False


def best_member(costs: np.ndarray, vouched: np.ndarray | None = None) -> int:
    """The best single one among those that can be vouched for; among all when none can."""
    if vouched is not None and np.isfinite(costs[vouched]).any():
        costs = np.where(vouched, costs, np.inf)
    return int(np.argmin(costs))
