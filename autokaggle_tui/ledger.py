"""What was blended and what was submitted; what the rules leave open to blends, and what would be sent next.

``load_ledger`` asks the registry, the other functions are pure. No arrays are read: NumPy stays out.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from autokaggle_tui.fitting import fit, intact
from autokaggle_tui.state import Result, Submission, Waiting
from autokaggle_tui.workspace import Workspace
from experiments.errors import MetricError
from experiments.learnings import Rule, Rules
from experiments.metrics import describe_metric

Word = Literal["pass", "warn", "block"]

# A score a hair beyond a threshold by rounding is within it, as in experiments.rules.
TOLERANCE = 1 + 1e-9
NO_QUEUE: Mapping[str, Waiting] = {}
MAY_HAVE_COUNTED = frozenset({"intent", "accepted", "unknown"})
"""States of a submission that used one of the day's, or may have."""


@dataclass(frozen=True)
class Judgement:
    """What one rule said of a blend."""

    rule: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Blend:
    """A blend that was tried.

    Attributes:
        score: Cross-fitted; None when there was nothing to fit.
        gain: Over the champion of its time, paired over ``folds``; ``t`` says how sure.
        judged: Rules that blocked it or had something to say, blocking ones first.
    """

    name: str
    round: int | None
    status: str
    reason: str
    members: tuple[tuple[str, float], ...]
    score: float | None
    gain: float | None
    t: float | None
    folds: int
    at: float
    judged: tuple[Judgement, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A complete prediction that a blend may choose from."""

    name: str
    family: str
    source: str
    score: float | None


@dataclass(frozen=True)
class Pair:
    """Two predictions and their Pearson correlation."""

    a: str
    b: str
    pearson: float


@dataclass(frozen=True)
class Usage:
    """What one model was used for so far; cost in dollars, None when a price is unknown."""

    model: str
    calls: int
    tokens: int
    cost: float | None


@dataclass(frozen=True)
class Ledger:
    """The registry's answers.

    Attributes:
        pool: What a blend may choose from, oldest first.
        pairs: Of the pool, those above the correlation that was asked for, closest first.
    """

    blends: tuple[Blend, ...] = ()
    pool: tuple[Prediction, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a prediction stands when a blend is made.

    Attributes:
        behind: How much worse than the best single model; negative when better, None when unknown.
        standing: What ``diversity-threshold`` says of it.
        twin: The most similar of the better predictions, when ``stacking-correlation`` minds; ``pearson``: how similar.
    """

    prediction: Prediction
    behind: float | None
    standing: Word
    twin: str = ""
    pearson: float | None = None

    @property
    def free(self) -> bool:
        """Whether no rule minds it."""
        return self.standing == "pass" and not self.twin


@dataclass(frozen=True)
class Room:
    """What the rules leave open to a blend now.

    Attributes:
        best: Name of the best single model, that the margin is measured from; None before the first.
        margin: A member may be this much worse.
        few: Smallest and ``many`` largest number of members.
        places: Of the pool, best first.
    """

    best: str | None
    margin: float
    limit: float
    few: int
    many: int
    places: tuple[Place, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Quota:
    """Submissions of one UTC day; ``limit`` None: as many as one likes."""

    used: int
    limit: int | None
    resets_at: float

    @property
    def left(self) -> int | None:
        """How many are left today, None without a limit."""
        return None if self.limit is None else max(self.limit - self.used, 0)


@dataclass(frozen=True)
class Candidate:
    """A prediction that was not sent yet.

    Attributes:
        titles: What it is the best of: ``champion``, ``best blend``, ``best single model``.
        due: The clean end of the run sends it by itself.
        waits: Why it is in the queue; empty when it is not.
        asks: What it waits for is a person's word.
    """

    name: str
    kind: str
    score: float | None
    titles: tuple[str, ...] = ()
    due: bool = False
    waits: str = ""
    asks: bool = False


def load_ledger(connection: sqlite3.Connection, *, above: float) -> Ledger:
    """Blends, pool and similar pairs.

    Args:
        connection: From ``experiments.schema.open_viewer``.
        above: Pairs correlated more than this are told.

    Raises:
        RegistryError: A row cannot be what it should be.
    """
    connection.execute("BEGIN")
    try:
        with intact():
            return Ledger(_blends(connection), _pool(connection), _pairs(connection, above))
    finally:
        connection.execute("ROLLBACK")


def models_used(connection: sqlite3.Connection) -> tuple[Usage, ...]:
    """Models that were called in this workspace, the latest first."""
    rows = connection.execute(
        "SELECT model, count(*) AS calls, sum(input_tokens + output_tokens) AS tokens, sum(cost) AS cost, "
        "count(cost) AS priced FROM calls GROUP BY model ORDER BY max(id) DESC"
    )
    return tuple(
        Usage(row["model"], row["calls"], row["tokens"], row["cost"] if row["priced"] == row["calls"] else None)
        for row in rows
    )


def room(pool: Iterable[Prediction], pairs: Sequence[Pair], rules: Rules, *, better: int, bounded: bool) -> Room:
    """What the rules allow a blend of this pool.

    Args:
        better: +1 when higher scores are better, else -1.
        bounded: Whether differences of the metric count as they are, or as a share of the score.
    """
    ranked = sorted(pool, key=lambda item: -math.inf if item.score is None else item.score * better, reverse=True)
    # Nobody can vouch for the folds of an imported prediction.
    best = next((item for item in ranked if item.source != "imported" and item.score is not None), None)
    gap, twins, small = rules["diversity-threshold"], rules["stacking-correlation"], rules["small-blends"]
    margin = gap.number("max_gap")
    if not bounded:
        margin = gap.number("max_gap_share") * abs(best.score or 0.0) if best else 0.0
    places: list[Place] = []
    closest = _closest([item.name for item in ranked], pairs) if twins.active else {}
    for item in ranked:
        behind = None
        if best is not None and best.score is not None and item.score is not None:
            behind = (best.score - item.score) * better
        near = behind is not None and behind <= margin * TOLERANCE
        twin, pearson = closest.get(item.name, ("", None))
        places.append(Place(item, behind, "pass" if near or best is None else _word(gap), twin, pearson))
    return Room(
        best=best.name if best else None,
        margin=margin if gap.active else math.inf,
        limit=twins.number("max_correlation") if twins.active else 1.0,
        few=int(small.number("min_members")) if small.active else 2,
        many=int(small.number("max_members")) if small.active else len(ranked),
        places=tuple(places),
        pairs=tuple(pairs) if twins.active else (),
    )


def is_bounded(metric: str, workspace: Workspace) -> bool:
    """Whether differences of this metric count as they are; False when nobody knows it."""
    try:
        return describe_metric(metric, metric_file=workspace.root / "metric.py").bounded
    except MetricError:
        return False


def quota(submissions: Iterable[Submission], limit: int | None, now: float) -> Quota:
    """Today's submissions, counted from the ledger.

    Args:
        limit: The day's most, None without one.
        now: Unix seconds; the day is a UTC day.
    """
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = today.timestamp(), (today + timedelta(days=1)).timestamp()
    used = sum(item.state in MAY_HAVE_COUNTED and start <= item.at < end for item in submissions)
    return Quota(used, limit, end)


def candidates(
    results: Mapping[str, Result],
    champion: str | None,
    submissions: Iterable[Submission],
    queue: Mapping[str, Waiting] = NO_QUEUE,
    *,
    better: int,
) -> tuple[Candidate, ...]:
    """What could be submitted, none of which was sent or may have been.

    First what waits in the queue; then what the end of the run sends by itself: the best of champion, blends and best
    single model. Then the champion, then what scores best.
    """
    queued = {name: item for name, item in queue.items() if item.open}
    sent = {item.experiment for item in submissions if item.state in MAY_HAVE_COUNTED}
    scored = [row for row in results.values() if row.in_pool and row.score is not None]
    scored.sort(key=lambda row: (row.score or 0.0) * better, reverse=True)
    blend = next((row.name for row in scored if row.kind == "blend"), None)
    single = next((row.name for row in scored if row.kind != "blend" and row.source != "imported"), None)
    titles = {"champion": champion, "best blend": blend, "best single model": single}
    leading = [row for row in scored if row.name in titles.values()]
    # Of equals the champion stays.
    last = max(leading, key=lambda row: ((row.score or 0.0) * better, row.name == champion), default=None)
    due = last.name if last else None
    waiting = [row for row in scored if row.name not in sent]
    waiting.sort(key=lambda row: (row.name not in queued, row.name != due, row.name != champion))
    return tuple(
        Candidate(
            row.name,
            row.kind,
            row.score,
            tuple(title for title, name in titles.items() if name == row.name),
            row.name == due,
            queued[row.name].reason if row.name in queued else "",
            row.name in queued and queued[row.name].state == "asking",
        )
        for row in waiting
    )


def obstacle(today: Quota, deadline: datetime | None, now: float) -> str:
    """Why nothing can be submitted now, or an empty string."""
    if deadline is not None and now > deadline.timestamp():
        return f"the deadline ({deadline:%Y-%m-%d %H:%M} UTC) has passed"
    if today.limit == 0:
        return "max_submissions_per_day is 0 in config.json"
    if today.left == 0:
        return f"the {today.limit} submissions of today are used up"
    return ""


def _word(rule: Rule) -> Word:
    """What a rule says of what it does not like."""
    return "pass" if rule.enforce == "off" else rule.enforce


def _closest(best_first: Sequence[str], pairs: Iterable[Pair]) -> dict[str, tuple[str, float]]:
    """For the worse of each pair: the most similar better one."""
    rank = {name: place for place, name in enumerate(best_first)}
    found: dict[str, tuple[str, float]] = {}
    for pair in pairs:
        if pair.a not in rank or pair.b not in rank:
            continue
        good, bad = sorted((pair.a, pair.b), key=rank.__getitem__)
        if bad not in found or pair.pearson > found[bad][1]:
            found[bad] = (good, pair.pearson)
    return found


def _blends(connection: sqlite3.Connection) -> tuple[Blend, ...]:
    judged = _judgements(connection)
    rows = connection.execute(
        "SELECT e.*, (SELECT count(*) FROM folds f WHERE f.experiment = e.id AND f.status = 'ok') AS folds "
        "FROM experiments e WHERE kind = 'blend' ORDER BY started_at DESC, id DESC"
    )
    return tuple(
        fit(
            Blend(
                name=row["id"],
                round=row["round"],
                status=row["status"],
                reason=row["reason"],
                members=tuple((name, weight) for name, weight in json.loads(row["members"])),
                score=row["score"],
                gain=row["gain"],
                t=row["t"],
                folds=row["folds"],
                at=row["started_at"],
                judged=judged.get(row["id"], ()),
            )
        )
        for row in rows
    )


def _judgements(connection: sqlite3.Connection) -> dict[str, tuple[Judgement, ...]]:
    """By blend. A verdict outside a round belongs to the experiment that was running then: there was just one."""
    rows = connection.execute(
        """
        SELECT e.id, v.rule, v.verdict, v.reason FROM verdicts v
        JOIN experiments e ON e.kind = 'blend' AND (
            v.round = e.round
            OR (v.round IS NULL AND e.round IS NULL AND e.id = (
                SELECT x.id FROM experiments x WHERE x.round IS NULL AND x.source != 'imported' AND x.started_at <= v.at
                ORDER BY x.started_at DESC LIMIT 1)))
        WHERE v.author = 'rules' AND v.phase = 'run' AND v.rule IS NOT NULL
        ORDER BY v.verdict = 'block' DESC, v.id
        """
    )
    found: dict[str, tuple[Judgement, ...]] = {}
    for row in rows:
        told = fit(Judgement(row["rule"], row["verdict"], row["reason"]))
        found[row["id"]] = (*found.get(row["id"], ()), told)
    return found


def _pool(connection: sqlite3.Connection) -> tuple[Prediction, ...]:
    rows = connection.execute(
        "SELECT id, family, source, score FROM experiments e WHERE in_pool AND kind != 'blend' "
        "AND EXISTS (SELECT 1 FROM predictions p WHERE p.experiment = e.id) ORDER BY started_at, id"
    )
    return tuple(fit(Prediction(row["id"], row["family"], row["source"], row["score"])) for row in rows)


def _pairs(connection: sqlite3.Connection, above: float) -> tuple[Pair, ...]:
    rows = connection.execute(
        "SELECT a, b, pearson FROM correlations WHERE pearson > ? "
        "AND a IN (SELECT id FROM experiments WHERE in_pool AND kind != 'blend') "
        "AND b IN (SELECT id FROM experiments WHERE in_pool AND kind != 'blend') ORDER BY pearson DESC",
        [above],
    )
    return tuple(fit(Pair(row["a"], row["b"], row["pearson"])) for row in rows)
