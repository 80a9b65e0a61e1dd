"""The schema of both databases: tables, views and migrations as SQL. Standard library only.

The registry writes through sqlite-utils, viewers read through ``sqlite3``; both open their
connections here, so journal mode, durability and version are decided in one place. Times are Unix
seconds (UTC); JSON columns are named in ``JSON_COLUMNS``.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Final

from experiments.errors import RegistryError

Row = dict[str, Any]

JSON_COLUMNS: Final = frozenset({"data", "args", "params", "members", "figures", "message", "detail", "plan", "report"})

MIGRATIONS: Final = (
    """
    CREATE TABLE facts (key TEXT PRIMARY KEY, value TEXT NOT NULL);

    CREATE TABLE runs (
        id TEXT PRIMARY KEY,
        status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'finished', 'failed')),
        reason TEXT NOT NULL DEFAULT '',
        rounds INTEGER, time_limit REAL,
        first_round INTEGER NOT NULL,
        elapsed REAL NOT NULL DEFAULT 0,
        pid INTEGER NOT NULL,
        started_at REAL NOT NULL, ended_at REAL
    );

    CREATE TABLE rounds (
        round INTEGER PRIMARY KEY,
        run TEXT NOT NULL REFERENCES runs (id),
        status TEXT NOT NULL CHECK (status IN ('open', 'done', 'blocked')),
        kind TEXT NOT NULL DEFAULT '', family TEXT NOT NULL DEFAULT '', idea TEXT NOT NULL DEFAULT '',
        plan TEXT NOT NULL DEFAULT '{}',
        started_at REAL NOT NULL, ended_at REAL
    );

    CREATE TABLE phases (
        round INTEGER NOT NULL REFERENCES rounds (round),
        phase TEXT NOT NULL, attempt INTEGER NOT NULL,
        role TEXT NOT NULL, model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        files TEXT NOT NULL DEFAULT '', sha256 TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT '{}',
        seconds REAL NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (round, phase, attempt)
    );

    CREATE TABLE experiments (
        id TEXT PRIMARY KEY,
        round INTEGER REFERENCES rounds (round),
        source TEXT NOT NULL CHECK (source IN ('round', 'try', 'imported', 'closing')),
        kind TEXT NOT NULL, family TEXT NOT NULL, parent TEXT,
        idea TEXT NOT NULL DEFAULT '', params TEXT NOT NULL DEFAULT '{}',
        code_sha TEXT NOT NULL DEFAULT '', normal_sha TEXT NOT NULL DEFAULT '',
        folds_digest TEXT NOT NULL DEFAULT '', data_hash TEXT NOT NULL DEFAULT '', seed INTEGER NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('running', 'keep', 'discard', 'killed', 'crash', 'timeout',
                                               'invalid', 'imported')),
        reason TEXT NOT NULL DEFAULT '',
        score REAL, gain REAL, t REAL,
        in_pool INTEGER NOT NULL DEFAULT 0,
        members TEXT NOT NULL DEFAULT '[]',
        seconds REAL NOT NULL DEFAULT 0,
        started_at REAL NOT NULL, ended_at REAL
    );

    CREATE TABLE folds (
        experiment TEXT NOT NULL REFERENCES experiments (id),
        fold INTEGER NOT NULL,
        key TEXT NOT NULL,
        status TEXT NOT NULL, score REAL, seconds REAL NOT NULL,
        error TEXT NOT NULL DEFAULT '', at REAL NOT NULL,
        PRIMARY KEY (experiment, fold)
    );
    CREATE INDEX folds_key ON folds (key);

    CREATE TABLE predictions (
        experiment TEXT PRIMARY KEY REFERENCES experiments (id),
        oof TEXT NOT NULL, test TEXT NOT NULL,
        oof_sha TEXT NOT NULL, test_sha TEXT NOT NULL,
        at REAL NOT NULL
    );

    CREATE TABLE correlations (
        a TEXT NOT NULL, b TEXT NOT NULL, pearson REAL NOT NULL,
        PRIMARY KEY (a, b), CHECK (a < b)
    );
    CREATE INDEX correlations_b ON correlations (b);

    CREATE TABLE champions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        experiment TEXT NOT NULL REFERENCES experiments (id),
        score REAL NOT NULL, gain REAL, t REAL, at REAL NOT NULL
    );

    CREATE TABLE verdicts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        round INTEGER, phase TEXT NOT NULL, author TEXT NOT NULL,
        verdict TEXT NOT NULL, rule TEXT, reason TEXT NOT NULL,
        figures TEXT NOT NULL DEFAULT '{}', at REAL NOT NULL
    );

    CREATE TABLE submissions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        competition TEXT NOT NULL,
        experiment TEXT NOT NULL REFERENCES experiments (id),
        file TEXT NOT NULL, sha256 TEXT NOT NULL,
        token TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL CHECK (state IN ('intent', 'accepted', 'refused', 'unknown')),
        public_score REAL, note TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL, settled_at REAL
    );
    CREATE UNIQUE INDEX submissions_once ON submissions (competition, sha256) WHERE state != 'refused';
    CREATE INDEX submissions_experiment ON submissions (experiment);

    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, run TEXT, round INTEGER,
        kind TEXT NOT NULL, data TEXT NOT NULL DEFAULT '{}'
    );

    CREATE TABLE commands (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        uuid TEXT NOT NULL UNIQUE,
        run TEXT,
        verb TEXT NOT NULL, args TEXT NOT NULL DEFAULT '{}',
        state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'accepted', 'done', 'refused')),
        result TEXT NOT NULL DEFAULT '',
        at REAL NOT NULL, settled_at REAL
    );
    CREATE INDEX commands_open ON commands (state) WHERE state IN ('queued', 'accepted');

    CREATE TABLE calls (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run TEXT, round INTEGER, phase TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL, estimated INTEGER NOT NULL,
        seconds REAL NOT NULL, outcome TEXT NOT NULL, at REAL NOT NULL
    );

    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        role TEXT NOT NULL, generation INTEGER NOT NULL, round INTEGER NOT NULL,
        message TEXT NOT NULL, at REAL NOT NULL
    );
    CREATE INDEX conversations_role ON conversations (role, generation, id);

    CREATE VIEW champion AS SELECT * FROM champions ORDER BY id DESC LIMIT 1;
    CREATE VIEW results AS
        SELECT e.round, e.id, e.kind, e.family, e.score AS cv_score, e.gain, e.t, e.status, e.reason, e.idea, e.seconds,
               e.ended_at,
               (SELECT s.public_score FROM submissions s WHERE s.experiment = e.id AND s.state = 'accepted'
                ORDER BY s.id DESC LIMIT 1) AS lb,
               EXISTS (SELECT 1 FROM submissions s WHERE s.experiment = e.id AND s.state = 'accepted') AS submitted
        FROM experiments e ORDER BY e.started_at, e.id;
    """,
    """
    ALTER TABLE experiments ADD COLUMN closest TEXT;
    ALTER TABLE experiments ADD COLUMN rho REAL;
    CREATE INDEX calls_round ON calls (round);
    DROP VIEW results;
    CREATE VIEW results AS
        SELECT e.round, e.id, e.kind, e.family, e.score AS cv_score, e.gain, e.t, e.rho, e.closest, e.status, e.reason,
               e.idea, e.seconds, e.ended_at,
               (SELECT s.public_score FROM submissions s WHERE s.experiment = e.id AND s.state = 'accepted'
                ORDER BY s.id DESC LIMIT 1) AS lb,
               EXISTS (SELECT 1 FROM submissions s WHERE s.experiment = e.id AND s.state = 'accepted') AS submitted
        FROM experiments e ORDER BY e.started_at, e.id;
    """,
    """
    ALTER TABLE predictions ADD COLUMN pruned_at REAL;
    """,
    # asked: the model that was to answer, where another did; context: tokens of the conversation, of window at most.
    """
    ALTER TABLE calls ADD COLUMN asked TEXT NOT NULL DEFAULT '';
    ALTER TABLE calls ADD COLUMN cached_tokens INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE calls ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE calls ADD COLUMN context INTEGER;
    ALTER TABLE calls ADD COLUMN window INTEGER;
    """,
    # spearman: of the predictions; error: Pearson of what they miss the target by. NULL where it was not measured.
    # reruns: the score of a finished fold with another seed. blends: all that a fitted blend was chosen from, as JSON.
    """
    ALTER TABLE correlations ADD COLUMN spearman REAL;
    ALTER TABLE correlations ADD COLUMN error REAL;
    CREATE TABLE reruns (
        experiment TEXT NOT NULL REFERENCES experiments (id),
        fold INTEGER NOT NULL, seed INTEGER NOT NULL,
        score REAL NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (experiment, fold, seed)
    );
    CREATE TABLE blends (
        experiment TEXT PRIMARY KEY REFERENCES experiments (id),
        report TEXT NOT NULL
    );
    """,
    # scoring: of an accepted one. lost_at: from when on an intent cannot be on its way any more; looks: how often it
    # was looked for since. by: who queued it. at, reason of a queue row: since when, and why, it is in this state.
    """
    ALTER TABLE submissions ADD COLUMN ref TEXT NOT NULL DEFAULT '';
    ALTER TABLE submissions ADD COLUMN scoring TEXT NOT NULL DEFAULT 'complete'
        CHECK (scoring IN ('pending', 'complete', 'error'));
    ALTER TABLE submissions ADD COLUMN private_score REAL;
    ALTER TABLE submissions ADD COLUMN lost_at REAL;
    ALTER TABLE submissions ADD COLUMN looks INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE queue (
        experiment TEXT PRIMARY KEY REFERENCES experiments (id),
        state TEXT NOT NULL CHECK (state IN ('waiting', 'asking', 'sent', 'left')),
        by TEXT NOT NULL CHECK (by IN ('loop', 'person')),
        reason TEXT NOT NULL,
        at REAL NOT NULL
    );
    """,
)

DAMAGED: Final = "Start the engine (`autokaggle-tui`): it sets a damaged file aside and takes the last good backup."
LIVE_SECONDS: Final = 0.05
"""How long a writer of live.db waits for somebody who reads it."""
LIVE: Final = """
    CREATE TABLE IF NOT EXISTS stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, round INTEGER, role TEXT NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS logs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at REAL NOT NULL, experiment TEXT NOT NULL, fold INTEGER NOT NULL, text TEXT NOT NULL
    );
"""


def journal_mode() -> str:
    """WAL where SQLite no longer has its reset corruption bug (3.51.3), else TRUNCATE."""
    return "WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "TRUNCATE"


def _connect(path: Path, *, synchronous: str, timeout: float = 30.0) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    connection.row_factory = sqlite3.Row
    # Leaving WAL raises while another program has the file open. Not every file system can have WAL.
    if connection.execute(f"PRAGMA journal_mode = {journal_mode()}").fetchone()[0] == "delete":
        connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_facts(path: Path) -> sqlite3.Connection:
    """Open autokaggle.db for writing, creating or migrating it.

    Raises:
        RegistryError: The file is no database, or a newer version of the program wrote it.
    """
    try:
        connection = _connect(path, synchronous="FULL")
        # A transaction that outgrows the cache would need the whole file before its commit, where nobody waits.
        connection.execute("PRAGMA cache_spill = OFF")
        migrate(connection, path)
    except sqlite3.DatabaseError as error:
        raise RegistryError(f"{path} cannot be opened as a registry: {error}", hint=_hint(error)) from error
    return connection


def open_live(path: Path) -> sqlite3.Connection:
    """Open live.db (tokens and log lines); a damaged one is replaced, for nothing in it is a fact."""
    try:
        connection = _connect(path, synchronous="OFF", timeout=LIVE_SECONDS)
        connection.executescript(LIVE)
    except sqlite3.DatabaseError:
        for stale in (path, Path(f"{path}-journal"), Path(f"{path}-wal"), Path(f"{path}-shm")):
            stale.unlink(missing_ok=True)
        connection = _connect(path, synchronous="OFF", timeout=LIVE_SECONDS)
        connection.executescript(LIVE)
    return connection


def connect_existing(path: Path) -> sqlite3.Connection:
    """Connect to autokaggle.db beside the engine; unlike a plain connect this never makes an empty file.

    Raises:
        sqlite3.OperationalError: There is none, or it may not be read.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        # An older SQLite than the engine's must not fold a WAL into the file: that is where its bug lies.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def open_viewer(path: Path) -> sqlite3.Connection:
    """Open autokaggle.db to look at it.

    Read-write with ``query_only``: a read-only connection could not roll back a hot journal that a
    killed engine left behind.

    Raises:
        RegistryError: There is no registry here, or it is of a newer version.
    """
    if not path.is_file():
        if any(path.parent.glob("backups/autokaggle-*.db")):
            raise RegistryError(
                f"{path} is gone, but there are backups of it.",
                hint="Start the engine (`autokaggle-tui`): it puts the last good one in its place.",
            )
        raise RegistryError(
            f"{path} does not exist: nothing has run in this workspace yet.",
            hint="Make a workspace with `autokaggle-tui init`, then start a run with `autokaggle-tui`.",
        )
    try:
        connection = connect_existing(path)
        version = _version(connection)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.DatabaseError as error:
        raise RegistryError(f"{path} cannot be read: {error}", hint=_hint(error)) from error
    if version != len(MIGRATIONS):
        connection.close()
        raise version_error(path, version)
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version, each step in a transaction of its own."""
    version = _version(connection)
    if version > len(MIGRATIONS):
        raise version_error(path, version)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        # executescript commits what is open, so the step opens its own transaction.
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _hint(error: sqlite3.DatabaseError) -> str:
    kept = "Nothing in it is lost."
    return {
        sqlite3.SQLITE_NOTADB: DAMAGED,
        sqlite3.SQLITE_CORRUPT: DAMAGED,
        sqlite3.SQLITE_FULL: f"Free some space, then give the same command again. {kept}",
        sqlite3.SQLITE_BUSY: f"Another program holds the file: close what shows this workspace, then try again. {kept}",
    }.get(
        getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF,
        f"Look at the permissions of the folder and its files, and at the disk. {kept}",
    )


def version_error(path: Path, version: int) -> RegistryError:
    """Why a registry of this schema cannot be used."""
    if version > len(MIGRATIONS):
        return RegistryError(
            f"{path} was written by a newer autokaggle-tui (schema {version}, this one knows {len(MIGRATIONS)}).",
            hint="Upgrade autokaggle-tui, or use another workspace.",
        )
    return RegistryError(
        f"{path} has schema {version}, this program needs {len(MIGRATIONS)}.",
        hint="Start the engine once in this workspace: it migrates the registry.",
    )


def decode(row: sqlite3.Row) -> Row:
    """A row as a dict, its JSON columns decoded; None for what is no JSON."""
    return {
        key: _decoded(value) if key in JSON_COLUMNS and isinstance(value, str) else value
        for key, value in zip(row.keys(), tuple(row), strict=True)
    }


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
