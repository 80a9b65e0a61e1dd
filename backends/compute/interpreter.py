"""What of the machine a Python process needs to read: system libraries, the interpreter, `experiments`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import experiments

PACKAGE = Path(experiments.__file__).resolve().parent
"""The one part of the project that experiments import."""

# Not all of /usr: people keep workspaces in /usr/src and /usr/local.
_SYSTEM = ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/share")
_LOCAL = ("/usr/local/bin", "/usr/local/lib", "/usr/local/lib64")
_ROOT = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_SETTINGS = (
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/timezone",
)
_NETWORK_SETTINGS = (
    "/etc/ca-certificates",
    "/etc/hosts",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
# How many processors there are; loky and OpenMP look.
_PROCESSORS = (
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
)


def interpreter_paths() -> list[Path]:
    """Where this interpreter and its libraries lie, as named and as links resolve, system folders left out."""
    found: list[Path] = []
    for prefix in (sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix):
        if prefix not in ("/", "/usr", "/usr/local"):
            found += [Path(prefix), Path(prefix).resolve()]
    step = Path(sys.executable)
    while step.is_symlink():
        found.append(step)
        step = Path(os.path.normpath(step.parent / step.readlink()))
    found += [step, step.resolve()]
    found += [Path(part) for part in os.environ.get("LD_LIBRARY_PATH", "").split(":") if part.startswith("/")]
    return _topmost(found, besides=[*_SYSTEM, *_LOCAL])


def system_paths(*, network: bool) -> list[Path]:
    """Folders and files of the system, of which those that are links are named too."""
    names = (*_SYSTEM, *_LOCAL, *_ROOT, *_SETTINGS, *(_NETWORK_SETTINGS if network else ()), *_PROCESSORS)
    return [Path(name) for name in names if os.path.lexists(name)]


def closed_to_others(path: Path) -> Path | None:
    """The first folder on the way to a path that only its owner may enter, or None."""
    for folder in [*reversed(path.parents), path]:
        mode = folder.stat().st_mode
        if not mode & 0o001 and folder.is_dir():
            return folder
    return None


def _topmost(paths: Iterable[Path], besides: Iterable[str]) -> list[Path]:
    """Existing paths, without those below another or below ``besides``."""
    kept: list[Path] = []
    covered = [Path(name) for name in besides]
    for path in sorted(set(paths), key=lambda path: len(path.parts)):
        if path.exists() and not any(path.is_relative_to(other) for other in covered):
            kept.append(path)
            covered.append(path)
    return kept
