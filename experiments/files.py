"""Files that a crash cannot tear: the one recipe for publishing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from experiments.jail import open_regular

TEMPORARY = ".tmp-"
_ATTEMPTS = 3


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part.

    Temporary in the same folder, fsync, rename, fsync of the folder.

    Args:
        path: Where the file is published; its folder is made when missing.
        content: The bytes, or a function that writes them to an open binary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(6)}-{path.name}"
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                content(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content."""
    with open_regular(path, links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def remove_tree(path: Path) -> bool:
    """Remove a file or folder whatever modes, names, links and depth its content has; True when it is gone.

    Folders inside are moved up before they are emptied, so that no path gets long and no call gets deep.
    Nothing else may be at work in it.
    """
    for _ in range(_ATTEMPTS):
        if not os.path.lexists(path):
            return True
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            else:
                _empty(path)
                path.rmdir()
    return not os.path.lexists(path)


def _empty(folder: Path) -> None:
    folder.chmod(stat.S_IRWXU)
    pending = _without_files(folder)
    while pending:
        inner = pending.pop()
        for deeper in _without_files(inner):
            moved = folder / f"{TEMPORARY}{secrets.token_hex(12)}"
            deeper.rename(moved)
            pending.append(moved)
        inner.rmdir()


def _without_files(folder: Path) -> list[Path]:
    """Unlink what is not a folder; the folders, which can then be entered and moved."""
    with os.scandir(folder) as entries:
        found = list(entries)
    folders = []
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            Path(entry.path).chmod(stat.S_IRWXU)
            folders.append(Path(entry.path))
        else:
            Path(entry.path).unlink()
    return folders
