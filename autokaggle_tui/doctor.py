"""``doctor``: what machine this is, and whether the program can work here."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import get_args

from autokaggle_tui.config import Compute, Config, Resources, load_config
from autokaggle_tui.doctor_kaggle import check_kaggle
from autokaggle_tui.doctor_machine import (
    Check,
    check_cores,
    check_disk,
    check_files,
    check_memory,
    check_names,
    check_packages,
    check_python,
    check_sqlite,
    check_terminal,
    requirements,
)
from autokaggle_tui.preflighting import check_models
from autokaggle_tui.sandboxing import shut_in
from autokaggle_tui.workspace import Workspace
from backends.compute.local import LocalCompute
from backends.compute.sandbox import Sandbox
from backends.models.tasks import Role
from experiments.competition import load_competition
from experiments.errors import AutokaggleError, ComputeError
from experiments.learnings import Rules
from experiments.schema import MIGRATIONS
from experiments.text import one_line


def examine(workspace: Workspace) -> Iterator[Check]:
    """One check after another, as they are done; those of the workspace only where there is one."""
    own = Path(__file__).resolve().parent.parent
    folder, temporary = nearest(workspace.root), Path(tempfile.gettempdir())
    yield check_python()
    yield check_packages(requirements())
    yield check_names(sys.path, own)
    config, found = _config(workspace)
    resources = config.resources if config else Resources()
    files = check_files("files", folder)
    yield files
    if files.state == "ok":
        yield check_sqlite(folder)
    yield check_files("temporary", temporary)
    yield check_disk("disk", folder, resources.min_disk)
    yield check_disk("temporary disk", temporary, resources.min_disk)
    yield check_memory(resources.min_memory)
    compute = config.compute if config else Compute()
    slots, threads = compute.resolve()
    yield check_cores(slots, threads)
    yield check_terminal(os.environ, sys.stdout.isatty())
    sandbox, line = check_sandbox(compute, slots, workspace.root)
    yield line
    if sandbox is not None:
        yield asyncio.run(check_slot(threads, sandbox))
    yield found
    yield from check_kaggle(config)
    if config is not None:
        yield check_data(workspace, config)
        models = {role: config.models.of(role) for role in get_args(Role)}
        yield from asyncio.run(check_models(models, budget=config.budget.usd))
        yield check_rules(workspace)
        yield check_registry(workspace)
        yield check_engine(workspace)


def failed(checks: Sequence[Check]) -> bool:
    """Whether something keeps the program from working."""
    return any(check.state == "fail" for check in checks)


def nearest(folder: Path) -> Path:
    """The folder, or the closest one above it that exists: there the workspace would be made."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


async def check_slot(threads: int, sandbox: Sandbox) -> Check:
    """Start a worker slot as the engine does, and end it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autokaggle-doctor-") as scratch:
        # A worker that becomes a user of its own passes through it.
        Path(scratch).chmod(0o711)
        compute = LocalCompute(1, threads, Path(scratch), sandbox)
        try:
            await compute.start()
            libraries = ", ".join(f"{name} {version}" for name, version in compute.libraries.items())
        except ComputeError as error:
            cure = "What it said names the package or the right that is missing; install the program anew if in doubt."
            return Check("worker slot", "fail", one_line(error.message, 600), cure)
        finally:
            await compute.close()
    return Check("worker slot", "ok", f"up after {time.monotonic() - began:.1f} s with {libraries}")


def check_sandbox(compute: Compute, slots: int, root: Path) -> tuple[Sandbox | None, Check]:
    """What shuts experiments in on this machine, and the line about it; None when the engine would not run."""
    try:
        sandbox = shut_in(compute, slots, root)
    except ComputeError as error:
        return None, Check("sandbox", "fail", one_line(error.message, 600), error.hint)
    return sandbox, sandbox_line(sandbox.tier, sandbox.reason, grouped=bool(sandbox.groups))


def sandbox_line(tier: str, reason: str, *, grouped: bool = False) -> Check:
    """The line for a tier of sandbox.

    Args:
        reason: Why it is not stronger; empty for the strongest.
        grouped: The kernel keeps its memory in a control group.
    """
    text = f"{tier} ({reason})" if reason else tier
    memory = "memory capped by a control group" if grouped else "memory watched, no control group can be made here"
    if tier == "off":
        return Check(
            "sandbox", "warn", text, "Experiments run with the rights of this account: run only code you trust."
        )
    return Check("sandbox", "ok", f"{text}; {memory}")


def _config(workspace: Workspace) -> tuple[Config | None, Check]:
    """The settings, if there are any that can be used, and the line about them."""
    if not workspace.config.exists():
        text = f"none in {workspace.root}"
        return None, Check(
            "workspace", "ok", text, "Make one with `autokaggle-tui init`, or look at `autokaggle-tui demo`."
        )
    try:
        config = load_config(workspace.root)
    except AutokaggleError as error:
        return None, _failure("workspace", error)
    spec = config.spec()
    said = f"{spec.name}, {spec.metric}, {spec.cv_folds} folds; {workspace.config} is fine"
    return config, Check("workspace", "ok", said)


def check_data(workspace: Workspace, config: Config) -> Check:
    """Read the data as the engine does."""
    try:
        metric = config.metric(workspace.root)
        found = load_competition(config.spec(), config.data_path(workspace.root), metric=metric)
    except AutokaggleError as error:
        return _failure("data", error)
    except OSError as error:
        return Check("data", "fail", f"{error.filename}: {error.strerror}", "Give this account the right to read it.")
    features = len(found.columns.features)
    return Check("data", "ok", f"{len(found.train):,} rows, {features} features, {len(found.test):,} test rows")


def check_rules(workspace: Workspace) -> Check:
    """Read LEARNINGS.md as the engine does."""
    if not workspace.learnings.is_file():
        return Check("rules", "ok", "no LEARNINGS.md: the built-in rules hold")
    try:
        Rules.load(workspace.learnings)
    except AutokaggleError as error:
        return _failure("rules", error)
    return Check("rules", "ok", f"{workspace.learnings} can be read")


def check_registry(workspace: Workspace) -> Check:
    """Whether the registry is whole and of this version; nothing is written."""
    if not workspace.facts.is_file():
        return Check("registry", "ok", "none yet: nothing has run here")
    try:
        with closing(sqlite3.connect(workspace.facts, timeout=30)) as connection:
            connection.execute("PRAGMA query_only = ON")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            wrong = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        wrong, version = str(error), len(MIGRATIONS)
    if wrong != "ok":
        return Check("registry", "fail", f"{workspace.facts}: {one_line(wrong, 200)}", "Restore it from a backup.")
    if version > len(MIGRATIONS):
        text = f"schema {version}, this program knows {len(MIGRATIONS)}"
        return Check("registry", "fail", text, "Upgrade autokaggle-tui, or use another workspace.")
    older = f", to be brought to {len(MIGRATIONS)} when the engine starts" if version < len(MIGRATIONS) else ""
    return Check("registry", "ok", f"whole, schema {version}{older}")


def check_engine(workspace: Workspace) -> Check:
    """Whether somebody works here."""
    pid = workspace.engine_pid()
    return Check("engine", "ok", "not running" if pid is None else f"running (pid {pid or 'unknown'})")


def _failure(name: str, error: AutokaggleError) -> Check:
    return Check(name, "fail", one_line(error.message, 600), one_line(error.hint, 300))
