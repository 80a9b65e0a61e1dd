"""Exports for other programs: state.json, results.tsv and experiments.json, written from the registry."""

from __future__ import annotations

import csv
import io
import json
import time
from functools import partial
from typing import Any

from autokaggle_tui.memory import Memory, Near, Remembered, recall
from autokaggle_tui.workspace import Workspace
from experiments.files import write_atomic
from experiments.registry import Registry
from experiments.schema import Row


def export_all(workspace: Workspace, registry: Registry) -> None:
    """Rewrite the three exports, each atomically."""
    write_atomic(workspace.root / "state.json", _json(_state(registry)))
    memory = recall(registry)
    write_atomic(workspace.root / "results.tsv", _results(registry, memory))
    write_atomic(workspace.root / "experiments.json", _experiments(memory))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def iso(seconds: float | None) -> str | None:
    """Unix seconds as ISO 8601 in UTC."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _state(registry: Registry) -> dict[str, Any]:
    champion = registry.champion()
    run = registry.row("SELECT * FROM runs ORDER BY rowid DESC LIMIT 1")
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


def _results(registry: Registry, memory: Memory) -> bytes:
    accepted = registry.rows("SELECT experiment, public_score FROM submissions WHERE state = 'accepted' ORDER BY id")
    boards: dict[str, float | None] = {row["experiment"]: row["public_score"] for row in accepted}
    lines = [_line(["round", "script", "cv_score", "lb", "status", "submitted", "timestamp", "description"])]
    for known in memory.experiments:
        sent = (known.row["id"] in boards, boards.get(known.row["id"]))
        lines.append(known.text("tsv", sent, partial(_result, known.row, *sent)))
    return "".join(lines).encode()


def _result(row: Row, submitted: bool, board: float | None) -> str:
    script = "" if row["kind"] == "blend" else f"{row['id']}_experiment.py"
    score = "" if row["score"] is None else repr(row["score"])
    lb = "" if board is None else repr(board)
    idea = " ".join(row["idea"].split())
    name = row["id"] if row["round"] is None else row["round"]
    sent = "yes" if submitted else "no"
    return _line([name, script, score, lb, row["status"], sent, iso(row["ended_at"]) or "", idea])


def _line(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, dialect="excel-tab", lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _experiments(memory: Memory) -> bytes:
    """The same bytes as :func:`_json` of the list; an experiment's text is written again only when it changed."""
    told = []
    for known in memory.experiments:
        near = memory.closest(known.row["id"])
        told.append(known.text("json", near, partial(_element, known, near)))
    return ("[\n" + ",\n".join(told) + "\n]\n").encode() if told else _json([])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _element(known: Remembered, near: Near) -> str:
    row = known.row
    facts = {
        **{key: row[key] for key in ("id", "round", "source", "kind", "family", "parent", "idea")},
        **{key: row[key] for key in ("status", "reason", "score", "gain", "t", "members", "params")},
        "fold_scores": [score for _, _, score in known.folds],
        "seconds": round(row["seconds"], 2),
        "ended_at": iso(row["ended_at"]),
        "closest": [
            {"id": other.name, **{name: _rounded(getattr(other, name)) for name in ("pearson", "spearman", "error")}}
            for other in near
        ],
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False)
    return " " + text.replace("\n", "\n ")
