"""Diminishing returns: what the last rounds bought, and what a fitted curve says of the next ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backends.models.playbook.lessons import SCORED, quality
from backends.models.tasks import CampaignView

_LEAST_POINTS = 5
_POWERS = tuple(0.05 * 1.15**step for step in range(33))


@dataclass(frozen=True)
class Point:
    """The best score after so much work.

    Attributes:
        rounds: Experiments so far that the loop played.
        minutes: Their wall time.
        best: The best score so far, turned so that larger is better.
        champion: That of the champion, which changes by more than noise; None before the first.
    """

    rounds: float
    minutes: float
    best: float
    champion: float | None


@dataclass(frozen=True)
class Curve:
    """best(x) = limit - drop * x ** -power: progress towards a limit that is never reached."""

    limit: float
    drop: float
    power: float

    def at(self, x: float) -> float:
        """The best score to be expected after x rounds or minutes, x > 0."""
        return float(self.limit - self.drop * x**-self.power)


@dataclass(frozen=True)
class Returns:
    """What work bought and will buy, in units of the metric; positive is better.

    Attributes:
        rounds: How many of the last rounds are meant, and of the next.
        minutes: What the last ones took.
        bought: How much they raised the best score.
        proved: How much they raised the champion's.
        by_rounds: What as many rounds more buy by the fit over rounds; None where nothing can be fitted.
        by_minutes: What as many minutes more buy by the fit over minutes.
    """

    rounds: int
    minutes: float
    bought: float
    proved: float
    by_rounds: float | None
    by_minutes: float | None

    @property
    def a_minute(self) -> float | None:
        """What a minute of the last rounds bought."""
        return self.bought / self.minutes if self.minutes > 0 else None


def path(view: CampaignView) -> tuple[Point, ...]:
    """Best so far after each experiment of the loop, from the first score on."""
    return tuple(_path(view))


def _path(view: CampaignView) -> Iterator[Point]:
    rounds, minutes = 0, 0.0
    best: float | None = None
    champion: float | None = None
    for run in view.experiments:
        if run.status == "running":
            continue
        if run.round is not None:
            rounds += 1
            minutes += run.seconds / 60
        if run.status in SCORED and run.score is not None:
            best = quality(view, run) if best is None else max(best, quality(view, run))
            champion = quality(view, run) if run.status == "keep" else champion
        if run.round is not None and best is not None:
            yield Point(rounds, minutes, best, champion)


def returns(view: CampaignView, last: int) -> Returns | None:
    """What the last rounds bought and the next ones may buy; None before there are two to compare.

    Args:
        last: How many rounds to look back, and ahead; fewer when there are not so many.
    """
    points = path(view)
    last = min(last, len(points) - 1)
    if last < 1:
        return None
    before, now = points[-1 - last], points[-1]
    spent = now.minutes - before.minutes
    by_rounds = by_minutes = None
    if len(points) >= _LEAST_POINTS and now.best > points[0].best:
        curve = fit([point.rounds for point in points], [point.best for point in points])
        by_rounds = max(curve.at(now.rounds + last) - curve.at(now.rounds), 0.0)
        if points[0].minutes > 0 and spent > 0:
            curve = fit([point.minutes for point in points], [point.best for point in points])
            by_minutes = max(curve.at(now.minutes + spent) - curve.at(now.minutes), 0.0)
    proved = 0.0 if before.champion is None or now.champion is None else now.champion - before.champion
    return Returns(last, spent, now.best - before.best, proved, by_rounds, by_minutes)


def fit(xs: Sequence[float], ys: Sequence[float]) -> Curve:
    """The curve through points that never fall, by least squares; the power from a grid from 0.05 to 4.4.

    Args:
        xs: (n,) positive.
        ys: (n,) scores, larger is better.
    """
    mean_y = sum(ys) / len(ys)
    best, least = Curve(mean_y, 0.0, 1.0), sum((y - mean_y) ** 2 for y in ys)
    for power in _POWERS:
        terms = [x**-power for x in xs]
        mean = sum(terms) / len(terms)
        spread = sum((term - mean) ** 2 for term in terms)
        if spread <= 0:
            continue
        drop = -sum((term - mean) * (y - mean_y) for term, y in zip(terms, ys, strict=True)) / spread
        curve = Curve(mean_y + drop * mean, drop, power)
        error = sum((y - curve.at(x)) ** 2 for x, y in zip(xs, ys, strict=True))
        # A limit is approached from below.
        if drop >= 0 and error < least:
            best, least = curve, error
    return best
