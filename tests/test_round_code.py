"""Code, differences and logs on the screen of a round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, TabbedContent

from autokaggle_tui.dossiers import load_dossier
from autokaggle_tui.roundfiles import load_log, read_text
from autokaggle_tui.ui import editor
from autokaggle_tui.ui.feed import LogRow
from autokaggle_tui.ui.screens.round import RoundScreen
from autokaggle_tui.ui.widgets.code_text import coloured_lines, difference, numbered, plain_lines
from autokaggle_tui.ui.widgets.code_view import CodeView
from autokaggle_tui.ui.widgets.log_page import LogPage
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .hosting import SMALL, change, opened, press, said, seen
from .screen_host import settled, toasts


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty rounds and the thirty-first being played; nothing changes it."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A small campaign that a test may change: eight rounds, one of them a blend, the ninth being played."""
    return make_campaign(tmp_path / "demo", 8, playing=True)


class TestCode:
    async def test_code_diff_and_copy(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, pilot):
            await press(pilot, "4")
            code = (made.rounds / "R30_experiment.py").read_text()
            assert f"R30_experiment.py  {len(code.splitlines())} lines" in said(app, ".code--head")
            await press(pilot, "y")
            assert app.clipboard == code.rstrip("\n")
            await press(pilot, "d")
            parent = load_dossier(made, "R30").parent
            assert f"R30 against {parent}, its parent" in said(app, ".code--head")
            shown = seen(app.screen.query_one("#code-view"))
            assert "+ " in shown
            assert "− " in shown
            await press(pilot, "d")
            assert "lines" in said(app, ".code--head")

    async def test_a_diff_without_a_parent_says_so(self, fresh: Workspace) -> None:
        parent = load_dossier(fresh, "R08").parent
        (fresh.rounds / f"{parent}_experiment.py").unlink()
        async with opened(fresh, RoundScreen("R08")) as (app, pilot):
            await press(pilot, "4", "d")
            assert f"{parent}_experiment.py is not in rounds/" in said(app, ".code--head")
            assert "import lightgbm" in seen(app.screen.query_one("#code-view"))

    async def test_finding_in_the_code(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30"), SMALL) as (app, pilot):
            await press(pilot, "4", "slash", *"ctx", "enter")
            code = (made.rounds / "R30_experiment.py").read_text()
            count = sum("ctx" in line for line in code.splitlines())
            assert said(app, ".find--place") == f"{count} found"
            await press(pilot, "n")
            assert said(app, ".find--place") == f"2 of {count}"
            await press(pilot, "N", "N")
            assert said(app, ".find--place") == f"{count} of {count}"
            await press(pilot, "escape")
            assert not app.screen.query_one("FindBar").display
            assert isinstance(app.screen, RoundScreen)
            await press(pilot, "escape")
            assert not isinstance(app.screen, RoundScreen)

    async def test_the_letters_that_are_looked_for_are_no_commands(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, pilot):
            await press(pilot, "4", "slash", *"d2y")
            assert app.screen.query_one(Input).value == "d2y"
            assert said(app, ".find--place") == "not found"
            assert app.screen.query_one(TabbedContent).active == "tab-code"

    async def test_without_an_editor_the_person_is_told(self, made: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(editor, "FALLBACKS", ())
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.delenv("EDITOR", raising=False)
        async with opened(made, RoundScreen("R30")) as (_app, pilot):
            await press(pilot, "e")
            assert "set $EDITOR" in toasts(pilot)
            assert "R30_experiment.py" in toasts(pilot)
            await press(pilot, "3", "e")
            assert "R30_review.md" in toasts(pilot)
        async with opened(made, RoundScreen("tilii-lgbm")) as (_app, pilot):
            await press(pilot, "e")
            assert toasts(pilot) == "There is no file to open here."

    def test_a_difference_counts_and_numbers_its_lines(self) -> None:
        old = plain_lines("\n".join(f"line {number}" for number in range(5_000)))
        new = [*old[:2_000], Content("new"), *old[2_001:]]
        found = difference(old, new)
        assert (found.added, found.removed) == (1, 1)
        assert [line.sign for line in found.lines] == ["@", " ", " ", " ", "−", "+", " ", " ", " "]
        assert found.lines[4].gutter == "2001     "
        assert found.lines[5].gutter == "     2001"
        assert difference(old, old).lines == []

    def test_colours_leave_the_text_as_it_is(self) -> None:
        code = 'def f(x):\n\treturn """a\nb""" + \'ü目\'  # [/red]\n\n\n'
        lines = coloured_lines(code)
        assert [line.plain for line in lines] == [line.plain for line in plain_lines(code)]
        assert any(span.style for line in lines for span in line.spans)

    async def test_five_thousand_lines_are_painted_where_they_are_seen(self) -> None:
        class Reader(App[None]):
            def compose(self) -> Iterable[Widget]:
                yield CodeView()

        app = Reader()
        async with app.run_test(size=SMALL) as pilot:
            view = app.query_one(CodeView)
            view.show(numbered([Content(f"row {number} " + "x" * 100) for number in range(5_000)]))
            view.scroll_end(animate=False)
            await pilot.pause()
            view.action_sideways(2)
            await pilot.pause()
            last = seen(view).splitlines()
            assert " 5000 " in "\n".join(last)
            assert "row" not in "\n".join(last)


class TestLog:
    async def test_a_published_log_is_read_whole(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, pilot):
            await press(pilot, "5")
            lines = read_text(made.rounds / "R30_run.log").text.splitlines()
            assert f"{len(lines)} lines" in said(app, ".log--head")
            shown = seen(app.screen.query_one("#log-file"))
            assert "--- fold 5, score" in shown
            assert "[bold red]not markup[/bold red]" in shown
            assert "\x1b" not in shown

    async def test_a_running_experiment_prints_line_by_line(self, fresh: Workspace) -> None:
        screen = RoundScreen("R09")
        async with opened(fresh, screen) as (app, pilot):
            await press(pilot, "5")
            assert "R09 runs" in said(app, ".log--head")
            log = app.screen.query_one(LogPage)
            before = log.text().splitlines()
            assert before
            known = [LogRow(at, "R09", fold, text) for at, fold, text in load_log(fresh, "R09")[-2:]]
            screen.stream([], [*known, LogRow(9e9, "R09", 3, "[77] auc 0.97"), LogRow(9e9, "R08", 0, "another's")])
            await settled(pilot)
            assert log.text().splitlines() == [*before, "fold 4 │ [77] auc 0.97"]

    async def test_what_was_printed_before_the_screen_had_read_is_not_lost(self, fresh: Workspace) -> None:
        screen = RoundScreen("R09")
        async with opened(fresh, screen) as (app, pilot):
            screen.action_round(-1)
            screen.action_round(1)
            screen.stream([], [LogRow(9e9, "R09", 0, "early")])
            await settled(pilot)
            assert app.screen.query_one(LogPage).text().splitlines()[-1] == "fold 1 │ early"

    async def test_the_published_log_takes_the_place_of_the_stream(self, fresh: Workspace) -> None:
        screen = RoundScreen("R09")
        async with opened(fresh, screen) as (app, pilot):
            await press(pilot, "5")
            (fresh.rounds / "R09_run.log").write_text("R09, log written\n--- fold 1, score 0.9\n")
            change(fresh, "UPDATE experiments SET status = 'discard', ended_at = 2e9 WHERE id = 'R09'")
            app.state = replace(app.state, champion=None)
            screen.follow(app.state, app.engine)
            await settled(pilot)
            assert app.screen.query_one("#log-file").display
            assert "2 lines" in said(app, ".log--head")
