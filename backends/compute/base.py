"""The contract of a worker slot: a job in, typed records out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

FoldStatus = Literal["ok", "crash", "invalid", "timeout", "killed"]


@dataclass(frozen=True)
class FoldJob:
    """One fold of one experiment.

    Attributes:
        key: Digest of (code, folds, data, fold, seed): the unit of resume.
        experiment: Experiment id, e.g. ``R17``.
        fold: Zero-based fold number.
        code: Source text of the experiment file.
        train: Arrow IPC file with this fold's training rows, target included.
        valid: Arrow IPC file with this fold's validation rows, features only.
        test: Arrow IPC file with the test rows, features only.
        context: What ``ctx`` is made of (JSON-able): see ``experiments.context.Context``.
        expected: ``(n_valid, n_test, n_outputs)``; n_outputs is 1 for regression and binary.
        time_limit: Wall seconds after which the whole process tree is killed.
        data_dir: Auxiliary files without labels, or None.
    """

    key: str
    experiment: str
    fold: int
    code: str
    train: Path
    valid: Path
    test: Path
    context: Mapping[str, Any]
    expected: tuple[int, int, int]
    time_limit: float
    data_dir: Path | None = None


@dataclass(frozen=True)
class LogLine:
    """A line that the experiment printed, control characters removed, capped in length and number."""

    fold: int
    text: str


@dataclass(frozen=True)
class Report:
    """What the experiment told through ``ctx.report(**values)``; never used for scoring."""

    fold: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class FoldOutcome:
    """The end of a fold; always the last record of a job.

    Attributes:
        status: ``ok``; ``crash`` (raised or died), ``invalid`` (returned something unusable),
            ``timeout`` (time_limit passed), ``killed`` (the engine asked for it).
        valid: (n_valid,) or (n_valid, K) float32 when ok.
        test: (n_test,) or (n_test, K) float32 when ok.
        seconds: Wall seconds of the fold.
        error: One line for a person when not ok, else empty.
        traceback: The experiment's own traceback when it raised, else empty.
    """

    fold: int
    status: FoldStatus
    seconds: float
    valid: np.ndarray | None = None
    test: np.ndarray | None = None
    error: str = ""
    traceback: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Record = LogLine | Report | FoldOutcome


class Slot(Protocol):
    """A warm process that runs one fold at a time; slots share nothing."""

    async def start(self) -> None:
        """Start the warm process; returns once it has imported its libraries."""

    def run(self, job: FoldJob) -> AsyncIterator[Record]:
        """Run one fold, yielding records as they come and a FoldOutcome last.

        Never raises for what the experiment does. Cancelling the iteration (aclose) kills the fold.
        """

    async def kill(self) -> None:
        """Kill the running fold and all it started; its run() ends with status ``killed``."""

    async def close(self) -> None:
        """End the warm process and everything below it."""


class Compute(Protocol):
    """A set of slots, started together."""

    slots: int
    threads: int

    async def start(self) -> None:
        """Start every slot (concurrently), and find the folds that an engine which died left running."""

    async def expect(self, keys: Collection[str]) -> None:
        """Of the folds an earlier engine left, keep those with these keys for ``run`` and end the others."""

    def run(self, job: FoldJob) -> AsyncIterator[Record]:
        """Run a fold in the next free slot (waits for one); records as in Slot.run."""

    async def kill(self, experiment: str) -> None:
        """Kill every running fold of an experiment."""

    async def close(self) -> None:
        """End every slot."""
