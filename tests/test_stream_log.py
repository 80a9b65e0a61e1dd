"""What agents and experiments say: wrapped, followed or read in peace, searched, copied, and never obeyed."""

from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp
from textual.geometry import Offset
from textual.pilot import Pilot
from textual.selection import Selection
from textual.widget import Widget

from autokaggle_tui.state import Call, Now, PhaseNow, Spent, State
from autokaggle_tui.ui.feed import StreamRow
from autokaggle_tui.ui.widgets import paragraphs as paragraphs_module
from autokaggle_tui.ui.widgets.agent_pane import AgentPane
from autokaggle_tui.ui.widgets.paragraphs import Paragraphs, wrapped
from autokaggle_tui.ui.widgets.stream_log import StreamLog

WIDE = ("a", "b", " ", " ", "目", "🚀", "é", "👩\u200d🚀", "❤\ufe0f")
plain = st.text(alphabet="ab  cd", max_size=60)
wide = st.lists(st.sampled_from(WIDE), max_size=50).map("".join)


class Stage(App[None]):
    """A log, or a pane, that fills a small screen."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget

    def compose(self) -> ComposeResult:
        yield self.widget


@asynccontextmanager
async def staged(widget: Widget, size: tuple[int, int] = (30, 8)) -> Iterator[Pilot[None]]:
    async with Stage(widget).run_test(size=size) as pilot:
        await pilot.pause()
        yield pilot


def seen(log: StreamLog) -> list[str]:
    """The rows on the screen."""
    return [log.render_line(y).text.rstrip() for y in range(log.scrollable_content_region.height)]


def styles(log: StreamLog, row: int) -> dict[str, str]:
    """Style of each part of a row of the screen."""
    return {segment.text.strip(): str(segment.style) for segment in log.render_line(row) if segment.text.strip()}


def fill(log: StreamLog, count: int, kind: str = "log") -> None:
    log.extend([(f"line {number}", kind) for number in range(count)])


class TestWrapping:
    def test_rows_break_at_spaces_and_long_words_where_they_must(self):
        text = "the gain of aaaaaaaaaaaaaaa is noise"
        assert [text[start:end] for start, end in wrapped(text, 8)] == [
            "the gain",
            "of",
            "aaaaaaaa",
            "aaaaaaa",
            "is noise",
        ]

    @given(plain, st.integers(1, 12))
    def test_text_without_wide_characters_is_wrapped_the_same_either_way(self, text, width):
        assert paragraphs_module._wrapped_ascii(text, width, 0) == paragraphs_module._wrapped_wide(text, width, 0)

    @given(wide, st.integers(2, 12))
    def test_rows_fit_and_nothing_but_spaces_is_lost(self, text, width):
        rows = [text[start:end] for start, end in wrapped(text, width)]
        assert all(cell_len(row) <= width for row in rows)
        assert "".join(rows).replace(" ", "") == text.replace(" ", "")

    @given(st.lists(st.one_of(plain, st.sampled_from(["\n", "目\n", "x\ny "])), max_size=8), st.integers(1, 12))
    def test_pieces_make_the_rows_that_the_whole_text_makes(self, pieces, width):
        grown = Paragraphs({})
        grown.wrap(width)
        for piece in pieces:
            grown.write(piece, "text")
        rows = [(row.paragraph.number, row.start, row.end) for row in grown.rows]
        grown.wrap(width)
        assert rows == [(row.paragraph.number, row.start, row.end) for row in grown.rows]
        assert "\n".join(paragraph.text for paragraph in grown) == "".join(pieces)

    @pytest.mark.parametrize(
        ("piece", "times"), [("x", 100_000), ("word ", 20_000), ("目", 50_000), ("\t", 30_000), ("a\n", 50_000)]
    )
    def test_enormous_pieces_are_taken_and_the_oldest_rows_forgotten(self, piece, times):
        kept = Paragraphs({})
        kept.write(piece * times, "log")
        kept.trim()
        assert 0 < len(kept.rows) <= paragraphs_module.KEPT_ROWS
        assert all(len(paragraph.text) <= paragraphs_module.LONGEST for paragraph in kept)

    def test_a_row_of_one_cell_is_possible(self):
        kept = Paragraphs({"call": 2})
        kept.wrap(1)
        kept.write("ab 目", "call")
        assert [row.paragraph.text[row.start : row.end] for row in kept.rows] == ["a", "b", "目"]


class TestKinds:
    async def test_each_kind_has_its_sign_and_its_look(self):
        log = StreamLog()
        async with staged(log, (40, 14)):
            log.extend(
                [
                    ("R17 research", "phase"),
                    ("only trees so far", "reasoning"),
                    ("query_registry SELECT family", "call"),
                    ("7 rows: lightgbm 0.9712, catboost 0.9709, xgboost", "result"),
                    ("I look at it.", "text"),
                    ("APPROVED · R17_review.md · 8.4s", "answer"),
                    ("REVISE · R17_review.md", "answer"),
                    ("REJECT: no gain", "answer"),
                    ("the plan has no family", "unfit"),
                    ("1,025 pieces skipped", "skipped"),
                ]
            )
            assert seen(log) == [
                "▸ R17 research",
                "only trees so far",
                "› query_registry SELECT family",
                "  7 rows: lightgbm 0.9712, catboost",
                "  0.9709, xgboost",
                "I look at it.",
                "✓ APPROVED · R17_review.md · 8.4s",
                "! REVISE · R17_review.md",
                "✗ REJECT: no gain",
                "! the plan has no family",
                "… 1,025 pieces skipped",
                *[""] * 3,
            ]
            assert "bold" in styles(log, 0)["R17 research"]
            assert "italic" in styles(log, 1)["only trees so far"]
            assert len({styles(log, row)[seen(log)[row][2:]] for row in (6, 7, 8)}) == 3

    async def test_an_empty_row_keeps_phases_apart(self):
        log = StreamLog()
        async with staged(log):
            log.extend([("R01 plan", "phase"), ("well\n\n", "text"), ("R01 review", "phase")])
            assert seen(log)[:4] == ["▸ R01 plan", "well", "", "▸ R01 review"]

    async def test_deltas_of_one_kind_go_on_where_the_last_ended(self):
        log = StreamLog()
        async with staged(log):
            log.extend([("half a wo", "reasoning"), ("rd\nand a ", "reasoning"), ("new line", "reasoning")])
            log.extend([("said", "text"), (" aloud", "text")])
            log.extend([("one", "call"), ("two", "call")])
            assert seen(log)[:5] == ["half a word", "and a new line", "said aloud", "› one", "› two"]

    async def test_escape_sequences_are_removed_and_markup_is_text(self):
        log = StreamLog()
        async with staged(log, (60, 8)):
            log.write("\x1b[31mred\x1b[0m \x1b]0;title\x07[/foo] [bold]x[/bold]\u2028next\tcell \x9b2J")
            assert seen(log)[:2] == ["red [/foo] [bold]x[/bold]", "next    cell 2J"]
            assert "bold" not in styles(log, 0)["red [/foo] [bold]x[/bold]"]

    async def test_wide_characters_take_two_cells(self):
        log = StreamLog()
        async with staged(log, (11, 8)):
            log.write("目标编码 目标编码 🚀🚀🚀", "log")
            assert seen(log)[:3] == ["目标编码", "目标编码", "🚀🚀🚀"]
            assert all(log.render_line(row).cell_length == 10 for row in range(8))


class TestMoving:
    async def test_it_follows_what_is_written(self):
        log = StreamLog()
        async with staged(log):
            fill(log, 50)
            assert log.following
            assert seen(log)[-1] == "line 49"
            log.write("the newest", "log")
            assert seen(log)[-1] == "the newest"

    async def test_scrolled_up_it_stays_and_says_how_much_is_new(self):
        log = StreamLog()
        async with staged(log):
            fill(log, 50)
            log.action_scroll_up()
            top = seen(log)[0]
            fill(log, 42)
            assert not log.following
            assert seen(log)[0] == top
            assert seen(log)[-1].endswith("↓ 42 new")
            log.action_follow()
            assert log.following
            assert seen(log)[-1] == "line 41"

    async def test_what_was_read_meanwhile_is_no_longer_new(self):
        log = StreamLog()
        async with staged(log):
            fill(log, 50)
            log.action_scroll_up()
            fill(log, 3)
            assert log.unseen == 3
            log.action_scroll_down()
            log.action_scroll_down()
            assert log.unseen == 2
            log.action_scroll_down()
            log.action_scroll_down()
            assert log.following
            assert log.unseen == 0

    @pytest.mark.parametrize("key", ["up", "pageup", "home"])
    async def test_keys_leave_the_end_and_come_back_to_it(self, key):
        log = StreamLog()
        async with staged(log) as pilot:
            log.focus()
            fill(log, 50)
            await pilot.press(key)
            await pilot.pause()
            assert not log.following
            await pilot.press("end")
            await pilot.pause()
            assert log.following

    async def test_the_wheel_scrolls(self):
        log = StreamLog()
        async with staged(log) as pilot:
            fill(log, 50)
            await pilot.pause()
            log.post_message(MouseScrollUp(log, 3, 3, 0, -1, 0, False, False, False))
            await pilot.pause()
            assert not log.following

    async def test_forgotten_rows_do_not_move_what_is_read(self, monkeypatch):
        monkeypatch.setattr(paragraphs_module, "KEPT_ROWS", 60)
        log = StreamLog()
        async with staged(log) as pilot:
            fill(log, 60)
            await pilot.pause()
            log.scroll_to(y=40, animate=False)
            assert seen(log)[0] == "line 40"
            fill(log, 25)
            assert seen(log)[0] == "line 40"
            fill(log, 60)
            assert log.scroll_y == 0

    async def test_another_width_wraps_anew_and_keeps_the_place(self):
        log = StreamLog()
        async with staged(log, (60, 8)) as pilot:
            log.extend([(f"{number} the gain is within the noise of the folds", "log") for number in range(40)])
            await pilot.resize_terminal(24, 8)
            await pilot.pause()
            assert log.following
            assert seen(log)[-2:] == ["39 the gain is within", "the noise of the folds"]
            log.scroll_to(y=20, animate=False)
            place = seen(log)[0].split()[0]
            await pilot.resize_terminal(60, 8)
            await pilot.pause()
            assert seen(log)[0].split()[0] == place

    async def test_what_is_written_before_it_is_seen_is_there_then(self):
        log = StreamLog()
        fill(log, 50)
        log.clear()
        fill(log, 20)
        async with staged(log):
            assert seen(log)[-1] == "line 19"

    async def test_it_is_empty_after_clear(self):
        log = StreamLog()
        async with staged(log):
            fill(log, 50)
            log.action_scroll_home()
            log.clear()
            assert seen(log) == [""] * 8
            assert log.following
            assert log.text() == ""


class TestFinding:
    async def test_it_finds_in_whatever_case_and_goes_from_hit_to_hit(self):
        log = StreamLog()
        async with staged(log):
            log.extend([("Gain" if number % 10 == 5 else "noise", "log") for number in range(40)])
            log.action_scroll_home()
            assert log.find("gain") == 4
            assert "Gain" in seen(log)
            assert [log.next(), log.next(), log.next(), log.next(), log.previous()] == [2, 3, 4, 1, 4]
            assert log.scroll_y == 31

    async def test_hits_are_marked_the_current_one_more_than_the_others(self):
        log = StreamLog()
        async with staged(log):
            log.write("a gain, a gain", "log")
            log.find("GAIN")
            looks = [str(segment.style) for segment in log.render_line(0) if segment.text == "gain"]
            assert len(set(looks)) == 2
            log.find("")
            assert next(iter(log.render_line(0))).text == "a gain, a gain"

    async def test_a_hit_may_run_over_the_end_of_a_row(self):
        log = StreamLog()
        async with staged(log, (11, 8)):
            log.write("one two three", "log")
            assert log.find("two thr") == 1
            log.next()
            marked = [
                segment.text for row in (0, 1) for segment in log.render_line(row) if segment.text in ("two", "thr")
            ]
            assert marked == ["two", "thr"]

    async def test_what_is_written_later_is_found_too_and_what_is_forgotten_is_not(self, monkeypatch):
        monkeypatch.setattr(paragraphs_module, "KEPT_ROWS", 20)
        log = StreamLog()
        async with staged(log):
            log.write("gain", "log")
            assert log.find("gain") == 1
            fill(log, 30)
            assert log.next() == 0
            log.write("a gain", "log")
            assert log.next() == 1

    async def test_a_search_without_a_hit_moves_nothing(self):
        log = StreamLog()
        async with staged(log):
            fill(log, 50)
            assert (log.find("[nothing"), log.next(), log.previous()) == (0, 0, 0)
            assert log.following


class TestCopying:
    async def test_the_text_is_whole_without_the_breaks_of_the_width(self):
        log = StreamLog()
        async with staged(log, (12, 8)):
            log.extend([("R01 plan", "phase"), ("a long line of text", "text"), ("rows: 7", "result")])
            assert log.text() == "▸ R01 plan\na long line of text\n  rows: 7"

    async def test_a_part_can_be_selected(self):
        log = StreamLog()
        async with staged(log) as pilot:
            log.extend([("first line", "log"), ("second line", "log")])
            await pilot.pause()
            pilot.app.screen.selections = {log: Selection(Offset(6, 0), Offset(6, 1))}
            await pilot.pause()
            assert pilot.app.screen.get_selected_text() == "line\nsecond"
            assert [segment.text for segment in log.render_line(0)][:2] == ["first ", "line"]
            marked, bare = (str(segment.style) for segment in list(log.render_line(1))[:2])
            assert marked != bare


class TestPane:
    @staticmethod
    def at_work(role: str = "builder", attempt: int = 1) -> State:
        models = {"researcher": "playbook", "builder": "openai/gpt-5-codex", "reviewer": "playbook"}
        phase = PhaseNow("code", role, models[role], attempt, 90.0)
        return State(now=Now(models=models, phase=phase, mode="running"), by_role={"builder": Spent(3, 9, 12_300, 0.1)})

    @staticmethod
    def border(pane: AgentPane) -> tuple[str, str]:
        return str(pane._border_title).strip(), str(pane._border_subtitle).strip()

    async def test_an_idle_agent_shows_its_model(self):
        pane = AgentPane("researcher", 1)
        async with staged(pane):
            pane.show(self.at_work(), "running", 100.0)
            assert self.border(pane) == ("1 Researcher", "playbook · idle")
            assert not pane.has_class("-active")

    async def test_the_one_at_work_shows_its_phase_and_its_pace(self):
        pane = AgentPane("builder", 2)
        async with staged(pane):
            state = self.at_work(attempt=2)
            pane.show(state, "running", 100.0)
            assert self.border(pane) == ("2 Builder ● code 2", "gpt-5-codex · thinks")
            assert pane.has_class("-active")
            pane.feed([StreamRow(98.0 + tenth / 10, 1, "builder", "text", "x" * 40) for tenth in range(20)])
            pane.show(state, "running", 100.0)
            assert self.border(pane)[1] == "gpt-5-codex · 100 t/s"
            pane.show(state, "running", 102.0)
            assert self.border(pane)[1] == "gpt-5-codex · 33 t/s"
            pane.show(state, "running", 110.0)
            assert self.border(pane)[1] == "gpt-5-codex · thinks"

    async def test_calls_and_results_are_no_tokens(self):
        pane = AgentPane("builder", 2)
        async with staged(pane):
            pane.feed([StreamRow(99.0, 1, "builder", "call", "x" * 400), StreamRow(99.0, 1, "builder", "result", "y")])
            pane.show(self.at_work(), "running", 100.0)
            assert self.border(pane)[1] == "gpt-5-codex · thinks"
            assert pane.query_one(StreamLog).text().startswith("› xxx")

    async def test_a_phase_without_an_engine_is_nobodys_work(self):
        pane = AgentPane("builder", 2)
        async with staged(pane):
            pane.show(self.at_work(), "died", 100.0)
            assert self.border(pane) == ("2 Builder", "gpt-5-codex · idle")

    async def test_a_roomy_pane_says_what_was_used_and_how_full_the_context_is(self):
        pane = AgentPane("builder", 2)
        async with staged(pane, (80, 8)):
            last = Call("openai/gpt-5-codex", context=137_600, window=400_000)
            pane.show(replace(self.at_work("reviewer"), calls={"builder": last}), "running", 100.0)
            assert self.border(pane)[1] == "gpt-5-codex · idle · 12.3k tokens · context 138k/400k 34%"

    async def test_a_pane_says_which_model_answered_in_the_place_of_its_own(self):
        pane = AgentPane("builder", 2)
        async with staged(pane):
            last = Call("ollama_chat/qwen3", asked="openai/gpt-5-codex", context=4_000, window=8_000)
            pane.show(replace(self.at_work("reviewer"), calls={"builder": last}), "running", 100.0)
            assert self.border(pane)[1] == "gpt-5-codex → qwen3 · idle · 50% full"
            swapped = replace(self.at_work("reviewer"), calls={"builder": replace(last, asked="openai/other")})
            pane.show(swapped, "running", 100.0)
            assert self.border(pane)[1] == "gpt-5-codex · idle · 50% full"

    async def test_a_long_name_leaves_room_for_what_follows_it(self):
        pane = AgentPane("builder", 2)
        async with staged(pane, (50, 8)):
            name = f"openrouter/vendor/{'long-' * 20}"
            last = Call(f"openai/{'other-' * 20}", asked=name, context=4_000, window=8_000)
            pane.show(State(now=Now(models={"builder": name}), calls={"builder": last}), "running", 100.0)
            assert self.border(pane)[1].endswith(" · idle · 50% full")
            assert len(self.border(pane)[1]) <= 46

    async def test_names_of_models_are_no_markup(self):
        pane = AgentPane("builder", 2)
        async with staged(pane):
            state = State(now=Now(models={"builder": "x/[red]abc"}))
            pane.show(state, "stopped", 0.0)
            assert self.border(pane)[1].startswith("[red]abc")
