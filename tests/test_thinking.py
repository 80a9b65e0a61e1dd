"""What the loop makes of rules and retrospectives: edits bind at once, and what was learned reaches the next plans."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from agents.trigger import trigger
from autokaggle_tui.bench import Bench
from autokaggle_tui.loading import load_round, load_state
from autokaggle_tui.loop.orchestrator import RETRO_WANTED
from autokaggle_tui.loop.phasebook import problem
from autokaggle_tui.printing import print_round
from autokaggle_tui.state import State
from autokaggle_tui.workspace import Workspace
from backends.models.base import Request
from backends.models.tasks import Task
from experiments.learned import appended_learnings
from experiments.learnings import Rules
from experiments.schema import open_viewer

from .conftest import Scripted, change_config, kinds, play
from .test_loop import MEAN, PLAN, own
from .test_strategy import EMPTY

RETRO = """# Retrospective at round 1

## Top five next

1. extra_trees: bagged trees have not been tried.

```yaml
next:
  - {family: extra_trees, idea: trees that differ, expected_gain: 0.0004, minutes: 1.5}
  - {family: own2, kind: tune, params: {depth: 3}}
```

## Learnings

### The worst radius carries most of it

R01 with it scores 0.99, without it 0.97 (t 3.1).

```toml
id = "noise-floor"
enforce = "off"
```
"""


class Recording(Scripted):
    """Keeps the tasks it was given."""

    def __init__(self, script: dict) -> None:
        super().__init__(script)
        self.tasks: list[Task] = []

    async def stream(self, request: Request):
        if not self.tasks or self.tasks[-1] is not request.task:
            self.tasks.append(request.task)
        async for chunk in super().stream(request):
            yield chunk

    def asked(self, round: int, phase: str) -> Task:
        return next(task for task in self.tasks if (task.round, task.phase) == (round, phase))


@pytest.fixture
def quick(workspace: Workspace) -> Workspace:
    change_config(workspace, cv_folds=2, compute={"slots": 1})
    return workspace


def seen(workspace: Workspace) -> State:
    with contextlib.closing(open_viewer(workspace.facts)) as connection:
        return load_state(connection)


def test_a_retrospective_feeds_this_plan_and_the_next_ones_and_teaches_the_file(quick: Workspace) -> None:
    def ask_for_one(bench: Bench) -> None:
        with bench.campaign.registry.transaction():
            bench.campaign.registry.set_fact(RETRO_WANTED, "now")

    before = Rules.load(quick.learnings)
    model = Recording({(1, "retro"): RETRO} | own(1, MEAN) | own(2, MEAN.replace("(1)", "(2)")))
    _, events = play(quick, 2, model=model, prepare=ask_for_one)
    for number in (1, 2):
        for phase in ("research", "plan", "review"):
            assert "rounds/R01_retro.md" in model.asked(number, phase).inputs, (number, phase)
            assert "rounds/R01_retro.md" in trigger(model.asked(number, phase))
        view = model.asked(number, "plan").view
        assert view.retro == 1
        assert [(idea.family, idea.kind, dict(idea.params)) for idea in view.top] == [
            ("extra_trees", "model", {}),
            ("own2", "tune", {"depth": 3}),
        ]
    assert model.asked(2, "review").facts["findings"]
    said = "top five: extra_trees +0.00040 in 1.5 min; own2 depth = 3"
    assert [data["reason"] for data in kinds(events, "verdict") if data["verdict"] == "RETRO"] == [said]
    state = seen(quick)
    assert state.verdicts[0].reason == said
    assert "R01 retro: LEARNINGS.md has what it learned: The worst radius carries most of it." in [
        notice.text for notice in state.notices
    ]
    [learned] = appended_learnings(quick.learnings.read_text())
    assert (learned.source, learned.heading) == ("R01", "The worst radius carries most of it")
    assert Rules.load(quick.learnings) == before and before["noise-floor"].enforce == "block"


def test_a_retrospective_whose_block_cannot_be_read_comes_back() -> None:
    task = Task("retro", "reviewer", 10, ("R10_retro.md",), (), ("DONE",), EMPTY)
    text = RETRO.replace("minutes: 1.5", "minutes: soon")
    assert problem(task, "DONE", {"R10_retro.md": RETRO}) == ""
    said = problem(task, "DONE", {"R10_retro.md": text})
    assert said.startswith("rounds/R10_retro.md: next: minutes:") and "\n" not in said


def test_an_edit_between_plan_and_review_binds_the_review(quick: Workspace, capsys: pytest.CaptureFixture) -> None:
    stricter = quick.learnings.read_text().replace("max_running = 2", "max_running = 1")
    broken = stricter + '\n## Mine\n\n```toml\nid = "no-repeats\n```\n'
    line = broken.count("\n") - 1

    def edit(row) -> None:
        if row["round"] == 2 and row["kind"] == "phase_started" and row["data"]["phase"] == "plan":
            quick.learnings.write_text(stricter)
        if row["round"] == 2 and row["kind"] == "phase_done" and row["data"]["phase"] == "review":
            quick.learnings.write_text(broken)

    script = own(1, MEAN, "circling") | own(2, MEAN, "circling")
    script |= {(2, "review"): "APPROVED\nfine", (2, "revise"): PLAN.format(family="circling")}
    _, events = play(quick, 2, script, edit)
    figures = "circling × 1 (R01), 1 may be"
    told = [(data["phase"], data["figures"]) for data in kinds(events, "verdict") if data["author"] == "rules"]
    assert ("review", figures) in told, "the rules as they were when the review began"
    assert ("revise", figures) in told, "a broken block leaves the last good rules, the edited ones, in force"
    [warning] = [data["text"] for data in kinds(events, "warning")]
    assert f"LEARNINGS.md, line {line}" in warning and "last good rules" in warning
    assert load_round(quick, "2")["round"]["family"] != "circling"
    verdicts = [verdict for verdict in seen(quick).verdicts if verdict.rule == "tunnel-vision"]
    assert {verdict.figures for verdict in verdicts if verdict.author == "rules"} == {figures}
    print_round(load_round(quick, "2"), Path("nowhere"))
    shown = capsys.readouterr().out
    assert "rules on review: block tunnel-vision: " in shown and f"\n    {figures}\n" in shown
