"""Files that a crash cannot tear: the one recipe for publishing."""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from experiments.jail import open_regular

TEMPORARY = ".tmp-"
_ATTEMPTS = 3


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary file to be filled, which takes its name when the block ends well, and is gone when it does not.

    O_EXCL temporary in the same folder, fsync, rename, fsync of the folder: a crash leaves the old file or the new
    one. The permissions of a file that is replaced stay.

    Args:
        path: Where the file is published; its folder is made when missing.
    """
    make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY}{os.urandom(6).hex()}-{path.name}"
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644))
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDWR)
        try:
            if path.is_file():
                os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part.

    Args:
        path: Where the file is published; its folder is made when missing.
        content: The bytes, or a function that writes them to an open binary file.
    """
    with published(path) as temporary, temporary.open("r+b") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            content(file)


def allow_open_files(most: int = 8192) -> None:
    """Let this process have more files open, as far as the system permits: each mapped array keeps one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take them along with what is in them."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sweep_folder(folder: Path, *, deep: bool = False) -> list[Path]:
    """Remove temporary files that a killed process left; returns what was removed.

    Args:
        deep: In the folders below as well.
    """
    pattern = f"{TEMPORARY}*"
    stray = [path for path in (folder.rglob(pattern) if deep else folder.glob(pattern)) if path.is_file()]
    for path in stray:
        path.unlink(missing_ok=True)
    return stray


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content."""
    # Viewers write files and hash none: loading OpenSSL would be a fiftieth of their start.
    import hashlib

    with open_regular(path, links=True) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes."""
    import hashlib

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
            moved = folder / f"{TEMPORARY}{os.urandom(12).hex()}"
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
