"""Exports for other programs: state.json, results.tsv and experiments.json, written from the registry."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

from autokaggle_tui.workspace import Workspace
from experiments.files import write_atomic
from experiments.registry import Registry

CLOSEST = 10


def export_all(workspace: Workspace, registry: Registry) -> None:
    """Rewrite the three exports, each atomically."""
    write_atomic(workspace.root / "state.json", _json(_state(registry)))
    write_atomic(workspace.root / "results.tsv", _results(registry))
    write_atomic(workspace.root / "experiments.json", _json(_experiments(registry)))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _state(registry: Registry) -> dict[str, Any]:
    champion = registry.champion()
    run = registry.row("SELECT * FROM runs ORDER BY started_at DESC, rowid DESC LIMIT 1")
    latest = registry.row("SELECT round, status FROM rounds ORDER BY round DESC LIMIT 1")
    return {
        "round": latest["round"] if latest else None,
        "round_status": latest["status"] if latest else None,
        "run": None if run is None else {key: run[key] for key in ("id", "status", "reason", "rounds", "time_limit")},
        "champion": None
        if champion is None
        else {key: champion[key] for key in ("id", "kind", "family", "score", "gain", "t")},
        "experiments": registry.value("SELECT count(*) FROM experiments"),
        "kept": registry.value("SELECT count(*) FROM experiments WHERE status = 'keep'"),
        "submissions": registry.value("SELECT count(*) FROM submissions WHERE state = 'accepted'"),
    }


def _results(registry: Registry) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, dialect="excel-tab", lineterminator="\n")
    writer.writerow(["round", "script", "cv_score", "lb", "status", "submitted", "timestamp", "description"])
    for row in registry.rows("SELECT * FROM results"):
        script = "" if row["kind"] == "blend" else f"{row['id']}_experiment.py"
        score = "" if row["cv_score"] is None else repr(row["cv_score"])
        board = "" if row["lb"] is None else repr(row["lb"])
        idea = " ".join(row["idea"].split())
        name = row["id"] if row["round"] is None else row["round"]
        submitted = "yes" if row["submitted"] else "no"
        writer.writerow([name, script, score, board, row["status"], submitted, iso(row["ended_at"]) or "", idea])
    return buffer.getvalue().encode()


def _experiments(registry: Registry) -> list[dict[str, Any]]:
    closest: dict[str, list[tuple[str, float]]] = {}
    for row in registry.rows("SELECT a, b, pearson FROM correlations"):
        closest.setdefault(row["a"], []).append((row["b"], row["pearson"]))
        closest.setdefault(row["b"], []).append((row["a"], row["pearson"]))
    folds: dict[str, list[float | None]] = {}
    for row in registry.rows("SELECT experiment, score FROM folds ORDER BY experiment, fold"):
        folds.setdefault(row["experiment"], []).append(row["score"])
    told = []
    for row in registry.rows("SELECT * FROM experiments ORDER BY started_at, id"):
        near = sorted(closest.get(row["id"], []), key=lambda pair: -pair[1])[:CLOSEST]
        told.append(
            {
                **{key: row[key] for key in ("id", "round", "source", "kind", "family", "parent", "idea")},
                **{key: row[key] for key in ("status", "reason", "score", "gain", "t", "members", "params")},
                "fold_scores": folds.get(row["id"], []),
                "seconds": round(row["seconds"], 2),
                "ended_at": iso(row["ended_at"]),
                "closest": [{"id": other, "pearson": round(value, 6)} for other, value in near],
            }
        )
    return told
