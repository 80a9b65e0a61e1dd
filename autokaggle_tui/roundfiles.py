"""The files of a round in rounds/, and what its experiment printed so far. Standard library only.

Texts leave this module cleaned of control characters.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from autokaggle_tui.workspace import Workspace
from experiments.jail import open_regular
from experiments.text import clean

SUFFIXES = (
    "eda.md",
    "retro.md",
    "research_brief.md",
    "research_raw.md",
    "plan.md",
    "review.md",
    "experiment.py",
    "run.log",
    "oof.npy",
    "test.npy",
    "findings.md",
    "verify.md",
    "submission.csv",
)
"""What the phases of a round publish, in the order in which they do."""

TEXT_CAP = 2_000_000
LOG_ROWS = 4_000

LogLine = tuple[float, int, str]
"""When, in which fold (from 0) and what an experiment printed."""


@dataclass(frozen=True)
class PublishedFile:
    """A file of the round in rounds/; ``size`` in bytes, ``changed`` in nanoseconds."""

    path: Path
    suffix: str
    size: int
    changed: int


@dataclass(frozen=True)
class Text:
    """A text file: its cleaned text, whether the rest was cut, or the problem that keeps it from being read."""

    text: str = ""
    cut: bool = False
    problem: str = ""


def published(workspace: Workspace, name: str) -> tuple[PublishedFile, ...]:
    """What the phases of a round have published, in their order."""
    found = []
    for suffix in SUFFIXES:
        path = workspace.rounds / f"{name}_{suffix}"
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append(PublishedFile(path, suffix, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def read_text(path: Path, cap: int = TEXT_CAP) -> Text:
    """A published text file, made safe to show."""
    try:
        with open_regular(path, links=True) as file:
            raw = file.read(cap + 1)
    except FileNotFoundError:
        return Text(problem="missing")
    except OSError as error:
        return Text(problem=f"{path.name} cannot be read: {error.strerror or error}.")
    text = raw[:cap].decode("utf-8", errors="replace").replace("\r\n", "\n").removeprefix("\ufeff")
    return Text(clean(text), cut=len(raw) > cap)


def load_log(workspace: Workspace, name: str) -> tuple[LogLine, ...]:
    """The last lines an experiment printed, as live.db has them; nothing when there is no such database."""
    if not workspace.live.is_file():
        return ()
    try:
        with contextlib.closing(sqlite3.connect(workspace.live, timeout=5, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = ON")
            rows = connection.execute(
                "SELECT at, fold, text FROM logs WHERE experiment = ? ORDER BY id DESC LIMIT ?", (name, LOG_ROWS)
            ).fetchall()
    except sqlite3.DatabaseError:
        return ()
    return tuple((at, fold, clean(text)) for at, fold, text in reversed(rows))
