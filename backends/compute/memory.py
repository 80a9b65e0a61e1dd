"""Anonymous files in memory: how bytes reach a worker that must not reach the file they come from."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

LINUX = sys.platform == "linux"


def sealed_copy(path: Path) -> int:
    """A copy of a file that nobody can change; a descriptor, closed on exec.

    A descriptor of the file itself would do as a way to it: whoever owns the file can open it once more,
    for writing, through ``/proc/self/fd``. Elsewhere than on Linux that way does not exist, and the
    descriptor is of the file, read-only.

    Raises:
        OSError: The file cannot be read, or memory is short.
    """
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    if not LINUX:
        return source
    try:
        descriptor = _create()
        try:
            position, size = 0, os.fstat(source).st_size
            while position < size:
                copied = os.sendfile(descriptor, source, position, size - position)
                if not copied:
                    break
                position += copied
            _seal(descriptor, content=True)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    finally:
        os.close(source)


def sealed_bytes(content: bytes) -> int:
    """An anonymous file with this content, which nobody can change (Linux)."""
    descriptor = _create()
    with os.fdopen(descriptor, "wb", closefd=False) as file:
        file.write(content)
    if LINUX:
        _seal(descriptor, content=True)
    return descriptor


def fixed_size(size: int) -> int:
    """An anonymous file of this size, which it keeps, to be written by another (Linux)."""
    descriptor = _create()
    if LINUX and size:
        os.ftruncate(descriptor, size)
        _seal(descriptor, content=False)
    return descriptor


def _create() -> int:
    if LINUX:
        return os.memfd_create("fold", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _seal(descriptor: int, *, content: bool) -> None:
    import fcntl

    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals | (fcntl.F_SEAL_WRITE if content else 0))
