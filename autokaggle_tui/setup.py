"""Making a workspace from local files: look, choose, say why, copy, hold back, write config.json."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from autokaggle_tui.groundwork import (
    check_data_folder,
    check_options,
    check_unused,
    publish,
    spec_settings,
    staging,
    write_learnings,
)
from autokaggle_tui.workspace import Workspace
from experiments.errors import WorkspaceError
from experiments.spec import Spec

if TYPE_CHECKING:
    from autokaggle_tui.config import Config
    from autokaggle_tui.intake import Given, HeldOut
    from backends.platforms.local_store import LocalCompetition
    from experiments.competition import Competition

DEMO = "breast-cancer"


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

    check_options(target, id_column, group_column, time_column, folds, seed)
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
    with staging(workspace) as staged:
        held = None
        if given.test is None:
            competition, held = intake.hold_back(given, detected, staged)
        else:
            competition = intake.copy_files(given, detected, staged)
        lines += intake.describe(competition, held)
        check_data_folder(workspace / "data", staged)
        hidden = _register(given, competition, held)
        try:
            config = _config(workspace, replace(competition.spec, name=hidden.id))
            written = [*write_learnings(Workspace(workspace).learnings), *publish(staged, workspace / "data")]
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


def _config(workspace: Path, spec: Spec) -> Config:
    from autokaggle_tui.config import Config

    return Config.parse({"competition": spec.name, "platform": "local", **spec_settings(spec)}, workspace)


def _write_demo(path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.data.rename(columns=lambda name: name.replace(" ", "_"))
    frame.insert(0, "id", range(1, len(frame) + 1))
    frame["diagnosis"] = [bunch.target_names[code] for code in bunch.target]
    frame.to_csv(path, index=False)
