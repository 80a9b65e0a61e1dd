"""The header: what it says of a state, at any width."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autokaggle_tui.state import (
    EngineState,
    Spent,
    State,
)
from autokaggle_tui.ui.widgets.header_bar import PRIORITY, HeaderBar, fitted
from autokaggle_tui.ui.widgets.header_bar import parts as header_parts

from .widget_stage import AT, STATE, Stage, lines, seen, with_now


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
            (Spent(1, 10_000, 2_300, 0.5, estimated=True), {"usd": 5.0}, "~$0.50 of $5"),
            (Spent(1, 10_000, 2_300, 4.0), {"usd": 5.0, "tokens": 2_000_000}, "$4.00 of $5"),
            (Spent(1, 1_800_000, 2_300, 0.5), {"usd": 5.0, "tokens": 2_000_000}, "1.8M of 2M tokens"),
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
