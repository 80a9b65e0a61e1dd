"""The whole cockpit, driven by its keys: what a person sees and what the engine is asked for."""

from __future__ import annotations

import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from autokaggle_tui.launching import Start
from autokaggle_tui.ui.app import AutokaggleApp
from autokaggle_tui.ui.screens.dialogs import ConfirmDialog, HintDialog, QuitDialog
from autokaggle_tui.ui.screens.round import RoundScreen
from autokaggle_tui.ui.themes import DEFAULT
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.stream_log import StreamLog
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .conftest import change_config
from .viewing import SIX_PANES, SMALL, Engine, holding, looking, moment, sees, shown, stream, told, until

NORMAL, WIDE = (120, 40), (200, 60)
TITLES = ("1 Researcher", "2 Builder", "3 Reviewer", "4 Rounds", "5 CV score", "6 Verdicts", "7 Learnings")
PANES = ("researcher", "builder", "reviewer", "rounds", "chart", "verdicts", "learnings")


@pytest.fixture(scope="module", autouse=True)
def few_collections() -> Iterator[None]:
    """Looking for garbage in all that was imported would be a fifth of the time that these tests take."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the screen remembers stays in the test's own folder."""
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path / "state"


@pytest.fixture
def campaign(tmp_path: Path) -> Workspace:
    """Thirty rounds; the thirty-first is being played, three of its folds are done."""
    return make_campaign(tmp_path / "campaign", 30, playing=True)


@pytest.fixture
def engine(campaign: Workspace) -> Engine:
    return Engine(campaign)


def titles(pilot: Pilot[None]) -> list[str]:
    """The panes that are seen."""
    return [title for title in TITLES if f"─ {title}" in shown(pilot)]


def held(pilot: Pilot[None]) -> str:
    """The pane that holds the focus, or is it."""
    focused = pilot.app.focused
    assert focused is not None
    return next(node.id for node in focused.ancestors_with_self if node.id in PANES)


def table(pilot: Pilot[None]) -> RoundsTable:
    return pilot.app.screen_stack[0].query_one(RoundsTable)


def log(pilot: Pilot[None], role: str) -> StreamLog:
    return pilot.app.screen_stack[0].query_one(f"#{role} StreamLog", StreamLog)


async def asked(pilot: Pilot[None], engine: Engine) -> list[tuple[str, dict[str, str]]]:
    """The commands that were sent, once there is one."""
    await until(pilot, engine.asked)
    return engine.asked()


class TestSizes:
    async def test_each_size_shows_what_it_has_room_for(self, campaign: Workspace):
        async with looking(campaign, size=WIDE) as pilot:
            assert titles(pilot) == list(TITLES)
            for size, panes in ((SMALL, (TITLES[0], TITLES[3])), ((20, 6), None), (NORMAL, TITLES[:6])):
                await pilot.resize_terminal(*size)
                lines = shown(pilot).splitlines()
                assert len(lines) == size[1]
                if panes is not None:
                    assert titles(pilot) == list(panes)
                    assert "● running" in lines[0] and "bank-deposits" in lines[0]
                    assert any("fold 4/5" in line for line in lines[:3])
                    assert "Pause" in lines[-1] and "Quit" in lines[-1]
                    assert lines[-2].startswith(" R31 ✓ approved plan") == (size == SMALL)

    async def test_a_small_screen_shows_the_agent_that_was_chosen(self, campaign: Workspace):
        async with looking(campaign) as pilot:
            for key, title in (("2", TITLES[1]), ("3", TITLES[2])):
                await pilot.press(key)
                assert titles(pilot) == [title, TITLES[3]]
                assert held(pilot) == title.split()[1].lower()
        async with looking(campaign) as pilot:
            assert titles(pilot) == [TITLES[2], TITLES[3]]

    async def test_a_pane_without_room_takes_the_screen_until_one_comes_back(self, campaign: Workspace):
        async with looking(campaign) as pilot:
            await pilot.press("5")
            assert titles(pilot) == [TITLES[4]] and "◇ LB" in shown(pilot)
            await pilot.press("6")
            assert titles(pilot) == [TITLES[5]] and held(pilot) == "verdicts"
            await pilot.press("4")
            assert titles(pilot) == [TITLES[0], TITLES[3]] and held(pilot) == "rounds"
            await pilot.press("7")
            assert titles(pilot) == [TITLES[6]] and "noise-floor" in shown(pilot)
            await pilot.press("escape", "j")
            assert titles(pilot) == [TITLES[0], TITLES[3]]
            assert table(pilot).selected == "R30", "keys go to what is seen"


class TestMoving:
    async def test_numbers_and_tab_go_from_pane_to_pane(self, campaign: Workspace):
        async with looking(campaign, size=SIX_PANES) as pilot:
            assert held(pilot) == "rounds"
            for number in (1, 6):
                await pilot.press(str(number))
                assert held(pilot) == PANES[number - 1]
            await pilot.press("2", "tab", "tab")
            assert held(pilot) == "rounds"
            await pilot.press("shift+tab")
            assert held(pilot) == "reviewer"
            await pilot.click("#verdicts")
            assert held(pilot) == "verdicts"

    async def test_z_gives_the_screen_to_a_pane_and_takes_it_back(self, campaign: Workspace):
        async with looking(campaign, size=SIX_PANES) as pilot:
            await pilot.press("z")
            assert titles(pilot) == ["4 Rounds"]
            await pilot.press("j")
            assert table(pilot).selected == "R30"
            await pilot.press("z")
            assert len(titles(pilot)) == 6
            await pilot.press("2", "z")
            assert titles(pilot) == ["2 Builder"]
            await pilot.press("3")
            assert len(titles(pilot)) == 6 and held(pilot) == "reviewer"

    async def test_keys_move_in_the_table(self, campaign: Workspace):
        async with looking(campaign) as pilot:
            for key, name in (
                ("j", "R30"),
                ("j", "R29"),
                ("k", "R30"),
                ("G", "tilii-lgbm"),
                ("k", "T01"),
                ("g", "R31"),
            ):
                await pilot.press(key)
                assert table(pilot).selected == name
                assert f" {name[:4]}" in shown(pilot)

    async def test_a_round_is_opened_walked_through_and_left(self, campaign: Workspace):
        async with looking(campaign, size=SIX_PANES) as pilot:
            await pilot.press("j", "enter")
            await sees(pilot, " R30 ", "Score per fold", "1 Overview")
            for said in ("nothing like it was tried", "Six checks"):
                await pilot.press("right_square_bracket")
                await sees(pilot, said)
            await pilot.press("left_square_bracket")
            await sees(pilot, "nothing like it was tried")
            await pilot.press("greater_than_sign")
            await sees(pilot, " R31 ")
            await pilot.press("escape")
            assert len(titles(pilot)) == 6 and table(pilot).selected == "R30"

    async def test_f_goes_back_to_the_newest_line_and_new_ones_are_counted(self, campaign: Workspace, engine: Engine):
        async with looking(campaign) as pilot:
            await pilot.press("2", "g")
            assert not log(pilot, "builder").following and "▸ R29 plan" not in shown(pilot).splitlines()[-1]
            engine.say("builder", ("call", "write_file rounds/R31_plan.md +3"), ("result", "staged it"))
            await sees(pilot, "↓ ", " new ")
            await pilot.press("f")
            await sees(pilot, "  staged it")
            assert log(pilot, "builder").following and " new " not in shown(pilot)


class TestLooking:
    async def test_the_filter_narrows_the_table_and_escape_ends_it(self, campaign: Workspace):
        async with looking(campaign) as pilot:
            every = table(pilot).names
            await pilot.press("slash", *"boo", "enter")
            assert table(pilot).has_focus
            found = table(pilot).names
            assert 0 < len(found) < len(every) and f"{len(found)} of {len(every)}" in shown(pilot)
            await pilot.press("j")
            assert table(pilot).selected == found[1]
            await pilot.press("escape")
            assert table(pilot).names == every and not pilot.app.screen.query_one(Input).parent.display
            await pilot.press("slash", *"zz")
            assert "No round holds" in shown(pilot)
            await pilot.press("escape")
            assert table(pilot).names == every and table(pilot).has_focus

    async def test_words_are_found_in_what_an_agent_said(self, campaign: Workspace):
        async with looking(campaign, size=SIX_PANES) as pilot:
            await pilot.press("1", "slash", *"R29_", "enter")
            researcher = log(pilot, "researcher")
            assert researcher.has_focus and not researcher.following
            first = researcher.scroll_target_y
            assert "R29_" in shown(pilot)
            await pilot.press("n", "n", "n")
            last = researcher.scroll_target_y
            await pilot.press("N", "N", "N")
            assert researcher.scroll_target_y == first
            await pilot.press("escape", "f")
            assert researcher.following and last != researcher.scroll_target_y
            assert table(pilot).filter == ""

    async def test_order_and_theme_are_remembered_for_the_next_start(self, campaign: Workspace, state_home: Path):
        def remembered() -> dict[str, object]:
            return json.loads((state_home / "ui.json").read_text())

        async with looking(campaign) as pilot:
            await pilot.press("s", "s", "S", "T")
            column, names, theme = table(pilot).sort_column, table(pilot).names, pilot.app.theme
            assert column == "cv" and names[0] != "R31" and theme != DEFAULT
            await until(pilot, lambda: remembered()["theme"] == theme)
            assert remembered()["sort_column"] == column and remembered()["sort_reverse"]
        async with looking(campaign) as pilot:
            assert (table(pilot).sort_column, table(pilot).names, pilot.app.theme) == (column, names, theme)
            assert "cv▲" in shown(pilot)
            await pilot.press("T", "T", "T")
            assert pilot.app.theme == DEFAULT

    async def test_y_copies_what_the_focused_pane_holds(self, campaign: Workspace):
        async with looking(campaign) as pilot:
            await pilot.press("y")
            lines = pilot.app.clipboard.splitlines()
            assert len(lines) == len(table(pilot).names) + 1 and lines[1].split("\t")[1].strip() == "cat"
            await sees(pilot, f"Copied {len(lines)} lines.")
            await pilot.press("3", "y")
            assert pilot.app.clipboard == stream(pilot, "reviewer")

    async def test_the_palette_finds_rounds_and_commands(self, campaign: Workspace, engine: Engine):
        async with looking(campaign) as pilot:
            await pilot.press("ctrl+p", *"R27")
            await sees(pilot, "R27 blend rank mean")
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, RoundScreen))
            await sees(pilot, " R27 ", "rank mean of the three least alike")
            await pilot.press("escape", "ctrl+p", *"ret")
            await sees(pilot, "Open the next round with a retrospective")
            await pilot.press("enter")
            assert await asked(pilot, engine) == [("retro", {})]
            engine.answer()
            await told(pilot, "so be it")

    async def test_without_colour_all_is_said_in_words(self, campaign: Workspace, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("NO_COLOR", "1")
        async with looking(campaign, size=NORMAL) as pilot:
            for said in ("● running", "✓ keep", "✗ discard", "! invalid", "✗ reject", "✓ Research"):
                assert said in shown(pilot)
            strips = pilot.app.screen._compositor.render_strips()
            styles = {segment.style for strip in strips for segment in strip if segment.style is not None}
            colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour is not None]
            assert colours and all(len(set(colour.get_truecolor())) == 1 for colour in colours)


class TestKeys:
    async def test_help_is_made_of_the_keys_that_are_alive(self, campaign: Workspace, engine: Engine):
        change_config(campaign, keys={"pause": "p", "zoom": "ctrl+z", "retro": "t"})
        async with looking(campaign, size=SIX_PANES) as pilot:
            assert "p Pause" in shown(pilot).splitlines()[-1]
            await pilot.press("question_mark")
            help = shown(pilot)
            assert " p  Pause between folds, or go on" in help and "^z  This pane over the whole screen" in help
            assert "K  Kill the running experiment" in help and "Start the engine again" not in help
            await pilot.press("escape", "space")
            await pilot.press("p")
            assert await asked(pilot, engine) == [("pause", {})]
            engine.answer()
            await sees(pilot, "p Resume", "… pausing")

    async def test_keys_that_mean_nothing_are_told(self, campaign: Workspace):
        change_config(campaign, keys={"paus": "p", "zoom": "t"})
        async with looking(campaign) as pilot:
            await told(pilot, "did you mean 'pause'?", "'t' would be both 'retro' and 'zoom'")
            assert "␣ Pause" in shown(pilot).splitlines()[-1]


class TestLoop:
    async def test_space_pauses_and_resumes_as_the_state_has_it(self, campaign: Workspace, engine: Engine):
        async with looking(campaign) as pilot:
            await pilot.press("space")
            assert await asked(pilot, engine) == [("pause", {})]
            engine.answer("pausing after the folds that run now")
            await told(pilot, "The loop pauses after the folds that run now.")
            await sees(pilot, "… pausing", "␣ Resume")
            for fold in (3, 4):
                engine.tell(
                    "fold_done", 31, experiment="R31", fold=fold, folds=5, done=fold + 1, status="ok", score=0.97,
                    seconds=20.0, error="",
                )  # fmt: skip
            await sees(pilot, " paused")
            await pilot.press("space")
            assert await asked(pilot, engine) == [("resume", {})]
            engine.answer("going on")
            await told(pilot, "going on")
            await sees(pilot, "● running", "␣ Pause")

    async def test_a_hint_is_written_sent_and_answered(self, campaign: Workspace, engine: Engine):
        hint = "[/red] 目标"
        async with looking(campaign) as pilot:
            await pilot.press("i")
            assert isinstance(pilot.app.screen, HintDialog)
            await pilot.press("ctrl+s")
            assert "There is nothing to send yet." in shown(pilot)
            await pilot.press(*hint, "ctrl+s")
            assert await asked(pilot, engine) == [("hint", {"text": hint})]
            engine.answer(f"“{hint}” is read at the next phase")
            await told(pilot, f"“{hint}” is read")
            await pilot.press("i", *"no", "escape")
            assert not pilot.app.screen.is_modal and engine.asked() == []

    @pytest.mark.parametrize(
        ("key", "question", "verb"), [("K", "Kill R31?", "kill"), ("X", "Stop the engine?", "stop")]
    )
    async def test_kill_and_stop_ask_first(
        self, campaign: Workspace, engine: Engine, key: str, question: str, verb: str
    ):
        async with looking(campaign) as pilot:
            await pilot.press(key)
            assert isinstance(pilot.app.screen, ConfirmDialog) and question in shown(pilot)
            await pilot.press("enter")
            assert not pilot.app.screen.is_modal
            assert engine.asked() == []
            await pilot.press(key, "y")
            assert await asked(pilot, engine) == [(verb, {})]
            engine.answer("not today", "refused")
            await told(pilot, "not today")

    async def test_an_engine_that_ended_while_it_was_to_be_stopped_at_once(self, campaign: Workspace, engine: Engine):
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        with holding(campaign, gone.pid):
            engine.tell("run_started", pid=gone.pid, competition="bank-deposits")
            engine.tell("stopping", reason="stopped by command")
            async with looking(campaign, engine=False) as pilot:
                assert "stopping" in shown(pilot)
                await pilot.press("X")
                assert "Stop at once?" in shown(pilot)
                await pilot.press("y")
                assert pilot.app.is_running and not pilot.app.screen.is_modal

    async def test_q_asks_what_becomes_of_a_running_engine(self, campaign: Workspace, engine: Engine):
        async with looking(campaign) as pilot:
            await pilot.press("q")
            assert isinstance(pilot.app.screen, QuitDialog)
            await pilot.press("escape")
            assert not pilot.app.screen.is_modal and pilot.app.is_running
            await pilot.press("q", "k")
            await until(pilot, lambda: pilot.app._exit)
        assert engine.asked() == []

    @pytest.mark.parametrize(("key", "verb"), [("p", "pause"), ("s", "stop")])
    async def test_leaving_can_pause_or_stop_the_engine(self, campaign: Workspace, engine: Engine, key: str, verb: str):
        async with looking(campaign) as pilot:
            await pilot.press("q", key)
            assert await asked(pilot, engine) == [(verb, {})]
            assert not pilot.app._exit
            engine.answer()
            await until(pilot, lambda: pilot.app._exit)

    async def test_q_leaves_at_once_when_no_engine_runs(self, tmp_path: Path):
        async with looking(make_campaign(tmp_path / "campaign", 3), engine=False) as pilot:
            assert "■ The run finished: 3 rounds played" in shown(pilot)
            await pilot.press("q")
            await until(pilot, lambda: pilot.app._exit)


class TestTrouble:
    async def test_where_nothing_has_run(self, campaign: Workspace, tmp_path: Path):
        fresh = Workspace(tmp_path / "fresh")
        fresh.root.mkdir()
        fresh.config.write_text(campaign.config.read_text())
        async with looking(fresh, engine=False, size=SIX_PANES) as pilot:
            await sees(pilot, "Nothing has run here yet. r starts the engine.", "No rounds yet.")
            await pilot.press("b", "escape", "c", "escape", "enter", "1", "y")
            assert len(titles(pilot)) == 6
            await pilot.press("q")
            await until(pilot, lambda: pilot.app._exit)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (lambda file: file.write_bytes(b"this is no database, " * 500), "cannot be read"),
            (lambda file: newer(file), "written by a newer"),
        ],
        ids=["damaged", "newer"],
    )
    async def test_a_registry_that_cannot_be_read(self, campaign: Workspace, spoil: Callable[[Path], None], said: str):
        spoil(campaign.facts)
        async with looking(campaign, engine=False) as pilot:
            await until(pilot, lambda: said in shown(pilot).replace("\n", " "))
            await pilot.press("b", "escape", "r")
            await pilot.pause()
            assert "Traceback" not in shown(pilot) and pilot.app.is_running

    async def test_a_thousand_rounds(self, tmp_path: Path):
        async with looking(make_campaign(tmp_path / "campaign", 1_000, playing=True)) as pilot:
            assert "R1001" in shown(pilot) and "1004 · " in shown(pilot).replace(",", "")
            await pilot.press("G")
            assert table(pilot).selected == "tilii-lgbm" and " tili" in shown(pilot)
            await pilot.press("k", "k", "enter")
            await sees(pilot, " R00 ", "1 Overview")

    async def test_text_from_outside_is_shown_as_text(self, campaign: Workspace, engine: Engine):
        nasty, plain = "\x1b[31m[/red]\x07[@click=app.quit] 🚀 目标", "[/red][@click=app.quit] 🚀 目标"
        async with looking(campaign, size=WIDE) as pilot:
            engine.tell("plan_accepted", 31, plan_kind="model", family=nasty, idea=f"idea {nasty}", parent=None)
            verdict = {"author": "reviewer", "verdict": "REVISE", "rule": None, "reason": f"reason {nasty}"}
            engine.tell("verdict", 31, id=9_999, phase="review", **verdict)
            engine.tell("warning", None, text=f"warning {nasty}")
            engine.say("builder", ("text", f"\nsaid {nasty}\n"), ("call", f"call {nasty}"), ("answer", f"DONE {nasty}"))
            await sees(pilot, "idea [/red]", "plan: reason", " warning", f"said {plain}", f"› call {plain}")
            await pilot.press("space")
            await asked(pilot, engine)
            engine.answer(f"answer {plain}", "refused")
            await told(pilot, f"answer {plain}")
            await sees(pilot, "answer [/red]")
            assert "\x1b" not in shown(pilot) and "\x07" not in shown(pilot) and pilot.app.is_running
            await pilot.press("enter")
            await sees(pilot, " R31 ", "idea [/red]")

    async def test_what_happens_under_a_dialog_is_there_when_it_closes(self, campaign: Workspace, engine: Engine):
        async with looking(campaign) as pilot:
            await pilot.press("3")
            for key in ("i", "ctrl+p"):
                await pilot.press(key)
                assert pilot.app.screen.is_modal
                engine.say("reviewer", ("text", f"\nunder {key}\n"))
                engine.tell("note", None, text=f"under {key}")
                await until(pilot, lambda under=f"under {key}": under in stream(pilot, "reviewer"))
                await pilot.press("escape")
                await sees(pilot, f"under {key}")
            await pilot.press("m")
            for number in range(32, 35):
                engine.tell("round_started", number)
            await until(pilot, lambda: "R34" in pilot.app.state.results)
            await pilot.press("escape")
            await sees(pilot, " R34 ")

    async def test_the_registry_is_replaced_by_another(self, campaign: Workspace, tmp_path: Path):
        other = make_campaign(tmp_path / "other", 5, playing=True, seed=8)
        async with looking(campaign) as pilot:
            other.facts.replace(campaign.facts)
            await until(pilot, lambda: pilot.app.state.now.round == 6)
            assert table(pilot).selected == "R06" and " R31 " not in shown(pilot)

    async def test_an_engine_that_died_before_one_looked_left_its_words(self, campaign: Workspace):
        campaign.engine_out.write_text("run begins\nBug: KeyError: 'balance'\n")
        async with looking(campaign, engine=False) as pilot:
            await sees(pilot, "The engine died", "Bug: KeyError: 'balance'")


async def test_an_engine_that_dies_is_told_with_its_last_words_and_started_again(workspace: Workspace):
    """The demo with a real engine that this viewer starts; another takes over after the first was killed."""
    change_config(workspace, compute={"slots": 1})
    async with looking(workspace, start=Start(rounds=200), engine=False, clock=lambda: moment(workspace)) as pilot:
        app = pilot.app
        assert isinstance(app, AutokaggleApp)
        try:
            await until(pilot, lambda: app.engine == "running" and app.state.now.round == 1)
            first = app.pid
            assert first is not None and app.launch is None
            os.kill(first, signal.SIGKILL)
            await sees(pilot, "✗ died", "The engine died. r starts it again", "s  R0")
            await pilot.press("r")
            assert app.engine == "starting"
            await until(pilot, lambda: app.engine == "running" and app.pid not in (None, first))
            await until(pilot, lambda: "The engine died" not in shown(pilot))
            assert app.state.now.rounds == 200 and app.state.now.run is not None
        finally:
            if (pid := workspace.engine_pid()) is not None:
                os.kill(pid, signal.SIGKILL)
                await until(pilot, lambda: workspace.engine_pid() is None)


def newer(file: Path) -> None:
    """As a newer version of the program would have left it."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
