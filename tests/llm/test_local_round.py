"""A whole round by a real model in all three roles: it is too weak for most of it, and the round ends all the same."""

from pathlib import Path

import pytest

from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.models.opening import Opener
from backends.models.settings import ModelSettings
from experiments.registry import Registry
from tests.conftest import change_config, kinds, play

pytestmark = [pytest.mark.llm, pytest.mark.slow]
TOKENS = 140_000
"""Enough for each role to be asked, some minutes; then the playbook does the rest."""


@pytest.mark.timeout(900)
def test_a_round_comes_to_its_end(local_model: ModelSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    workspace = Workspace(demo_workspace(tmp_path / "demo"))
    settings = local_model.model_copy(update={"max_tokens": 256}).to_config()
    models = dict.fromkeys(("researcher", "builder", "reviewer"), settings)
    change_config(workspace, models=models, budget={"tokens": TOKENS, "at_cap": "playbook"}, compute={"slots": 1})

    def as_configured(bench) -> None:
        bench.desk.staff.open = Opener()

    code, events = play(workspace, 1, prepare=as_configured)
    assert code == 0
    registry = Registry(workspace.facts)
    calls = registry.rows("SELECT * FROM calls WHERE model != 'playbook'")
    verdicts = registry.rows("SELECT phase, author, verdict, reason FROM verdicts ORDER BY id")
    phases = registry.rows("SELECT phase, role, model, outcome, seconds FROM phases WHERE role != 'engine' ORDER BY at")
    registry.close()
    for row in phases:
        print(f"{row['phase']:<9} {row['role']:<10} {row['model']:<20} {row['outcome']:<9} {row['seconds']:6.1f} s")
    tokens = [sum(row[name] for row in calls) for name in ("input_tokens", "output_tokens")]
    print(len(calls), "calls,", *tokens, "tokens in and out,", len(kinds(events, "unfit")), "answers did not fit")
    for row in verdicts:
        print(*row.values())
    assert {row["role"] for row in calls} == {"researcher", "builder", "reviewer"}
    assert all(row["input_tokens"] > 0 for row in calls if row["outcome"] == "ok")
    assert {row["phase"] for row in verdicts if row["author"] == "reviewer"} == {"review", "verify"}
    assert all(row["reason"] for row in verdicts)
