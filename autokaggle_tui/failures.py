"""What a person is told when something fails that the code did not foresee. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import AutokaggleError, RegistryError, WorkspaceError
from experiments.schema import DAMAGED
from experiments.text import clean, one_line

if TYPE_CHECKING:
    import sqlite3

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
GOES_ON = "Then give the same command again: it goes on where it stopped."


def explain(error: BaseException, place: Path) -> AutokaggleError | None:
    """What the machine refused, as an error that a person can act on; None for a bug of ours.

    Args:
        place: The workspace, for errors that name no file.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_file(error, place)
    import sqlite3

    if isinstance(error, sqlite3.DatabaseError):
        return _explain_database(error, place)
    return None


def _explain_file(error: OSError, place: Path) -> AutokaggleError:
    named = isinstance(error.filename, str | os.PathLike)
    said = f"{error.filename}: {error.strerror}." if named else f"{error.strerror}, while working in {place}."
    if error.errno in FULL:
        return WorkspaceError(said, hint=f"Free some space. {GOES_ON}")
    if error.errno in FORBIDDEN:
        return WorkspaceError(said, hint="Change its permissions, or work in a folder of your own (--workspace).")
    if error.errno == errno.EMFILE:
        return WorkspaceError(said, hint=f"Allow more open files (`ulimit -n`). {GOES_ON}")
    return WorkspaceError(said, hint=f"Put that right. {GOES_ON}")


def _explain_database(error: sqlite3.DatabaseError, place: Path) -> AutokaggleError | None:
    import sqlite3

    # A rollback that fails in its turn hides what came first.
    while isinstance(error.__context__, sqlite3.DatabaseError):
        error = error.__context__
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    hint = {
        sqlite3.SQLITE_FULL: f"Free some space. {GOES_ON}",
        sqlite3.SQLITE_IOERR: f"Look at the disk: is it full, or gone? {GOES_ON}",
        sqlite3.SQLITE_READONLY: "Change the permissions of the folder and of its files.",
        sqlite3.SQLITE_CANTOPEN: "Change the permissions of the folder and of its files.",
        sqlite3.SQLITE_PERM: "Change the permissions of the folder and of its files.",
        sqlite3.SQLITE_BUSY: f"Another program holds the file: end it. {GOES_ON}",
        sqlite3.SQLITE_LOCKED: f"Another program holds the file: end it. {GOES_ON}",
        sqlite3.SQLITE_CORRUPT: DAMAGED,
        sqlite3.SQLITE_NOTADB: DAMAGED,
    }.get(code)
    return None if hint is None else RegistryError(f"the databases in {place}: {error}.", hint=hint)


def record_bug(error: Exception, place: Path) -> str:
    """Write a traceback to engine.log (in the temporary folder where there is no workspace); say so in a line."""
    import tempfile
    import traceback

    folder = place if (place / "config.json").is_file() else Path(tempfile.gettempdir())
    log = folder / "engine.log"
    said = one_line(f"{type(error).__name__}: {error}", 200)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    text = clean(f"{stamp} UTC, {' '.join(sys.argv)}\n{''.join(traceback.format_exception(error))}\n")
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)
        return f"this is a bug of autokaggle-tui ({said}); the details are in {log}."
    return f"this is a bug of autokaggle-tui ({said}); {log} could not be written."


def complain(text: str) -> None:
    """Tell the person on stderr, if there still is one."""
    with contextlib.suppress(OSError, ValueError):
        print(clean(text), file=sys.stderr, flush=True)
