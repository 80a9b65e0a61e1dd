"""A retrospective's learnings join LEARNINGS.md: once, all or nothing, and never at the cost of what a person wrote."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from autokaggle_tui.workspace import round_name
from experiments.errors import AutokaggleError, RuleError
from experiments.files import published
from experiments.jail import read_regular
from experiments.learned import Learning, append, appended_learnings, learnings_of
from experiments.registry import Registry

ATTEMPTS = 3


class KeptOutError(AutokaggleError):
    """The file stays as it is."""

    title = "LEARNINGS.md"


class _ChangedError(Exception):
    """Somebody wrote to the file in the meantime."""


def take_learnings(registry: Registry, file: Path, number: int, retro: str) -> None:
    """Append the learnings of a round's retrospective, and tell of it; a second call does nothing.

    A crash after the file was written is made up for: what is there already is not added again.

    Args:
        file: The workspace's LEARNINGS.md.
        retro: The retrospective's text.
    """
    name, settled = round_name(number), f"learned:{number}"
    learnings = learnings_of(retro)
    if not learnings or registry.fact(settled) is not None:
        return
    try:
        joined = append_to(file, learnings, name)
    except (AutokaggleError, OSError, UnicodeDecodeError) as error:
        listed = "; ".join(learning.heading for learning in learnings)
        kind, outcome = "warning", "kept out"
        text = f"{name} retro: LEARNINGS.md stays as it is: {_why(error)} It would have learned: {listed}."
    else:
        kind, outcome = "learned" if joined else "", "appended"
        text = f"{name} retro: LEARNINGS.md has what it learned: {'; '.join(one.heading for one in joined)}."
    with registry.transaction():
        registry.set_fact(settled, outcome)
        if kind:
            registry.event(kind, round=number, text=text)


def append_to(path: Path, learnings: Sequence[Learning], source: str) -> tuple[Learning, ...]:
    """Append learnings to a LEARNINGS.md, or leave it as it is.

    Args:
        source: The retrospective, e.g. ``R10``.

    Returns:
        Those that the file has of this retrospective now; not those that an earlier one had told.

    Raises:
        KeptOutError: It may not be written, or somebody writes to it again and again.
        RuleError: It is broken, or its rules would change.
        OSError: It is missing, a link, no regular file, or cannot be replaced.
        UnicodeDecodeError: It is not UTF-8.
    """
    for _ in range(ATTEMPTS):
        try:
            text = _append(path, learnings, source)
        except _ChangedError:
            continue
        return tuple(learning for learning in appended_learnings(text) if learning.source == source)
    raise KeptOutError("somebody is writing to it.")


def _append(path: Path, learnings: Sequence[Learning], source: str) -> str:
    """Write the file if something is missing in it; returns its text."""
    before = os.lstat(path)
    content = read_regular(path)
    text = content.decode("utf-8")
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    more = append(plain, learnings, source)
    if not more:
        return plain
    # Root may write to what its owner made read-only.
    if not before.st_mode & stat.S_IWUSR or not os.access(path, os.W_OK):
        raise KeptOutError("it is read-only.")
    end = "\r\n" if "\r\n" in text else "\n"
    with published(path) as temporary:
        temporary.write_bytes(content + more.replace("\n", end).encode())
        made = temporary.stat()
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            os.chown(temporary, before.st_uid, before.st_gid)
        if _identity(os.lstat(path)) != _identity(before):
            raise _ChangedError
    return plain + more


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is missing."
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text."
    if isinstance(error, OSError):
        return f"it {error.strerror}." if error.strerror and error.strerror[:2] in ("is", "ha") else f"{error}."
    if isinstance(error, RuleError):
        return f"{error.message} {error.hint or ''}".strip()
    return str(error)
