"""Making a workspace from local files: look, choose, say why, copy, hold back, write config.json."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autokaggle_tui.config_text import read_json
from autokaggle_tui.workspace import Workspace
from experiments.backups import find_backups
from experiments.errors import UsageError, WorkspaceError
from experiments.files import TEMPORARY, make_folder, sha256_file, sync_folder, write_atomic
from experiments.learnings import master_copy
from experiments.spec import Spec

if TYPE_CHECKING:
    from autokaggle_tui.config import Config
    from autokaggle_tui.intake import Given, HeldOut
    from backends.platforms.local_store import LocalCompetition
    from experiments.competition import Competition

TEMPLATE = "my-competition"
DEMO = "breast-cancer"
STAGING = f"{TEMPORARY}init-"
STEMS = ("train", "test", "sample_submission")


def init_local(
    workspace: Path,
    train: Path,
    test: Path | None = None,
    sample: Path | None = None,
    *,
    target: str,
    id_column: str | None = None,
    metric: str | None = None,
    name: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
    folds: int = 5,
    seed: int = 42,
) -> list[str]:
    """Make a workspace on the local platform.

    What is not given is detected. Without a test file a quarter of train is held back as a private test,
    its labels kept outside the workspace. Nothing that exists is overwritten.

    Args:
        workspace: Its folder; made when missing.
        name: What to call the competition; the name of the file or its folder when None.

    Returns:
        Lines for the person: what was chosen, and why.

    Raises:
        WorkspaceError: The workspace holds a campaign or other data already.
        DataError: A file cannot be used.
        MetricError: The metric is unknown, or does not score this task.
        ConfigError: What was given or detected is not what a config.json may hold.
        UsageError: What was given contradicts itself.
    """
    from autokaggle_tui import intake
    from autokaggle_tui.config import save_config

    _check_options(target, id_column, group_column, time_column, folds, seed)
    workspace = workspace.resolve()
    check_unused(Workspace(workspace))
    given = intake.Given(
        train=train,
        test=test,
        sample=sample,
        target=target,
        id_column=id_column,
        metric=metric,
        group_column=group_column,
        time_column=time_column,
        folds=folds,
        seed=seed,
        name=name or _default_name(train),
    )
    warning = _check_source(workspace, given)
    detected = intake.detect(workspace, given)
    lines = list(detected.lines)
    with _staging(workspace) as staged:
        held = None
        if given.test is None:
            competition, held = intake.hold_back(given, detected, staged)
        else:
            competition = intake.copy_files(given, detected, staged)
        lines += intake.describe(competition, held)
        _check_data_folder(workspace / "data", staged)
        hidden = _register(given, competition, held)
        try:
            config = _config(workspace, replace(competition.spec, name=hidden.id))
            written = [*_write_learnings(Workspace(workspace).learnings), *_publish(staged, workspace / "data")]
            save_config(workspace, config)
        except BaseException:
            hidden.remove()
            raise
    lines.insert(0, intake.line("name", _named(hidden, name, given.name)))
    if held is not None:
        lines.append(intake.line("labels", f"hidden in {hidden.folder}"))
    lines += [intake.line("note", note) for note in (*detected.notes, *competition.notes, *warning)]
    lines.append(intake.line("written", f"{', '.join(['config.json', *written])} in {workspace}"))
    return lines


def demo_workspace(path: Path) -> Path:
    """The folder of the embedded competition (Wisconsin breast cancer, shipped with scikit-learn).

    Made when missing; one that exists is returned as it is, so a demo continues where it ended.

    Raises:
        WorkspaceError: The folder holds something else.
    """
    if (path / "config.json").exists():
        from autokaggle_tui.config import load_config

        if not load_config(path).competition.startswith(DEMO):
            raise WorkspaceError(
                f"{path} holds another competition.", hint="Give the demo a folder of its own with --workspace."
            )
        return path
    with tempfile.TemporaryDirectory(prefix="autokaggle-demo-") as folder:
        source = Path(folder) / f"{DEMO}.csv"
        _write_demo(source)
        init_local(path, source, target="diagnosis", metric="roc_auc", name=DEMO)
    return path


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


def _is_template(path: Path) -> bool:
    content = read_json(path)
    return isinstance(content, dict) and content.get("competition") == TEMPLATE


def _default_name(train: Path) -> str:
    stem = train.name.split(".")[0]
    parent = train.resolve().parent.name
    return parent if stem.casefold() in ("train", "training", "data") and parent else stem


def _named(hidden: LocalCompetition, asked: str | None, given: str) -> str:
    """What the competition is called, and how that came about."""
    from backends.platforms.local_store import competition_slug

    slug = competition_slug(given)
    said = f"from '{given}'" if asked else f"after the file or its folder, '{given}'"
    if slug != given:
        said += "; a name is lower-case letters, digits and dashes"
    if hidden.id != slug:
        said += f"; '{slug}' is taken"
    return hidden.id if hidden.id == asked else f"{hidden.id}: {said}"


def _check_options(target: str, ident: str | None, group: str | None, time: str | None, folds: int, seed: int) -> None:
    """Refuse options that contradict each other, before a file is read.

    Raises:
        UsageError: They do, or a number is out of range.
    """
    for option, name in (("target", target), ("id", ident), ("group", group), ("time", time)):
        if name == "":
            raise UsageError(f"--{option} is empty.", hint="Give the name of a column, or leave the option out.")
        if option != "target" and name == target:
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


def _check_source(workspace: Path, given: Given) -> tuple[str, ...]:
    """Labels that are to be hidden must not stay where agents and experiments can read them."""
    source = given.train.resolve()
    if given.test is not None or not source.is_relative_to(workspace):
        return ()
    if source.is_relative_to(workspace / "data"):
        raise WorkspaceError(
            f"{given.train} lies in the workspace's data folder, where the labels to hide could be read.",
            hint="Move it out of the workspace first, or give a --test file.",
        )
    return (f"{given.train} lies inside the workspace, and the hidden labels are in it: better move it away",)


def _register(given: Given, competition: Competition, held: HeldOut | None) -> LocalCompetition:
    """Claim a place for ledger and hidden labels outside the workspace."""
    from autokaggle_tui.intake import spelled_ids
    from backends.platforms.local_store import LocalCompetition

    return LocalCompetition.create(
        given.name,
        task_type=competition.spec.task_type,
        form=competition.submission,
        classes=competition.classes,
        ids=held.ids if held else spelled_ids(competition),
        labels=held.labels if held else None,
        seed=given.seed,
    )


@contextmanager
def _staging(workspace: Path) -> Iterator[Path]:
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


def _check_data_folder(data: Path, staged: Path) -> None:
    """Refuse when the data folder holds other files under the names that are needed."""
    from experiments.tables import SUFFIXES

    for stem in STEMS:
        for suffix in SUFFIXES:
            there, new = data / f"{stem}{suffix}", staged / f"{stem}{suffix}"
            if there.exists() and not (new.exists() and sha256_file(there) == sha256_file(new)):
                raise WorkspaceError(
                    f"{there} exists already and is not the file that belongs there; init never overwrites it.",
                    hint="Move it away, or give another folder with --workspace.",
                )


def _publish(staged: Path, data: Path) -> list[str]:
    make_folder(data)
    written = []
    for file in sorted(staged.iterdir()):
        # One that is there is the same, byte for byte, and may be the person's own.
        if not (data / file.name).exists():
            file.replace(data / file.name)
        written.append(f"{data.name}/{file.name}")
    sync_folder(data)
    return written


def _write_learnings(path: Path) -> list[str]:
    """Copy the rules into the workspace, unless the person has some."""
    if path.exists():
        return []
    write_atomic(path, master_copy().encode())
    return [path.name]


def _config(workspace: Path, spec: Spec) -> Config:
    from autokaggle_tui.config import Config

    chosen = {
        "competition": spec.name,
        "platform": "local",
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
    known = {key: value for key, value in chosen.items() if value is not None}
    return Config.parse(known, workspace)


def _write_demo(path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame.insert(0, "id", range(1, len(frame) + 1))
    frame["diagnosis"] = [bunch.target_names[code] for code in bunch.target]
    frame.to_csv(path, index=False)
