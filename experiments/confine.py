"""What a process gives up before it runs a stranger's code; it does so to itself, and fails closed.

Standard library only: this runs before anything else is imported. ``python -m experiments.confine
CONFINEMENT`` applies one and prints what holds then, by which ``backends.compute.sandbox`` probes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.landlock import Ruleset, landlock_abi
from experiments.seccomp import apply_filter, build_filter, machine

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 24, 38
_CAPABILITIES_V3 = 0x20080522
_LAST_CAPABILITY = 63


OOM_SCORE = 900
"""How soon the kernel takes a process when memory runs out; 1000, which a watchdog gives to folds, is first."""


class ConfinementError(RuntimeError):
    """The process could not give up what it was told to; it must not go on."""


@dataclass(frozen=True)
class Confinement:
    """What a process keeps. Paths are as the process sees them.

    Attributes:
        folder: Its scratch folder.
        enforced: False: nothing is given up; only the folder counts.
        user: User and group number to become; None for an ordinary user, who stays who he is.
        data_bytes: Private writable memory of each process (RLIMIT_DATA).
        processes: Processes and threads of the user (RLIMIT_NPROC).
        open_files: File descriptors of each process.
        file_bytes: Size of each file.
        readable: Files and folders that may be read; None leaves files to the mount namespace.
        writable: Files and folders in which all may be changed, once ``readable`` is given.
        wiped: Folders that are emptied between two folds.
        network: Internet sockets.
        connect: Sockets with an address; see ``seccomp.build_filter``.
        attributes: Modes, owners, times of files; see ``seccomp.build_filter``.
    """

    folder: str
    enforced: bool = True
    user: int | None = None
    data_bytes: int | None = None
    processes: int | None = None
    open_files: int | None = None
    file_bytes: int | None = None
    readable: tuple[str, ...] | None = None
    writable: tuple[str, ...] = ()
    wiped: tuple[str, ...] = ()
    network: bool = False
    connect: bool = True
    attributes: bool = True

    def to_json(self) -> str:
        """As one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Confinement:
        """What ``to_json`` wrote.

        Raises:
            ConfinementError: The text is something else.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            for name in ("readable", "writable", "wiped"):
                if values.get(name) is not None:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfinementError(f"not a confinement: {error}") from error


def confine(confinement: Confinement) -> None:
    """Give up everything but what the confinement names. There is no way back, and children inherit it.

    Besides: no new privileges, no capabilities, no core dumps, taken first when memory runs out, and
    unreadable for other processes of the same user until a forked child calls ``reveal``.

    Raises:
        ConfinementError: Something could not be given up. The process must end.
    """
    if not confinement.enforced:
        return
    name = machine()
    if sys.platform != "linux" or name is None:
        raise ConfinementError("only Linux on x86-64 and ARM64 can confine a process")
    if threading.active_count() != 1 or len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        raise ConfinementError("threads are running already, and would stay outside")
    if confinement.user is None and os.geteuid() == 0:
        raise ConfinementError("root must become another user")
    try:
        # Set while privileged, so that it cannot be lowered again.
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        rules = None
        if confinement.readable is not None:
            if landlock_abi() == 0:
                raise ConfinementError("this kernel has no Landlock")
            rules = Ruleset(confinement.readable, confinement.writable, network=confinement.network)
        if confinement.user is not None:
            _become(confinement.user)
        _drop_capabilities()
        _prctl(_PR_SET_DUMPABLE, 0)
        _limit(confinement)
        if rules is not None:
            rules.apply()
        program = build_filter(
            name,
            network=confinement.network,
            connect=confinement.connect,
            attributes=confinement.attributes,
        )
        apply_filter(program)
    except (OSError, ValueError) as error:
        raise ConfinementError(f"a restriction could not be applied: {error}") from error


def reveal() -> None:
    """Let a forked child be seen by processes of its user again, so that what it starts works as usual."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 1)


def _become(user: int) -> None:
    for capability in range(_LAST_CAPABILITY + 1):
        # Refused without CAP_SETPCAP, where the caller has emptied the set already.
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if os.getresuid() != (user,) * 3 or os.getresgid() != (user,) * 3 or os.getgroups():
        raise ConfinementError("the process is still somebody else")


def _drop_capabilities() -> None:
    library = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITIES_V3, 0))
    if library.capset(header, ctypes.create_string_buffer(24)) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    left = ctypes.create_string_buffer(24)
    if library.capget(header, left) != 0 or any(left.raw[:24]):
        raise ConfinementError("capabilities are left")


def _limit(confinement: Confinement) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: confinement.data_bytes,
        resource.RLIMIT_NPROC: confinement.processes,
        resource.RLIMIT_NOFILE: confinement.open_files,
        resource.RLIMIT_FSIZE: confinement.file_bytes,
    }
    for kind, value in limits.items():
        if value is not None:
            _, hard = resource.getrlimit(kind)
            allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (allowed, allowed))


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def main(arguments: Sequence[str]) -> None:
    """Entry point: ``CONFINEMENT``; prints the user, and whether interpreter and scratch folder can be used."""
    confinement = Confinement.from_json(arguments[0])
    confine(confinement)
    probe = Path(confinement.folder, "probe")
    probe.write_text("written")
    probe.unlink()
    for name in ("stdlib", "purelib", "platlib"):
        next(Path(sysconfig.get_path(name)).iterdir(), None)
    print(json.dumps({"user": os.getuid(), "pid": os.getpid()}))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (ConfinementError, OSError) as problem:
        sys.exit(f"{problem}")
