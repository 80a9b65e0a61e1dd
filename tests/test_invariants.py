"""The checker of crash tests finds what it is there to find."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from autokaggle_tui.engine import RunOptions, run_engine
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace

from .invariants import acknowledged, check_finished, check_standing, platform_folder

ROUNDS = 1


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of one round that was played to its end: ``ws``, ``home``, and what was told, ``told``."""
    folder = tmp_path_factory.mktemp("played")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOKAGGLE_DATA_HOME", str(folder / "home"))
        demo_workspace(folder / "ws")
        told = []
        assert asyncio.run(run_engine(Workspace(folder / "ws"), RunOptions(rounds=ROUNDS), told.append)) == 0
    (folder / "told").write_text("".join(f"{json.dumps(row)}\n" for row in told))
    return folder


@pytest.fixture
def campaign(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played, tmp_path / "copy"))


def findings(campaign: Path) -> list[str]:
    told = acknowledged((campaign / "told").read_bytes())
    root = campaign / "ws"
    return [str(found) for found in check_finished(root, ROUNDS, told, platform_folder(root, campaign / "home"))]


def test_nothing_is_wrong_with_a_campaign_that_nobody_disturbed(campaign: Path):
    assert findings(campaign) == []


def test_a_line_that_a_kill_cut_short_acknowledges_nothing():
    assert acknowledged(b'{"id": 1}\nsome words\n{"id": 2') == [{"id": 1}]


@pytest.mark.parametrize(
    ("sql", "damage"),
    [
        ("DELETE FROM events WHERE kind = 'champion'", "lost: event"),
        ("UPDATE events SET data = '{}' WHERE kind = 'champion'", "lost: event"),
        ("DELETE FROM phases WHERE phase = 'plan'", "doubled: phase (1, 'plan'): 0 rows, 1 events"),
        ("INSERT INTO events (at, round, kind, data) SELECT at, round, kind, data FROM events", "doubled: fold ("),
        ("UPDATE folds SET key = 'same'", "doubled: fold key with two results"),
        (
            "INSERT INTO champions (experiment, score, at) SELECT experiment, score, at FROM champions",
            "doubled: champion",
        ),
        ("UPDATE rounds SET status = 'open' WHERE round = 1", "lost: round 1 is open"),
        ("UPDATE runs SET status = 'running'", "lost: the runs are ['running']"),
        ("UPDATE submissions SET state = 'refused'", "lost: the platform has a submission that is refused here"),
        ("UPDATE submissions SET token = 'other'", "lost: the submission of R01 is accepted here and unknown"),
        ("UPDATE predictions SET oof_sha = 'other'", "corrupt: R01_oof.npy is not the prediction of R01"),
        ("UPDATE experiments SET score = 0.1", "lost: state.json is behind the registry"),
        ("DELETE FROM verdicts WHERE phase = 'review'", "lost: round 1: no verdict of its review"),
    ],
)
def test_facts_that_were_changed(campaign: Path, sql: str, damage: str):
    with closing(sqlite3.connect(campaign / "ws" / "autokaggle.db")) as facts, facts:
        facts.execute(sql)
    assert any(found.startswith(damage) for found in findings(campaign)), findings(campaign)


def test_files_that_were_changed(campaign: Path):
    rounds = campaign / "ws" / "rounds"
    (rounds / "R01_plan.md").write_text("another plan")
    (rounds / "R01_findings.md").unlink()
    np.save(rounds / "R01_test.npy", np.zeros(3, dtype=np.float32))
    (rounds / ".tmp-0-R02_plan.md").touch()
    (campaign / "ws" / "results.tsv").unlink()
    assert findings(campaign) == [
        "corrupt: R01_plan.md is not what plan of round 1 published",
        "lost: R01_findings.md of round 1, findings, is gone",
        "corrupt: R01_test.npy is not the prediction of R01",
        "lost: results.tsv is missing",
        f"left: {rounds / '.tmp-0-R02_plan.md'}",
    ]


def test_a_database_that_is_damaged_or_gone(campaign: Path):
    facts = campaign / "ws" / "autokaggle.db"
    facts.write_bytes(facts.read_bytes()[:-4096])
    assert any(found.startswith("corrupt: ") for found in findings(campaign))
    facts.write_bytes(b"")
    told = acknowledged((campaign / "told").read_bytes())
    assert [str(found) for found in check_standing(campaign / "ws", told)] == ["lost: autokaggle.db is empty"]
    facts.unlink()
    assert [str(found) for found in check_standing(campaign / "ws", told)] == ["lost: autokaggle.db is gone"]


def test_looking_leaves_a_hot_journal_for_the_next_engine(campaign: Path):
    """What an engine that was killed in a commit leaves must be there for its successor."""
    journal = campaign / "ws" / "autokaggle.db-journal"
    journal.write_bytes(b"not rolled back")
    findings(campaign)
    assert journal.read_bytes() == b"not rolled back"
