"""What an engine and the supervisor of a slot tell each other, and what a supervisor leaves on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from backends.compute.base import FoldJob, FoldOutcome, LogLine, Record, Report

Message = Mapping[str, Any]

RUN: Message = {"do": "run"}
"""Carries a ``ticket`` and the descriptors (job, train, valid, test, result)."""
KILL: Message = {"do": "kill"}
"""Kill the running fold."""
CLOSE: Message = {"do": "close"}
"""End everything and leave nothing behind."""
LEAVE: Message = {"do": "leave"}
"""Write down the last fold's end for whoever looks for it, and end."""


@dataclass(frozen=True)
class Ticket:
    """What a supervisor has to know of a fold.

    Attributes:
        key: The fold's key: who asks for the same fold later recognises it.
        time_limit: Wall seconds.
        result_bytes: Size of the predictions: float32 values of valid, then of test.
    """

    key: str
    experiment: str
    fold: int
    time_limit: float
    result_bytes: int

    @classmethod
    def of(cls, job: FoldJob) -> Ticket:
        """The ticket of a job."""
        return cls(job.key, job.experiment, job.fold, job.time_limit, result_size(job))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def result_size(job: FoldJob) -> int:
    """Bytes of a job's predictions."""
    n_valid, n_test, n_outputs = job.expected
    return 4 * n_outputs * (n_valid + n_test)


def to_message(record: Record) -> Message:
    """A record on its way to the engine; the predictions of an outcome travel in their own file."""
    if isinstance(record, LogLine):
        return {"log": record.text}
    if isinstance(record, Report):
        return {"report": record.values}
    named = ("status", "seconds", "error", "traceback", "extra")
    return {"end": {name: getattr(record, name) for name in named}}


def to_record(message: Message, fold: int) -> Record | None:
    """The record in a message; None when it holds something else."""
    if "log" in message:
        return LogLine(fold, message["log"])
    if "report" in message:
        return Report(fold, message["report"])
    if "end" in message:
        return FoldOutcome(fold, **message["end"])
    return None
