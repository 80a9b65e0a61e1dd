"""The queue: experiments that wait for a submission to be free, or for a person's word."""

from __future__ import annotations

from typing import Final, Literal

from autokaggle_tui.agreement import FoldScores, clearly_better
from experiments.metrics import Metric
from experiments.registry import Registry
from experiments.schema import Row

By = Literal["loop", "person"]
PERSON: Final[By] = "person"
State = Literal["waiting", "asking", "sent", "left"]


def put(registry: Registry, experiment: str, state: State, reason: str, *, by: By | None = None) -> None:
    """Write how an experiment stands in the queue; told when anything changed.

    Args:
        by: Who wants it submitted; None leaves that as it is, and means the loop for one that is new. What a person
            wants stays a person's.
    """
    known = registry.row("SELECT * FROM queue WHERE experiment = ?", [experiment])
    open_before = known is not None and known["state"] in ("waiting", "asking")
    whose: By = by or "loop"
    if known is not None and open_before and known["by"] == "person":
        whose = PERSON
    row: Row = {"experiment": experiment, "state": state, "by": whose, "reason": reason}
    if known is not None and all(known[key] == value for key, value in row.items()):
        return
    with registry.transaction():
        # A place in the queue is kept while only its reason changes.
        at = known["at"] if known is not None and known["state"] == state else registry.clock()
        registry.upsert("queue", **row, at=at)
        registry.event("queue", **row)


def leave(registry: Registry, experiment: str, state: Literal["sent", "left"], reason: str) -> None:
    """Take an experiment out of the queue, if it is in it."""
    if waits(registry, experiment):
        put(registry, experiment, state, reason)


def waits(registry: Registry, experiment: str) -> bool:
    """Whether an experiment is in the queue, or a person is asked about it."""
    return bool(
        registry.value(
            "SELECT count(*) FROM queue WHERE experiment = ? AND state IN ('waiting', 'asking')", [experiment]
        )
    )


def line(registry: Registry, metric: Metric) -> list[Row]:
    """What waits for a free submission, best first; what has no score comes last."""
    rows = registry.rows(
        "SELECT e.*, q.by AS wanted_by FROM queue q JOIN experiments e ON e.id = q.experiment "
        "WHERE q.state = 'waiting' ORDER BY q.at, e.rowid"
    )
    return sorted(rows, key=lambda row: float("inf") if row["score"] is None else -metric.gain(row["score"], 0.0))


def tidy(registry: Registry, metric: Metric) -> None:
    """Let go of what was sent meanwhile, and of what is clearly behind something that was sent or waits as well."""
    better = 1 if metric.direction == "maximize" else -1
    rows = registry.rows(
        "SELECT q.experiment, q.by, q.state, e.score FROM queue q JOIN experiments e ON e.id = q.experiment "
        "WHERE q.state IN ('waiting', 'asking') ORDER BY q.at"
    )
    if not rows:
        return
    sent = {
        row["experiment"]
        for row in registry.rows("SELECT DISTINCT experiment FROM submissions WHERE state != 'refused'")
    }
    rivals = sent | {row["experiment"] for row in rows if row["state"] == "waiting"}
    folds: dict[str, FoldScores] = {name: registry.fold_scores(name) for name in rivals}
    for row in rows:
        name = row["experiment"]
        if name in sent:
            put(registry, name, "sent", "it was submitted")
        elif row["by"] == "loop":
            mine = folds[name] if name in folds else registry.fold_scores(name)
            rival = next((one for one in folds if one != name and clearly_better(folds[one], mine, better)), None)
            if rival is not None:
                how = "was sent" if rival in sent else "waits too"
                put(registry, name, "left", f"outclassed: {rival} is better by more than noise and {how}")
