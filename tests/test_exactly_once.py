"""Killed with SIGKILL around every step of a submission, against the emulated Kaggle: each file is taken at most once.

``make test`` kills at a few instants; ``make kills`` at fifty, or at as many as AUTOKAGGLE_KILLS says.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest

from autokaggle_tui.workspace import Workspace

from .clerks import add, make_workspace, opened, queue, states
from .emulators.kaggle import DROP, DROP_AFTER, TOKEN, Fault, KaggleServer

KILLS = int(os.environ.get("AUTOKAGGLE_KILLS", "4"))
STEPS = ("CreateSubmission", "ListSubmissions", "Put", "GetSubmissionLimits", "StartSubmissionUpload")
WHEN = ("after", "before", "later")
LAG = 0.3
ROOT = Path(__file__).parent.parent


class Deadly(KaggleServer):
    """An emulator that kills its client: before it does what it was asked for, after it, or a moment later."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: datetime.now(UTC))
        self.daily_limit, self.polls = 1_000, 1
        self.deadline = datetime(2099, 1, 1, tzinfo=UTC)
        self.victim: subprocess.Popen | None = None
        self.instant: tuple[str, str, float] | None = None
        self.kills: Counter[tuple[str, str]] = Counter()

    def fault(self, name: str) -> Fault | None:
        return self._strike(name, "before") or super().fault(name)

    def answer(self, name: str, body: dict[str, Any], authorization: str) -> dict[str, Any] | str:
        done = super().answer(name, body, authorization)
        self._strike(name, "after")
        self._strike(name, "later")
        return done

    def put(self, place: str, content: bytes) -> None:
        super().put(place, content)
        self._strike("Put", "after")
        self._strike("Put", "later")

    def _strike(self, name: str, when: str) -> Fault | None:
        if self.instant is None or self.victim is None or self.instant[:2] != (name, when):
            return None
        _, _, seconds = self.instant
        self.instant = None
        self.kills[(name, when)] += 1
        if when == "later":
            threading.Timer(seconds, self.victim.send_signal, (signal.SIGKILL,)).start()
            return None
        self.victim.send_signal(signal.SIGKILL)
        self.victim.wait()
        return DROP


@pytest.fixture
def server() -> Iterator[Deadly]:
    with Deadly() as running:
        yield running


def live(server: Deadly, workspace: Workspace) -> int:
    """One life of a process that submits all there is."""
    # It waits for its victim's number before it answers the first request.
    with server.lock:
        command = [sys.executable, "-m", "tests.submitting", str(workspace.root), str(LAG)]
        environment = {"AUTOKAGGLE_KAGGLE_URL": server.url, "KAGGLE_API_TOKEN": TOKEN, "HOME": str(workspace.root)}
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        server.victim = process
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode


def check(server: Deadly, workspace: Workspace) -> None:
    """What must hold between two lives, whatever happened."""
    taken = Counter(sent.sha256 for sent in server.ledger)
    assert max(taken.values(), default=1) == 1, "a file was taken twice"
    with opened(workspace, time.time) as campaign:
        rows = campaign.registry.rows("SELECT experiment, sha256, state FROM submissions")
        waiting = {name for name, (state, _) in queue(campaign).items() if state == "waiting"}
    for row in rows:
        if row["state"] == "accepted":
            assert row["sha256"] in taken, f"{row['experiment']} is accepted here and unknown there"
        if row["sha256"] in taken and row["state"] == "refused":
            assert any(same["sha256"] == row["sha256"] and same["state"] != "refused" for same in rows)
    settled = {row["experiment"] for row in rows if row["state"] != "refused"}
    refused = {row["experiment"] for row in rows} - settled
    assert refused <= waiting, "what was not taken waits for its next chance"


@pytest.mark.timeout(1800)
def test_killed_around_a_submission_nothing_is_taken_twice_and_nothing_is_lost(server: Deadly, tmp_path: Path):
    """Each life has a new experiment to submit, and what the one before it left open."""
    chance = random.Random(7)
    workspace = make_workspace(tmp_path / "made", server.task, max_submissions_per_day=None)
    # First the step that decides; a kill a moment later hits whatever comes next.
    instants = cycle(sorted(product(WHEN, STEPS), key=lambda pair: (STEPS.index(pair[1]), WHEN.index(pair[0]))))
    killed = number = 0
    while killed < KILLS:
        number += 1
        assert number <= 2 * KILLS + 4, "the process is not killed any more"
        with opened(workspace, time.time) as campaign:
            add(campaign, f"T{number:02}", 0.9 + number / 10_000, noise=())
        when, step = next(instants)
        server.instant = (step, when, chance.uniform(0.0, 0.15))
        server.lag = chance.choice([0, 0, 1])
        if chance.random() < 0.2:
            server.fail("CreateSubmission", chance.choice([DROP, DROP_AFTER]))
        killed += live(server, workspace) != 0
        server.instant = None
        check(server, workspace)
    server.heal()
    server.lag = 0
    assert live(server, workspace) == 0
    check(server, workspace)
    with opened(workspace, time.time) as campaign:
        final = {name: (state, scoring) for name, state, scoring in states(campaign) if state != "refused"}
    assert final == {f"T{one:02}": ("accepted", "complete") for one in range(1, number + 1)}
    assert len(server.ledger) == number and sum(server.kills.values()) >= killed
