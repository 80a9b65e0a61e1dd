"""The bar of phases: where the round is, how far, and what is said when none is played."""

import pytest

from autokaggle_tui.state import (
    EngineState,
    PhaseNow,
    Result,
    State,
)
from autokaggle_tui.ui.widgets.phase_bar import PhaseBar, rail, steps

from .widget_stage import AT, SIZES, STATE, Stage, done, ended, idle, lines, seen, with_now, with_result


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
