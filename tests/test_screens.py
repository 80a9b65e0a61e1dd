"""Models, blends and submissions, on made campaigns; and what all screens of panes have in common."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from autokaggle_tui.standing import board_of
from autokaggle_tui.state import Call, PhaseNow, State, Submission, Waiting
from autokaggle_tui.ui.screens.dialogs import ConfirmDialog
from autokaggle_tui.ui.screens.learnings import LearningsScreen
from autokaggle_tui.ui.screens.models import ModelsScreen
from autokaggle_tui.ui.screens.submissions import SubmissionsScreen
from autokaggle_tui.ui.widgets.board_plot import BoardPlot
from autokaggle_tui.ui.widgets.pane import Pane
from autokaggle_tui.ui.widgets.sheet import Sheet
from autokaggle_tui.workspace import Workspace
from experiments.schema import open_facts

from .campaigns import make_campaign
from .screen_host import HOSTILE, SHOWN, Host, rows, said, settled, showing, toasts

SCORING = ("pending", "complete", "error")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run that goes on in round 31; tests that write take a workspace of their own."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


class TestModels:
    async def test_each_role_has_its_model_and_what_it_spent(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            spent = pilot.app.state.by_role["builder"]
            builder = rows(pilot, "#roles")[1]
            assert builder.startswith("builder") and "openai/gpt-5-codex" in builder
            assert f" {spent.calls} " in builder and f"${spent.cost:.2f}" in builder
            assert "playbook at next start" in builder
            last = pilot.app.state.calls["builder"]
            assert f"{last.pace:.0f} t/s" in builder and f"/400k {last.filled:.0%}" in builder
            assert f" {spent.retries}× " in builder

    async def test_a_fallback_shows_who_answered_instead(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            state = pilot.app.state
            last = Call("ollama_chat/qwen3", asked="openai/gpt-5-codex", output_tokens=10, seconds=100.0)
            spent = replace(state.by_role["builder"], cost=None, fallbacks=2)
            changed = {"calls": {"builder": last}, "by_role": {"builder": spent}}
            pilot.app.give(replace(state, **changed))
            builder = rows(pilot, "#roles")[1]
            for part in ("gpt-5-codex → ollama", "0.1 t/s", "2 → ", "$?"):
                assert part in builder

    async def test_who_answered_is_seen_beside_a_long_name_on_a_small_screen(self, made: Workspace):
        name = f"openrouter/vendor/{'long-' * 20}"
        async with showing(made, ModelsScreen()) as pilot:
            await pilot.resize_terminal(80, 24)
            now = replace(pilot.app.state.now, phase=None, models={**pilot.app.state.now.models, "builder": name})
            pilot.app.give(replace(pilot.app.state, now=now, calls={"builder": Call("openai/gpt-5", asked=name)}))
            assert "long-long-l… → openai/g" in rows(pilot, "#roles")[1]

    async def test_a_model_that_changed_counts_from_the_next_phase(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            now = replace(
                pilot.app.state.now,
                phase=PhaseNow("code", "builder", "openai/gpt-5-codex", 1, 0.0),
                models={**pilot.app.state.now.models, "builder": "playbook"},
            )
            pilot.app.give(replace(pilot.app.state, now=now))
            assert "● R31 code" in rows(pilot, "#roles")[1]
            assert "→ playbook" in rows(pilot, "#roles")[1]

    async def test_the_offline_playbook_is_always_the_first_choice(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            names = [row.split()[-0 if row.startswith("●") else 0] for row in rows(pilot, "#choices")]
            assert rows(pilot, "#choices")[0].split()[0] == "playbook" and len(names) == 4
            await pilot.press("down", "enter")
            assert pilot.app.screen.query_one("#choices", Pane).border_title == "2 Another model for the builder"

    async def test_a_model_takes_over_only_after_its_test_call(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            await pilot.press("down", "enter", "enter")
            assert pilot.app.asked == [("probe-model", {"role": "builder", "model": "playbook"})]
            assert "asking playbook for one line" in said(pilot, "#said")
            await pilot.press("enter")
            assert len(pilot.app.asked) == 1 and "wait for its answer" in said(pilot, "#said")
            pilot.app.answer("done", "it answered in 0.1 s")
            assert pilot.app.asked[1:] == [("model", {"role": "builder", "model": "playbook"})]
            pilot.app.answer("done", "builder uses playbook from the next phase on")
            await settled(pilot)
            told = said(pilot, "#said")
            assert told.startswith("✓ builder uses playbook from the next phase on ✓ playbook: it answered in 0.1 s")

    async def test_a_model_that_does_not_answer_changes_nothing(self, made: Workspace):
        async with showing(made, ModelsScreen()) as pilot:
            pilot.app.screen.query_one(Input).focus()
            await pilot.press(*"gpt-x", "enter")
            pilot.app.answer("refused", f"401: {HOSTILE}")
            assert [verb for verb, _args in pilot.app.asked] == ["probe-model"]
            assert f"✗ gpt-x: 401: {SHOWN}" in said(pilot, "#said")
            told = said(pilot, "#said")
            assert told.index("✗ gpt-x") < told.index("researcher stays with anthropic/claude-opus-4-5")
            assert pilot.app.screen.query_one(Input).value == "gpt-x"
            tests = [item.binding for item in pilot.app.screen.active_bindings.values() if item.binding.key == "enter"]
            assert [(binding.description, binding.show) for binding in tests] == [("Test it", True)]

    async def test_an_engine_that_is_late_changes_nothing_either(self, made: Workspace):
        async with showing(made, ModelsScreen("builder", "playbook")) as pilot:
            assert pilot.app.asked == [("probe-model", {"role": "builder", "model": "playbook"})]
            assert pilot.app.screen.query_one("#choices", Pane).border_title == "2 Another model for the builder"
            pilot.app.answer("queued", "")
            assert len(pilot.app.asked) == 1 and "Nothing was changed" in said(pilot, "#said")

    async def test_without_an_engine_an_untested_model_needs_a_yes(self, made: Workspace):
        async with showing(made, ModelsScreen(), pid=None) as pilot:
            pilot.app.screen.choose("reviewer", "some/model")
            await pilot.pause()
            assert isinstance(pilot.app.screen, ConfirmDialog)
            await pilot.press("enter")
            assert pilot.app.asked == []
            pilot.app.screen.choose("reviewer", "some/model")
            await pilot.pause()
            await pilot.press("y")
            assert pilot.app.asked == [("model", {"role": "reviewer", "model": "some/model"})]

    async def test_who_left_before_the_answer_gets_the_model_all_the_same(self, made: Workspace):
        async with showing(made, ModelsScreen("builder", "playbook")) as pilot:
            await pilot.press("escape")
            pilot.app.answer("done", "ok")
            pilot.app.answer("done", "changed")
            assert pilot.app.asked[1:] == [("model", {"role": "builder", "model": "playbook"})]

    async def test_a_broken_config_is_named(self, tmp_path: Path):
        workspace = make_campaign(tmp_path / "demo", 3, playing=True)
        workspace.config.write_text("{")
        async with showing(workspace, ModelsScreen()) as pilot:
            assert "line 1, column 2: Expecting property name" in said(pilot, "#said")
            assert "double quotes; " in said(pilot, "#said")


class TestSubmissions:
    async def test_blends_are_listed_with_what_judged_them(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            first = rows(pilot, "#blends")[0]
            best = pilot.app.state.results["R27"]
            assert first.startswith("R27") and f"{best.score:.5f}" in first and "✓ keep" in first
            for name, weight in best.members:
                assert f"{name} {weight:.2f}" in first
            assert "Became champion" in said(pilot, "#verdict Static")
            await pilot.press("enter")
            assert pilot.app.opened == ["R27"]

    async def test_the_pool_says_who_may_join_and_who_is_too_alike(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            shown = rows(pilot, "#pool")
            assert "◆ best single" in shown[0]
            assert any("✓ may join" in row for row in shown) and any("✗ too weak" in row for row in shown)
            assert any("✓ instead of R" in row and "(0.99" in row for row in shown)
            assert "within 0.003" in str(pilot.app.screen.query_one("#pool", Pane).border_subtitle)

    async def test_an_edit_of_the_rules_shows_at_once(self, tmp_path: Path):
        workspace = make_campaign(tmp_path / "demo", 30, playing=True)
        screen = SubmissionsScreen()
        async with showing(workspace, screen) as pilot:
            text = workspace.learnings.read_text().replace("max_gap = 0.003", "max_gap = 1.0")
            workspace.learnings.write_text(text.replace("max_correlation = 0.995", "max_correlation = 1.0"))
            screen.look()
            await settled(pilot)
            assert all("✗" not in row and "≈" not in row for row in rows(pilot, "#pool"))

    async def test_a_submission_asks_first_and_names_what_is_sent(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            assert "R27, the champion, was not sent yet" in said(pilot, "#plan")
            await pilot.press("S")
            dialog = pilot.app.screen
            assert isinstance(dialog, ConfirmDialog)
            detail = said(pilot, ".dialog--detail")
            assert "cv 0.97" in detail and "of 5 submissions are left today" in detail
            await pilot.press("n")
            assert pilot.app.asked == []
            await pilot.press("4", "down", "enter", "y")
            assert pilot.app.asked == [("submit", {"experiment": "R30"})]

    async def test_what_is_selected_in_the_focused_pane_is_submitted(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            screen = pilot.app.screen
            screen.query_one("#blends Sheet", Sheet).go_to("R18")
            screen.query_one("#pool Sheet", Sheet).go_to("R30")
            await pilot.press("2", "S", "y")
            assert pilot.app.asked == [("submit", {"experiment": "R30"})]
            sent = next(item for item in pilot.app.state.submissions.values() if item.state == "accepted")
            name = sent.experiment
            screen.query_one("#sent Sheet", Sheet).go_to(str(sent.id))
            await pilot.press("3", "S")
            assert pilot.app.screen is screen and f"{name} was sent already" in toasts(pilot)

    async def test_a_submission_needs_no_engine(self, made: Workspace):
        async with showing(made, SubmissionsScreen(), pid=None) as pilot:
            await pilot.press("S", "y")
            assert pilot.app.asked == [("submit", {"experiment": "R27"})]

    async def test_nothing_is_called_empty_before_it_was_read(self, made: Workspace):
        app = Host(made)
        async with app.run_test(size=(120, 40)) as pilot:
            screen = SubmissionsScreen()
            screen._read = lambda: None  # type: ignore[method-assign,assignment,return-value]
            await app.push_screen(screen)
            await pilot.pause()
            assert said(pilot, "#blends .sheet--missing") == said(pilot, "#pool .sheet--missing") == "Reading…"

    async def test_nothing_is_asked_when_the_days_quota_is_used_up(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            at = pilot.app.clock() - 60
            gone = {n: Submission(n, at, "R01", "f.csv", "accepted", 0.9, HOSTILE) for n in range(100, 105)}
            pilot.app.give(replace(pilot.app.state, submissions=gone))
            await pilot.press("S")
            assert isinstance(pilot.app.screen, SubmissionsScreen)
            assert "5 submissions of today are used up" in toasts(pilot)
            assert "5 of 5 used today" in str(pilot.app.screen.query_one("#sent", Pane).border_subtitle)
            assert SHOWN[:10] in rows(pilot, "#sent")[0]

    async def test_each_state_of_a_submission_has_its_sign_and_word(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            states = ("intent", "accepted", "refused", "unknown")
            sent = {n: Submission(n, 0.0, "R01", "f.csv", state, None, "") for n, state in enumerate(states)}
            pilot.app.give(replace(pilot.app.state, submissions=sent))
            shown = "\n".join(rows(pilot, "#sent"))
            assert all(word in shown for word in ("● on its way", "✓ accepted", "✗ refused", "? unknown"))

    async def test_one_that_is_scored_or_could_not_be_says_so(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            sent = {n: Submission(n, 0.0, "R01", "f.csv", "accepted", None, "", how) for n, how in enumerate(SCORING)}
            pilot.app.give(replace(pilot.app.state, submissions=sent))
            shown = "\n".join(rows(pilot, "#sent"))
            assert all(word in shown for word in ("● scoring", "✓ accepted", "! error"))

    async def test_one_of_unknown_fate_goes_again_only_after_a_question(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            lost = next(item for item in pilot.app.state.submissions.values() if item.state == "unknown")
            pilot.app.screen.query_one("#sent Sheet", Sheet).go_to(str(lost.id))
            await pilot.press("3", "S")
            assert f"approve {lost.experiment} --arrived" in said(pilot, ".dialog--detail")
            await pilot.press("n")
            assert pilot.app.asked == []
            await pilot.press("S", "y")
            assert pilot.app.asked == [("approve", {"experiment": lost.experiment, "said": "send-again"})]

    async def test_what_waits_comes_first_and_says_what_for(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            queue = {
                "R28": Waiting("R28", "waiting", "loop", "the daily limit of 5 is used up", 1.0),
                "R26": Waiting("R26", "left", "loop", "outclassed", 1.0),
            }
            pilot.app.give(replace(pilot.app.state, queue=queue))
            assert "waits: the daily limit of 5 is" in rows(pilot, "#next")[0]
            assert "1 in the queue, R28 goes first" in said(pilot, "#plan")
            queue = {**queue, "R30": Waiting("R30", "asking", "loop", "submit.when is ask", 2.0)}
            pilot.app.give(replace(pilot.app.state, queue=queue))
            assert "R30 waits for your word" in said(pilot, "#plan")

    async def test_the_leaderboard_is_told_and_cv_is_drawn_against_it(self, tmp_path: Path):
        workspace = make_campaign(tmp_path / "made", 30)
        connection = open_facts(workspace.facts)
        for number, name in enumerate(("R26", "R28", "R29", "R30"), 100):
            row = (number, name, f"{name}.csv", str(number), str(number), 0.9 - number / 1e4, 9e8)
            connection.execute(
                "INSERT INTO submissions (id, competition, experiment, file, sha256, token, state, public_score, at) "
                "VALUES (?, 'x', ?, ?, ?, ?, 'accepted', ?, ?)",
                row,
            )
        connection.close()
        async with showing(workspace, SubmissionsScreen()) as pilot:
            places = [(f"Team {place}", 0.99 - place / 1000) for place in range(200)]
            board = board_of(places, team="us", best=0.8995, better=1, at=9e8)
            pilot.app.give(replace(pilot.app.state, board=board))
            await settled(pilot)
            plot = pilot.app.screen.query_one(BoardPlot)
            shown = "\n".join(plot.render_line(y).text for y in range(plot.size.height))
            assert "rank 92 of 201" in shown and "the other way round" in shown and "for the final score" in shown
            assert "LB" in shown and "CV" in shown and "◉" in shown

    async def test_a_new_workspace_says_what_is_missing(self, tmp_path: Path):
        workspace = make_campaign(tmp_path / "demo", 1)
        async with showing(workspace, SubmissionsScreen()) as pilot:
            pilot.app.give(State())
            await settled(pilot)
            assert rows(pilot, "#sent") == [] and "Nothing was submitted yet" in said(pilot, "#sent .sheet--missing")
            await pilot.press("S")
            assert "Nothing waits to be sent" in toasts(pilot)

    async def test_a_small_screen_shows_one_part_at_a_time(self, made: Workspace):
        async with showing(made, SubmissionsScreen(), size=(80, 24)) as pilot:
            screen = pilot.app.screen
            blends, sent = screen.query_one("#blends"), screen.query_one("#sent")
            assert blends.region.height > 5 and not sent.region
            await pilot.press("right_square_bracket")
            assert sent.region.height > 5 and not blends.region
            await pilot.press("right_square_bracket")
            assert screen.query_one("#board").region.height > 15 and not sent.region and not blends.region
            await pilot.press("left_square_bracket")
            assert sent.region.height > 5
            await pilot.press("2")
            assert blends.region.height > 5 and screen.focused in screen.query("#pool Rows")


@pytest.mark.parametrize("screen", [ModelsScreen, SubmissionsScreen, LearningsScreen])
async def test_every_size_is_drawn_and_the_moving_keys_move(made: Workspace, screen: Any):
    async with showing(made, screen(), size=(200, 60)) as pilot:
        await pilot.press("G", "k", "z", "z")
        await pilot.resize_terminal(80, 24)
        await pilot.press("tab", "j")
        await pilot.resize_terminal(30, 8)
        await pilot.press("1", "g")
        assert isinstance(pilot.app.screen, screen)
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, screen)


async def test_the_cursor_stays_on_its_row_when_others_come(made: Workspace):
    async with showing(made, SubmissionsScreen()) as pilot:
        sheet = pilot.app.screen.query_one("#sent Sheet", Sheet)
        held = next(iter(pilot.app.state.submissions))
        sheet.go_to(str(held))
        new = {99: Submission(99, 0.0, "R30", "f.csv", "intent", None, "")}
        pilot.app.give(replace(pilot.app.state, submissions={**pilot.app.state.submissions, **new}))
        await settled(pilot)
        assert sheet.key == str(held) and json.loads(sheet.key) == held
