"""The cockpit's widgets: what they say of a state, at any width, and how little they do when nothing changed."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from autokaggle_tui.state import (
    EngineState,
    Notice,
    Now,
    PhaseDone,
    PhaseNow,
    Result,
    Spent,
    State,
    Submission,
    Verdict,
)
from autokaggle_tui.ui.themes import THEMES, register
from autokaggle_tui.ui.widgets.header_bar import PRIORITY, HeaderBar, fitted
from autokaggle_tui.ui.widgets.header_bar import parts as header_parts
from autokaggle_tui.ui.widgets.learnings_pane import LearningsPane
from autokaggle_tui.ui.widgets.phase_bar import PhaseBar, rail, steps
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.score_chart import Point, ScoreChart, points, scale
from autokaggle_tui.ui.widgets.verdict_log import KEPT, VerdictLine, VerdictLog
from experiments.learnings import Rules

AT = 100_000.0
SIZES = [(80, 24), (120, 40), (200, 60)]
RUN = Now(
    competition="playground-s5e8",
    metric="roc_auc",
    direction="maximize",
    folds=5,
    budget={"usd": 5.0, "tokens": None},
    run="a1",
    rounds=40,
    time_limit=28_800.0,
    first_round=1,
    mode="running",
    since=AT - 4_323,
    round=17,
)
RESULTS = (
    Result("R14", 14, family="lightgbm", idea="pdays × previous", status="keep", score=0.97291, gain=0.00044, t=3.1),
    Result("R15", 15, family="lightgbm", idea="target encoding job×month", status="keep", score=0.97312, gain=0.00021,
           t=2.2, rho=0.91, closest="R14", lb=0.97251, seconds=187.0, cost=0.21),
    Result("R16", 16, family="xgboost", idea="standardised ratios", status="discard", score=0.97316, gain=0.00004,
           t=0.6),
    Result("R17", 17, family="catboost", idea="fold-safe text hashing", status="running"),
)  # fmt: skip
STATE = State(
    now=replace(RUN, experiment="R17", folds_done=2, running={2: AT - 27.5}, fold_seconds=(45.0, 55.0)),
    results={result.name: result for result in RESULTS},
    champion="R15",
    submissions={1: Submission(1, AT, "R15", "R15_submission.csv", "accepted", 0.97251, "")},
    spent=Spent(120, 2_000_000, 300_000, 1.84),
    verdicts=(
        Verdict(1, AT, 15, "review", "reviewer", "APPROVED", None, "APPROVED"),
        Verdict(2, AT, 16, "review", "reviewer", "REVISE", None, "REVISE: one seed is not enough"),
        Verdict(3, AT, 16, "run", "rules", "block", "noise-floor", "+0.00004, t = 0.6"),
    ),
    bound={"noise-floor": {"block": 3, "warn": 1}},
    notices=(Notice(AT, "warning", "the server answered 529"), Notice(AT, "note", "max_submissions_per_day is 5.")),
)
ODD = "\x1b[31mred\x1b[0m [/bold] [b]x\nnext 日本語"


class Stage(App[None]):
    """One widget, and what it posts."""

    def __init__(self, widget: Widget, theme: str = THEMES[0].name) -> None:
        super().__init__()
        self.widget = widget
        self.shown_theme = theme
        self.opened: list[str] = []
        self.sorted: list[tuple[str, bool]] = []

    def compose(self) -> ComposeResult:
        yield self.widget

    def on_mount(self) -> None:
        register(self)
        self.theme = self.shown_theme
        if self.widget.focusable:
            self.widget.focus()

    def on_rounds_table_opened(self, event: RoundsTable.Opened) -> None:
        self.opened.append(event.name)

    def on_rounds_table_sorted(self, event: RoundsTable.Sorted) -> None:
        self.sorted.append((event.column, event.reverse))

    def on_verdict_log_opened(self, event: VerdictLog.Opened) -> None:
        self.opened.append(event.name)


def lines(widget: Widget) -> list[str]:
    """What the screen shows of a widget, border included."""
    size = widget.outer_size
    return [strip.text for strip in widget.render_lines(Region(0, 0, size.width, size.height))]


def seen(widget: Widget) -> str:
    return "\n".join(lines(widget))


def with_now(state: State = STATE, **changes: Any) -> State:
    return replace(state, now=replace(state.now, **changes))


def idle(**changes: Any) -> State:
    """No experiment runs."""
    return with_now(experiment=None, folds_done=0, running={}, fold_seconds=(), **changes)


def ended(outcome: str, reason: str = "") -> State:
    return idle(mode="ended", outcome=outcome, reason=reason)


def done(*phases: str) -> tuple[PhaseDone, ...]:
    """Phases that are over: ``review:REVISE``, or ``plan`` for a plain ``DONE``."""
    pairs = (phase.partition(":") for phase in phases)
    return tuple(PhaseDone(name, "builder", outcome or "DONE", "") for name, _, outcome in pairs)


def with_result(state: State, result: Result) -> State:
    return replace(state, results={**state.results, result.name: result})


def many(count: int) -> Mapping[str, Result]:
    return {
        f"R{n:02d}": Result(f"R{n:02d}", n, family="xgboost", idea=f"idea {n}", status="discard", score=0.9 + n * 1e-5)
        for n in range(1, count + 1)
    }


class TestHeader:
    async def test_a_wide_screen_shows_all_of_it(self) -> None:
        app = Stage(HeaderBar())
        async with app.run_test(size=(200, 60)):
            app.widget.show(STATE, "running", AT)
            text = seen(app.widget).strip()
        assert text.startswith("◆ autokaggle  playground-s5e8 · AUC ↑ · 5-fold ")
        for part in ("champion 0.97312", "Δ +0.00021", "last LB 0.97251", "R17 17/40", "$1.84 of $5", "1:12:03 of 8h"):
            assert part in text
        assert text.endswith("sandbox off   ● running")

    async def test_a_narrow_screen_shows_it_in_two_lines(self) -> None:
        app = Stage(HeaderBar())
        async with app.run_test(size=(80, 24)) as pilot:
            app.widget.show(STATE, "running", AT)
            await pilot.pause()
            first, second = lines(app.widget)
        assert first.startswith(" ◆ autokaggle  playground-s5e8 · AUC ↑") and first.endswith("● running ")
        assert second.startswith(" champion 0.97312   Δ +0.00021   last LB 0.97251 ")
        assert second.endswith("$1.84 of $5 ")

    @pytest.mark.parametrize("size", [(80, 12), (120, 24)])
    async def test_a_low_screen_and_a_normal_one_spend_one_line(self, size: tuple[int, int]) -> None:
        app = Stage(HeaderBar())
        async with app.run_test(size=size) as pilot:
            app.widget.show(STATE, "running", AT)
            await pilot.pause()
            (line,) = lines(app.widget)
        assert "0.97312" in line and "● running" in line

    def test_the_least_important_parts_leave_first_and_whole(self) -> None:
        found = header_parts(STATE, "running", AT)
        texts = {name: "".join(text for text, _ in line).strip(" ·") for name, line in found.items()}
        left, right = ("mark", "brand", "competition", "metric", "folds"), (
            "best", "gain", "board", "round", "cost", "elapsed", "sandbox", "engine",
        )  # fmt: skip
        before = len(found)
        for width in range(200, 1, -1):
            line = fitted(found, left, right, width).plain
            there = [name for name in PRIORITY if name in texts and texts[name] in line]
            missing = [name for name in PRIORITY if name in texts and texts[name] not in line]
            assert not missing or not there or PRIORITY.index(there[-1]) < PRIORITY.index(missing[0])
            assert len(there) <= before and len(line) in (0, width)
            before = len(there)
            words = set(line.replace(" of 8h", "").split())
            assert words <= set(" ".join(texts.values()).split()) | {"·"}

    @pytest.mark.parametrize(
        ("engine", "said"),
        [
            ("running", "● running"), ("paused", "❙❙ paused"), ("pausing", "… pausing"), ("stopping", "■ stopping"),
            ("finished", "■ finished"), ("stopped", "■ stopped"), ("died", "✗ died"), ("failed", "✗ failed"),
        ],
    )  # fmt: skip
    def test_the_engine_has_a_sign_and_a_word(self, engine: EngineState, said: str) -> None:
        assert header_parts(STATE, engine, AT)["engine"][0][0] == said

    def test_a_held_loop_says_what_is_short_where_there_is_room(self) -> None:
        found = header_parts(with_now(held="disk 0.4 GB free"), "paused", AT)
        right = ("best", "gain", "board", "round", "cost", "elapsed", "sandbox", "engine")
        assert "❙❙ paused: disk 0.4 GB free" in fitted(found, ("mark",), right, 120).plain
        assert fitted(found, ("mark",), right, 12).plain.endswith("❙❙ paused")
        assert "held" not in header_parts(with_now(held="disk 0.4 GB free"), "stopping", AT)

    @pytest.mark.parametrize(
        ("spent", "budget", "said"),
        [
            (Spent(1, 900, 50, 0.0), {}, "950 tokens"),
            (Spent(1, 10_000, 2_300, 0.5), {}, "$0.50"),
            (Spent(1, 10_000, 2_300, None), {"usd": 5.0}, "$? of $5"),
            (Spent(1, 10_000, 2_300, 0.0), {"usd": 0.5}, "$0.00 of $0.50"),
            (Spent(1, 10_000, 2_300, None), {"tokens": 2_000_000}, "12.3k of 2M tokens"),
        ],
    )
    def test_cost_is_dollars_where_there_are_any(self, spent: Spent, budget: Mapping[str, Any], said: str) -> None:
        found = header_parts(replace(with_now(budget=budget), spent=spent), "running", AT)
        assert "".join(text for text, _ in found["cost"]) == said

    def test_nothing_spent_is_not_mentioned(self) -> None:
        assert "cost" not in header_parts(replace(with_now(budget={}), spent=Spent()), "running", AT)

    def test_a_run_without_a_limit_a_later_run_and_a_sandbox(self) -> None:
        found = header_parts(
            with_now(rounds=None, first_round=15, sandbox="bubblewrap", time_limit=None), "running", AT
        )
        assert "".join(text for text, _ in found["round"]) == "R17 3/∞"
        assert found["sandbox"][0][0] == "sandbox bubblewrap"
        assert "unsafe" not in found and "limit" not in found

    def test_lower_is_better_is_said(self) -> None:
        found = header_parts(with_now(metric="rmse", direction="minimize"), "running", AT)
        assert found["metric"][-1][0] == "RMSE ↓"

    def test_an_empty_workspace_has_a_header_too(self) -> None:
        assert set(header_parts(State(), "stopped", AT)) == {"mark", "brand", "engine"}


class TestPhases:
    @pytest.mark.parametrize(
        ("state", "said"),
        [
            (
                idle(phase=PhaseNow("research", "researcher", "m", 1, AT)),
                "● Research › ○ Plan › ○ Review › ○ Code › ○ Run › ○ Findings › ○ Verify",
            ),
            (
                with_now(phases=done("research", "plan", "review:APPROVED", "code:CODED")),
                "✓ Research › ✓ Plan › ✓ Review › ✓ Code › ● Run › ○ Findings › ○ Verify",
            ),
            (
                idle(phases=done("retro"), phase=PhaseNow("research", "researcher", "m", 1, AT)),
                "✓ Retro › ● Research › ○ Plan › ○ Review › ○ Code › ○ Run › ○ Findings › ○ Verify",
            ),
            (
                idle(phases=done("research", "plan", "review:REVISE"), phase=PhaseNow("revise", "builder", "m", 1, AT)),
                "✓ Research › ✓ Plan › ! Review › ● Revise › ○ Code › ○ Run › ○ Findings › ○ Verify",
            ),
            (
                idle(phases=done("review:APPROVED", "code", "run:crash"), phase=PhaseNow("fix", "builder", "m", 2, AT)),
                "✓ Review › ✓ Code › ! Run › ● Fix 2 › ○ Run › ○ Findings › ○ Verify",
            ),
            (
                with_now(phases=done("code", "run:crash", "fix:CODED")),
                "✓ Code › ! Run › ✓ Fix › ● Run › ○ Findings › ○ Verify",
            ),
            (
                idle(phases=done("run:killed", "findings", "verify:REJECT", "submit:skipped")),
                "✗ Run › ✓ Findings › ✗ Verify",
            ),
            (idle(phases=done("verify:APPROVED", "submit:accepted")), "✓ Verify › ✓ Submit"),
            (idle(round=0, phase=PhaseNow("eda", "builder", "m", 1, AT)), "● EDA"),
            (with_now(experiment="T03", phases=done("verify")), "● Run T03"),
        ],
    )  # fmt: skip
    def test_the_course_of_a_round(self, state: State, said: str) -> None:
        assert "".join(text for text, _ in rail(steps(state), 200)) == said

    def test_a_blend_needs_no_code(self) -> None:
        state = with_result(idle(phases=done("review:APPROVED")), Result("R17", 17, kind="blend"))
        assert [step.word for step in steps(state)] == ["Review", "Run", "Findings", "Verify"]

    async def test_a_running_experiment_shows_fold_share_and_time_left(self) -> None:
        app = Stage(PhaseBar())
        state = with_now(phases=done("research", "plan", "review", "code"))
        async with app.run_test(size=(120, 40)):
            app.widget.show(state, "running", AT)
            (line,) = lines(app.widget)
        assert line.startswith(" ✓ Research › ✓ Plan › ✓ Review › ✓ Code › ● Run › ○ Findings › ○ Verify   ━")
        assert line.endswith("─  fold 3/5   51%  eta  2:02 ")

    @pytest.mark.parametrize("size", SIZES)
    async def test_nothing_moves_while_an_experiment_runs(self, size: tuple[int, int]) -> None:
        app = Stage(PhaseBar())
        state = with_now(phases=done("research", "plan", "review:REVISE", "revise", "code"))
        places, shares = set(), []
        async with app.run_test(size=size) as pilot:
            for seconds in (0.0, 10.0, 26.0, 90.0, 300.0):
                app.widget.show(state, "running", AT + seconds)
                await pilot.pause()
                (line,) = lines(app.widget)
                places.add((line.index("● Run"), line.index("━"), line.index("fold 3/5"), line.index("eta"), len(line)))
                shares.append(int(line.split("%")[0].split()[-1]))
        assert len(places) == 1
        assert shares == sorted(shares) and shares[-1] < 60

    async def test_the_share_does_not_go_back_when_a_fold_took_longer_than_the_others(self) -> None:
        app = Stage(PhaseBar())
        short = with_now(fold_seconds=(10.0, 10.0), running={2: AT - 9.0})
        slow = with_now(fold_seconds=(10.0, 90.0), running={2: AT - 9.0})
        longer = with_now(folds_done=3, fold_seconds=(10.0, 10.0, 100.0), running={3: AT})
        again = with_now(folds_done=0, fold_seconds=(), running={0: AT})
        shares = []
        async with app.run_test(size=(120, 40)) as pilot:
            for state in (short, slow, longer, again):
                app.widget.show(state, "running", AT)
                await pilot.pause()
                shares.append(int(seen(app.widget).split("%")[0].split()[-1]))
        assert shares == [58, 58, 60, 0]

    async def test_a_narrow_screen_leaves_out_the_words_of_what_is_done(self) -> None:
        app = Stage(PhaseBar())
        async with app.run_test(size=(80, 24)):
            app.widget.show(with_now(phases=done("research", "plan", "review:REVISE", "revise", "code")), "running", AT)
            (line,) = lines(app.widget)
        assert line.startswith(" ✓ ✓ ! ✓ ✓ ● Run › ○ Findings › ○ Verify  ") and "51%" in line

    @pytest.mark.parametrize(
        ("state", "engine", "said"),
        [
            (ended("finished", "3 rounds played."), "finished", "■ run finished: 3 rounds played"),
            (ended("failed", "the data changed"), "failed", "✗ run failed: the data changed"),
            (ended("stopped"), "stopped", "■ run stopped"),
            (STATE, "died", "✗ the engine died in R17 at Run; what is done is kept"),
            (State(), "stopped", "■ nothing has run here yet"),
            (State(), "starting", "… the engine is starting"),
        ],
    )  # fmt: skip
    async def test_when_nothing_is_played_it_says_why(self, state: State, engine: EngineState, said: str) -> None:
        app = Stage(PhaseBar())
        async with app.run_test(size=(80, 24)):
            app.widget.show(state, engine, AT)
            assert seen(app.widget).strip() == said

    @pytest.mark.parametrize(
        ("state", "engine", "said"),
        [
            (idle(mode="paused", paused_since=AT - 200), "paused", "❙❙ paused 3:20"),
            (with_now(mode="paused", paused_since=AT), "pausing", "fold 3/5   51%  … pausing"),
            (idle(mode="stopping"), "stopping", "■ stopping"),
        ],
    )
    async def test_a_hold_is_said(self, state: State, engine: EngineState, said: str) -> None:
        app = Stage(PhaseBar())
        async with app.run_test(size=(80, 24)):
            app.widget.show(state, engine, AT)
            assert seen(app.widget).rstrip().endswith(said)

    async def test_an_agent_at_work_is_named_as_far_as_there_is_room(self) -> None:
        state = idle(phases=done("research"), phase=PhaseNow("plan", "builder", "openai/gpt-5-codex", 1, AT - 42))
        for width, said in ((120, "builder · gpt-5-codex · 0:42"), (44, "builder · 0:42")):
            app = Stage(PhaseBar())
            async with app.run_test(size=(width, 24)):
                app.widget.show(state, "running", AT)
                assert seen(app.widget).rstrip().endswith(said)


async def shown_table(pilot: Any, state: State = STATE) -> RoundsTable:
    table = pilot.app.query_one(RoundsTable)
    table.show(state, "running", AT)
    await pilot.pause()
    return table


class TestRounds:
    @pytest.mark.parametrize(
        ("width", "titles"),
        [
            (40, ["R▼", "model", "cv", "status"]),
            (80, ["R▼", "model", "cv", "Δ best", "ρ pool", "status", "idea"]),
            (72, ["R▼", "model", "cv", "Δ best", "status", "idea"]),
            (200, ["R▼", "model", "cv", "Δ best", "t", "lb", "ρ pool", "status", "time", "cost", "idea"]),
        ],
    )
    async def test_columns_come_and_go_with_the_width(self, width: int, titles: list[str]) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(width, 24)) as pilot:
            head = lines(await shown_table(pilot))[1]
            for title in titles:
                assert title in head
            if width == 72:
                assert "ρ" not in head

    async def test_a_column_nobody_has_a_figure_for_is_left_out(self) -> None:
        app = Stage(RoundsTable())
        bare = replace(STATE, results={name: replace(one, lb=None, rho=None) for name, one in STATE.results.items()})
        async with app.run_test(size=(200, 24)) as pilot:
            head = lines(await shown_table(pilot, bare))[1]
            assert "lb" not in head and "ρ" not in head and "cost" in head

    async def test_rows_newest_first_with_the_champion_marked(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(200, 24)) as pilot:
            table = await shown_table(pilot)
            rows = lines(table)[2:6]
            assert table.names == ("R17", "R16", "R15", "R14")
        assert [row.split()[1:3] for row in rows] == [
            ["R17", "catboost"],
            ["R16", "xgboost"],
            ["★", "R15"],
            ["R14", "lightgbm"],
        ]
        assert "● fold 3/5" in rows[0] and "fold-safe text hashing" in rows[0]
        assert "0.97316  +0.00004" in rows[1] and "✗ discard" in rows[1]
        for part in ("0.97312", "+0.00021", "2.2", "0.97251", "0.9100", "✓ keep", "3:07", "$0.21"):
            assert part in rows[2]

    async def test_the_subtitle_counts(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            assert "4 · 2 kept" in lines(await shown_table(pilot))[-1]

    async def test_an_open_round_shows_its_phase(self) -> None:
        app = Stage(RoundsTable())
        state = with_result(idle(phase=PhaseNow("research", "researcher", "m", 1, AT)), Result("R17", 17))
        async with app.run_test(size=(80, 24)) as pilot:
            assert "● research" in lines(await shown_table(pilot, state))[2]

    async def test_the_cursor_follows_the_newest_row_until_it_is_moved(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            later = with_result(STATE, Result("R18", 18))
            await shown_table(pilot, later)
            assert table.selected == "R18"
            await pilot.press("j", "j")
            assert table.selected == "R16"
            await shown_table(pilot, with_result(later, Result("R19", 19)))
            assert table.selected == "R16"
            await shown_table(pilot, replace(STATE, results={"R14": RESULTS[0], "R16": RESULTS[2]}))
            assert table.selected == "R16"
            await shown_table(pilot, replace(STATE, results={"R14": RESULTS[0]}))
            assert table.selected == "R14"

    async def test_the_row_under_the_cursor_stays_on_its_place_on_the_screen(self) -> None:
        app = Stage(RoundsTable())
        state = State(results=many(100))
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot, state)
            await pilot.press(*"jjjj", "pagedown", "pagedown", *"kk")
            before = [row.strip("│ ").split()[0] for row in lines(table)[2:-1]]
            await shown_table(pilot, with_result(state, Result("R101", 101)))
            assert [row.strip("│ ").split()[0] for row in lines(table)[2:-1]] == before

    async def test_moving_by_a_row_and_to_the_ends(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot, State(results=many(100)))
            names = []
            for keys in ("jjj", "k", "G", "g"):
                await pilot.press(*keys)
                names.append(table.selected)
            assert names == ["R97", "R98", "R01", "R100"]

    async def test_enter_and_a_double_click_open_and_a_click_selects(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            await pilot.press("enter")
            await pilot.click(table, offset=(5, 3))
            assert (app.opened, table.selected) == (["R17"], "R16")
            await pilot.double_click(table, offset=(5, 4))
            assert app.opened == ["R17", "R15"]

    async def test_keys_sort_by_the_next_column_and_turn_the_order_round(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            await pilot.press("s", "s")
            assert table.sort_column == "cv" and table.names == ("R16", "R15", "R14", "R17")
            assert "cv▼" in lines(table)[1]
            await pilot.press("S")
            assert table.names == ("R14", "R15", "R16", "R17"), "what has no score stays last"
            assert "cv▲" in lines(table)[1]
            assert app.sorted == [("model", False), ("cv", False), ("cv", True)]

    async def test_where_lower_is_better_the_lowest_score_comes_first(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot, with_now(direction="minimize"))
            table.sort_by("cv")
            assert table.names == ("R14", "R15", "R16", "R17")

    async def test_the_order_is_kept_when_results_change(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            table.sort_by("cv", reverse=True)
            await shown_table(pilot, with_result(STATE, replace(RESULTS[3], status="discard", score=0.973)))
            assert table.names == ("R14", "R17", "R15", "R16")

    async def test_a_click_on_a_title_sorts(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            at = lines(table)[1].index("model")
            await pilot.click(table, offset=(at, 1))
            assert table.sort_column == "model" and not table.descending
            await pilot.click(table, offset=(at, 1))
            assert table.descending

    async def test_an_unknown_column_means_the_natural_order(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            table.sort_by("", reverse=True)
            assert table.sort_column == "round" and table.names == ("R14", "R15", "R16", "R17")

    @pytest.mark.parametrize(
        ("words", "names"),
        [("LIGHT", ("R15", "R14")), ("keep job", ("R15",)), ("r16", ("R16",)), ("run", ("R17",)), ("nothing", ())],
    )
    async def test_the_filter_looks_in_name_family_status_and_idea(self, words: str, names: tuple[str, ...]) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            table.filter = words
            await pilot.pause()
            assert table.names == names
            assert f"{len(names)} of 4 · “{words}”" in lines(table)[-1]
            table.filter = ""
            assert len(table.names) == 4

    async def test_only_rows_that_changed_are_painted(self) -> None:
        painted: list[int] = []

        class Watched(RoundsTable):
            def paint(self, line: int, width: int) -> Strip:
                painted.append(line)
                return super().paint(line, width)

        app = Stage(Watched())
        state = State(results=many(1_000))
        async with app.run_test(size=(120, 40)) as pilot:
            table = await shown_table(pilot, state)
            assert max(painted) < 40, "rows out of sight are not painted at all"
            painted.clear()
            table.show(replace(state, results=dict(state.results)), "running", AT)
            await pilot.pause()
            assert painted == []
            await shown_table(pilot, with_result(state, replace(state.results["R995"], idea="another")))
            assert set(painted) == {5}

    async def test_text_from_outside_is_shown_as_text(self) -> None:
        app = Stage(RoundsTable())
        odd = Result(ODD, None, family="日本語の家族", idea=ODD, status="imported", score=0.9)
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot, with_result(STATE, odd))
            text = seen(table)
            widths = {strip.cell_length for strip in table.render_lines(Region(0, 0, 80, 24))}
        assert "red [/bo" in text and "\x1b" not in text and widths == {80}

    async def test_nothing_yet(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot, State())
            await pilot.press("enter", "j", "G", "s")
            assert "No rounds yet." in seen(table) and app.opened == []


async def shown_chart(pilot: Any, state: State) -> ScoreChart:
    chart = pilot.app.query_one(ScoreChart)
    chart.show(state, "running", AT)
    await pilot.pause()
    return chart


def course(scores: list[float], better: int = 1, boards: Mapping[int, float] | None = None) -> State:
    """Rounds with these scores; whatever is better than all before becomes champion."""
    results: dict[str, Result] = {}
    best = -math.inf
    for number, score in enumerate(scores, start=1):
        status = "keep" if score * better > best else "discard"
        best = max(best, score * better) if math.isfinite(score) else best
        lb = (boards or {}).get(number)
        results[f"R{number:02d}"] = Result(f"R{number:02d}", number, status=status, score=score, lb=lb)
    return State(now=Now(direction="maximize" if better > 0 else "minimize"), results=results)


class TestChart:
    @pytest.mark.parametrize("size", [(40, 8), *SIZES])
    async def test_a_line_dots_labels_and_a_legend(self, size: tuple[int, int]) -> None:
        app = Stage(ScoreChart())
        async with app.run_test(size=size) as pilot:
            text = lines(await shown_chart(pilot, course([0.9701, 0.9712, 0.9705, 0.9713], boards={2: 0.9708})))
        assert any("┤" in line and "0.97" in line for line in text)
        assert any("⠀" < char <= "⣿" for line in text for char in line)
        assert "◇" in "".join(text[:-1]) and "━ champion  • round  ◇ LB" in text[-1]
        assert "R01" in text[-2] and "R04" in text[-2]

    async def test_the_line_climbs_and_for_errors_it_falls(self) -> None:
        for better in (1, -1):
            app = Stage(ScoreChart())
            async with app.run_test(size=(60, 12)) as pilot:
                chart = await shown_chart(pilot, course([5.0 + better * step for step in range(5)], better))
                drawn = [line[1:-1] for line in lines(chart)[1:-2]]
            top, bottom = (
                next(at for at, char in enumerate(line) if "⠀" < char <= "⣿") for line in (drawn[0], drawn[-1])
            )
            assert (top > bottom) == (better > 0)

    async def test_a_score_far_below_is_marked_at_the_edge(self) -> None:
        app = Stage(ScoreChart())
        async with app.run_test(size=(60, 12)) as pilot:
            text = seen(await shown_chart(pilot, course([0.5, 0.9701, 0.9704, 0.9703, 0.31, 0.9711])))
        assert text.count("▾") == 3 and "▾ off scale" in text and "0.97" in text and "0.5" not in text

    async def test_a_public_score_off_the_scale_is_marked_too(self) -> None:
        app = Stage(ScoreChart())
        async with app.run_test(size=(60, 12)) as pilot:
            text = seen(await shown_chart(pilot, course([0.97, 0.971, 0.972], boards={3: 0.2})))
        assert text.count("▿") == 2 and "▿ LB" in text and "◇" not in text

    @pytest.mark.parametrize(
        "scores", [[0.97312], [0.5] * 6, [0.0, 0.0], [-3.2, math.nan, -2.9], [1e12, 1.001e12], [1e-9]]
    )
    async def test_odd_scores_are_drawn(self, scores: list[float]) -> None:
        app = Stage(ScoreChart())
        async with app.run_test(size=(40, 12)) as pilot:
            text = seen(await shown_chart(pilot, course(scores)))
        assert any("⠀" < char <= "⣿" for char in text) and "┤" in text

    async def test_no_scores(self) -> None:
        app = Stage(ScoreChart())
        async with app.run_test(size=(40, 12)) as pilot:
            assert "No scores yet." in seen(await shown_chart(pilot, course([math.nan])))

    async def test_a_thousand_rounds_in_forty_columns(self) -> None:
        app = Stage(ScoreChart())
        scores = [0.95 + 0.02 * (1 - math.exp(-n / 50)) + 0.001 * math.sin(n * n) for n in range(1_000)]
        async with app.run_test(size=(40, 12)) as pilot:
            text = lines(await shown_chart(pilot, course(scores)))
        assert all(len(line) == 40 for line in text) and "R1000" in text[-2]

    async def test_it_is_drawn_again_only_when_a_score_or_the_size_changes(self) -> None:
        drawn: list[int] = []

        class Watched(ScoreChart):
            def _draw(self, width: int, height: int) -> Any:
                drawn.append(width)
                return super()._draw(width, height)

        app = Stage(Watched())
        state = course([0.97, 0.971])
        async with app.run_test(size=(60, 12)) as pilot:
            await shown_chart(pilot, state)
            drawn.clear()
            await shown_chart(pilot, with_result(state, replace(state.results["R02"], cost=9.0)))
            await shown_chart(pilot, with_result(state, Result("R03", 3, status="running")))
            assert drawn == []
            await shown_chart(pilot, with_result(state, Result("R03", 3, status="discard", score=0.9)))
            await pilot.resize_terminal(80, 12)
            await pilot.pause()
            assert len(drawn) == 2

    @given(
        scores=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40),
        better=st.sampled_from([1, -1]),
        rows=st.integers(2, 40),
    )
    @settings(max_examples=200, deadline=None)
    def test_the_scale_holds_the_best_and_its_labels_differ(self, scores: list[float], better: int, rows: int) -> None:
        shown = [Point(f"R{n}", score, False, None) for n, score in enumerate(scores)]
        found = scale(shown, better, rows)
        best = max(scores, key=lambda score: score * better)
        assert found.low < best < found.high
        assert len(set(found.labels)) == len(found.labels) == len(found.ticks) >= 1
        assert all(found.low <= tick <= found.high for tick in found.ticks)

    def test_results_without_a_score_are_no_points(self) -> None:
        assert [point.name for point in points(STATE.results)] == ["R14", "R15", "R16"]


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


class TestLearnings:
    async def test_rules_with_how_often_they_bound_and_the_last_notices(self) -> None:
        app = Stage(LearningsPane())
        async with app.run_test(size=(60, 30)) as pilot:
            app.widget.show_rules(Rules.built_in(), {})
            app.widget.show(STATE, "running", AT)
            await pilot.pause()
            text = [line.strip("│ ") for line in lines(app.widget)]
        assert "■ block   4×  noise-floor" in text
        assert "■ block       tunnel-vision" in text
        assert "10 rules" in text[-1]
        warning, note = (next(i for i, line in enumerate(text) if word in line) for word in ("529", "max_submissions"))
        assert text[warning].startswith("! ") and text[note].startswith("· ") and note < warning

    async def test_a_rule_that_is_off_is_named_as_such(self) -> None:
        rules = Rules.built_in()
        off = {**rules.by_id, "no-repeats": replace(rules["no-repeats"], enforce="off")}
        soft = {**off, "small-blends": replace(rules["small-blends"], enforce="warn")}
        app = Stage(LearningsPane())
        async with app.run_test(size=(60, 30)) as pilot:
            app.widget.show_rules(replace(rules, by_id=soft), {})
            await pilot.pause()
            text = seen(app.widget)
        assert "○ off    no-repeats" in text and "▲ warn        small-blends" in text and "9 rules" in text


class TestThemes:
    @pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
    async def test_every_widget_is_shown_in_every_theme(self, theme: str) -> None:
        for widget in (
            HeaderBar(),
            PhaseBar(),
            RoundsTable(),
            ScoreChart(),
            VerdictLog(),
            VerdictLine(),
            LearningsPane(),
        ):
            app = Stage(widget, theme)
            async with app.run_test(size=(120, 40)) as pilot:
                widget.show(STATE, "running", AT)  # type: ignore[attr-defined]
                await pilot.pause()
                assert seen(widget).strip()

    async def test_another_theme_repaints(self) -> None:
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)

            def colours() -> set[str]:
                styles = (part.style for strip in table.render_lines(Region(0, 0, 80, 24)) for part in strip)
                return {str(style.color) for style in styles if style is not None and style.color is not None}

            dark = colours()
            app.theme = "autokaggle-light"
            await pilot.pause()
            assert not dark & colours()

    async def test_without_colour_signs_and_words_say_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NO_COLOR", "1")
        app = Stage(RoundsTable())
        async with app.run_test(size=(80, 24)) as pilot:
            table = await shown_table(pilot)
            assert app.no_color
            for said in ("● fold 3/5", "✗ discard", "★ R15", "✓ keep"):
                assert said in seen(table)
            for strip in table.render_lines(Region(0, 0, 80, 24)):
                for segment in strip:
                    colour = segment.style.color.triplet if segment.style and segment.style.color else None
                    assert colour is None or colour.red == colour.green == colour.blue
