"""The table of keys, what a person makes of it, and what the screen remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from textual.app import App
from textual.screen import Screen

from autokaggle_tui.ui.keymap import BY_ID, DIALOGS, GROUPS, KEYS, SCREENS, bindings, keymap, problems, reference
from autokaggle_tui.ui.uistate import UiState, state_file


def test_the_table_itself_is_sound():
    assert len(BY_ID) == len(KEYS)
    assert problems({}) == []
    for key in KEYS:
        assert key.group in GROUPS and key.label and key.help
        assert key.where <= SCREENS | DIALOGS and key.where


def test_bindings_carry_their_id_and_may_be_shown_or_hidden():
    pause, resume = bindings("pause")
    assert (pause.action, resume.action, pause.id, resume.id) == ("pause", "resume", "pause", "pause")
    assert [binding.show for binding in bindings("retro", "stop")] == [True, False]
    assert [binding.show for binding in bindings("retro", "stop", show=True)] == [True, True]
    with pytest.raises(KeyError):
        bindings("no-such-thing")


def test_keys_may_be_written_as_characters_and_as_lists():
    assert keymap({"pause": "p", "help": "?,f1", "stop": " X , ctrl+x"}) == {
        "pause": "p",
        "help": "question_mark,f1",
        "stop": "X,ctrl+x",
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"puase": "p"}, "did you mean 'pause'"),
        ({"xyzzy": "p"}, "ids are pause, retro"),
        ({"pause": "ctlr+p"}, "did you mean 'ctrl+p'"),
        ({"pause": "p,,q"}, "a comma as a key is written 'comma'"),
        ({"pause": "t"}, "'t' would be both 'pause' and 'retro' (everywhere)"),
        ({"diff": "e"}, "both 'diff' and 'editor' (round)"),
        ({"quit-keep": "s"}, "both 'quit-keep' and 'quit-stop' (quit)"),
    ],
)
def test_what_cannot_be_is_named_with_its_cure(given: dict[str, str], said: str):
    (sentence,) = problems(given)
    assert said in sentence


def test_keys_may_change_places_and_serve_dialogs_and_screens():
    assert problems({"stop": "K", "kill": "X"}) == []
    assert problems({"quit-keep": "t", "diff": "s"}) == []


def test_what_is_wrong_is_left_out_of_the_keymap():
    assert keymap({"puase": "p", "pause": "ctlr+p", "retro": "R"}) == {"retro": "R"}


class Below(Screen[None]):
    BINDINGS: ClassVar[list[Any]] = bindings("pause", "down")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != ("resume" if not self.app.paused else "pause")  # type: ignore[attr-defined]

    def action_pause(self) -> None:
        self.app.paused = True  # type: ignore[attr-defined]

    def action_resume(self) -> None:
        self.app.paused = False  # type: ignore[attr-defined]


async def test_a_remapped_key_serves_both_sides_of_a_toggle():
    app = App[None]()
    app.paused = False  # type: ignore[attr-defined]
    async with app.run_test() as pilot:
        app.set_keymap(keymap({"pause": "P,f5"}))
        await app.push_screen(Below())
        seen = []
        for key in ("space", "P", "f5", "P"):
            await pilot.press(key)
            seen.append(app.paused)  # type: ignore[attr-defined]
        assert seen == [False, True, False, True]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def test_what_was_chosen_is_there_again_tomorrow(home: Path):
    state = UiState.load()
    assert state == UiState()
    thread = state.remember(theme="autokaggle-light", zoomed="chart", sort_column="cv", sort_reverse=True)
    assert thread is not None
    thread.join()
    assert state.remember(theme="autokaggle-light") is None
    assert UiState.load() == UiState("autokaggle-light", "cv", True, "chart")
    assert [path.name for path in home.iterdir()] == ["ui.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\x00\xff"])
def test_a_damaged_file_means_the_defaults(home: Path, text: str):
    home.mkdir()
    state_file().write_bytes(text.encode("latin-1"))
    assert UiState.load() == UiState()


def test_what_fits_in_a_file_of_another_version_is_used(home: Path):
    home.mkdir()
    state_file().write_text(json.dumps({"theme": "terminal", "follow": "yes", "shown": [1], "later": {}}))
    assert UiState.load() == UiState(theme="terminal")


def test_a_folder_that_cannot_be_written_is_no_error(home: Path):
    home.write_text("a file stands where the folder should be")
    UiState(theme="terminal").save()
    assert UiState.load() == UiState()


def test_the_page_of_keys_is_the_table():
    page = Path(__file__).parents[1] / "docs" / "keys.md"
    assert page.read_text() == reference(), "write it anew: python -m autokaggle_tui.ui.keymap > docs/keys.md"
