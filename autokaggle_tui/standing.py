"""Where a team stands on the leaderboard: rank, medal zones, distance to the next. Pure, standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autokaggle_tui.fitting import MALFORMED, Moment, fit
from experiments.text import score_text

FACT = "leaderboard"
"""The fact that holds the last look at the leaderboard, as JSON."""
Places = Sequence[tuple[str, float]]
"""(team, score), best first."""


@dataclass(frozen=True)
class Zone:
    """A medal's part of the leaderboard.

    Attributes:
        last: The last rank that is in it.
        score: Of that rank; None when the leaderboard does not reach so far.
    """

    name: str
    last: int
    score: float | None


@dataclass(frozen=True)
class Board:
    """What a look at the public leaderboard said.

    Attributes:
        at: When that was.
        teams: How many are on it; 0 on a platform that knows none: there ``rank`` is among one's own submissions.
        team: Ours, as the leaderboard spells it; empty when unknown.
        rank: That our best score has, or would have where the leaderboard lags behind it; None without a score.
        score: Our best.
        first: The leader's score.
        zones: Medals, best first.
    """

    at: Moment
    teams: int
    team: str
    rank: int | None
    score: float | None
    first: float | None
    zones: tuple[Zone, ...] = ()

    @property
    def percentile(self) -> float | None:
        """The share of teams at or above the rank, in percent: 5 means among the best 5 %."""
        return 100 * self.rank / self.teams if self.rank is not None and self.teams else None

    @property
    def zone(self) -> str:
        """The medal that the rank would give now, or an empty string."""
        return next((zone.name for zone in self.zones if self.rank is not None and self.rank <= zone.last), "")

    @property
    def next(self) -> Zone | None:
        """The nearest better zone; None in the best one, or without a rank."""
        if self.rank is None:
            return None
        return next((zone for zone in reversed(self.zones) if self.rank > zone.last), None)

    def distance(self, better: int) -> float | None:
        """How much better a score has to be to equal the last of the next zone; None where that is unknown."""
        zone = self.next
        if zone is None or zone.score is None or self.score is None:
            return None
        return max((zone.score - self.score) * better, 0.0)


def medal_ranks(teams: int) -> dict[str, int]:
    """The last rank of each medal. Source: kaggle.com/progression, Competition medals.

    Kaggle does not say how it rounds a share of teams: down here, and never to none.
    """

    def share(percent: float) -> int:
        return max(1, int(teams * percent / 100 + 1e-9))

    if teams < 1:
        return {}
    if teams < 100:
        return {"gold": share(10), "silver": share(20), "bronze": share(40)}
    if teams < 250:
        return {"gold": 10, "silver": share(20), "bronze": share(40)}
    gold = 10 + teams // 500
    if teams < 1000:
        return {"gold": gold, "silver": 50, "bronze": 100}
    return {"gold": gold, "silver": share(5), "bronze": share(10)}


def board_of(places: Places, *, team: str, best: float | None, better: int, at: float, teams: bool = True) -> Board:
    """A look at the leaderboard.

    Args:
        team: Ours; its row may be older than our best score.
        best: Our best public score by our own ledger.
        better: +1 when higher scores are better, else -1.
        teams: Whether the rows are teams; else all are our own submissions.
    """
    scores = [score for name, score in places if team and name == team]
    known = [score for score in (*scores, best) if score is not None]
    score = max(known, key=lambda one: one * better, default=None)
    rank = None
    if score is not None:
        mine = [place for place, (name, _) in enumerate(places, 1) if team and name == team]
        ahead = sum((other - score) * better > 0 for name, other in places if not (team and name == team))
        # Among equals the platform knows who was first.
        rank = mine[0] if scores and scores[0] == score else ahead + 1
    count = 0
    if teams:
        count = len(places) + (1 if rank is not None and not scores else 0)
    zones = tuple(
        Zone(name, last, places[last - 1][1] if last <= len(places) else None)
        for name, last in medal_ranks(count).items()
    )
    first = places[0][1] if places else score
    return Board(at, count, team, rank, score, first, zones)


def board_facts(board: Board, better: int) -> dict[str, Any]:
    """A board with what follows from it, as ``status --json`` and ``submissions --json`` tell it."""
    zone = board.next
    following = None if zone is None else {**asdict(zone), "distance": board.distance(better)}
    return {**asdict(board), "percentile": board.percentile, "zone": board.zone or None, "next": following}


def board_line(facts: Mapping[str, Any]) -> str:
    """``rank 123 of 2,345 (top 5.2 %), silver; gold needs 0.00012 more``, from ``board_facts``."""
    rank, teams = facts["rank"], facts["teams"]
    if rank is None:
        return f"{teams:,} teams, the best {score_text(facts['first'])}; nothing of ours is scored yet"
    if not teams:
        return f"best of our own {score_text(facts['score'])}; this platform ranks no teams"
    parts = [f"rank {rank:,} of {teams:,} (top {facts['percentile']:.3g} %)", facts["zone"] or "no medal"]
    zone = facts["next"]
    if zone is not None and zone["distance"] is not None:
        return f"{', '.join(parts)}; {zone['name']} (rank {zone['last']:,}) needs {zone['distance']:.5f} more"
    return ", ".join(parts)


def board_text(board: Board) -> str:
    """As JSON, for the facts."""
    return json.dumps(asdict(board))


def board_from(told: Any) -> Board | None:
    """A board from its JSON, or from an event's data; None when it is none."""
    try:
        data: Mapping[str, Any] = json.loads(told) if isinstance(told, str) else told
        zones = tuple(fit(Zone(**zone)) for zone in data["zones"])
        return fit(Board(**{**{key: data[key] for key in Board.__dataclass_fields__}, "zones": zones}))
    except MALFORMED:
        return None
