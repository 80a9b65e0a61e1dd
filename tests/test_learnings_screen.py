"""The learnings screen: rules, their verdicts, and the file under a person's hands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autokaggle_tui.state import Verdict
from autokaggle_tui.ui import editor
from autokaggle_tui.ui.screens.learnings import LearningsScreen
from autokaggle_tui.ui.widgets.sheet import Sheet
from autokaggle_tui.workspace import Workspace
from experiments.learned import Learning, append

from .campaigns import make_campaign
from .screen_host import HOSTILE, SHOWN, rows, said, settled, showing, toasts


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run that goes on in round 31; tests that write take a workspace of their own."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


async def test_rules_say_what_they_do_and_how_often_they_bound(made: Workspace):
    async with showing(made, LearningsScreen()) as pilot:
        state = pilot.app.state
        shown = {row.split()[0]: row.split() for row in rows(pilot, "#rules")}
        assert len(shown) == 10
        blocked = state.bound["noise-floor"]["block"]
        last = [item for item in state.verdicts if item.rule == "noise-floor"][-1]
        assert shown["noise-floor"][1:3] == ["■", "block"]
        assert shown["noise-floor"][-3:] == [str(blocked), "–", f"R{last.round:02d}"]
        assert shown["no-repeats"][-3:] == ["–", "–", "–"]


async def test_a_selected_rule_shows_its_last_verdicts_and_its_heading(made: Workspace):
    async with showing(made, LearningsScreen()) as pilot:
        page = pilot.app.screen.query_one("DocumentPage")
        pilot.app.screen.query_one("#rules Sheet", Sheet).go_to("noise-floor")
        await settled(pilot)
        told = said(pilot, "#verdicts TableCard")
        assert "min_t 1.5 · min_evidence_t 1" in told and "✗ block The gain over the champion" in told
        headings = [block for block in page.query("MarkdownH2") if page.region.contains_region(block.region)]
        assert "larger than the noise" in str(headings[0].visual)


async def test_what_retrospectives_appended_stands_below_the_rules(tmp_path: Path):
    workspace = make_campaign(tmp_path / "demo", 3, playing=True)
    learning = Learning("Target encoding pays", f"R04 +0.002, t 2.1 {HOSTILE}")
    text = workspace.learnings.read_text()
    workspace.learnings.write_text(text + append(text, [learning], "R10"))
    async with showing(workspace, LearningsScreen()) as pilot:
        shown = rows(pilot, "#rules")
        assert len(shown) == 11 and shown[10].split() == ["Target", "encoding", "pays", "◆", "prose", "–", "–", "R10"]
        pilot.app.screen.query_one("#rules Sheet", Sheet).go_to("R10: Target encoding pays")
        await settled(pilot)
        told = said(pilot, "#verdicts TableCard")
        assert "R04 +0.002, t 2.1" in told and "binds nobody" in told and SHOWN in told
        page = pilot.app.screen.query_one("DocumentPage")
        headings = [block for block in page.query("MarkdownH3") if page.region.contains_region(block.region)]
        assert [str(block.visual) for block in headings] == ["Target encoding pays"]


async def test_verdicts_are_text(made: Workspace):
    async with showing(made, LearningsScreen()) as pilot:
        verdict = Verdict(9_999, 0.0, 31, "run", "rules", "block", "noise-floor", HOSTILE)
        bound = {**pilot.app.state.bound, "noise-floor": {"block": 99, "warn": 3}}
        pilot.app.give(replace(pilot.app.state, verdicts=(*pilot.app.state.verdicts, verdict), bound=bound))
        pilot.app.screen.query_one("#rules Sheet", Sheet).go_to("noise-floor")
        await settled(pilot)
        assert SHOWN in said(pilot, "#verdicts TableCard")
        assert rows(pilot, "#rules")[8].split()[-3:] == ["99", "3", "R31"]


async def test_a_broken_file_is_named_with_its_line_and_the_good_rules_stay(tmp_path: Path):
    workspace = make_campaign(tmp_path / "demo", 3, playing=True)
    screen = LearningsScreen()
    async with showing(workspace, screen) as pilot:
        good = workspace.learnings.read_text()
        broken = good.replace("max_gap = 0.003", "max_gap = oops")
        workspace.learnings.write_text(broken)
        screen.look()
        await settled(pilot)
        line = broken[: broken.index("max_gap = oops")].count("\n") + 1
        assert f"LEARNINGS.md, line {line}" in said(pilot, "#broken")
        assert "The last good rules stay in force" in said(pilot, "#broken")
        assert "■ block" in rows(pilot, "#rules")[1]
        workspace.learnings.write_text(good.replace('correlation"\nenforce = "block"', 'correlation"\nenforce = "off"'))
        screen.look()
        await settled(pilot)
        assert not screen.query_one("#broken").display
        assert "○ off" in rows(pilot, "#rules")[0]


async def test_a_file_that_was_broken_from_the_start_claims_nothing(tmp_path: Path):
    workspace = make_campaign(tmp_path / "demo", 3)
    workspace.learnings.write_text("# x\n```toml\nid = \n```\n")
    async with showing(workspace, LearningsScreen(), pid=None) as pilot:
        assert "? unknown" in rows(pilot, "#rules")[0]
        assert "No run can begin until it is mended" in said(pilot, "#broken")


async def test_a_missing_file_and_unknown_rules_are_explained(tmp_path: Path):
    workspace = make_campaign(tmp_path / "demo", 3)
    text = workspace.learnings.read_text()
    workspace.learnings.write_text(text + '\n## Mine\n```toml\nid = "my-own"\n```\n')
    screen = LearningsScreen()
    async with showing(workspace, screen) as pilot:
        assert "¶ prose" in rows(pilot, "#rules")[10]
        workspace.learnings.unlink()
        screen.look()
        await settled(pilot)
        assert "is missing: the built-in rules apply" in said(pilot, "#broken")
        assert len(rows(pilot, "#rules")) == 10


async def test_e_says_where_the_file_is_when_no_editor_can_be_opened(made: Workspace, monkeypatch):
    monkeypatch.setenv("VISUAL", "no-such-editor --wait")
    async with showing(made, LearningsScreen()) as pilot:
        await pilot.press("e")
        assert "LEARNINGS.md" in toasts(pilot)


async def test_a_pane_without_room_fills_the_screen(made: Workspace):
    async with showing(made, LearningsScreen(), size=(80, 24)) as pilot:
        screen = pilot.app.screen
        assert not screen.query_one("#verdicts").region
        await pilot.press("2")
        assert screen.query_one("#verdicts").region.height > 20
        assert screen.query_one("#parts").region.y == 0
        assert said(pilot, "#parts") == "1 Rules ▸ 2 Verdicts 3 LEARNINGS.md"
        await pilot.press("escape")
        assert screen.query_one("#rules").region.height > 10
        await pilot.press("3", "z")
        assert screen.query_one("#document").region.height > 20


def test_the_editor_is_the_persons_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "code --wait")
    assert editor.editor() == ["code", "--wait"]
    monkeypatch.setenv("VISUAL", "hx")
    assert editor.editor() == ["hx"]
    monkeypatch.setenv("VISUAL", "hx '")
    with pytest.raises(ValueError):
        editor.editor()
