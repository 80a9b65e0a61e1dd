"""A pool of out-of-fold predictions as a long campaign leaves it, made up and written as .npy files.

Every member is the truth plus an error all share, an error of its family, and one of its own, on the scale of
logits. One in twenty is strong, one in five is nearly a copy of an earlier one, the rest are middling or weak.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

Task = Literal["binary", "multiclass", "regression"]

CLASSES = 3
FAMILIES = 8
SHARED, FAMILY = 0.7, 0.25
COPY = 0.03


@dataclass(frozen=True)
class Files:
    """Where a pool is.

    Attributes:
        folder: Holds ``y.npy`` and a file for each member, float32, (rows + held,) or (rows + held, 3).
        members: How many there are.
        rows: The first rows, to search on; those behind them are for scoring what was found.
    """

    folder: Path
    task: Task
    members: int
    rows: int

    def target(self) -> np.ndarray:
        """(rows + held,) int32 codes or float64 values."""
        return np.asarray(np.load(self.folder / "y.npy"))

    def member(self, number: int) -> np.ndarray:
        """One prediction, memory-mapped."""
        return np.asarray(np.load(self.path(number), mmap_mode="r"))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:03d}.npy"


def make_pool(folder: Path, task: Task, members: int, rows: int, held: int, seed: int = 0) -> Files:
    """Write a pool; always the same one for the same arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder, task, members, rows)
    random = np.random.default_rng(seed)
    shape = (rows + held, CLASSES) if task == "multiclass" else (rows + held,)

    def noise(size: float) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32) * np.float32(size)

    truth = noise(1.5)
    np.save(folder / "y.npy", _target(truth, task, random))
    seen = truth + noise(SHARED)
    families = [noise(FAMILY) for _ in range(FAMILIES)]
    for number in range(members):
        if number % 5 == 4:
            logits = _logits(files.member(int(random.integers(number))), task) + noise(COPY)
        else:
            own = random.uniform(0.15, 0.25) if number % 20 == 0 else random.uniform(0.25, 1.2)
            family = families[random.integers(FAMILIES)] * np.float32(random.uniform(0.7, 1.3))
            # What sees less says less: a model's scale shrinks with its error.
            logits = (seen + family + noise(own)) * np.float32(random.uniform(0.9, 1.1) / (1 + 0.2 * own**2))
        np.save(files.path(number), _prediction(logits, task))
    return files


def _target(truth: np.ndarray, task: Task, random: np.random.Generator) -> np.ndarray:
    if task == "regression":
        return np.asarray(100 + truth + random.standard_normal(truth.shape), dtype=np.float64)
    if task == "binary":
        return np.asarray(random.random(len(truth)) < 1 / (1 + np.exp(2 - truth)), dtype=np.int32)
    return np.asarray((truth + random.gumbel(size=truth.shape)).argmax(axis=1), dtype=np.int32)


def _prediction(logits: np.ndarray, task: Task) -> np.ndarray:
    if task == "regression":
        return np.asarray(100 + logits, dtype=np.float32)
    if task == "binary":
        return np.asarray(1 / (1 + np.exp(2 - logits)), dtype=np.float32)
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _logits(prediction: np.ndarray, task: Task) -> np.ndarray:
    if task == "regression":
        return prediction - np.float32(100)
    if task == "binary":
        return np.asarray(np.log(prediction / (1 - prediction)) + np.float32(2))
    return np.asarray(np.log(prediction))
