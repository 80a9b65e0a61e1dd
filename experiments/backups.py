"""Rolling backups of the registry, and what tells a damaged one from a good one. Standard library only."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import RegistryError
from experiments.files import published, sync_folder
from experiments.schema import connect_existing
from experiments.text import one_line

KEPT = 3
EMPTY = "is empty"
MISSING = "is gone"
_NAME = re.compile(r"autokaggle-(\d{10})-v(\d+)\.db")


@dataclass(frozen=True)
class Backup:
    """A copy of the registry.

    Attributes:
        event: Id of the last event in it: this orders backups, for a clock may be set back.
        version: Of its schema.
    """

    path: Path
    event: int
    version: int


def damage(path: Path) -> str:
    """What is wrong with a registry file, as the rest of a sentence; empty when it is sound.

    A journal that a killed engine left is rolled back first, as every reader does.

    Raises:
        sqlite3.OperationalError: It cannot be read now; that says nothing of what is in it.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return MISSING
    if size == 0:
        return EMPTY
    try:
        with closing(connect_existing(path)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                return f"is damaged ({one_line(found, 200)})"
            if _version(connection) == 0:
                tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                return "belongs to another program" if tables else EMPTY
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return f"is damaged ({one_line(str(error), 200)})"
        raise
    return ""


def find_backups(folder: Path) -> list[Backup]:
    """The backups in a folder, the newest first."""
    named = ((path, _NAME.fullmatch(path.name)) for path in folder.glob("autokaggle-*.db"))
    found = [Backup(path, int(match[1]), int(match[2])) for path, match in named if match]
    return sorted(found, key=lambda backup: (backup.event, backup.version), reverse=True)


def back_up(source: Path, folder: Path, *, kept: int = KEPT) -> Backup | None:
    """Copy a registry with SQLite's online backup, check the copy, give it its name, and remove the oldest.

    It may be in use meanwhile: the copy holds the state of one moment. Safe in any thread.

    Returns:
        The backup, or None when there is nothing in it that the newest one has not.

    Raises:
        RegistryError: The registry is damaged.
        OSError: The copy cannot be written.
        sqlite3.Error: The registry cannot be read, or the copy cannot be written.
    """
    with closing(connect_existing(source)) as connection:
        connection.execute("BEGIN")
        event = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0]
        version = _version(connection)
        backup = Backup(folder / f"autokaggle-{event:010d}-v{version}.db", event, version)
        if event == 0 or backup.path.exists():
            return None
        with published(backup.path) as temporary:
            shutil.copymode(source, temporary)
            with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
                # What makes it durable comes with its name.
                copy.execute("PRAGMA synchronous = OFF")
                connection.backup(copy)
                connection.execute("ROLLBACK")
                copy.execute("PRAGMA journal_mode = DELETE")
            wrong = damage(temporary)
            if wrong:
                raise RegistryError(
                    f"{source} {wrong.replace(temporary.name, source.name)}.",
                    hint="Stop the run and give the same command again: the last good backup is put in its place.",
                )
    for old in find_backups(folder)[kept:]:
        old.path.unlink(missing_ok=True)
    sync_folder(folder)
    return backup


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
