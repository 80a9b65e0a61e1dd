"""Weights of a blend as an optimum of the metric itself, non-negative and summing to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from experiments.gram import GramProblem
from experiments.objectives import Problem

# How far a member's share is moved at first, and where the search ends.
FIRST_STEP = 0.2
LAST_STEP = 0.01
MAX_SWEEPS = 30


def optimal_weights(
    problem: Problem, members: Sequence[int], start: np.ndarray, without: Sequence[int] = ()
) -> np.ndarray:
    """The best weights of some members.

    Squared errors are solved exactly (non-negative least squares on the Gram matrix of the residuals), any other
    metric by pattern search on the simplex: each member's share is moved towards all and towards nothing, by steps
    that shrink when no move helps.

    Args:
        members: m of them.
        start: (m,) non-negative, sum 1; the result is never worse than this.
        without: Folds whose rows have no say.

    Returns:
        (m,) non-negative, sum 1.
    """
    if isinstance(problem, GramProblem):
        return _least_squares(problem.gram(without)[np.ix_(members, members)], start)
    return _search(problem, members, start, without)


def _least_squares(gram: np.ndarray, start: np.ndarray) -> np.ndarray:
    """min w'Gw with w >= 0 and sum 1, the sum as a row of great weight."""
    size = float(np.trace(gram)) or 1.0
    values, vectors = np.linalg.eigh(gram / size)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    heavy = 1e3
    solved, _ = nnls(np.vstack([root, np.full(len(gram), heavy)]), np.append(np.zeros(len(gram)), heavy))
    total = float(solved.sum())
    if total <= 0:
        return start
    found = np.asarray(solved / total)
    return found if found @ gram @ found <= start @ gram @ start else start


def _search(problem: Problem, members: Sequence[int], start: np.ndarray, without: Sequence[int]) -> np.ndarray:
    weighing = problem.weighing(without)

    def worth(weights: np.ndarray) -> tuple[float, float]:
        return weighing.cost(members, weights), weighing.tie(members, weights)

    best, lowest = start, worth(start)
    step = FIRST_STEP
    for _ in range(MAX_SWEEPS):
        improved = False
        for place in range(len(members)):
            for moved in _moves(best, place, step):
                found = worth(moved)
                if found < lowest:
                    best, lowest, improved = moved, found, True
        if not improved:
            step /= 2
            if step < LAST_STEP:
                break
    return best


def _moves(weights: np.ndarray, place: int, step: float) -> list[np.ndarray]:
    unit = np.zeros(len(weights))
    unit[place] = 1.0
    moves = [(1 - step) * weights + step * unit]
    rest = 1 - weights[place]
    # The only member that counts cannot lose weight to others.
    if weights[place] > 0 and rest > 0:
        taken = min(step, float(weights[place]))
        less = weights - taken * unit
        moves.append(less / less.sum())
    return moves
