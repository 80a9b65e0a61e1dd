"""What a worker slot is shut into: how a process is started in it."""

from __future__ import annotations

import os
import platform
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from backends.compute.cgroup import entering, make_group
from backends.compute.environment import clean_environment
from backends.compute.interpreter import PACKAGE, closed_to_others, interpreter_paths, system_paths
from backends.compute.limits import Limits
from experiments.confine import Confinement
from experiments.errors import ComputeError

Tier = Literal["bubblewrap", "landlock", "off"]
Wanted = Literal["auto", "bubblewrap", "landlock", "off"]
SLOT = "/slot"
_PACKAGES = "/packages"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Numbers that systemd leaves to nobody, and those it gives to short-lived services, for containers that
# know 65,536 users alone.
_USERS, _FEW_USERS = range(1_900_000_000, 1_960_000_000), range(61_184, 65_000)


@dataclass(frozen=True)
class Launch:
    """How a Python module is started in a sandbox.

    Attributes:
        argv: The command; descriptors that it is to inherit are the caller's to pass.
        environment: All of its environment.
        group: Its control group, to be removed after its end.
    """

    argv: tuple[str, ...]
    environment: dict[str, str]
    group: Path | None = None


@dataclass(frozen=True)
class Sandbox:
    """A way to shut processes in that works on this machine; made by ``find_sandbox``.

    Attributes:
        tier: How strong it is.
        reason: Why it is not stronger; empty for the strongest.
        limits: Caps of each slot.
        bwrap: The bubblewrap program.
        landlock: The kernel's Landlock version, 0 without.
        groups: Folder in which a control group is made for each process; empty where the kernel does not let us.
    """

    tier: Tier
    limits: Limits
    reason: str = ""
    bwrap: str = ""
    landlock: int = 0
    groups: str = ""

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
            return self._grouped(self._bubblewrap(module, marker, threads, arguments, network, read_only))
        if self.tier == "landlock":
            return self._grouped(self._landlock(module, folder, marker, threads, arguments, network, read_only))
        confinement = Confinement(str(folder), enforced=False)
        return self._python([], module, confinement, marker, threads, arguments, "")

    def _grouped(self, launch: Launch) -> Launch:
        """The same in a control group, where there can be one: a stop that needs no polling."""
        if not self.groups:
            return launch
        # Scratch and /dev/shm live in memory too, with sizes of their own.
        memory = self.limits.memory + self.limits.shm + (self.limits.scratch if self.tier == "bubblewrap" else 0)
        try:
            group = make_group(Path(self.groups), memory)
        except OSError:
            return launch
        return replace(launch, argv=(*entering(group), *launch.argv), group=group)

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


def _namespaces(*, network: bool) -> list[str]:
    kinds = ["ipc", "pid", "uts", "cgroup-try", *([] if network else ["net"])]
    options = ["--die-with-parent", "--new-session", "--as-pid-1"]
    if os.geteuid() == 0:
        # No mapping of users: the process becomes one of its own, for which it needs these two.
        options += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        kinds.append("user")
    return [*(f"--unshare-{kind}" for kind in kinds), *options]


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
