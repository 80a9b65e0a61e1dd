"""Dialogs, help and palette: what asks, what tells, what finds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, TextArea

from autokaggle_tui.ui.keymap import keymap
from autokaggle_tui.ui.palette import Commands, Models, Rounds, Themes
from autokaggle_tui.ui.screens.dialogs import ConfirmDialog, HintDialog, QuitDialog
from autokaggle_tui.ui.screens.help import HelpScreen, living
from autokaggle_tui.ui.screens.learnings import LearningsScreen
from autokaggle_tui.ui.screens.models import ModelsScreen
from autokaggle_tui.ui.screens.submissions import SubmissionsScreen
from autokaggle_tui.ui.themes import THEMES
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .screen_host import HOSTILE, SHOWN, Host, said, settled, showing


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A run that goes on in round 31; tests that write take a workspace of their own."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


class TestDialogs:
    @pytest.mark.parametrize(
        ("keys", "answer"),
        [
            ("y", True),
            ("n", False),
            ("escape", False),
            ("enter", False),
            ("right enter", True),
            ("tab tab enter", False),
        ],
    )
    async def test_a_question_is_answered_no_unless_one_says_yes(self, made: Workspace, keys: str, answer: bool):
        answers: list[bool | None] = []
        app = Host(made)
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(ConfirmDialog(HOSTILE, HOSTILE, yes="Do it"), answers.append)
            await pilot.pause()
            await pilot.press(*keys.split())
            assert answers == [answer]

    @pytest.mark.parametrize(
        ("keys", "answer"),
        [
            ("enter", "keep"),
            ("k", "keep"),
            ("p", "pause"),
            ("s", "stop"),
            ("escape", None),
            ("down down enter", "stop"),
        ],
    )
    async def test_leaving_keeps_the_loop_running_unless_told_otherwise(self, made: Workspace, keys: str, answer: str):
        answers: list[str | None] = []
        app = Host(made)
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(QuitDialog(), answers.append)
            await pilot.pause()
            await pilot.press(*keys.split())
            assert answers == [answer]

    async def test_a_hint_has_words(self, made: Workspace):
        answers: list[str | None] = []
        app = Host(made)
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(HintDialog(), answers.append)
            await pilot.pause()
            await pilot.press("space", "ctrl+s")
            assert answers == [] and "nothing to send" in said(pilot, ".dialog--complaint")
            await pilot.press("q", "enter", "k")
            assert said(pilot, ".dialog--complaint") == ""
            await pilot.press("ctrl+s")
            assert answers == ["q\nk"]
            app.push_screen(HintDialog("draft"), answers.append)
            await pilot.pause()
            assert app.screen.query_one(TextArea).text == "draft"
            await pilot.press("escape")
            assert answers[1:] == [None]

    async def test_buttons_and_rows_answer_to_the_mouse(self, made: Workspace):
        answers: list[Any] = []
        app = Host(made)
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(ConfirmDialog("Sure?"), answers.append)
            await pilot.pause()
            await pilot.click("#yes")
            app.push_screen(QuitDialog(), answers.append)
            await pilot.pause()
            await pilot.click(OptionList, offset=(4, 1))
            assert answers == [True, "pause"]


class TestHelp:
    async def test_it_tells_the_keys_that_are_alive_on_the_screen_below(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            groups = living(pilot.app.screen)
            assert list(groups) == ["Loop", "Look", "Move", "Here", "Program", "Also"]
            submit = next(entry for entry in groups["Here"] if "Submit" in entry.said)
            assert submit.keys == ["S"]
            assert any(entry.keys[:4] == ["1", "2", "3", "4"] for entry in groups["Move"])
            await pilot.press("question_mark")
            await pilot.app.push_screen(HelpScreen())
            drawn = "\n".join(str(card.render()) for card in pilot.app.screen.query("TableCard"))
            assert "Submit what is selected" in drawn and "killed" in drawn and "on its way" in drawn
            await pilot.press("j", "k", "escape")
            assert isinstance(pilot.app.screen, SubmissionsScreen)

    async def test_remapped_keys_are_shown(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            pilot.app.set_keymap(keymap({"submit": "f9,U"}))
            groups = living(pilot.app.screen)
            assert next(entry.keys for entry in groups["Here"] if "Submit" in entry.said) == ["f9", "U"]

    async def test_another_screen_has_other_keys(self, made: Workspace):
        async with showing(made, LearningsScreen()) as pilot:
            told = [entry.said for entries in living(pilot.app.screen).values() for entry in entries]
            assert "Open the file in $EDITOR" in told and not any("Submit" in text for text in told)


class TestPalette:
    async def found(self, pilot: Pilot[None], provider: Any, query: str) -> list[Any]:
        finder = provider(pilot.app.screen)
        await finder.startup()
        hits = [hit async for hit in (finder.search(query) if query else finder.discover())]
        return sorted(hits, key=lambda hit: -hit.score)

    async def test_commands_carry_their_keys_and_run(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            hits = await self.found(pilot, Commands, "subm")
            assert str(hits[0].match_display) == "Submit  S"
            await hits[0].command()
            await pilot.pause()
            assert isinstance(pilot.app.screen, ConfirmDialog)

    async def test_before_a_word_is_typed_it_lists_commands_but_no_moving(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            listed = [hit.text for hit in await self.found(pilot, Commands, "")]
            assert "Submit" in listed and "Zoom" in listed and "Down" not in listed

    async def test_rounds_are_found_by_name_family_and_idea(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            row = pilot.app.state.results["R12"]
            for query in ("r12", row.family, row.idea[:25]):
                texts = [hit.text for hit in await self.found(pilot, Rounds, query)]
                assert any(text.startswith("R12 ") for text in texts), query
            (await self.found(pilot, Rounds, "R12 "))[0].command()
            assert pilot.app.opened == ["R12"]

    async def test_an_exact_name_comes_before_all_that_begin_like_it(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            results = pilot.app.state.results
            more = {name: replace(results["R12"], name=name) for name in ("R121", "R129")}
            pilot.app.state = replace(pilot.app.state, results={**results, **more})
            assert (await self.found(pilot, Rounds, "r12"))[0].text.startswith("R12 ")

    async def test_commands_are_found_by_what_they_are_about(self, made: Workspace):
        async with showing(made, LearningsScreen()) as pilot:
            hits = await self.found(pilot, Commands, "submit")
            assert [str(hit.match_display) for hit in hits] == ["Blends  b"]

    async def test_ideas_are_text(self, made: Workspace):
        async with showing(made, SubmissionsScreen()) as pilot:
            results = {**pilot.app.state.results, "R12": replace(pilot.app.state.results["R12"], idea=HOSTILE)}
            pilot.app.state = replace(pilot.app.state, results=results)
            hit = (await self.found(pilot, Rounds, "click=app"))[0]
            assert SHOWN in str(hit.match_display) and "\x1b" not in hit.text

    async def test_a_model_swap_goes_through_the_test_call(self, made: Workspace):
        async with showing(made, LearningsScreen()) as pilot:
            hits = await self.found(pilot, Models, "builder: playbook")
            assert str(hits[0].match_display) == "Model builder: playbook"
            hits[0].command()
            await settled(pilot)
            assert isinstance(pilot.app.screen, ModelsScreen)
            assert pilot.app.asked == [("probe-model", {"role": "builder", "model": "playbook"})]

    async def test_themes_change_at_once(self, made: Workspace):
        async with showing(made, LearningsScreen()) as pilot:
            own = {theme.name for theme in THEMES} - {pilot.app.theme}
            listed = [hit.text.removeprefix("Theme: ") for hit in await self.found(pilot, Themes, "theme")]
            assert set(listed[: len(own)]) == own and len(listed) > len(own)
            (await self.found(pilot, Themes, "autokaggle-light"))[0].command()
            assert pilot.app.theme == "autokaggle-light"

    async def test_ctrl_p_opens_it(self, made: Workspace):
        async with showing(made, LearningsScreen()) as pilot:
            await pilot.press("ctrl+p", *"edit")
            await settled(pilot)
            options = pilot.app.screen.query_one("CommandList", OptionList)
            assert "Edit  e" in str(options.get_option_at_index(0).prompt)
