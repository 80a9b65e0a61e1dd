"""Targets: rows of the databases, which another version, another program or a damaged disk may have written."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from autokaggle_tui.dossiers import load_dossier
from autokaggle_tui.ledger import load_ledger
from autokaggle_tui.loading import load_round, load_rounds, load_state
from autokaggle_tui.notifying import notice
from autokaggle_tui.printing import print_round, print_rounds, print_sendings, print_status
from autokaggle_tui.reducing import reduce
from autokaggle_tui.sendings import load_sendings, tell_sendings
from autokaggle_tui.standin import obey_now
from autokaggle_tui.standing import FACT, board_of, board_text
from autokaggle_tui.state import State
from autokaggle_tui.status import describe, load_status
from autokaggle_tui.ui.feed import Feed
from autokaggle_tui.workspace import Workspace
from experiments.schema import decode, open_facts, open_viewer

from ..campaigns import make_campaign  # noqa: TID252 - both live among the tests
from .agents_say import JSON
from .target import Target, refused, scratch, shown

NUMBERS = [-1, 0, 10**6, 10**30, 1e308, float("nan"), float("inf"), -0.0]
VALUES = st.one_of(
    st.sampled_from([None, True, "", "x", "\x1b[2J", "[", "{}", '{"a": 1}', "null", b"\xff", [], {}, *NUMBERS]), JSON
)
COLUMNS = {
    "runs": ("reason", "rounds", "time_limit", "elapsed", "started_at", "ended_at", "pid"),
    "rounds": ("kind", "family", "idea", "plan", "started_at", "ended_at"),
    "experiments": (
        *("kind", "family", "idea", "params", "reason", "score", "gain", "t", "members", "seconds"),
        *("started_at", "ended_at", "closest", "rho"),
    ),
    "folds": ("status", "score", "seconds", "error"),
    "phases": ("role", "model", "outcome", "files", "seconds", "at", "detail"),
    "verdicts": ("round", "phase", "author", "verdict", "rule", "reason", "at"),
    "submissions": ("file", "public_score", "private_score", "ref", "note", "at"),
    "queue": ("reason", "at"),
    "facts": ("value",),
    "calls": ("round", "role", "input_tokens", "output_tokens", "cost"),
    "champions": ("score", "gain", "at"),
    "events": ("at", "run", "round", "kind", "data"),
    "commands": ("run", "verb", "args", "at", "result"),
}


@cache
def _campaign() -> Workspace:
    """A campaign of twelve rounds, made once; something waits to be submitted, and there is a leaderboard."""
    made = make_campaign(scratch() / "campaign", 12, playing=True)
    places = [(f"Team {place}", 0.98 - place / 1000) for place in range(120)]
    board = board_of(places, team="Team 7", best=0.975, better=1, at=1_767_300_000.0)
    waits = {"experiment": "R12", "state": "waiting", "by": "loop", "reason": "the daily limit of 5 is used up"}
    connection = open_facts(made.facts)
    connection.execute("INSERT INTO queue VALUES (:experiment, :state, :by, :reason, 1767300000.0)", waits)
    connection.execute("INSERT INTO facts VALUES (?, ?)", (FACT, board_text(board)))
    for kind, data in (("queue", json.dumps(waits)), ("leaderboard", board_text(board))):
        connection.execute("INSERT INTO events (at, kind, data) VALUES (1767300000.0, ?, ?)", (kind, data))
    connection.close()
    return made


@cache
def _events() -> tuple[tuple[dict[str, Any], ...], State]:
    """The events of the campaign, and its state."""
    connection = open_viewer(_campaign().facts)
    try:
        found = [decode(row) for row in connection.execute("SELECT * FROM events ORDER BY id")]
        kinds: dict[str, dict[str, Any]] = {row["kind"]: row for row in found}
        return (*kinds.values(), *found[-40:]), load_state(connection)
    finally:
        connection.close()


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events with keys that are missing, are new, or hold something else."""
    sound = _events()[0]
    rows = []
    for _ in range(draw(st.integers(1, 5))):
        row = json.loads(json.dumps(draw(st.sampled_from(sound))))
        for _ in range(draw(st.integers(0, 2))):
            if isinstance(row["data"], dict) and row["data"] and draw(st.booleans()):
                key = draw(st.sampled_from(sorted(row["data"])))
                if draw(st.booleans()):
                    del row["data"][key]
                else:
                    row["data"][key] = draw(VALUES)
            else:
                row[draw(st.sampled_from(["at", "run", "round", "data"]))] = draw(VALUES)
        if draw(st.integers(0, 20)) == 0:
            row["kind"] = draw(st.sampled_from(["quantum_leap", "", "call", "verdict", "submission", "command"]))
        rows.append(row)
    return rows


def _event(rows: list[dict[str, Any]]) -> None:
    state = _events()[1]
    for row in rows:
        row["id"] = state.last_id + 1
        before = state
        state = reduce(state, row)
        assert state.last_id == before.last_id + 1
        told = notice(row)
        assert told is None or isinstance(told.text, str)
    _look(state)


def _look(state: State) -> None:
    """What viewers make of a state."""
    now = 1_767_300_000.0
    found = {"workspace": "w", **describe(state, state.now.pid, now), "storage": NOTHING_STORED}
    json.dumps(found)
    state.now.eta(now)
    with contextlib.redirect_stdout(io.StringIO()):
        print_status(found)
        print_sendings(tell_sendings(state, (), 5, now))


NOTHING_STORED = {"total": 0, "prunable": 0, "free": None}
Damage = tuple[str, str, Any]
DAMAGES = st.lists(
    st.sampled_from(sorted(COLUMNS)).flatmap(
        lambda table: st.tuples(st.just(table), st.sampled_from(COLUMNS[table]), VALUES)
    ),
    min_size=1,
    max_size=3,
)


def _damaged(damages: list[Damage]) -> Workspace:
    workspace = Workspace(scratch() / "damaged")
    workspace.root.mkdir(exist_ok=True)
    for stale in workspace.root.glob("autokaggle.db*"):
        stale.unlink()
    shutil.copyfile(_campaign().facts, workspace.facts)
    connection = sqlite3.connect(workspace.facts, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    for table, column, value in damages:
        kept = json.dumps(value) if isinstance(value, list | dict) else value
        kept = str(kept) if isinstance(kept, int) and abs(kept) >= 2**63 else kept
        kept = kept.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if isinstance(kept, str) else kept
        if column in ("round", "members", "plan") and isinstance(kept, str):
            kept = kept[:1000]
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(
                f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT max(rowid) FROM {table})", [kept]
            )
    connection.close()
    return workspace


def _database(damages: list[Damage]) -> None:
    workspace = _damaged(damages)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        connection = open_viewer(workspace.facts)
        try:
            _look(load_state(connection))
        finally:
            connection.close()
        print_status(load_status(workspace))
        print_sendings(load_sendings(workspace))
        rounds = refused(load_rounds, workspace)
        if rounds is not None:
            print_rounds(rounds)
            json.dumps(rounds)
        for name in ("R12", "B01", "T01"):
            found = refused(load_round, workspace, name)
            if found is not None:
                print_round(found, Path("none"))
    shown(out.getvalue(), 10_000_000)
    for name in ("R12", "R06"):
        refused(load_dossier, workspace, name)
    connection = open_viewer(workspace.facts)
    refused(load_ledger, connection, above=0.9)
    connection.close()
    feed = Feed(workspace, patience=0.0)
    feed.look()
    (batch,) = feed.drain()
    feed.stop()
    assert "this is a bug" not in batch.problem


COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["pause", "hint", "retro", "model", "submit", "approve", "refresh", "probe-model", "kill", "obey"]
        )
        | VALUES,
        st.sampled_from(['{"text": "x"}', '{"role": "builder", "model": "x"}', '{"role": [], "model": {}}', "["])
        | VALUES,
        VALUES,
        VALUES,
    ),
    min_size=1,
    max_size=3,
)


def _command(rows: list[tuple[Any, Any, Any, Any]]) -> None:
    workspace = Workspace(scratch() / "commands")
    workspace.root.mkdir(exist_ok=True)
    if not workspace.facts.exists():
        open_facts(workspace.facts).close()
    connection = sqlite3.connect(workspace.facts, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("DELETE FROM commands")
    for number, row in enumerate(rows):
        plain = [json.dumps(value) if isinstance(value, list | dict) else value for value in row]
        plain = [str(value) if isinstance(value, int) and abs(value) >= 2**63 else value for value in plain]
        with contextlib.suppress(sqlite3.IntegrityError, UnicodeEncodeError):
            sql = "INSERT INTO commands (uuid, verb, args, at, run) VALUES (?, ?, ?, ?, ?)"
            connection.execute(sql, [f"{number}", *plain])
    obey_now(workspace)
    # A submission that nobody waits for is the next engine's to refuse.
    sends = "verb IN ('submit', 'approve', 'refresh')"
    left = connection.execute(
        f"SELECT * FROM commands WHERE state = 'accepted' OR (state = 'queued' AND {sends} IS NOT 1)"
    ).fetchall()
    connection.close()
    assert left == []


TARGETS = (
    Target("event", _event, st.deferred(_rows), examples=150),
    Target("database", _database, DAMAGES, examples=60),
    Target("command", _command, COMMANDS, examples=40),
)
