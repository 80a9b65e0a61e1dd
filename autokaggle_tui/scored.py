"""Scored submissions with their folds, read from the registry by whoever compares them. Standard library only."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from autokaggle_tui.agreement import Shot

READ_SHOTS = """
    SELECT s.experiment, e.kind, e.score AS cv, s.public_score AS lb, f.fold, f.score AS fold_score
    FROM submissions s JOIN experiments e ON e.id = s.experiment
    LEFT JOIN folds f ON f.experiment = e.id AND f.status = 'ok'
    WHERE s.state = 'accepted' AND s.scoring = 'complete' AND s.public_score IS NOT NULL AND e.score IS NOT NULL
    ORDER BY s.id, f.fold
"""


def shots_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Shot, ...]:
    """What ``READ_SHOTS`` found: one for each experiment, oldest first; malformed rows are left out."""
    shots: dict[str, Shot] = {}
    folds: dict[str, dict[int, float]] = {}
    for row in rows:
        name, cv, lb = row["experiment"], row["cv"], row["lb"]
        if not (_finite(cv) and _finite(lb)):
            continue
        mine = folds.setdefault(name, {})
        if isinstance(row["fold"], int) and _finite(row["fold_score"]):
            mine[row["fold"]] = row["fold_score"]
        shots.setdefault(name, Shot(name, str(row["kind"]), cv, lb, mine))
    return tuple(shots.values())


def load_shots(connection: sqlite3.Connection) -> tuple[Shot, ...]:
    """The scored submissions of a registry that a viewer opened."""
    return shots_of(connection.execute(READ_SHOTS))


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
