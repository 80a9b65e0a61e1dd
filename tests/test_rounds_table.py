"""The rounds table: columns, order, filter, and how little is painted when nothing changed."""

from dataclasses import replace

import pytest
from textual.geometry import Region
from textual.strip import Strip

from autokaggle_tui.state import (
    PhaseNow,
    Result,
    State,
)
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable

from .widget_stage import AT, ODD, RESULTS, STATE, Stage, idle, lines, many, seen, shown_table, with_now, with_result


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
