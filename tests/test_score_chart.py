"""The score chart: points, scale, and what is drawn where."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autokaggle_tui.state import (
    Now,
    Result,
    State,
)
from autokaggle_tui.ui.widgets.score_chart import Point, ScoreChart, points, scale

from .widget_stage import (
    AT,
    SIZES,
    STATE,
    Stage,
    lines,
    seen,
    with_result,
)


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
            def draw(self, width: int, height: int) -> Any:
                drawn.append(width)
                return super().draw(width, height)

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
