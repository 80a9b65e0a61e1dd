"""The warm process of a worker slot: libraries imported, no data loaded, one forked child per fold.

Started by ``backends.compute`` as ``python -s -P -m experiments.worker CONFINEMENT CONTROL_FD`` in a clean
environment and a session of its own; before it imports anything it gives up what the confinement says.
Over the control socket it is told, one byte at a time, ``R`` (run, with the descriptors of
``child.Descriptors``) and ``K`` (kill the fold); it answers in JSON lines: ``{"ready": ...}``,
``{"started": pid}``, ``{"done": ...}``. End of file means that the engine is gone: everything below ends,
the folder goes, and so does the process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

from experiments.confine import Confinement, confine
from experiments.files import remove_tree
from experiments.processes import (
    LINUX,
    MARKER,
    Reaped,
    adopt_orphans,
    die_with_parent,
    end_descendants,
)

RUN = b"R"
KILL = b"K"
# The first process of a namespace is deaf to what it has no handler for: a fold cannot end it.
HEARD = (signal.SIGCHLD,) if os.getpid() == 1 else (signal.SIGCHLD, signal.SIGTERM)
LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "lightgbm", "xgboost", "catboost", "optuna")
SUBMODULES = (
    "scipy.sparse",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "sklearn.svm",
    "sklearn.tree",
)


def preload() -> dict[str, str]:
    """Import what experiments use; a library that is missing or broken is left out.

    Nothing here may compute: a thread pool started before the fork would hang in the child.

    Returns:
        Version by library.
    """
    versions = {}
    for name in (*LIBRARIES, *SUBMODULES):
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, ValueError, AttributeError):
            continue
        if name in LIBRARIES:
            versions[name] = str(getattr(module, "__version__", "unknown"))
    return versions


class FoldServer:
    """Serves folds from the control socket until that closes."""

    def __init__(self, control: socket.socket, confinement: Confinement) -> None:
        self._control = control
        self._confinement = confinement
        self._folder = Path(confinement.folder)
        self._scratch = self._folder / "work"
        self._marker = os.environ.get(MARKER, "")
        self._wake, wake_end = socket.socketpair()
        self._wake_end = wake_end
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda *_: None)
        self._processors = os.sched_getaffinity(0) if LINUX else set()
        self._ended = False

    def serve(self, libraries: dict[str, str]) -> None:
        """Announce readiness, then run folds one after the other."""
        try:
            self._send({"ready": {"pid": os.getpid(), "libraries": libraries}})
            while not self._ended:
                command, descriptors = self._wait()
                if command == RUN:
                    self._fold(descriptors)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            end_descendants(Reaped(), self._marker)
            if os.getpid() != 1:
                remove_tree(self._folder)

    def _wait(self) -> tuple[bytes, list[int]]:
        """Block until a command (returned) or a signal (empty) arrives."""
        readable, _, _ = select.select([self._control, self._wake], [], [])
        if self._wake in readable:
            try:
                self._ended |= signal.SIGTERM in self._wake.recv(4096)
            except BlockingIOError:
                pass
        if self._control not in readable or self._ended:
            return b"", []
        command, descriptors, _, _ = socket.recv_fds(self._control, 1, 16)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._ended |= not command
        return command, descriptors

    def _fold(self, descriptors: list[int]) -> None:
        from experiments import child

        fds = child.Descriptors(*descriptors)
        clean = self._wipe()
        if LINUX and os.sched_getaffinity(0) != self._processors:
            # A fold of the same user can change it.
            os.sched_setaffinity(0, self._processors)
        self._scratch.mkdir(mode=0o700)
        owner = os.getpid()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for number in HEARD:
                    signal.signal(number, signal.SIG_DFL)
                for end in (self._control, self._wake, self._wake_end):
                    end.close()
                child.run_child(fds, self._scratch, owner, confined=self._confinement.enforced)
            finally:
                os._exit(70)
        fds.close()
        self._send({"started": pid})
        reaped = Reaped()
        while pid not in reaped and not self._ended:
            command, _ = self._wait()
            reaped.collect()
            if command == KILL:
                clean &= end_descendants(reaped, self._marker)
        if self._ended:
            return
        seconds = time.monotonic() - started
        clean &= end_descendants(reaped, self._marker)
        clean &= self._wipe()
        status, cpu, peak = reaped.get(pid, (signal.SIGKILL, 0.0, 0))
        usage = {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}
        self._send({"done": {"status": status, "clean": clean, **usage}})

    def _wipe(self) -> bool:
        """Empty the slot's folder and all else that a fold may write to; True when nothing is left in it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        folders = (self._folder, *map(Path, self._confinement.wiped))
        return sum(not _empty(folder) for folder in folders) == 0

    def _send(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")


def _empty(folder: Path) -> bool:
    """Remove what this user has in a folder, and what is written on the folder itself; True when it is gone."""
    if LINUX and folder.stat().st_uid == os.getuid():
        folder.chmod(stat.S_IRWXU)
        for name in os.listxattr(folder):
            if name.startswith("user."):
                os.removexattr(folder, name)
    return sum(not remove_tree(path) for path in folder.iterdir() if _is_own(path)) == 0


def _is_own(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_uid == os.getuid()
    return False


def main(arguments: list[str]) -> None:
    """Entry point: ``CONFINEMENT CONTROL_FD``."""
    confinement = Confinement.from_json(arguments[0])
    confine(confinement)
    # After the confinement: becoming another user clears it.
    die_with_parent(signal.SIGKILL if os.getpid() == 1 else signal.SIGTERM)
    adopt_orphans()
    control = socket.socket(fileno=int(arguments[1]))
    control.set_inheritable(False)
    libraries = preload()
    from experiments import child

    child.forget_garbage()
    FoldServer(control, confinement).serve(libraries)


if __name__ == "__main__":
    main(sys.argv[1:])
