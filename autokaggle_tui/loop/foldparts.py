"""The file that a finished fold leaves until its experiment is settled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.arrays import read_archive
from experiments.errors import PredictionError
from experiments.files import write_atomic
from experiments.predictions import check_prediction
from experiments.spec import TaskType
from experiments.text import clean

PART_BYTES = 32 << 20
"""What a fold's file may hold besides its predictions: the log, headers."""


@dataclass(frozen=True)
class FoldResult:
    """What one finished fold left: (n_valid,) or (n_valid, K) and the same for test, float32."""

    valid: np.ndarray
    test: np.ndarray
    log: str


def save_part(path: Path, part: FoldResult) -> None:
    """Keep what a fold left, atomically."""
    log = np.frombuffer(part.log.encode(), dtype=np.uint8)
    write_atomic(path, lambda file: np.savez(file, valid=part.valid, test=part.test, log=log))


def load_part(path: Path, expected: tuple[int, int, int], task_type: TaskType) -> FoldResult | None:
    """A fold's file, or None when it is missing, damaged or not what a fold leaves (the fold runs again)."""
    n_valid, n_test, outputs = expected
    try:
        stored = read_archive(path, most=PART_BYTES + 4 * outputs * (n_valid + n_test))
        valid, test = stored["valid"], stored["test"]
        for values, rows in ((valid, n_valid), (test, n_test)):
            # Checked and kept as they are: to scale probabilities twice would change their last digits.
            check_prediction(values, rows, outputs, task_type)
        return FoldResult(valid, test, clean(stored["log"].tobytes().decode("utf-8", "replace")))
    except (OSError, ValueError, KeyError, PredictionError):
        return None
