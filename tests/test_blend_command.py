"""A planted pool, given as ``existing_oof_dir``: what is allowed, blocked and chosen, and why, in ``blend --json``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autokaggle_tui.loop.blender import survey_of
from autokaggle_tui.poolview import opened_pool
from autokaggle_tui.workspace import Workspace
from experiments.rules import Rules

from .conftest import change_config

TEST_ROWS = 142


@pytest.fixture
def planted(workspace: Workspace) -> Workspace:
    """Two strong and different models, a copy of one at 0.999, and a weak one that knows something else."""
    with opened_pool(workspace) as campaign:
        sign = 2 * campaign.competition.y - 1
    random = np.random.default_rng(0)

    def model(strength: float) -> np.ndarray:
        return strength * sign + 2 * random.standard_normal(len(sign))

    strong = model(2.0)
    logits = {
        "strong": strong,
        "twin": strong + 0.05 * random.standard_normal(len(sign)),
        "pair": strong * 0.4 + 0.6 * model(2.3) * 1.05,
        "weak": model(0.8),
    }
    folder = workspace.root / "mine"
    folder.mkdir()
    for name, values in logits.items():
        proba = (1 / (1 + np.exp(-values))).astype(np.float32)
        np.save(folder / f"{name}_oof.npy", proba)
        np.save(folder / f"{name}_test.npy", proba[:TEST_ROWS])
    change_config(workspace, existing_oof_dir="mine")
    return workspace


def blend(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "autokaggle_tui", "blend", "-w", str(workspace.root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def rules_of(member: dict[str, Any]) -> list[str]:
    return [ruling["rule"] for ruling in member["rulings"]]


def test_what_is_allowed_blocked_and_chosen_and_why(planted: Workspace) -> None:
    said = blend(planted, "--json")
    assert said.returncode == 0, said.stderr
    report = json.loads(said.stdout)
    members = {member["name"]: member for member in report["members"]}
    assert members[report["best"]["name"]]["verdict"] == "allowed"
    assert max(member["nearest"]["correlation"] for member in members.values() if member["nearest"]) > 0.999
    assert members["weak"]["verdict"] == "blocked" and "diversity-threshold" in rules_of(members["weak"])
    assert members["weak"]["rulings"][0]["figures"]["margin"] == 0.003
    near = [name for name in ("strong", "twin") if "stacking-correlation" in rules_of(members[name])]
    assert len(near) == 1, "of near-duplicates one is kept"
    chosen = report["chosen"]
    names = {name for name, _ in chosen["members"]}
    assert len(names & {"strong", "twin"}) == 1 and "pair" in names
    assert chosen["lifted"] == ["diversity-threshold"] and "weak" in names
    evidence = chosen["rulings"][1]["figures"]["evidence"]
    assert evidence["t"] > 1 and chosen["rulings"][1]["verdict"] == "warn"
    assert [one["chosen"] for one in report["candidates"]].count(True) == 1
    blocked = [one for one in report["candidates"] if not one["allowed"]]
    assert all(any(ruling["verdict"] == "block" for ruling in one["rulings"]) for one in blocked)
    assert chosen["optimism"].keys() == {"fit", "choice"}


def test_without_the_override_no_evidence_lifts_a_rule(planted: Workspace) -> None:
    text = planted.learnings.read_text().replace('override = "evidence"\n', "")
    planted.learnings.write_text(text)
    assert Rules.parse(text)["diversity-threshold"].override is None
    with opened_pool(planted) as campaign:
        report = survey_of(campaign)().report
    assert all(not one["lifts"] for one in report["candidates"])
    for one in report["candidates"]:
        assert "weak" not in dict(one["members"]) and one["allowed"]
        fitted = one["method"] != "equal"
        assert not (fitted and {"strong", "twin"} <= dict(one["members"]).keys())


def test_a_person_may_name_the_members_and_is_told_of_mistakes(planted: Workspace) -> None:
    said = blend(planted, "strong", "weak")
    assert said.returncode == 0 and "weak" in said.stdout and "pair" not in said.stdout
    wrong = blend(planted, "strong", "stong")
    assert wrong.returncode == 1 and "stong is not in the pool (nearest: strong)" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_an_empty_pool_says_what_is_missing(workspace: Workspace, tmp_path: Path) -> None:
    said = blend(workspace)
    assert said.returncode == 1 and "two are needed" in said.stderr and "Run another model first" in said.stderr
