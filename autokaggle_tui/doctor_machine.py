"""What ``doctor`` finds out about the machine: Python, packages, SQLite, file systems, terminal, room."""

from __future__ import annotations

import errno
import fcntl
import importlib.machinery
import importlib.metadata
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from autokaggle_tui.resources import available_memory
from autokaggle_tui.sizes import size_text
from autokaggle_tui.usage import free_bytes
from experiments.files import TEMPORARY, write_atomic
from experiments.schema import journal_mode
from experiments.text import one_line

DISTRIBUTION = "autokaggle-tui"
OURS = ("autokaggle_tui", "agents", "backends", "experiments")
IMPORT_SECONDS = 180
ROOM = 5
"""Less than this many times a floor is worth a word."""

_UNASKED = frozenset({"kaggle"})
"""Packages that do more than define things when imported: this one looks for credentials, or ends the program."""
_IMPORTING = """
import importlib, json, os, sys
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for name in sys.argv[1:]:
    print(json.dumps([name, None]), file=told, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(json.dumps([name, f"{type(error).__name__}: {error}"]), file=told, flush=True)
    else:
        print(json.dumps([name, ""]), file=told, flush=True)
"""


@dataclass(frozen=True)
class Check:
    """A line of the doctor's.

    Attributes:
        name: What was looked at.
        state: ``ok``, ``warn`` or ``fail``.
        text: What was found.
        cure: What to do about it, empty when nothing is to be done.
    """

    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    cure: str = ""


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """The interpreter's version against what the program is made for."""
    text = (
        f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.release()} {platform.machine()}"
    )
    if (3, 11) <= version < (3, 14):
        return Check("python", "ok", text)
    return Check("python", "fail", text, "Install the program into an environment of Python 3.11, 3.12 or 3.13.")


def requirements(distribution: str = DISTRIBUTION) -> list[Requirement]:
    """What the program needs on this machine, optional extras left out."""
    found = map(Requirement, importlib.metadata.requires(distribution) or ())
    return [wanted for wanted in found if wanted.marker is None or wanted.marker.evaluate({"extra": ""})]


def check_packages(wanted: Sequence[Requirement]) -> Check:
    """Whether each package is there, in a version that fits, and can be imported; in a process of its own."""
    problems, versions = [], {}
    for requirement in wanted:
        try:
            versions[requirement.name] = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        if not _fits(requirement.specifier, versions[requirement.name]):
            problems.append(f"{requirement.name} is {versions[requirement.name]}, needed is {requirement.specifier}")
    problems += broken_imports(_modules([name for name in versions if name not in _UNASKED]))
    if problems:
        return Check(
            "packages", "fail", "; ".join(problems), "Install the program anew, into an environment of its own."
        )
    return Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _fits(wanted: SpecifierSet, version: str) -> bool:
    return wanted.contains(version, prereleases=True)


def _modules(distributions: Sequence[str]) -> list[str]:
    """A module of each distribution that stands for it."""
    provided: dict[str, list[str]] = {}
    for module, names in importlib.metadata.packages_distributions().items():
        for name in names:
            if module.isidentifier() and not module.startswith("_"):
                provided.setdefault(name.lower(), []).append(module)
    found = []
    for name in distributions:
        own, there = name.replace("-", "_"), sorted(provided.get(name.lower(), ()))
        found += [own] if own in there or not there else there[:1]
    return found


def broken_imports(modules: Sequence[str]) -> list[str]:
    """Which of these modules cannot be imported, and why; one that ends the interpreter is told, too."""
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-P", "-c", _IMPORTING, *modules]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"importing everything takes longer than {IMPORT_SECONDS} s"]
    said: dict[str, str | None] = dict(map(json.loads, done.stdout.decode().splitlines()))
    problems = [f"{name} cannot be imported ({one_line(why, 200)})" for name, why in said.items() if why]
    lost = next((name for name, why in said.items() if why is None), None)
    if lost is not None:
        problems.append(f"importing {lost} ends the interpreter (exit code {done.returncode})")
    return problems


def check_names(path: Sequence[str], own: Path, names: Sequence[str] = OURS) -> Check:
    """Whether our top-level packages are ours: another distribution may bring one of the same name.

    Args:
        path: Where Python looks, in order.
        own: The folder that holds our packages.
    """
    taken, double = [], []
    for name in names:
        places = [place for folder in dict.fromkeys(path) if (place := _place(name, folder)) is not None]
        others = [place for place in places if not place.is_relative_to((own / name).resolve())]
        if others and places[0] == others[0]:
            taken.append(f"`{name}` comes from {others[0].parent}")
        elif others:
            double.append(f"`{name}` is in {others[0].parent} as well")
    cure = "Install the program into an environment of its own, where nothing else brings such a name."
    if taken:
        return Check("names", "fail", "; ".join(taken), cure)
    if double:
        return Check("names", "warn", f"{'; '.join(double)}; ours comes first here", cure)
    return Check("names", "ok", f"{', '.join(names)} come from {own}")


def _place(name: str, folder: str) -> Path | None:
    """The file that importing the name from this folder would run; a bare folder runs nothing and hides nothing."""
    found = importlib.machinery.PathFinder.find_spec(name, [folder or os.getcwd()])  # noqa: PTH109 - as Python means it
    return None if found is None or found.origin is None else Path(found.origin).resolve()


def check_sqlite(folder: Path) -> Check:
    """The library's version, and whether the file system takes the journal that suits it."""
    wanted = journal_mode()
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}doctor-", dir=folder) as scratch:
        try:
            with closing(sqlite3.connect(Path(scratch) / "try.db", isolation_level=None)) as connection:
                taken = str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]).upper()
                connection.execute("CREATE TABLE tried (x)")
        except sqlite3.Error as error:
            return Check("sqlite", "fail", f"{folder} takes no database: {error}", _OTHER_DISK)
    text = f"{sqlite3.sqlite_version}, journal {taken}"
    if taken != wanted:
        return Check("sqlite", "warn", f"{text}, though {wanted} was asked for in {folder}", _OTHER_DISK)
    return Check("sqlite", "ok", text)


_OTHER_DISK = "Put the workspace on a local disk."


def check_files(name: str, folder: Path) -> Check:
    """Whether a folder's file system does what the program relies on: flock, fsync, rename over a file."""
    try:
        with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}doctor-", dir=folder) as scratch:
            place = Path(scratch) / "file"
            for content in (b"one", b"two"):
                write_atomic(place, content)
            if place.read_bytes() != b"two":
                return Check(name, "fail", f"{folder}: a file that was replaced kept its content", _OTHER_DISK)
            locks = _locks(place)
    except OSError as error:
        return Check(name, "fail", f"{folder}: {error.strerror}", "Give this account the right to write there.")
    if locks:
        return Check(name, "fail", f"{folder}: {locks}", _OTHER_DISK)
    return Check(name, "ok", f"{folder}: flock, fsync and rename work")


def _locks(place: Path) -> str:
    """What is wrong with locks; empty when the second of two is refused."""
    with place.open("rb") as one, place.open("rb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return f"no file can be locked ({error.strerror})"
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return "" if error.errno in (errno.EAGAIN, errno.EACCES) else f"a lock fails ({error.strerror})"
    return "a file can be locked twice: two engines could work in one workspace"


def check_terminal(environment: Mapping[str, str], terminal: bool) -> Check:
    """What the screen can be drawn with; ``terminal``: whether the output is one."""
    from rich.console import Console

    kind = environment.get("TERM", "")
    if not terminal:
        return Check("terminal", "ok", "none here: without one there is --no-ui, `serve` and the commands")
    if kind in ("", "dumb"):
        return Check("terminal", "warn", f"TERM={kind or 'nothing'}: no screen", "Use another terminal, or --no-ui.")
    system, size = Console().color_system, shutil.get_terminal_size()
    colours = {"truecolor": "16 million colours", "256": "256 colours", "standard": "16 colours"}.get(
        system or "", "no"
    )
    if "NO_COLOR" in environment:
        colours = "no colours (NO_COLOR)"
    text = f"{kind}, {colours}, {size.columns}x{size.lines}, {sys.stdout.encoding}"
    if sys.stdout.encoding.lower().replace("-", "") != "utf8":
        return Check(
            "terminal", "warn", text, "Set LANG to a UTF-8 locale, e.g. C.UTF-8: the screen draws with its signs."
        )
    if system == "standard":
        return Check(
            "terminal", "warn", text, "Set COLORTERM=truecolor if the terminal knows more, or choose its own theme."
        )
    return Check("terminal", "ok", text)


def check_disk(name: str, folder: Path, floor: int) -> Check:
    """Free space against the floor below which the loop pauses."""
    free = free_bytes(folder)
    if free is None:
        return Check(name, "warn", f"{folder}: the file system does not say what is free")
    return _room(
        name, free, floor, f"{size_text(free)} free in {folder}", "Free some space, or lower resources.min_disk."
    )


def check_memory(floor: int) -> Check:
    """Available memory against the floor below which the loop pauses."""
    memory = available_memory()
    return _room(
        "memory", memory, floor, f"{size_text(memory)} available", "End other programs, or lower resources.min_memory."
    )


def _room(name: str, found: int, floor: int, text: str, cure: str) -> Check:
    if found < floor:
        return Check(name, "fail", f"{text}; the loop pauses below {size_text(floor)}", cure)
    if found < floor * ROOM:
        return Check(name, "warn", f"{text}; the loop pauses below {size_text(floor)}", cure)
    return Check(name, "ok", text)


def check_cores(slots: int, threads: int) -> Check:
    """What the worker slots make of the processors."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    text = f"{cores} processors; {slots} worker slots of {threads} threads"
    if slots * threads > 2 * cores:
        return Check("cores", "warn", text, 'Set compute.slots and compute.threads to "auto", or to less.')
    return Check("cores", "ok", text)
