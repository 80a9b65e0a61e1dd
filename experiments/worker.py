"""The warm process of a worker slot: libraries imported, no data loaded, one forked child per fold.

Started by ``backends.compute`` as ``python -s -P -m experiments.worker CONTROL_FD FOLDER`` in a clean
environment and a session of its own. Over the control socket it is told, one byte at a time, ``R`` (run,
with the descriptors of ``child.Descriptors``) and ``K`` (kill the fold); it answers in JSON lines:
``{"ready": ...}``, ``{"started": pid}``, ``{"done": ...}``. End of file means that the engine is gone:
everything below ends, the folder goes, and so does the process.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import shutil
import signal
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any

from experiments.processes import (
    MARKER,
    Reaped,
    adopt_orphans,
    die_with_parent,
    end_descendants,
)

RUN = b"R"
KILL = b"K"
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

    def __init__(self, control: socket.socket, folder: Path) -> None:
        self._control = control
        self._folder = folder
        self._scratch = folder / "work"
        self._marker = os.environ.get(MARKER, "")
        self._wake, wake_end = socket.socketpair()
        self._wake_end = wake_end
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
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
            _remove(self._folder)

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
        self._scratch.mkdir(mode=0o700)
        owner = os.getpid()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGCHLD, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                for end in (self._control, self._wake, self._wake_end):
                    end.close()
                child.run_child(fds, self._scratch, owner)
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
        """Empty the slot's folder; True when nothing is left in it."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return sum(not _remove(path) for path in self._folder.iterdir()) == 0

    def _send(self, message: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(message).encode() + b"\n")


def _remove(folder: Path) -> bool:
    """Remove a folder whatever modes its content has; True when it is gone."""

    def unlock(_function: object, path: str, _error: object) -> None:
        for place in (Path(path).parent, Path(path)):
            try:
                if not place.is_symlink():
                    place.chmod(stat.S_IRWXU)
            except OSError:
                continue

    for _ in range(3):
        if not os.path.lexists(folder):
            return True
        if folder.is_symlink() or not folder.is_dir():
            folder.unlink()
        else:
            shutil.rmtree(folder, onerror=unlock)
    return not os.path.lexists(folder)


def main(arguments: list[str]) -> None:
    """Entry point: ``CONTROL_FD FOLDER``."""
    die_with_parent(signal.SIGTERM)
    adopt_orphans()
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    libraries = preload()
    from experiments import child

    child.forget_garbage()
    FoldServer(control, Path(arguments[1])).serve(libraries)


if __name__ == "__main__":
    main(sys.argv[1:])
