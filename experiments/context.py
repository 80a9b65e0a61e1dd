"""``ctx``: what an experiment is told, and the helpers it is given, inside a worker."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.errors import DataError
from experiments.folds import assign_folds
from experiments.logtext import MAX_REPORTS
from experiments.spec import Columns, CvStrategy, Direction, Spec, TaskType

REPORT_BYTES = 4_000


def context_values(
    spec: Spec,
    columns: Columns,
    classes: Sequence[Any] | None,
    *,
    fold: int,
    n_folds: int,
    threads: int,
    device: str = "cpu",
) -> dict[str, Any]:
    """The ``FoldJob.context`` that ``Context`` is made of."""
    return {
        "task_type": spec.task_type,
        "classes": None if classes is None else [_plain(label) for label in classes],
        "metric": spec.metric,
        "direction": spec.direction,
        "columns": columns.to_json(),
        "fold": fold,
        "n_folds": n_folds,
        "seed": spec.seed,
        "threads": threads,
        "device": device,
        "cv_strategy": spec.cv_strategy,
        "cv_folds": spec.cv_folds,
    }


class Context:
    """The fourth argument of ``fit_predict``.

    Attributes:
        fold: Zero-based number of this fold.
        n_folds: How many folds there are.
        seed: Seed of the campaign; ``random`` and ``numpy.random`` are already seeded with it.
        threads: Threads this fold may use.
        device: ``cpu`` or ``gpu``.
        metric: Canonical name of the metric.
        direction: ``maximize`` or ``minimize``.
        task_type: ``binary``, ``multiclass`` or ``regression``.
        classes: Labels in the order of the codes 0..K-1; None for regression.
        columns: Roles of the columns.
        data_dir: Auxiliary files without labels, or None.
        scratch: The only folder to write to; it is empty at the start and wiped at the end.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        y: np.ndarray,
        groups: np.ndarray | None = None,
        times: np.ndarray | None = None,
        deadline: float = math.inf,
        scratch: Path,
        data_dir: Path | None = None,
        send: Callable[[bytes], object] | None = None,
    ) -> None:
        self.fold: int = values["fold"]
        self.n_folds: int = values["n_folds"]
        self.seed: int = values["seed"]
        self.threads: int = values["threads"]
        self.device: str = values["device"]
        self.metric: str = values["metric"]
        self.direction: Direction = values["direction"]
        self.task_type: TaskType = values["task_type"]
        self.classes: list[Any] | None = values["classes"]
        self.columns = Columns.from_json(dict(values["columns"]))
        self.data_dir = data_dir
        self.scratch = scratch
        self._strategy: CvStrategy = values["cv_strategy"]
        self._y = y
        self._groups = groups
        self._times = times
        self._deadline = deadline
        self._send = send
        self._reports = 0

    def time_left(self) -> float:
        """Wall seconds until the fold is killed."""
        return max(0.0, self._deadline - time.monotonic())

    def inner_split(self, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
        """Split the training rows once more, e.g. for early stopping: about 1/n of them to evaluate on.

        Follows the CV strategy: groups stay whole, ``time`` takes the latest rows, classes are
        stratified. Where the rows do not allow that (one group, one time) the split is random, and a class
        of a single row stays with the rows to fit on.

        Returns:
            ``(fit_rows, eval_rows)``: sorted positions for ``train.iloc``.

        Raises:
            ValueError: n is below 2, or there are fewer than two rows.
        """
        rows = len(self._y)
        if n < 2 or rows < 2:
            raise ValueError(f"inner_split(n={n}) of {rows} rows: both must be at least 2")
        chosen = self._inner_eval(min(n, rows))
        if self.task_type != "regression" and self._strategy in ("kfold", "stratified"):
            # A class that only the evaluation rows hold would be unknown to the model.
            chosen &= np.isin(self._y, self._y[~chosen])
        if not chosen.any():
            chosen[np.random.default_rng(self.seed).integers(rows)] = True
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)

    def align(self, proba: Any, classes_: Any) -> np.ndarray:
        """Spread class probabilities over all classes: absent ones get 0.

        Args:
            proba: (n, len(classes_)) as from ``predict_proba``.
            classes_: The codes of the columns, as in ``model.classes_``.

        Returns:
            (n, K) float64, columns in the order of ``ctx.classes``.

        Raises:
            ValueError: The columns do not fit, or a code is no class.
        """
        if self.classes is None:
            raise ValueError("ctx.align is for classification")
        values = np.asarray(proba, dtype=np.float64)
        codes = np.asarray(classes_).astype(np.int64)
        if values.ndim != 2 or values.shape[1] != len(codes):
            raise ValueError(f"ctx.align: proba has shape {values.shape}, classes_ {len(codes)} entries")
        if len(codes) and (codes.min() < 0 or codes.max() >= len(self.classes)):
            raise ValueError(f"ctx.align: classes_ must be codes 0..{len(self.classes) - 1}, got {codes}")
        aligned = np.zeros((len(values), len(self.classes)))
        aligned[:, codes] = values
        return aligned

    def report(self, **values: Any) -> None:
        """Tell the engine something worth showing (progress, chosen parameters); never used for scores.

        Numbers, strings, and short lists or dicts of them; what does not fit in 4 kB is left out, and so is
        every report after the first thousand.
        """
        if self._send is None or self._reports >= MAX_REPORTS:
            return
        self._reports += 1
        payload: dict[str, Any] = {}
        size = 0
        for key, value in values.items():
            plain = _plain(value)
            size += len(json.dumps({key: plain}))
            if size > REPORT_BYTES - 100:
                break
            payload[key] = plain
        # Within PIPE_BUF, so reports of several processes cannot mix.
        self._send(json.dumps({"report": payload}).encode() + b"\n")

    def _inner_eval(self, n: int) -> np.ndarray:
        """(n_train,) bool: the rows to evaluate on."""
        if self._strategy == "time" and self._times is not None:
            _, ranks = np.unique(self._times, return_inverse=True)
            if ranks.max() >= 1:
                parts = min(n, int(ranks.max()) + 1)
                found = assign_folds("time", self.task_type, parts - 1, self.seed, self._y, times=ranks)
                return np.asarray(found == parts - 2)
        if self._strategy in ("group", "stratified_group") and self._groups is not None:
            _, codes = np.unique(self._groups, return_inverse=True)
            if codes.max() >= 1:
                return self._first_fold(self._strategy, min(n, int(codes.max()) + 1), codes)
        stratify = self.task_type != "regression" or self._strategy == "stratified"
        return self._first_fold("stratified" if stratify else "kfold", n, None)

    def _first_fold(self, strategy: CvStrategy, n: int, groups: np.ndarray | None) -> np.ndarray:
        try:
            found = assign_folds(strategy, self.task_type, n, self.seed, self._y, groups=groups)
        except DataError:
            plain: CvStrategy = "kfold" if groups is None else "group"
            found = assign_folds(plain, self.task_type, n, self.seed, self._y, groups=groups)
        chosen = found == 0
        return chosen if chosen.any() else np.asarray(found == found.max())


def pipe_sender(descriptor: int) -> Callable[[bytes], object]:
    """A sender for ``Context`` that writes to a pipe and forgets it once nobody reads."""

    def send(data: bytes) -> None:
        try:
            os.write(descriptor, data)
        except OSError:
            return

    return send


def _plain(value: Any, depth: int = 3) -> Any:
    """A JSON-able form: numpy numbers become Python's, NaN None, everything unknown its short repr."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value[:500]
    if isinstance(value, Path):
        return value.name
    if depth and isinstance(value, Mapping):
        return {str(key)[:100]: _plain(item, depth - 1) for key, item in list(value.items())[:100]}
    if depth and isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(item, depth - 1) for item in list(value)[:100]]
    return repr(value)[:200]
