"""Predictions made elsewhere join the pool as ``imported``: their folds cannot be vouched for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.config import Config
from autokaggle_tui.loop.scoring import correlations, names, nearest
from autokaggle_tui.workspace import Workspace
from experiments.errors import ConfigError, MetricError, PredictionError
from experiments.predictions import array_sha, check_prediction, load_array, save_array
from experiments.registry import pairs

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def import_folder(workspace: Workspace, config: Config) -> Path | None:
    """Where predictions made elsewhere lie, or None when config.json names no place.

    Raises:
        ConfigError: There is no such folder.
    """
    if config.existing_oof_dir is None:
        return None
    folder = config.path(workspace.root, config.existing_oof_dir)
    if not folder.is_dir():
        raise ConfigError(
            f"{workspace.config}: existing_oof_dir: {config.existing_oof_dir} is no folder.",
            hint="Name the folder with NAME_oof.npy and NAME_test.npy, or leave the field out.",
        )
    return folder


async def import_predictions(campaign: Campaign, folder: Path) -> None:
    """Take every NAME_oof.npy with its NAME_test.npy that is not in the registry yet.

    What cannot be used is told as a warning, file by file.
    """
    for path in sorted(folder.glob("*_oof.npy")):
        name = path.name.removesuffix("_oof.npy")
        if campaign.registry.experiment(name) is not None:
            continue
        try:
            await _import(campaign, name, path, folder / f"{name}_test.npy")
        except (PredictionError, MetricError) as error:
            campaign.registry.event("warning", text=f"{path.name} is not imported: {error.message}")
        except UnicodeEncodeError:
            campaign.registry.event("warning", text=f"{path.name!a} is not imported: its name is not UTF-8")


async def _import(campaign: Campaign, name: str, oof_path: Path, test_path: Path) -> None:
    if not _NAME.fullmatch(name) or re.fullmatch(r"[RTB]\d+", name):
        raise PredictionError(f"{name!r} cannot be an experiment's name")
    spec = campaign.competition.spec
    covered = campaign.folds.covered
    oof = np.full(_shape(len(covered), campaign.outputs), np.nan, dtype=np.float32)
    given = load_array(oof_path)
    if given.shape != oof.shape:
        raise PredictionError(f"it has shape {given.shape}, the training data call for {oof.shape}")
    oof[covered] = check_prediction(given[covered], int(covered.sum()), campaign.outputs, spec.task_type)
    test = check_prediction(load_array(test_path), len(campaign.competition.test), campaign.outputs, spec.task_type)
    score = campaign.metric.score(campaign.competition.y, oof, mask=covered)
    close = await correlations(campaign, name, oof)
    oof_name, test_name = names(name)
    save_array(campaign.workspace.rounds / oof_name, oof)
    save_array(campaign.workspace.rounds / test_name, test)
    closest, rho = nearest(close)
    idea = f"imported from {oof_path.name}"
    registry = campaign.registry
    with registry.transaction():
        now = registry.clock()
        registry.insert(
            "experiments",
            id=name,
            source="imported",
            kind="model",
            family="imported",
            idea=idea,
            folds_digest=campaign.folds.digest,
            data_hash=campaign.competition.data_hash,
            seed=campaign.config.seed,
            status="imported",
            score=score,
            in_pool=1,
            closest=closest,
            rho=rho,
            started_at=now,
            ended_at=now,
        )
        registry.insert(
            "predictions",
            experiment=name,
            oof=oof_name,
            test=test_name,
            oof_sha=array_sha(oof),
            test_sha=array_sha(test),
            at=now,
        )
        registry.replace_all("correlations", pairs(close, name))
        registry.event(
            "imported",
            experiment=name,
            source="imported",
            kind="model",
            family="imported",
            idea=idea,
            status="imported",
            score=score,
            in_pool=True,
            closest=closest,
            rho=rho,
        )


def _shape(rows: int, outputs: int) -> tuple[int, ...]:
    return (rows,) if outputs == 1 else (rows, outputs)
