"""The one door to files that somebody else may have left: agents, experiments, a crash, a download.

Such a name may be a pipe that never ends, a link that leads out, a device, or a file of a terabyte. What comes
through here is an open regular file of a bearable size; all else is an ``OSError`` that says why.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path, PurePath

_SPECIAL = "is a pipe, a socket or a device, not a file"
TEXT_BYTES = 8 << 20
"""Longest text that a person or an agent may leave for the program to read."""


def open_regular(path: Path, *, most: int | None = None, links: bool = False) -> BufferedReader:
    """Open a regular file for reading; never waits for one.

    Args:
        path: The file.
        most: Largest size in bytes; None for any.
        links: A person's own file: it may be a link, and have further names (backups by hard link).

    Raises:
        OSError: There is no such file, it cannot be opened, or it is none of that kind.
    """
    return _checked(_open(path, _flags(links)), str(path), most, links)


def open_beneath(root: Path, relative: PurePath, *, most: int | None = None) -> BufferedReader:
    """Open a regular file of one name below a folder, following no link on the way, whoever moves things meanwhile.

    Raises:
        OSError: As ``open_regular``; or the path is absolute or climbs.
    """
    *folders, name = relative.parts or ("",)
    if relative.is_absolute() or ".." in relative.parts or not name:
        raise OSError(errno.EACCES, "leads outside", str(relative))
    above = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = _open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, above)
            os.close(above)
            above = below
        descriptor = _open(name, _flags(links=False), above)
    finally:
        os.close(above)
    return _checked(descriptor, str(root / relative), most, links=False)


def read_regular(path: Path, *, most: int = TEXT_BYTES, links: bool = False) -> bytes:
    """The whole content of a file that ``open_regular`` lets through.

    Raises:
        OSError: As ``open_regular``.
    """
    with open_regular(path, most=most, links=links) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", str(path))
    return content


def read_text(path: Path, *, most: int = TEXT_BYTES, links: bool = False, encoding: str = "utf-8") -> str:
    """A text that ``open_regular`` lets through, its line ends as Python has them.

    Raises:
        OSError: As ``open_regular``.
        UnicodeDecodeError: It is no such text.
    """
    text = read_regular(path, most=most, links=links).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _open(path: Path | str, flags: int, above: int | None = None) -> int:
    try:
        return os.open(path, flags, dir_fd=above)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "is a link", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, _SPECIAL, str(path)) from None
        raise


def _flags(links: bool) -> int:
    # Without O_NONBLOCK the opening of a pipe waits for its other end.
    return os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | (0 if links else os.O_NOFOLLOW)


def _checked(descriptor: int, name: str, most: int | None, links: bool) -> BufferedReader:
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, _SPECIAL, name)
        if found.st_nlink > 1 and not links:
            raise OSError(errno.EMLINK, "has a second name elsewhere (a hard link)", name)
        if most is not None and found.st_size > most:
            raise OSError(errno.EFBIG, f"is larger than {most:,} bytes", name)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
