"""Everything the registry holds about one round or experiment, as records. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autokaggle_tui.blendways import BlendWay
from autokaggle_tui.roundfiles import PublishedFile


@dataclass(frozen=True)
class Fold:
    """One fold of an experiment; counted from 0, ``score`` None when it has none."""

    fold: int
    status: str
    score: float | None
    seconds: float
    error: str


@dataclass(frozen=True)
class Rival:
    """An experiment that another is compared with, fold by fold."""

    name: str
    family: str
    score: float | None
    folds: Mapping[int, float]


@dataclass(frozen=True)
class Neighbour:
    """A prediction that a blend may choose, and how alike it is.

    Attributes:
        pearson: Of the predictions; ``spearman``: of their ranks; ``error``: of what they miss the target by. The two
            are None where they were not measured.
    """

    name: str
    family: str
    score: float | None
    pearson: float
    spearman: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Use:
    """A blend that took an experiment, or (``weight`` None) could have taken it and did not."""

    blend: str
    weight: float | None
    score: float | None
    gain: float | None
    t: float | None
    status: str


@dataclass(frozen=True)
class PhaseRecord:
    """A phase that is over, with its one-line answer or the engine's word."""

    phase: str
    attempt: int
    role: str
    model: str
    outcome: str
    seconds: float
    line: str


@dataclass(frozen=True)
class ModelUse:
    """What one model did for a role in a round.

    Attributes:
        asked: The model that was to answer, where this one did in its place.
        seconds: Of its calls, tools included.
        cost: Dollars; None when a price is unknown.
        context: Tokens of the conversation after its last call, of ``window`` at most.
    """

    role: str
    model: str
    asked: str
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    cost: float | None
    estimated: bool
    retries: int
    context: int | None
    window: int | None


@dataclass(frozen=True)
class Word:
    """A verdict with the rule it names, and that rule's figures in words."""

    phase: str
    author: str
    verdict: str
    rule: str | None
    reason: str
    figures: str = ""


@dataclass(frozen=True)
class Sent:
    """A submission of the experiment; ``state`` is that of the file, or ``scoring`` and ``error`` of its score."""

    file: str
    state: str
    public_score: float | None
    note: str


@dataclass(frozen=True)
class Dossier:
    """One round or experiment.

    Attributes:
        round: Its number; None for what a person tried, imports and closing blends.
        status: That of the experiment, before it begins that of the round; empty when nothing is known.
        rival: The champion at the time it was settled, which ``gain`` and ``t`` are measured against; while it
            runs the champion of now. None for the first.
        champion: The champion of now, when that is another than itself and its rival.
        required_t: What rule noise-floor asked of this very gain, when it fired.
        compared: How many predictions of the pool it was correlated with; ``neighbours`` are the closest of them.
        ways: What a blend was chosen from, with ``blend_notes`` on the choice.
        parent: What its code is compared with; ``stated`` when plan or registry name it, else the last experiment
            of the same family before it.
    """

    name: str
    round: int | None = None
    source: str = "round"
    kind: str = ""
    family: str = ""
    idea: str = ""
    status: str = ""
    reason: str = ""
    score: float | None = None
    gain: float | None = None
    t: float | None = None
    required_t: float | None = None
    in_pool: bool = False
    seconds: float = 0.0
    members: tuple[tuple[str, float], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    folds: tuple[Fold, ...] = ()
    rival: Rival | None = None
    champion: Rival | None = None
    neighbours: tuple[Neighbour, ...] = ()
    compared: int = 0
    uses: tuple[Use, ...] = ()
    phases: tuple[PhaseRecord, ...] = ()
    models: tuple[ModelUse, ...] = ()
    words: tuple[Word, ...] = ()
    sent: tuple[Sent, ...] = ()
    files: tuple[PublishedFile, ...] = ()
    parent: str | None = None
    stated: bool = False
    ways: tuple[BlendWay, ...] = ()
    blend_notes: tuple[str, ...] = ()

    @property
    def is_blend(self) -> bool:
        """Whether it is made of other experiments and has no code."""
        return self.kind == "blend"

    @property
    def standard_error(self) -> float | None:
        """Of the gain, corrected for folds that share training rows: what ``t`` was computed with."""
        return self.gain / self.t if self.gain is not None and self.t else None

    def file(self, suffix: str) -> PublishedFile | None:
        """A published file by its suffix, e.g. ``plan.md``."""
        return next((file for file in self.files if file.suffix == suffix), None)
