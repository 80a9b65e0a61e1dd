"""Dossiers as the registry has them. Standard library only.

What came from outside (ideas, reasons, answers) leaves this module cleaned of control characters.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from typing import Any

from autokaggle_tui.blendways import read_notes, read_ways
from autokaggle_tui.dossier import (
    Dossier,
    Fold,
    ModelUse,
    Neighbour,
    PhaseRecord,
    Rival,
    Sent,
    Use,
    Word,
)
from autokaggle_tui.fitting import fit, intact
from autokaggle_tui.roundfiles import PublishedFile, published
from autokaggle_tui.wording import sending_word
from autokaggle_tui.workspace import Workspace, round_name
from experiments.figures import figures_text
from experiments.schema import Row, decode, open_viewer
from experiments.text import one_line

CLOSEST = 5


def load_dossier(workspace: Workspace, name: str) -> Dossier:
    """One round or experiment; an unknown name gives a dossier without status.

    Args:
        name: ``R07``, ``T03``, ``B01`` or an imported name.

    Raises:
        RegistryError: There is no registry, one of another version, or one with rows that cannot be.
    """
    with intact(), contextlib.closing(open_viewer(workspace.facts)) as connection:
        # One snapshot, so that folds, champion and status belong together.
        connection.execute("BEGIN")
        return _Reader(connection, name).read(published(workspace, name))


def round_number(name: str) -> int | None:
    """The number of a round's name, or None when it is no round's."""
    match = re.fullmatch(r"R(\d{2,})", name)
    return int(match[1]) if match and round_name(int(match[1])) == name else None


class _Reader:
    """The queries of one dossier, on one connection."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self.connection = connection
        self.name = name
        self.number = round_number(name)

    def read(self, files: tuple[PublishedFile, ...]) -> Dossier:
        played = self.row("SELECT * FROM rounds WHERE round = ?", self.number)
        mine = self.row("SELECT * FROM experiments WHERE id = ?", self.name)
        if played is None and mine is None:
            return Dossier(self.name, files=files)
        known = dict(played or {}) | dict(mine or {})
        plan = played["plan"] if played and isinstance(played["plan"], dict) else {}
        rival, champion = self.rivals(mine)
        parent, stated = self.parent(known, plan)
        neighbours, compared = self.neighbours()
        report = (self.row("SELECT report FROM blends WHERE experiment = ?", self.name) or {}).get("report")
        return fit(
            Dossier(
                self.name,
                round=known["round"],
                source=known.get("source", "round"),
                kind=one_line(known["kind"]),
                family=one_line(known["family"]),
                idea=one_line(known["idea"]),
                status=known["status"],
                reason=one_line(known.get("reason", ""), 1000),
                score=known.get("score"),
                gain=known.get("gain"),
                t=known.get("t"),
                required_t=self.required_t(),
                in_pool=bool(known.get("in_pool", 0)),
                seconds=known.get("seconds", 0.0),
                members=tuple((one_line(str(member)), float(weight)) for member, weight in known.get("members", ())),
                params=known.get("params", {}),
                folds=tuple(
                    fit(Fold(row["fold"], row["status"], row["score"], row["seconds"], one_line(row["error"])))
                    for row in self.rows("SELECT * FROM folds WHERE experiment = ? ORDER BY fold", self.name)
                ),
                rival=rival,
                champion=champion,
                neighbours=neighbours,
                compared=compared,
                uses=self.uses(mine),
                phases=self.phases(),
                models=self.models(),
                words=self.words(),
                sent=tuple(
                    fit(
                        Sent(
                            one_line(row["file"]),
                            sending_word(row["state"], row["scoring"]),
                            row["public_score"],
                            one_line(row["note"], 1000),
                        )
                    )
                    for row in self.rows("SELECT * FROM submissions WHERE experiment = ? ORDER BY id", self.name)
                ),
                files=files,
                parent=parent,
                stated=stated,
                ways=read_ways(report),
                blend_notes=read_notes(report),
            )
        )

    def rows(self, sql: str, *parameters: Any) -> list[Row]:
        return [decode(row) for row in self.connection.execute(sql, parameters)]

    def row(self, sql: str, *parameters: Any) -> Row | None:
        found = self.rows(sql, *parameters)
        return found[0] if found else None

    def rivals(self, mine: Row | None) -> tuple[Rival | None, Rival | None]:
        """The champion of its time and that of now."""
        now = self.row("SELECT experiment FROM champion WHERE experiment != ?", self.name)
        current = self.rival(now["experiment"]) if now else None
        if mine is None or mine["ended_at"] is None:
            return current, None
        # A champion is crowned in the transaction that settles it, so its own row bears this very time.
        then = self.row(
            "SELECT experiment FROM champions WHERE at < ? AND experiment != ? ORDER BY id DESC LIMIT 1",
            mine["ended_at"],
            self.name,
        )
        rival = self.rival(then["experiment"]) if then else None
        same = current is not None and rival is not None and current.name == rival.name
        return rival, None if same else current

    def rival(self, name: str) -> Rival:
        row = self.row("SELECT family, score FROM experiments WHERE id = ?", name) or {"family": "", "score": None}
        folds = self.rows("SELECT fold, score FROM folds WHERE experiment = ? AND score IS NOT NULL", name)
        return fit(Rival(name, one_line(row["family"]), row["score"], {fold["fold"]: fold["score"] for fold in folds}))

    def parent(self, known: Row, plan: Row) -> tuple[str | None, bool]:
        named = known.get("parent") or plan.get("parent")
        if isinstance(named, str) and named and named != self.name:
            return named, True
        before = self.row(
            "SELECT id FROM experiments WHERE family = ? AND kind != 'blend' AND source IN ('round', 'try') "
            "AND started_at < ? AND id != ? ORDER BY started_at DESC, id DESC LIMIT 1",
            known["family"],
            known["started_at"],
            self.name,
        )
        return (before["id"], False) if before and known["family"] else (None, False)

    def neighbours(self) -> tuple[tuple[Neighbour, ...], int]:
        # A blend is like its members by its making: only what a blend may choose from is told of.
        near = (
            "(SELECT b AS other, pearson, spearman, error FROM correlations WHERE a = :name "
            "UNION ALL SELECT a, pearson, spearman, error FROM correlations WHERE b = :name) "
            "JOIN experiments e ON e.id = other WHERE e.in_pool AND e.kind != 'blend'"
        )
        name = {"name": self.name, "closest": CLOSEST}
        count = self.connection.execute(f"SELECT count(*) FROM {near}", name).fetchone()[0]
        closest = self.connection.execute(
            f"SELECT e.id, e.family, e.score, pearson, spearman, error FROM {near} "
            "ORDER BY pearson DESC, e.id LIMIT :closest",
            name,
        )
        return tuple(fit(Neighbour(row[0], one_line(row[1]), *tuple(row)[2:])) for row in closest), count

    def uses(self, mine: Row | None) -> tuple[Use, ...]:
        """Blends that took it, and scored ones that were free to take it and did not; newest first."""
        if mine is None or mine["score"] is None:
            return ()
        found = []
        for row in self.rows(
            "SELECT e.id, e.members, e.score, e.gain, e.t, e.status, e.started_at, r.plan FROM experiments e "
            "LEFT JOIN rounds r ON r.round = e.round WHERE e.kind = 'blend' AND e.id != ? AND e.score IS NOT NULL "
            "ORDER BY e.started_at DESC, e.id DESC",
            self.name,
        ):
            weight = dict(row["members"]).get(self.name)
            if weight is None and not self._offered(mine, row):
                continue
            found.append(fit(Use(row["id"], weight, row["score"], row["gain"], row["t"], row["status"])))
        return tuple(found)

    def _offered(self, mine: Row, blend: Row) -> bool:
        plan = blend["plan"] if isinstance(blend["plan"], dict) else {}
        chosen = plan.get("members") or ()
        in_time = mine["ended_at"] is not None and mine["ended_at"] <= blend["started_at"]
        return bool(mine["in_pool"]) and mine["kind"] != "blend" and in_time and (not chosen or self.name in chosen)

    def phases(self) -> tuple[PhaseRecord, ...]:
        return tuple(
            fit(
                PhaseRecord(
                    row["phase"],
                    row["attempt"],
                    row["role"],
                    one_line(row["model"]),
                    row["outcome"],
                    row["seconds"],
                    one_line(str(row["detail"].get("line") or row["detail"].get("error") or "")),
                )
            )
            for row in self.rows("SELECT * FROM phases WHERE round = ? ORDER BY at, rowid", self.number)
        )

    def models(self) -> tuple[ModelUse, ...]:
        # SQLite takes plain columns from the row that has the maximum.
        rows = self.rows(
            "SELECT role, model, asked, count(*) AS calls, sum(input_tokens) AS input, sum(output_tokens) AS output, "
            "sum(seconds) AS seconds, sum(cost) AS cost, count(cost) AS priced, max(estimated) AS estimated, "
            "sum(retries) AS retries, context, window, max(id) AS last FROM calls WHERE round = ? "
            "GROUP BY role, model, asked ORDER BY min(id)",
            self.number,
        )
        return tuple(
            fit(
                ModelUse(
                    row["role"],
                    one_line(row["model"]),
                    one_line(row["asked"]),
                    row["calls"],
                    row["input"],
                    row["output"],
                    row["seconds"],
                    row["cost"] if row["priced"] == row["calls"] else None,
                    bool(row["estimated"]),
                    row["retries"],
                    row["context"],
                    row["window"],
                )
            )
            for row in rows
        )

    def words(self) -> tuple[Word, ...]:
        return tuple(
            fit(
                Word(
                    row["phase"],
                    row["author"],
                    row["verdict"],
                    row["rule"],
                    one_line(row["reason"], 1000),
                    figures_text(row["rule"], row["figures"]),
                )
            )
            for row in self.rows("SELECT * FROM verdicts WHERE round = ? ORDER BY id", self.number)
        )

    def required_t(self) -> float | None:
        row = self.row(
            "SELECT figures FROM verdicts WHERE round = ? AND rule = 'noise-floor' ORDER BY id DESC LIMIT 1",
            self.number,
        )
        asked = row["figures"].get("required_t") if row else None
        return float(asked) if isinstance(asked, int | float) else None
