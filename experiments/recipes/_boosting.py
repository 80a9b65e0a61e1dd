"""Pacing of boosted learners: when to stop, and how large a step the time allows."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

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


def absolute_error(ctx: Any) -> bool:
    """Whether the metric asks for the median rather than the mean."""
    return ctx.metric in ("mae", "medae", "mape", "smape")
