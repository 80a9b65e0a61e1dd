"""What came of blending a pool: every way that was tried, and the one that was taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.blendsearch import Method, Way
from experiments.pool import Mean
from experiments.postprocess import Post
from experiments.significance import Gain


@dataclass(frozen=True)
class Candidate:
    """One way of blending, fitted.

    Attributes:
        members: Names, largest weight first.
        weights: Positive, summing to 1, fitted on all covered rows; of a second-level model how much it rests on each.
        post: The treatment, fitted on all covered rows.
        score: Cross-fitted.
        fold_scores: The same by fold.
        in_sample: Score on the rows it was fitted on.
        gain: Cross-fitted, over the best single model.
        evidence: For a way that breaks rules, its gain over the best that keeps them.
    """

    way: Way
    members: tuple[str, ...]
    weights: tuple[float, ...]
    post: Post | None
    score: float
    fold_scores: tuple[float, ...]
    in_sample: float
    gain: Gain
    evidence: Gain | None = None


@dataclass(frozen=True)
class Blend:
    """A fitted blend.

    Attributes:
        members: Names, largest weight first.
        weights: As of ``Candidate``.
        oof: (n,) or (n, K) float32, each fold held out from all that was fitted or chosen; NaN where uncovered.
        test: (m,) or (m, K) float32.
        score: Of ``oof``: the score to believe.
        fold_scores: Of ``oof``, by fold.
        cross_fitted: Score of the chosen way, the choice itself not held out.
        in_sample: Score of the final fit on the rows it was fitted on.
        optimism: How much better ``in_sample`` is than ``score``, positive as a rule.
        mean: ``rank`` when ranks are averaged (scaled to 0..1), else ``arithmetic``.
        method: ``equal`` is the plain average that near-duplicates get, too.
        post: The treatment, if one pays.
        best: The best single model of the pool.
        best_score: Its score.
        gain: Of ``score`` over it.
        lifted: Ids of rules that evidence lifted.
        evidence: The gain that lifted them: over the best blend, or single model, within the rules. Also set
            when it was measured and did not suffice.
        notes: Sentences for a person.
    """

    members: tuple[str, ...]
    weights: tuple[float, ...]
    oof: np.ndarray
    test: np.ndarray
    score: float
    fold_scores: tuple[float, ...]
    cross_fitted: float
    in_sample: float
    optimism: float
    mean: Mean
    method: Method
    post: Post | None
    best: str
    best_score: float
    gain: Gain
    lifted: tuple[str, ...] = ()
    evidence: Gain | None = None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Members and weights, scores and notes, in lines for a person."""
        said = ", ".join(f"{name} {weight:.3f}" for name, weight in zip(self.members, self.weights, strict=True))
        return "\n".join([f"{self.method}: {said}", *self.notes])


@dataclass(frozen=True)
class Survey:
    """All that was tried with a pool.

    Attributes:
        names: The usable predictions.
        scores: (m,) each one's score on the rows searched (all, when there are not very many).
        correlations: (m, m) Pearson.
        best: The best single one.
        candidates: Each way of blending that beats its members in-sample, the chosen one first, then by score.
        blend: None when there is no candidate that the rules and the evidence allow.
        reason: Why there is none.
        left_out: Sentences on predictions that cannot be used.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    correlations: np.ndarray
    best: str
    candidates: tuple[Candidate, ...]
    blend: Blend | None
    reason: str
    left_out: tuple[str, ...]
