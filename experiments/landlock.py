"""Landlock: what a process may do with files, sockets and signals, given up by itself (Linux 5.13 and later).

Standard library only; structures and numbers are those of ``linux/landlock.h``, ABI 1 to 7
(https://docs.kernel.org/userspace-api/landlock.html).
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_RIGHTS = (1 << 13) - 1
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2
_LOG_NOTHING = 1
SCOPES_FROM = 6
"""First ABI that keeps signals and abstract sockets inside."""


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 where there is none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    found = ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, _VERSION)
    return max(0, int(found))


class Ruleset:
    """What stays allowed; prepared first, applied when all paths have been opened.

    Args:
        readable: Files and folders that may be read and executed, with all below them.
        writable: Files and folders in which, besides, all may be changed (device files excepted).
        network: TCP is left alone.

    Raises:
        OSError: A path cannot be opened, or the kernel refuses.
    """

    def __init__(self, readable: Sequence[str], writable: Sequence[str], *, network: bool) -> None:
        abi = landlock_abi()
        rights = _FIRST_RIGHTS
        for first, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
            rights |= right if abi >= first else 0
        tcp = _BIND_TCP | _CONNECT_TCP if abi >= 4 and not network else 0
        scopes = _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if abi >= SCOPES_FROM else 0
        self._descriptor = _create(abi, rights, tcp, scopes)
        try:
            for path in readable:
                self._allow(path, _READ & rights)
            for path in writable:
                self._allow(path, rights & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV))
        except OSError:
            os.close(self._descriptor)
            raise

    def apply(self) -> None:
        """Restrict the calling thread and all that it starts; there is no way back.

        Raises:
            OSError: The kernel refuses.
        """
        _restrict(self._descriptor)

    def _allow(self, path: str, rights: int) -> None:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(target).st_mode):
                rights &= _FILE_RIGHTS
            rule = struct.pack("=Qi", rights, target)
            _call("landlock_add_rule", _ADD_RULE, self._descriptor, _PATH_BENEATH, rule, 0)
        finally:
            os.close(target)


def keep_signals_inside() -> None:
    """From now on the calling process reaches only itself and what it starts, where the kernel can do that.

    Raises:
        OSError: The kernel refuses.
    """
    abi = landlock_abi()
    if abi >= SCOPES_FROM:
        _restrict(_create(abi, 0, 0, _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS))


def _create(abi: int, rights: int, tcp: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", rights, tcp, scopes)
    size = 24 if abi >= SCOPES_FROM else 16 if abi >= 4 else 8
    return _call("landlock_create_ruleset", _CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)


def _restrict(descriptor: int) -> None:
    """Apply a ruleset and close it. Where denials are logged, these are not: a fold could flood the log."""
    try:
        _call("landlock_restrict_self", _RESTRICT_SELF, descriptor, _LOG_NOTHING if landlock_abi() >= 7 else 0)
    finally:
        os.close(descriptor)


def _call(name: str, number: int, *arguments: object) -> int:
    result = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
