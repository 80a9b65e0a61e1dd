"""Pacing of boosted learners: when to stop, and how large a step the time allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.recipes._features import Clock

# Boosting needs about this much step-times-rounds in total before held-out rows stop improving.
_TYPICAL_TRAVEL = 24.0


class Pace(NamedTuple):
    """How far boosting may go.

    Attributes:
        step: Learning rate.
        rounds: Most rounds.
        seconds: Most seconds.
    """

    step: float
    rounds: int
    seconds: float

    def refit(self, watch: RoundWatch, fitted_rows: int, all_rows: int, seconds: float) -> Pace:
        """The pace of the fit on all rows after ``watch`` found the number of rounds on fewer.

        More rows carry a few more rounds: half of the growth in rows, measured as harmless when wrong.
        """
        growth = 1 + 0.5 * (all_rows / max(fitted_rows, 1) - 1)
        return Pace(watch.step, max(1, round(watch.best_round * growth)), seconds)

    def leave_for_prediction(self, seconds: float, rounds: int) -> Pace:
        """Fewer rounds when predicting with all of them would take over a third of the time.

        Args:
            seconds: What predicting with ``rounds`` rounds takes.
        """
        affordable = int(0.35 * self.seconds / max(seconds / max(rounds, 1), 1e-9))
        return self._replace(rounds=max(1, min(self.rounds, affordable)), seconds=0.6 * self.seconds)


class RoundWatch:
    """Watches boosting round by round.

    Attributes:
        model: The learner being grown, for the caller's convenience.
        step: Learning rate in force.
        best_round: Number of rounds after which the held-out loss was least (all of them without one).
        new_step: Set for one round when the step must grow because the rounds are too slow.
    """

    def __init__(self, model: Any, pace: Pace, patience: int) -> None:
        self.model = model
        self.step = pace.step
        self.best_round = 0
        self.new_step: float | None = None
        self._pace, self._patience = pace, patience
        self._least = float("inf")
        self._rounds = 0
        self._start = self._warm = time.monotonic()
        self._held_out = False

    def goes_on(self) -> bool:
        """Whether another round is worth it and fits the time."""
        if self._rounds == 0:
            return True
        now = time.monotonic()
        each = (now - self._start) / self._rounds
        tired = self._held_out and self._rounds - self.best_round >= self._patience
        return not tired and self._rounds < self._pace.rounds and now - self._start + each < self._pace.seconds

    def saw(self, loss: float | None) -> None:
        """A round is over; ``loss`` is that of the held-out rows, if there are any."""
        self._rounds += 1
        self._held_out = loss is not None
        self.new_step = None
        if loss is None:
            self.best_round = self._rounds
            return
        if loss < self._least:
            self._least, self.best_round = loss, self._rounds
        if self._rounds == 1:
            self._warm = time.monotonic()
        elif self._rounds in (4, 16):
            self._adapt()

    def _adapt(self) -> None:
        each = (time.monotonic() - self._warm) / (self._rounds - 1)
        affordable = self._pace.seconds / max(each, 1e-9)
        wanted = min(max(_TYPICAL_TRAVEL / affordable, self._pace.step), 0.3)
        if wanted > 1.2 * self.step:
            self.step = self.new_step = wanted


def multiclass_step(step: float, outputs: int) -> float:
    """A larger step for many classes, where every round grows a tree for each."""
    return min(step * 3, 0.15) if outputs > 4 else step


def bagged(
    bag: Callable[[int], list[np.ndarray]], seed: int, most: int, seconds: float, clock: Clock
) -> tuple[list[np.ndarray], int]:
    """Mean predictions of models that differ in their seed, and how many they are.

    Args:
        bag: Fits one with a seed and predicts the validation and the test rows.
        most: Models at most; at least one is fitted.
        seconds: No further model starts after so many seconds of the fold, nor when it may not end in time.
    """
    sums: list[np.ndarray] = []
    for number in range(max(most, 1)):
        before = clock.used()
        parts = bag(seed + number)
        sums = [total + part for total, part in zip(sums, parts, strict=True)] if sums else parts
        each = clock.used() - before
        if clock.used() + each > seconds or 1.3 * each > clock.left():
            break
    return [total / (number + 1) for total in sums], number + 1


def absolute_error(ctx: Any) -> bool:
    """Whether the metric asks for the median rather than the mean."""
    return ctx.metric in ("mae", "medae", "mape", "smape")
