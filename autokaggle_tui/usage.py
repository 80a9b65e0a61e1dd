"""How much disk a workspace takes, by kind of file. Standard library only: ``status`` asks it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from autokaggle_tui.workspace import Workspace

KINDS = ("predictions", "code", "submissions", "documents", "registry", "live", "cache", "backups", "other")
"""``documents`` are what agents and engine wrote of a round; ``other`` is config, rules, exports and logs.
Further folders, the data above all, are the person's and are not looked into."""

_OF_ROUNDS = (
    ("_oof.npy", "predictions"),
    ("_test.npy", "predictions"),
    ("_experiment.py", "code"),
    ("_submission.csv", "submissions"),
)


def disk_usage(workspace: Workspace) -> dict[str, int]:
    """Bytes by kind, as the files' lengths add up; one look at each file. Links are not followed."""
    found = dict.fromkeys(KINDS, 0)
    for entry in _entries(workspace.root):
        if not entry.is_dir(follow_symlinks=False):
            found[_kind_at_root(entry.name, workspace)] += _size(entry)
        elif Path(entry) == workspace.rounds:
            for file in _files(entry):
                found[_kind_of_round(file.name)] += _size(file)
        elif entry.name in ("cache", "backups"):
            found[entry.name] += sum(map(_size, _files(entry)))
    return found


def free_bytes(place: Path) -> int | None:
    """What this account may still write there; None where the file system does not say."""
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize if found.f_blocks else None


def _kind_at_root(name: str, workspace: Workspace) -> str:
    """A database with its journals, or another file."""
    kinds = {workspace.facts.name: "registry", workspace.live.name: "live"}
    for database, kind in kinds.items():
        if name in (database, *(f"{database}-{journal}" for journal in ("journal", "wal", "shm"))):
            return kind
    return "other"


def _kind_of_round(name: str) -> str:
    return next((kind for suffix, kind in _OF_ROUNDS if name.endswith(suffix)), "documents")


def _files(folder: os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder."""
    waiting = [folder.path]
    while waiting:
        for entry in _entries(waiting.pop()):
            if entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)
            else:
                yield entry


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        # It went away meanwhile.
        return 0
