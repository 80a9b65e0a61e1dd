"""Before the engine opens the registry: is it sound, and if not, which backup takes its place."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from autokaggle_tui.workspace import Workspace, round_name
from experiments.backups import EMPTY, MISSING, Backup, back_up, damage, find_backups
from experiments.errors import RegistryError
from experiments.files import make_folder, published, sync_folder
from experiments.schema import MIGRATIONS, Row, connect_existing, version_error

RESTORED_TO = "restored_to"
"""The fact that tells when the backup ended, in Unix seconds: files published after it are this campaign's own."""
SIDECARS = ("-journal", "-wal", "-shm")
_PUBLISHED = re.compile(r"([RTB]\d{2,})_.+")


def ready_registry(workspace: Workspace, *, clock: Callable[[], float] = time.time) -> Row | None:
    """Make sure that autokaggle.db can be opened; to be called with the workspace locked.

    A damaged, empty or vanished file is set aside, never deleted, and the last good backup takes its place. A sound
    one of an older version is backed up before it is migrated.

    Returns:
        The event that tells of a restored backup, or None.

    Raises:
        RegistryError: There is no good backup, or it is of a newer version; nothing was touched.
    """
    wrong = damage(workspace.facts)
    if not wrong:
        with closing(connect_existing(workspace.facts)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < len(MIGRATIONS):
            back_up(workspace.facts, workspace.backups)
        return None
    found = find_backups(workspace.backups)
    if wrong in (MISSING, EMPTY) and not found and not _published(workspace):
        return None
    spoilt: list[Path] = []
    for backup in found:
        if backup.version > len(MIGRATIONS):
            raise version_error(backup.path, backup.version)
        if not damage(backup.path):
            return _restore(workspace, backup, wrong, spoilt, clock())
        spoilt.append(backup.path)
    where = f"no backup in {workspace.backups} is good" if found else f"there is no backup in {workspace.backups}"
    raise RegistryError(
        f"{workspace.facts} {wrong}, and {where}. Nothing was touched.",
        hint="Put a copy of your own in its place. To begin anew, use another folder.",
    )


def _published(workspace: Workspace) -> bool:
    return any(_PUBLISHED.fullmatch(path.name) for path in workspace.rounds.glob("*"))


def _restore(workspace: Workspace, backup: Backup, wrong: str, spoilt: list[Path], now: float) -> Row:
    """Put a backup in the registry's place. Killed at any point, the next start does it again."""
    with closing(connect_existing(backup.path)) as connection:
        known = _Known(connection)
    aside = _dated_folder(workspace.backups, now)
    for path in workspace.rounds.glob("*"):
        match = _PUBLISHED.fullmatch(path.name)
        if match and match[1] not in known.settled:
            _copy(path, aside / workspace.rounds.name / path.name)
    # A journal of the damaged file would be rolled back into the one that takes its place: it goes first.
    for path in (*spoilt, *(Path(f"{workspace.facts}{ending}") for ending in SIDECARS), workspace.facts):
        if path.exists():
            path.replace(aside / path.name)
    for folder in (aside, workspace.root, workspace.backups):
        sync_folder(folder)
    until = datetime.fromtimestamp(known.until, UTC)
    text = (
        f"{workspace.facts.name} {wrong}: the backup of {until:%Y-%m-%d %H:%M} UTC ({known.told}) is in its place. "
        f"What there was lies in {aside.relative_to(workspace.root)}. What was done since is taken over from "
        f"{workspace.rounds.name}/ where that is possible and done again where not; nothing is submitted twice."
    )
    row: Row = {"at": now, "run": known.run, "round": None, "kind": "warning", "data": {"text": text}}
    with published(workspace.facts) as temporary:
        shutil.copyfile(backup.path, temporary)
        shutil.copymode(backup.path, temporary)
        # The news is in the file before the file is in its place: no crash comes between them.
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = MEMORY")
            connection.execute("BEGIN")
            row["id"] = connection.execute(
                "INSERT INTO events (at, run, round, kind, data) VALUES (?, ?, NULL, ?, ?)",
                (now, known.run, row["kind"], json.dumps(row["data"], ensure_ascii=False)),
            ).lastrowid
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (RESTORED_TO, repr(known.until)))
            connection.execute("COMMIT")
    return row


class _Known:
    """What a backup knows.

    Attributes:
        until: When its last event was, in Unix seconds.
        settled: Names whose files nobody writes again.
        told: How far it goes, in a few words.
        run: Its last run.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        def column(sql: str) -> list[str]:
            return [row[0] for row in connection.execute(sql)]

        last = connection.execute("SELECT at FROM events ORDER BY id DESC LIMIT 1").fetchone()
        rounds = column("SELECT round FROM rounds WHERE status != 'open' ORDER BY round")
        others = column("SELECT id FROM experiments WHERE source != 'round' AND status != 'running'")
        self.until = float(last[0]) if last else 0.0
        self.settled = {*(round_name(int(number)) for number in rounds), *others}
        self.told = f"after round {rounds[-1]}" if rounds else "before the first round"
        self.run = next(iter(column("SELECT id FROM runs ORDER BY rowid DESC LIMIT 1")), None)


def _dated_folder(backups: Path, now: float) -> Path:
    """A new folder for what is set aside."""
    make_folder(backups)
    for name in _names(f"damaged-{datetime.fromtimestamp(now, UTC):%Y%m%d-%H%M%S}"):
        folder = backups / name
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("names do not end")


def _names(first: str) -> Iterator[str]:
    yield first
    number = 2
    while True:
        yield f"{first}-{number}"
        number += 1


def _copy(path: Path, place: Path) -> None:
    """A copy of a published file; not a hard link: files with a second name are adopted from nobody."""
    make_folder(place.parent)
    shutil.copy2(path, place, follow_symlinks=False)
