"""What every new workspace begins with: an unused folder, checked options, rules, and data that replace nothing."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agents.guide import FILE_NAME as GUIDE
from agents.guide import kaggle_guide
from autokaggle_tui.config_text import read_json
from autokaggle_tui.workspace import Workspace
from experiments.backups import find_backups
from experiments.errors import UsageError, WorkspaceError
from experiments.files import TEMPORARY, make_folder, sha256_file, sync_folder, write_atomic
from experiments.learnings import master_copy
from experiments.spec import Spec

TEMPLATE = "my-competition"
STAGING = f"{TEMPORARY}init-"
STEMS = ("train", "test", "sample_submission")


def check_unused(workspace: Workspace) -> None:
    """Refuse a workspace in which a campaign has begun, or that is configured for one.

    Raises:
        WorkspaceError: It holds rounds, a registry, or a config.json other than the template.
    """
    hint = "Give another folder with --workspace, or move this one's content away."
    root = workspace.root
    if root.exists() and not root.is_dir():
        raise WorkspaceError(f"{root} is not a folder.", hint=hint)
    if workspace.facts.exists():
        raise WorkspaceError(f"{root} holds the registry of a campaign ({workspace.facts.name}).", hint=hint)
    if find_backups(workspace.backups):
        raise WorkspaceError(f"{workspace.backups} holds backups of a campaign.", hint=hint)
    if workspace.rounds.is_dir():
        found = sorted(file.name for file in workspace.rounds.iterdir() if not file.name.startswith("."))
        if found:
            raise WorkspaceError(f"{workspace.rounds} holds rounds already ({found[0]}).", hint=hint)
    if workspace.config.exists() and not _is_template(workspace.config):
        raise WorkspaceError(f"{workspace.config} is configured already; init never overwrites it.", hint=hint)


def check_options(
    target: str | None, ident: str | None, group: str | None, time: str | None, folds: int, seed: int
) -> None:
    """Refuse options that contradict each other, before a file is read.

    Raises:
        UsageError: They do, or a number is out of range.
    """
    for option, name in (("target", target), ("id", ident), ("group", group), ("time", time)):
        if name == "":
            raise UsageError(f"--{option} is empty.", hint="Give the name of a column, or leave the option out.")
        if option != "target" and name is not None and name == target:
            raise UsageError(
                f"--{option} and --target name the same column, '{target}'.",
                hint="The target cannot have a second role; give another column, or leave the option out.",
            )
    if group and time:
        raise UsageError(
            "--group and --time cannot be given together: folds follow one of them.",
            hint="Give the one that matters more; to use both, set group_column, time_column and cv_strategy "
            "in config.json afterwards.",
        )
    if folds < 2:
        raise UsageError(f"{folds} folds are too few.", hint="Give at least 2.")
    if not 0 <= seed < 2**31:
        raise UsageError(f"The seed {seed} is out of range.", hint=f"Give a whole number from 0 to {2**31 - 1}.")


@contextmanager
def staging(workspace: Path) -> Iterator[Path]:
    """A folder in the workspace (one file system) that is gone at the end; strays of a killed init go too."""
    make_folder(workspace)
    for stray in workspace.glob(f"{STAGING}*"):
        shutil.rmtree(stray, ignore_errors=True)
    folder = workspace / f"{STAGING}{secrets.token_hex(6)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_data_folder(data: Path, staged: Path) -> None:
    """Refuse when the data folder holds other files under the names that are needed.

    Raises:
        WorkspaceError: It does; the message names the file.
    """
    from experiments.tables import SUFFIXES

    names = [Path(f"{stem}{suffix}") for stem in STEMS for suffix in SUFFIXES]
    for name in dict.fromkeys([*names, *_files(staged)]):
        there, new = data / name, staged / name
        if there.exists() and not (new.exists() and _same(there, new)):
            raise WorkspaceError(
                f"{there} exists already and is not the file that belongs there; init never overwrites it.",
                hint="Move it away, or give another folder with --workspace.",
            )


def publish(staged: Path, data: Path) -> list[str]:
    """Give staged files their place in the data folder.

    Returns:
        Their paths relative to the workspace.
    """
    make_folder(data)
    written = []
    for name in _files(staged):
        target = data / name
        # One that is there is the same, byte for byte, and may be the person's own.
        if not target.exists():
            make_folder(target.parent)
            (staged / name).replace(target)
            sync_folder(target.parent)
        written.append(f"{data.name}/{name}")
    return written


def write_learnings(path: Path) -> list[str]:
    """Copy the rules into the workspace, unless the person has some."""
    if path.exists():
        return []
    write_atomic(path, master_copy().encode())
    return [path.name]


def write_guide(workspace: Path) -> list[str]:
    """Copy the guide to Kaggle into the workspace, unless there is one."""
    path = workspace / GUIDE
    if path.exists():
        return []
    write_atomic(path, kaggle_guide().encode())
    return [path.name]


def spec_settings(spec: Spec) -> dict[str, Any]:
    """What config.json says of the data, cross-validation and target."""
    chosen = {
        "data_dir": "data",
        "task_type": spec.task_type,
        "metric": spec.metric,
        "metric_direction": spec.direction,
        "target_column": spec.target,
        "id_column": spec.id_column,
        "group_column": spec.group_column,
        "time_column": spec.time_column,
        "cv_strategy": spec.cv_strategy,
        "cv_folds": spec.cv_folds,
        "seed": spec.seed,
    }
    return {key: value for key, value in chosen.items() if value is not None}


def _is_template(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and content.get("competition") == TEMPLATE


def _files(folder: Path) -> list[Path]:
    """All files below a folder, relative to it, in order."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def _same(one: Path, other: Path) -> bool:
    return one.samefile(other) or sha256_file(one) == sha256_file(other)
