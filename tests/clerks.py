"""Campaigns for tests of submitting: a competition of the emulated Kaggle, experiments as if they had been run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from autokaggle_tui.campaign import Campaign, load_data, open_campaign
from autokaggle_tui.config import load_config
from autokaggle_tui.live import Live
from autokaggle_tui.loop.clerk import Clerk, Pace
from autokaggle_tui.workspace import Workspace
from backends.platforms.base import Platform
from experiments.predictions import save_array
from experiments.registry import Clock, Registry

from .emulators.kaggle_task import Task

WAVE = (0.004, -0.004, 0.002, -0.002, 0.0)


def make_workspace(root: Path, task: Task, **config: object) -> Workspace:
    """A workspace of the emulated competition, its data downloaded, nothing run."""
    (root / "data").mkdir(parents=True)
    for name, content in task.files.items():
        (root / "data" / name).write_bytes(content)
    settings = {
        "competition": task.slug,
        "platform": "kaggle",
        "task_type": "binary",
        "metric": "roc_auc",
        "target_column": task.target,
        "id_column": "id",
    }
    (root / "config.json").write_text(json.dumps(settings | config))
    (root / "rounds").mkdir()
    return Workspace(root)


@contextmanager
def opened(workspace: Workspace, clock: Clock) -> Iterator[Campaign]:
    """The campaign, as an engine opens it."""
    with ExitStack() as stack:
        config = load_config(workspace.root)
        competition, metric = load_data(workspace, config)
        registry = Registry(workspace.facts, clock=clock)
        stack.callback(registry.close)
        live = Live(workspace.live)
        stack.callback(live.close)
        yield open_campaign(workspace, config, competition, metric, registry, live)


def at_once(campaign: Campaign, platform: Platform) -> Clerk:
    """A clerk that never waits for its next look."""
    return Clerk(campaign, platform, looking=Pace(0.0, 0.0), trying=Pace(0.0, 0.0))


def add(
    campaign: Campaign,
    name: str,
    score: float,
    *,
    kind: str = "model",
    status: str = "keep",
    noise: Sequence[float] = WAVE,
) -> None:
    """A complete experiment; its predictions are its own, its folds lie around its score."""
    registry = campaign.registry
    rows = len(campaign.competition.test)
    seed = int.from_bytes(name.encode(), "big") % 2**32
    save_array(campaign.workspace.rounds / f"{name}_test.npy", np.random.default_rng(seed).random(rows))
    with registry.transaction():
        registry.insert(
            "experiments",
            id=name,
            source="try",
            kind=kind,
            family="own",
            seed=42,
            status=status,
            score=score,
            in_pool=1,
            started_at=registry.clock(),
        )
        registry.insert(
            "predictions", experiment=name, oof="", test=f"{name}_test.npy", oof_sha="", test_sha="", at=1.0
        )
        for fold, off in enumerate(noise):
            row = {"experiment": name, "fold": fold, "key": f"{name}{fold}", "status": "ok", "seconds": 1.0, "at": 1.0}
            registry.insert("folds", **row, score=score + off)
        if status == "keep":
            registry.insert("champions", experiment=name, score=score, at=registry.clock())


def told(campaign: Campaign, kind: str) -> list[dict]:
    """The data of the events of one kind."""
    return [row["data"] for row in campaign.registry.rows("SELECT data FROM events WHERE kind = ? ORDER BY id", [kind])]


def states(campaign: Campaign) -> list[tuple[str, str, str]]:
    """(experiment, state, scoring) of every submission."""
    rows = campaign.registry.rows("SELECT experiment, state, scoring FROM submissions ORDER BY id")
    return [(row["experiment"], row["state"], row["scoring"]) for row in rows]


def queue(campaign: Campaign) -> dict[str, tuple[str, str]]:
    """By experiment: (state, reason)."""
    rows = campaign.registry.rows("SELECT experiment, state, reason FROM queue ORDER BY at, rowid")
    return {row["experiment"]: (row["state"], row["reason"]) for row in rows}


def ticking(moment: list[float]) -> Callable[[], float]:
    """A clock that a test sets: Unix seconds in a list of one."""
    return lambda: moment[0]
