"""Pictures of every screen, compared with those that were looked at and found right.

A picture that differs is shown beside its old one in ``snapshot_report.html``; when the new one is right,
``python -m pytest tests/test_snapshots.py --snapshot-update`` keeps it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from textual.pilot import Pilot

from autokaggle_tui.ui.app import AutokaggleApp
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .viewing import SIX_PANES, SMALL, holding, moment, ready, sees, until

NORMAL, WIDE = (120, 40), (200, 60)
ROUNDS = 28
WORDS = """\
R29  code      R29_experiment.py
R29  fold 1/5  0.97011  24s
Traceback (most recent call last):
  File "autokaggle_tui/loop/scoring.py", line 88, in score
    return metric.score(y_true, oof)
MemoryError
"""

Compare = Callable[..., bool]
Picture = Callable[..., bool]


@pytest.fixture(autouse=True)
def same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One time zone, nothing remembered, colours as they are; returns the folder for what is remembered."""
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path / "state"
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The twenty-ninth round is being played; nothing changes it."""
    return make_campaign(tmp_path_factory.mktemp("made") / "campaign", ROUNDS, playing=True)


@pytest.fixture
def picture(snap_compare: Compare) -> Picture:
    """Compares the app as it looks after some keys."""

    def compare(
        workspace: Workspace,
        *keys: str,
        shows: str = "",
        size: tuple[int, int] = NORMAL,
        engine: bool = True,
        then: Callable[[Pilot[None]], Awaitable[None]] | None = None,
    ) -> bool:
        """Press the keys and wait for what they show.

        Args:
            engine: Whether one holds the lock.
            then: What happens before the keys.
        """
        now = moment(workspace)
        app = AutokaggleApp(workspace, clock=lambda: now)
        app.animation_level = "none"

        async def prepare(pilot: Pilot[None]) -> None:
            await ready(pilot)
            if then is not None:
                await then(pilot)
            await pilot.press(*keys)
            await sees(pilot, shows)
            await pilot.app.workers.wait_for_complete()
            pilot.app.clear_notifications()
            await pilot.pause()

        held: AbstractContextManager[None] = holding(workspace) if engine else nullcontext()
        with held:
            return snap_compare(app, run_before=prepare, terminal_size=size)

    return compare


@pytest.mark.parametrize("size", [SMALL, NORMAL, WIDE], ids=["small", "normal", "wide"])
def test_the_cockpit(picture: Picture, campaign: Workspace, size: tuple[int, int]):
    assert picture(campaign, size=size)


@pytest.mark.parametrize("theme", ["autokaggle-light", "high-contrast"])
def test_other_colours(picture: Picture, campaign: Workspace, same_everywhere: Path, theme: str):
    same_everywhere.mkdir()
    (same_everywhere / "ui.json").write_text(json.dumps({"theme": theme}))
    assert picture(campaign, size=SIX_PANES)


@pytest.mark.parametrize(
    ("keys", "shows"),
    [
        pytest.param(["j", "enter"], "Score per fold against", id="round"),
        pytest.param(["j", "enter", "4", "d"], "against R15", id="diff"),
        pytest.param(["c"], "tilii-lgbm", id="correlations"),
        pytest.param(["m"], "gpt-5-codex", id="models"),
        pytest.param(["b"], "R27", id="submissions"),
        pytest.param(["l"], "noise-floor", id="learnings"),
        pytest.param(["question_mark"], "What the keys do here", id="help"),
    ],
)
def test_a_screen(picture: Picture, campaign: Workspace, keys: list[str], shows: str):
    assert picture(campaign, *keys, shows=shows, size=SIX_PANES)


def test_nothing_has_run(picture: Picture, campaign: Workspace, tmp_path: Path):
    fresh = Workspace(tmp_path / "fresh")
    fresh.root.mkdir()
    fresh.config.write_text(campaign.config.read_text())
    assert picture(fresh, shows="Nothing has run here yet", size=SIX_PANES, engine=False)


def test_the_engine_crashed(picture: Picture, tmp_path: Path):
    crashed = make_campaign(tmp_path / "campaign", ROUNDS, playing=True)
    held = holding(crashed)
    held.__enter__()

    async def die(pilot: Pilot[None]) -> None:
        crashed.engine_out.write_text(WORDS)
        held.__exit__(None, None, None)
        await until(pilot, lambda: pilot.app.pid is None)

    assert picture(crashed, shows="MemoryError", size=SIX_PANES, engine=False, then=die)


def test_a_thousand_rounds(picture: Picture, tmp_path: Path):
    assert picture(make_campaign(tmp_path / "campaign", 1_000, playing=True), shows="R1001", size=SIX_PANES)
