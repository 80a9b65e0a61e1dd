"""The log of verdicts, and its last line on small screens."""

from typing import Any

from autokaggle_tui.state import (
    State,
    Verdict,
)
from autokaggle_tui.ui.widgets.verdict_log import KEPT, VerdictLine, VerdictLog

from .widget_stage import AT, ODD, STATE, Stage, lines, seen


async def shown_log(pilot: Any, state: State = STATE) -> VerdictLog:
    log = pilot.app.query_one(VerdictLog)
    log.show(state, "running", AT)
    await pilot.pause()
    return log


def verdicts(count: int, first: int = 1) -> State:
    said = (
        Verdict(n, AT, n, "run", "rules", "block", "noise-floor", f"reason {n}") for n in range(first, first + count)
    )
    return State(verdicts=tuple(said))


class TestVerdicts:
    async def test_round_sign_word_rule_and_reason_newest_first(self) -> None:
        app = Stage(VerdictLog())
        async with app.run_test(size=(80, 12)) as pilot:
            text = [line.strip("│ ") for line in lines(await shown_log(pilot))]
        assert text[1:4] == [
            "R16 ✗ block noise-floor: +0.00004, t = 0.6",
            "R16 ! revise plan: one seed is not enough",
            "R15 ✓ approved plan",
        ]

    async def test_figures_stand_for_the_sentence_and_a_retrospective_is_announced(self) -> None:
        app = Stage(VerdictLog())
        said = "The gain over the champion is +0.00040 over 5 folds, t = 0.670; a change of champion needs more."
        figures = "gain +0.00040 ± 0.00060 · t 0.67 < 1.50"
        ruled = Verdict(1, AT, 9, "run", "rules", "block", "noise-floor", said, figures)
        top = "top five: xgboost: pairs of columns +0.00040 in 3.0 min"
        retro = Verdict(2, AT, 10, "retro", "reviewer", "RETRO", None, top)
        async with app.run_test(size=(80, 12)) as pilot:
            text = [line.strip("│ ") for line in lines(await shown_log(pilot, State(verdicts=(ruled, retro))))]
        assert text[1:3] == [f"R10 ◆ retro: {top}", f"R09 ✗ block noise-floor: {figures}"]

    async def test_long_reasons_are_wrapped_clear_of_the_round(self) -> None:
        app = Stage(VerdictLog())
        async with app.run_test(size=(40, 12)) as pilot:
            text = [line.strip("│") for line in lines(await shown_log(pilot))]
        assert text[1].rstrip() == " R16 ✗ block noise-floor: +0.00004, t"
        assert text[2].rstrip() == "     = 0.6"

    async def test_only_the_last_ones_are_kept(self) -> None:
        app = Stage(VerdictLog())
        async with app.run_test(size=(80, 12)) as pilot:
            log = await shown_log(pilot, verdicts(KEPT + 50))
            assert log.count == KEPT and "reason 150" in seen(log)

    async def test_enter_and_a_click_open_the_round(self) -> None:
        app = Stage(VerdictLog())
        async with app.run_test(size=(80, 12)) as pilot:
            log = await shown_log(pilot)
            await pilot.press("enter", "j", "j", "enter")
            await pilot.click(log, offset=(8, 2))
            assert app.opened == ["R16", "R15", "R16"]

    async def test_somebody_reading_further_down_is_not_disturbed_and_f_follows_again(self) -> None:
        app = Stage(VerdictLog())
        async with app.run_test(size=(60, 8)) as pilot:
            log = await shown_log(pilot, verdicts(30))
            await pilot.press(*"jjjjjjjj")
            before = lines(log)[1:-1]
            await shown_log(pilot, verdicts(33))
            assert lines(log)[1:-1] == before and "↑ 3 new" in lines(log)[-1]
            await pilot.press("f")
            assert "reason 33" in lines(log)[1] and "new" not in lines(log)[-1]

    async def test_text_from_outside_is_shown_as_text(self) -> None:
        app = Stage(VerdictLog())
        odd = Verdict(1, AT, None, "review", "reviewer", ODD, ODD, ODD)
        async with app.run_test(size=(120, 12)) as pilot:
            text = seen(await shown_log(pilot, State(verdicts=(odd,))))
        assert "red [/bold] [b]x next 日本語" in text and "\x1b" not in text

    async def test_it_is_wrapped_once_it_is_seen(self) -> None:
        log = VerdictLog()
        log.display = False
        app = Stage(log)
        async with app.run_test(size=(80, 12)) as pilot:
            await shown_log(pilot)
            assert log.count == 0
            log.display = True
            await pilot.pause()
            assert log.count == 3 and "noise-floor" in seen(log)

    async def test_a_small_screen_has_one_line(self) -> None:
        app = Stage(VerdictLine())
        async with app.run_test(size=(30, 24)) as pilot:
            app.widget.show(STATE, "running", AT)
            await pilot.pause()
            assert lines(app.widget) == [" R16 ✗ block noise-floor: +0… "]
            await pilot.click(app.widget)
            assert app.opened == ["R16"]
