"""The book of a campaign that is only made up: rows by table, shaped as the engine shapes them."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from typing import Any

BEGAN = 1_767_225_600.0
"""2026-01-01 00:00 UTC, when every made campaign begins."""
RUN = "5eedca3e91a0"
PID = 4242
FOLDS = 5
MODELS = {
    "researcher": "anthropic/claude-opus-4-5",
    "builder": "openai/gpt-5-codex",
    "reviewer": "gemini/gemini-2.5-pro",
    "engine": "",
}
PRICES = {"researcher": (5e-6, 25e-6), "builder": (1.25e-6, 10e-6), "reviewer": (1.25e-6, 10e-6)}
WINDOWS = {"researcher": 200_000, "builder": 400_000, "reviewer": 1_048_576}
CONFIG = {
    "competition": "bank-deposits",
    "platform": "local",
    "data_dir": "data",
    "task_type": "binary",
    "metric": "roc_auc",
    "metric_direction": "maximize",
    "target_column": "y",
    "id_column": "id",
    "cv_strategy": "stratified",
    "budget": {"usd": 500.0},
}
TABLES = (
    "runs",
    "rounds",
    "phases",
    "experiments",
    "folds",
    "predictions",
    "correlations",
    "champions",
    "verdicts",
    "submissions",
    "calls",
    "commands",
    "events",
)
FILES = {
    "eda": "eda.md",
    "retro": "retro.md",
    "research": "research_raw.md research_brief.md",
    "revise": "plan.md",
    "code": "experiment.py",
    "fix": "experiment.py",
    "run": "run.log",
    "submit": "",
}

Values = dict[str, Any]


class Book:
    """Rows that are not written yet, by table; what belongs together has the same time.

    Attributes:
        now: The campaign's own time.
    """

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.now = BEGAN
        self.rows: dict[str, list[Values]] = {table: [] for table in TABLES}
        self.counts = dict.fromkeys(("verdicts", "submissions", "champions"), 0)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what is waiting in one transaction; a row that changed since takes the place of the old one."""
        connection.execute("BEGIN IMMEDIATE")
        for table, rows in self.rows.items():
            if rows:
                columns, marks = ", ".join(rows[0]), ", ".join("?" * len(rows[0]))
                values = [tuple(_encoded(value) for value in row.values()) for row in rows]
                connection.executemany(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})", values)
            rows.clear()
        connection.execute("COMMIT")

    def add(self, table: str, **row: Any) -> None:
        """A row, as it is now."""
        self.rows[table].append(row)

    def event(self, kind: str, number: int | None, /, **data: Any) -> None:
        """A row of the event log."""
        self.add("events", at=self.now, run=RUN, round=number, kind=kind, data=data)

    def number(self, table: str) -> int:
        """The next id of a table."""
        self.counts[table] += 1
        return self.counts[table]

    def run_started(self, run: Values, *, continued: bool) -> None:
        """The event that a process takes the run up."""
        self.event(
            "run_started",
            None,
            continued=continued,
            competition=CONFIG["competition"],
            metric="roc_auc",
            direction="maximize",
            folds=FOLDS,
            rows=45_211,
            slots=2,
            threads=1,
            sandbox="off",
            pid=PID,
            models={role: model for role, model in MODELS.items() if model},
            budget={"usd": 500.0, "tokens": None, "time": None, "rounds": None},
            before=run["elapsed"],
            **{key: run[key] for key in ("rounds", "time_limit", "first_round")},
        )

    def run_ended(self, run: Values, champion: Values | None) -> None:
        """The event that a process ends."""
        told = champion and {key: champion[key] for key in ("id", "family", "score")}
        status = {key: run[key] for key in ("status", "reason", "elapsed")}
        self.event("run_ended", None, **status, champion=told, submission=None)

    def call(self, number: int, phase: str, role: str, seconds: float) -> None:
        """A model call with its tokens and price."""
        given, said = self.random.randrange(4_000, 40_000), self.random.randrange(300, 4_000)
        price = PRICES[role]
        row = {
            "phase": phase,
            "role": role,
            "model": MODELS[role],
            "input_tokens": given,
            "output_tokens": said,
            # A fraction of a power of two, so that sums are exact in any order.
            "cost": round((given * price[0] + said * price[1]) * 4096) / 4096,
            "estimated": 0,
            "asked": "",
            "cached_tokens": given // 2,
            "retries": int(number % 9 == 4),
            "context": min(3_000 * (number % 15 + 1) + given + said, WINDOWS[role]),
            "window": WINDOWS[role],
            "seconds": seconds,
            "outcome": "ok",
        }
        self.add("calls", run=RUN, round=number, **row, at=self.now)
        self.event("call", number, **row)

    def phase(
        self, number: int, phase: str, role: str, outcome: str, line: str, *, attempt: int = 1, seconds: float = 0.0
    ) -> None:
        """A phase that is over, with the files it published."""
        files = [f"R{number:02d}_{suffix}" for suffix in FILES.get(phase, f"{phase}.md").split()]
        self.add(
            "phases",
            round=number,
            phase=phase,
            attempt=attempt,
            role=role,
            model=MODELS[role],
            outcome=outcome,
            files=" ".join(files),
            sha256=sha(f"{number} {phase} {attempt}"),
            detail={"error" if phase == "run" else "line": line},
            seconds=seconds,
            at=self.now,
        )
        told = {"outcome": outcome, "line": line, "attempt": attempt, "files": files, "seconds": seconds}
        self.event("phase_done", number, phase=phase, role=role, **told)

    def verdict(
        self, number: int | None, phase: str, author: str, verdict: str, reason: str, rule: str | None = None
    ) -> None:
        """What the Reviewer, the rules or the engine said."""
        told = {"id": self.number("verdicts"), "phase": phase, "author": author, "verdict": verdict, "rule": rule}
        told["reason"] = reason
        self.add("verdicts", **told, round=number, figures={"min_t": 1.5} if rule else {}, at=self.now)
        self.event("verdict", number, **told)

    def command(self, verb: str, args: Values, result: str, state: str = "done") -> None:
        """What a person asked for, settled."""
        row = {"uuid": sha(f"{verb} {self.now}")[:32], "run": RUN, "verb": verb, "args": args, "state": state}
        self.add("commands", **row, result=result, at=self.now, settled_at=self.now)
        self.event("command", None, verb=verb, state=state, result=result, args=args)

    def submission(self, name: str, score: float, round: int | None) -> tuple[str, str]:
        """Hand a file in; returns the state and what the platform said."""
        number = self.number("submissions")
        state = {3: "unknown", 4: "refused"}.get(number, "accepted")
        public = score - 0.0009 + self.random.gauss(0, 0.0004)
        note = {"refused": "400: the platform refused the file", "unknown": "no answer; it may have arrived"}.get(
            state, f"roc_auc {public:.5f} on the public half"
        )
        told = {"experiment": name, "file": f"{name}_submission.csv"}
        sent = {"state": "intent", "public_score": None, "note": ""}
        settled = {"state": state, "public_score": public if state == "accepted" else None, "note": note}
        self.event("submission", round, id=number, **told, **sent)
        self.add(
            "submissions",
            id=number,
            competition=CONFIG["competition"],
            **told,
            **settled,
            sha256=sha(f"{name} csv"),
            token=sha(name)[:16],
            at=self.now,
            settled_at=self.now + 2,
        )
        self.now += 2
        self.event("submission", round, id=number, **told, **settled)
        return state, note

    def experiment(self, name: str, number: int | None, source: str, status: str = "running", **plan: Any) -> Values:
        """An experiment's row, not yet settled; the caller adds it when it is complete."""
        return {
            "id": name,
            "round": number,
            "source": source,
            "kind": plan["kind"],
            "family": plan["family"],
            "parent": plan.get("parent"),
            "idea": plan["idea"],
            "params": {} if plan["kind"] == "blend" else {"depth": 6, "rounds": 400},
            "code_sha": sha(name),
            "normal_sha": sha(name),
            "folds_digest": sha("folds"),
            "data_hash": sha("data"),
            "seed": 42,
            "status": status,
            "reason": "",
            "score": None,
            "gain": None,
            "t": None,
            "in_pool": 0,
            "members": [],
            "seconds": 0.0,
            "started_at": self.now,
            "ended_at": None,
            "closest": None,
            "rho": None,
        }


def sha(text: str) -> str:
    """A hash of something made up."""
    return hashlib.sha256(text.encode()).hexdigest()


def _encoded(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
