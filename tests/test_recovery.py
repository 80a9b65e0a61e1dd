"""Killed with SIGKILL at every phase boundary and at random instants, then continued: nothing is lost or doubled."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.platforms.local_store import data_home
from experiments.backups import find_backups
from experiments.errors import RegistryError
from experiments.registry import Registry
from experiments.schema import open_viewer

from .conftest import kinds, play
from .invariants import check_finished, platform_folder

KILLABLE = Path(__file__).with_name("killable.py")
ROUNDS = 2
EVERYTHING = "phase_done,fold_done,experiment_done,round_started,round_done,submission,champion"
RANDOM_KILLS = 12


def start(folder: Path, kinds: str = "none", wanted: int = 0) -> subprocess.Popen:
    command = [sys.executable, str(KILLABLE), str(folder), str(ROUNDS), kinds, str(wanted)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen) -> int:
    _, errors = process.communicate(timeout=240)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode


def rows(folder: Path, sql: str) -> list[sqlite3.Row]:
    connection = open_viewer(folder / "autokaggle.db")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def ended(folder: Path) -> bool:
    """Whether the run is over; a campaign killed early has no registry yet."""
    try:
        return bool(rows(folder, "SELECT 1 FROM runs WHERE status = 'finished'"))
    except (RegistryError, sqlite3.Error):
        return False


def check_invariants(folder: Path) -> None:
    """What must hold of a finished campaign however often it was killed; something was submitted in it."""
    assert [
        str(finding) for finding in check_finished(folder, ROUNDS, platform=platform_folder(folder, data_home()))
    ] == []
    with closing(open_viewer(folder / "autokaggle.db")) as facts:
        assert facts.execute("SELECT count(*) FROM submissions WHERE state = 'accepted'").fetchone()[0]


@pytest.fixture
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    return demo_workspace(tmp_path / "demo")


@pytest.mark.timeout(600)
def test_killed_right_after_every_fact_it_commits(campaign: Path):
    """Each start gets one fact further than the last and dies there; in the end it is as if nothing had happened."""
    kills = 0
    while finish(start(campaign, EVERYTHING, (1, 2, 4, 3)[kills % 4])) != 0:
        kills += 1
        assert kills < 80, "the campaign makes no progress"
    assert kills >= 12
    check_invariants(campaign)


@pytest.mark.timeout(600)
def test_killed_at_random_instants_with_its_children(tmp_path: Path, campaign: Path):
    """On a fast machine the campaign ends before the last kill; then the next one begins."""
    chance = random.Random(20)
    kills = 0
    while kills < RANDOM_KILLS:
        process = start(campaign)
        try:
            process.wait(timeout=chance.uniform(0.5, 5.0))
            assert finish(process) == 0
            check_invariants(campaign)
            campaign = demo_workspace(tmp_path / f"demo-{kills}")
        except subprocess.TimeoutExpired:
            kills += 1
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in family:
                if chance.random() < 0.5 and child.is_running():
                    child.kill()
            process.wait()
            psutil.wait_procs(family, timeout=20)
            assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
            if ended(campaign):
                # Killed on its way out: the same command would begin another run.
                check_invariants(campaign)
                campaign = demo_workspace(tmp_path / f"demo-{kills}-ended")
        finally:
            process.stderr.close()
    assert finish(start(campaign)) == 0
    check_invariants(campaign)


def test_a_second_engine_is_refused_with_the_pid_of_the_first(campaign: Path):
    first = start(campaign)
    try:
        lock = campaign / "engine.pid"
        deadline = time.monotonic() + 60
        while not lock.is_file() and time.monotonic() < deadline:
            assert first.poll() is None
        second = subprocess.run(
            [sys.executable, "-m", "autokaggle_tui", "--no-ui", "-w", str(campaign)], capture_output=True, text=True
        )
        assert second.returncode == 1
        assert f"pid {first.pid}" in second.stderr
        assert "Traceback" not in second.stderr
    finally:
        first.kill()
        first.communicate()


def ledger(home: Path) -> list[tuple]:
    """What the platform took: token, file and content."""
    found = next(home.rglob("ledger.db"))
    connection = sqlite3.connect(found)
    try:
        return connection.execute("SELECT token, file, sha256 FROM submissions ORDER BY ref").fetchall()
    finally:
        connection.close()


@pytest.mark.timeout(600)
def test_a_registry_lost_with_all_but_its_first_backup_is_made_up_again(tmp_path: Path, campaign: Path):
    """The end of a campaign is the same as before the loss, and nothing is submitted a second time."""
    workspace = Workspace(campaign)
    play(workspace, ROUNDS)
    before = rows(campaign, "SELECT id, kind, family, score, status, code_sha FROM experiments ORDER BY rowid")
    sent = ledger(tmp_path / "home")
    assert sent
    for backup in find_backups(workspace.backups)[:-1]:
        backup.path.unlink()
    os.truncate(workspace.facts, 10_000)
    published = {path.name: path.read_bytes() for path in workspace.rounds.iterdir()}
    _, events = play(workspace, ROUNDS)
    assert events[0]["kind"] == "warning" and "after round 0" in events[0]["data"]["text"]
    assert {data["phase"] for data in kinds(events, "adopted")} >= {"research", "plan", "review", "code"}
    check_invariants(campaign)
    assert rows(campaign, "SELECT id, kind, family, score, status, code_sha FROM experiments ORDER BY rowid") == before
    assert ledger(tmp_path / "home") == sent
    known = rows(campaign, "SELECT token, file, sha256 FROM submissions WHERE state = 'accepted' ORDER BY id")
    assert [tuple(row) for row in known] == sent
    (aside,) = workspace.backups.glob("damaged-*")
    kept = {path.name: path.read_bytes() for path in (aside / "rounds").iterdir()}
    assert kept == {name: content for name, content in published.items() if not name.startswith("R00")}


def test_a_submission_that_a_restored_registry_forgot_is_taken_over(tmp_path: Path, campaign: Path):
    """The experiment is known, that it was submitted is not; a person may not send it again either."""
    workspace = Workspace(campaign)
    play(workspace, 1)
    sent = ledger(tmp_path / "home")
    registry = Registry(workspace.facts)
    registry.execute("DELETE FROM submissions")
    registry.close()
    _, events = play(workspace, 1)
    assert [data["state"] for data in kinds(events, "submission")][: len(sent)] == ["accepted"] * len(sent)
    known = rows(campaign, "SELECT token, file, sha256 FROM submissions ORDER BY id")
    assert [tuple(row) for row in known][: len(sent)] == sent
    assert len({row["sha256"] for row in known}) == len(known)
