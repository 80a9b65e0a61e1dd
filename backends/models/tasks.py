"""Structured tasks: what a role is asked to do, with a typed read-only view of the campaign.

A language model gets the same task as a short text trigger and reads the files itself; the playbook
works from the view alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from experiments.spec import Spec

Role = Literal["researcher", "builder", "reviewer"]
Phase = Literal["eda", "retro", "research", "plan", "review", "revise", "code", "fix", "findings", "verify", "handover"]


@dataclass(frozen=True)
class ExperimentView:
    """One experiment as the registry has it.

    Attributes:
        id: ``R17``, ``T03`` or an imported name.
        kind: ``model``, ``tune`` or ``blend``.
        family: ``lightgbm``, ``catboost``, ``blend`` ...
        status: ``keep``, ``discard``, ``killed``, ``crash``, ``timeout``, ``invalid``, ``imported``, ``running``.
        score: Out-of-fold score over all covered rows, or None.
        fold_scores: One per finished fold, by fold number.
        params: The recipe's parameters as rendered (empty for code that no recipe wrote).
        in_pool: Complete prediction on disk: it may be blended.
        members: Of a blend: (experiment, weight).
        idea: A few words for the results table.
    """

    id: str
    round: int | None
    kind: str
    family: str
    parent: str | None
    status: str
    score: float | None
    fold_scores: Mapping[int, float]
    seconds: float
    params: Mapping[str, Any] = field(default_factory=dict)
    idea: str = ""
    in_pool: bool = False
    members: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What the registry says of how an experiment ended, beside its score.

    Attributes:
        reason: The engine's sentence; empty when there is nothing to explain.
        gain: Over the champion of its time, positive is better; ``t`` how sure that is.
        gate: Of one that rule fold1-gate ended: (how far behind on fold 1, the margin), in units of the metric.
    """

    reason: str = ""
    gain: float | None = None
    t: float | None = None
    gate: tuple[float, float] | None = None


@dataclass(frozen=True)
class RetroIdea:
    """One of the next experiments that a retrospective names.

    Attributes:
        params: As a plan would have them; empty when it names the family alone.
        expected_gain: In units of the metric, positive is better; None when nobody can tell.
        minutes: What it would take.
    """

    family: str
    kind: str = "model"
    idea: str = ""
    parent: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    expected_gain: float | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class PublicKernel:
    """What the code of a public notebook names, as the engine found it without running it.

    Attributes:
        ref: ``owner/name``; like the title a stranger's words.
        place: Among all by score, 1 the best; None when it is not among those that were listed.
        parameters: (family, parameter, value); the family is empty where it cannot be told.
        round: In which it was read first as it is now.
    """

    ref: str
    title: str
    url: str
    votes: int
    place: int | None
    families: tuple[str, ...]
    features: tuple[str, ...]
    parameters: tuple[tuple[str, str, float], ...]
    round: int


@dataclass(frozen=True)
class DataView:
    """The shape of the data; no rows."""

    rows: int
    test_rows: int
    n_classes: int
    n_numeric: int
    n_categorical: int
    n_text: int
    n_datetime: int
    max_cardinality: int
    missing_share: float


@dataclass(frozen=True)
class CampaignView:
    """All that a strategist may know, read from the registry when the task is made.

    Attributes:
        round: The round the task belongs to.
        rounds_left: Rounds still to play, this one included; None without a limit.
        seconds_left: Wall seconds until the run must be over, the reserve for the last blend and
            submission already taken off; None without a limit.
        champion: Id of the champion (may be a blend), or None.
        best_single: Id of the best single model, or None.
        correlations: Pearson correlation of out-of-fold predictions by (id, id), both orders.
        rules: Thresholds by rule id, e.g. ``{"stacking-correlation": {"max_correlation": 0.995}}``.
        hints: What the owner told the agents, newest last.
        retro: Round of the last retrospective, or None.
        top: What that one names as the next experiments, best first.
        outcomes: How experiments ended, by id.
        bounded: Whether differences of scores are compared as they are; else as shares of the score.
        slots: Folds that run side by side.
        threads: Threads of each fold.
        public: What public notebooks name, in the order they were found.
    """

    spec: Spec
    data: DataView
    round: int
    rounds_left: int | None
    seconds_left: float | None
    slots: int
    threads: int
    experiments: tuple[ExperimentView, ...]
    champion: str | None
    best_single: str | None
    correlations: Mapping[tuple[str, str], float]
    rules: Mapping[str, Mapping[str, Any]]
    hints: tuple[str, ...] = ()
    retro: int | None = None
    top: tuple[RetroIdea, ...] = ()
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    bounded: bool = False
    public: tuple[PublicKernel, ...] = ()

    def experiment(self, name: str | None) -> ExperimentView | None:
        """The experiment with this id, or None."""
        return None if name is None else self._by_id.get(name)

    @cached_property
    def pool(self) -> tuple[ExperimentView, ...]:
        """Single models whose predictions may be blended (blends themselves left out)."""
        return tuple(e for e in self.experiments if e.in_pool and e.kind != "blend")

    def correlations_of(self, name: str) -> dict[str, float]:
        """Correlation of one experiment with every other where it is known."""
        values = ((other.id, self.correlations.get((name, other.id))) for other in self.experiments)
        return {other: value for other, value in values if value is not None}

    @cached_property
    def lowest_correlation(self) -> float | None:
        """Of the two members of the pool that are least alike; None while no pair is known."""
        names = [experiment.id for experiment in self.pool]
        # Settings import this module, and must not pay for numpy.
        from experiments.pairwise import Pairwise

        if isinstance(self.correlations, Pairwise):
            return self.correlations.lowest(names)
        known = (self.correlations.get(pair) for pair in combinations(names, 2))
        return min((value for value in known if value is not None), default=None)

    @cached_property
    def _by_id(self) -> Mapping[str, ExperimentView]:
        return {experiment.id: experiment for experiment in self.experiments}


@dataclass(frozen=True)
class Task:
    """One phase for one role.

    Attributes:
        outputs: Files this phase must write, relative to rounds/, in order.
        inputs: Files worth reading, relative to the workspace.
        answers: Words the one-line answer may start with, e.g. ``("APPROVED", "REVISE")``.
        facts: What the engine knows and the phase is about: the plan (dict), rule verdicts, the run's result.
    """

    phase: Phase
    role: Role
    round: int
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    answers: tuple[str, ...]
    view: CampaignView
    facts: Mapping[str, Any] = field(default_factory=dict)
