"""One search of one pool, by us or by a rival, in a process of its own: the last line it prints is what it found.

    python -m benchmarks.rivals ours|autogluon|hillclimbers FOLDER TASK MEMBERS ROWS LIMIT

Needs NumPy and the one library it is asked for, so that it runs in the rivals' environment as well as in ours.
Times are from the first byte read to the last weight found; imports and the making of a process are not counted.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.pool import Files

METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
FOLDS = 5


class Watch:
    """Seconds since it was made, on the wall and of the processor."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"seconds": time.perf_counter() - self.wall, "processor": time.process_time() - self.processor}


def ours(files: Files, _: float) -> dict[str, object]:
    """Reading, single models, a climb without limits; and a second fit, without two of the folds."""
    from experiments.climbing import allowed_members, climb
    from experiments.folds import Folds
    from experiments.metrics import get_metric
    from experiments.objectives import Problem, make_problem
    from experiments.rules import BlendLimits

    metric = get_metric(METRICS[files.task])
    y = files.target()[: files.rows]
    assignment = np.random.default_rng(0).permutation(np.arange(files.rows) % FOLDS)
    folds = Folds.from_assignment("kfold", assignment)
    limits = BlendLimits(max_correlation=None, max_gap=None, max_gap_share=None, max_members=None)

    def fit(problem: Problem, without: tuple[int, ...]) -> np.ndarray:
        walk = problem.walk(without)
        singles = walk.costs(range(files.members))
        allowed, _ = allowed_members(singles, np.zeros((1, 1)), limits, metric.bounded)
        counts = climb(walk, allowed, files.members, None)
        return np.asarray(counts / counts.sum())

    watch = Watch()
    problem = make_problem(lambda j: files.member(j)[: files.rows], files.members, y, folds, metric)
    weights = fit(problem, ())
    took = watch.read()
    again = Watch()
    fit(problem, (0, 1))
    return {**took, "again": again.read()["seconds"], "rows": problem.rows, "weights": weights.tolist()}


def autogluon(files: Files, limit: float) -> dict[str, object]:
    """Greedy selection as AutoGluon's weighted ensembles use it; it looks at the clock after each of 100 steps."""
    from autogluon.core.metrics import get_metric  # type: ignore[import-not-found]
    from autogluon.core.models.greedy_ensemble.ensemble_selection import (  # type: ignore[import-not-found]
        EnsembleSelection,
    )

    metric = get_metric(METRICS[files.task].replace("rmse", "root_mean_squared_error"), files.task)
    y = files.target()[: files.rows]
    search = EnsembleSelection(100, files.task, metric)
    watch = Watch()
    predictions = [np.array(files.member(j)[: files.rows]) for j in range(files.members)]
    search.fit(predictions, y, time_limit=limit)
    took = watch.read()
    # One that stopped by itself has taken all its steps; it keeps those up to its best.
    return {**took, "finished": took["seconds"] < limit, "weights": np.asarray(search.weights_).tolist()}


def hillclimbers(files: Files, _: float) -> dict[str, object]:
    """``climb_hill`` as its manual shows it: weights in hundredths up to a half, each model at most once.

    It takes one column for a model, so for classes it is given the probability of the true one.
    """
    import pandas as pd
    from hillclimbers import climb_hill, partial  # type: ignore[import-not-found]
    from sklearn.metrics import roc_auc_score, root_mean_squared_error

    def log_loss(_: object, own: pd.Series) -> float:
        return -float(np.log(np.maximum(own, 1e-15)).mean())

    metrics = {"binary": roc_auc_score, "multiclass": log_loss, "regression": root_mean_squared_error}
    y = files.target()[: files.rows]
    watch = Watch()
    columns = {}
    for j in range(files.members):
        values = np.array(files.member(j)[: files.rows])
        columns[f"{j:03d}"] = values[np.arange(len(y)), y] if values.ndim == 2 else values
    frame = pd.DataFrame(columns)
    climb_hill(
        train=pd.DataFrame({"y": y}),
        oof_pred_df=frame,
        test_pred_df=frame.head(),
        target="y",
        objective="maximize" if files.task == "binary" else "minimize",
        eval_metric=partial(metrics[files.task]),
        plot_hill=False,
    )
    return {**watch.read(), "finished": True}


def main() -> None:
    who, folder, task, members, rows, limit = sys.argv[1:]
    files = Files(Path(folder), task, int(members), int(rows))  # type: ignore[arg-type]
    search = {"ours": ours, "autogluon": autogluon, "hillclimbers": hillclimbers}[who]
    print(json.dumps(search(files, float(limit))), flush=True)


if __name__ == "__main__":
    main()
