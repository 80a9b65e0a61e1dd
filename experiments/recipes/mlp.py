"""Bagged neural networks: ranked numbers with periodic embeddings, one-hot categories, a few layers.

A first network on an inner split of the fold's training rows finds how long to train and how hard to regularise;
several with other seeds are then trained on all of the rows, as far as the time allows.
"""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.recipes._boosting import absolute_error
from experiments.recipes._features import Clock, constant_answer, finish, inner_rows, read_target
from experiments.recipes._net import Net
from experiments.recipes._tables import smooth_table

RECIPE: dict[str, Any] = {
    "family": "mlp",
    "label": "Neural net",
    "order": 30,
    "tasks": ["binary", "multiclass", "regression"],
    "idea": "bag of small neural networks with periodic embeddings",
    "hypothesis": "A smooth learner errs unlike trees: even a weaker one carries a blend.",
    "cost": {"seconds": 13.0, "rows": 0.9, "features": 0.5, "outputs": 0.15},
    "variants": [
        {
            "name": "near rows",
            "kind": "model",
            "params": {"neighbours": 4},
            "idea": "target means of near rows in planes of the strongest numeric columns",
            "hypothesis": "Where two numbers mark a place, rows nearby tell more than either number.",
            "needs": ["numeric2", "few_classes"],
        },
        {
            "name": "robust scaling",
            "kind": "model",
            "params": {"scaling": "standard"},
            "idea": "numbers scaled by their quartiles instead of ranked",
            "hypothesis": "If distances matter as they are, ranks distort them.",
            "needs": ["numeric2"],
        },
        {
            "name": "wider",
            "kind": "tune",
            "params": {"layers": [512, 256], "dropout": 0.2},
            "idea": "wider layers with more dropout",
            "hypothesis": "More units, each trusted less, average more ways to see a row.",
        },
        {
            "name": "finer waves",
            "kind": "tune",
            "params": {"wave_scale": 0.25, "waves": 12},
            "idea": "periodic embeddings of higher frequency",
            "hypothesis": "If the target jumps along a column, higher frequencies follow it.",
            "needs": ["numeric2"],
        },
    ],
}

PARAMS: dict[str, Any] = {
    "layers": [256, 256],
    "waves": 8,
    "wave_scale": 0.1,
    "dropout": 0.1,
    "decay": 0.01,
    "smoothing": 0.0,
    "learning_rate": 3e-3,
    "epochs": 40,
    "members": 3,
    "inner_folds": 5,
    "scaling": "quantile",
    "knots": 5,
    "max_levels": 30,
    "neighbours": 0,
    "text": "svd",
    "text_components": 48,
}

# Taken when the first network is at its best long before its time: harder to fit, slower to learn.
_HEAVY = {"dropout": 0.3, "decay": 1.0, "learning_rate": 1e-3}


class Trained(NamedTuple):
    """A network at its best epoch on held-out rows.

    Attributes:
        best: Epochs after which it was best.
        loss: Held-out loss then.
        each: Seconds of an epoch.
    """

    net: Net
    settings: dict[str, Any]
    epochs: int
    best: int
    loss: float
    each: float


def fit_predict(
    train: pd.DataFrame, valid: pd.DataFrame, test: pd.DataFrame, ctx: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions for the validation and the test rows."""
    clock = Clock(ctx, 0.7)
    target = read_target(train, ctx)
    answer = constant_answer(valid, test, target, ctx)
    if answer is not None:
        return answer
    table = smooth_table(train, valid, test, target, ctx, PARAMS)
    classify = ctx.task_type != "regression"
    centre, scale = (0.0, 1.0) if classify else (float(target.y.mean()), float(target.y.std()) or 1.0)
    y = target.y if classify else ((target.y - centre) / scale).astype(np.float32)

    settings = {
        name: PARAMS[name] for name in ("layers", "dropout", "decay", "smoothing", "learning_rate", "wave_scale")
    }
    settings["waves"] = PARAMS["waves"] if 0 < table.numeric <= 100 else 0
    settings["batch"] = int(min(max(2 ** round(math.log2(max(len(y), 1) / 40)), 32), 1024))
    settings["absolute"] = absolute_error(ctx)

    def fresh(settings: dict[str, Any], seed: int) -> Net:
        outputs = len(target.present) if classify else 1
        return Net(table.numeric, table.train.shape[1], outputs, classify, settings, seed)

    fit_rows, eval_rows = inner_rows(ctx, target, PARAMS["inner_folds"])
    held = (table.train[fit_rows], y[fit_rows], table.train[eval_rows], y[eval_rows])
    first = trial(fresh(settings, ctx.seed), settings, held, 0.4 * clock.left())
    if first.best < 0.6 * first.epochs:
        heavy = {**settings, **_HEAVY}
        second = trial(fresh(heavy, ctx.seed), heavy, held, 0.4 * clock.left())
        first = min(first, second, key=lambda trained: trained.loss)
    # The trial's own network saw fewer rows: it only stands in until one that saw all of them is there.
    sums = [first.net.scores(rows) for rows in (table.valid, table.test)]
    members = 0
    while members < PARAMS["members"]:
        plan = shortened(first, len(y) / len(fit_rows), clock.left())
        if plan.best < first.best and (members or 2 * plan.best < first.best):
            break
        net = fresh(first.settings, ctx.seed + members)
        if not train_on(net, table.train, y, plan, clock.left()):
            break
        parts = [net.scores(rows) for rows in (table.valid, table.test)]
        sums = [total + part for total, part in zip(sums, parts, strict=True)] if members else parts
        members += 1
    ctx.report(members=members, epochs=first.best, of=first.epochs, loss=first.loss, seconds=round(clock.used(), 1))
    means = [total / max(members, 1) for total in sums]
    scores = [mean if classify else mean[:, 0] * scale + centre for mean in means]
    return finish(scores[0], target, ctx), finish(scores[1], target, ctx)


def rate_at(epoch: int, epochs: int, peak: float) -> float:
    """Learning rate of an epoch: half a cosine from the peak to nearly nothing."""
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / epochs)))


def trial(net: Net, settings: dict[str, Any], held: Any, seconds: float) -> Trained:
    """Train on a part, watch the rest, keep the best epoch; as many epochs as fit the seconds."""
    rows, y, eval_rows, eval_y = held
    start = time.monotonic()
    epochs = int(PARAMS["epochs"])
    best, least, kept = 0, held_loss(net, eval_rows, eval_y), net.copy()
    epoch = 0
    while epoch < epochs and epoch - best < max(10, epochs // 3):
        done = net.epoch(rows, y, rate_at(epoch, epochs, settings["learning_rate"]), start + seconds)
        epoch += 1
        loss = held_loss(net, eval_rows, eval_y)
        if loss < least:
            best, least, kept = epoch, loss, net.copy()
        if not done:
            break
        if epoch == 1:
            affordable = seconds / max(time.monotonic() - start, 1e-9)
            epochs = int(min(max(affordable, 3), epochs))
    each = (time.monotonic() - start) / epoch
    # The last steps are small: a best epoch near the end is the end, give or take the noise of the held-out rows.
    return Trained(kept, settings, epochs, epochs if best >= 0.7 * epochs else max(best, 1), least, each)


def shortened(like: Trained, growth: float, seconds: float) -> Trained:
    """The same training on ``growth`` times the rows, with fewer epochs where the seconds do not suffice."""
    affordable = int(0.9 * seconds / max(like.each * growth, 1e-9))
    if affordable >= like.best:
        return like
    share = affordable / like.best
    return like._replace(best=affordable, epochs=max(round(share * like.epochs), affordable, 1))


def train_on(net: Net, rows: np.ndarray, y: np.ndarray, like: Trained, seconds: float) -> bool:
    """Train as long as ``like`` was; False when the seconds did not suffice."""
    until = time.monotonic() + seconds
    return all(
        net.epoch(rows, y, rate_at(epoch, like.epochs, like.settings["learning_rate"]), until)
        for epoch in range(like.best)
    )


def held_loss(net: Net, rows: np.ndarray, y: np.ndarray) -> float:
    """Log loss, squared or absolute error on held-out rows."""
    scores = net.scores(rows)
    if net.classify:
        return float(-np.mean(np.log(np.clip(scores[np.arange(len(y)), y], 1e-9, 1))))
    error = np.abs(scores[:, 0] - y)
    return float(np.mean(error if net.settings["absolute"] else error**2))
