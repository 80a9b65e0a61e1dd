"""Every widget of the cockpit in every theme, and without colour."""

import pytest
from textual.geometry import Region

from autokaggle_tui.ui.themes import THEMES
from autokaggle_tui.ui.widgets.header_bar import HeaderBar
from autokaggle_tui.ui.widgets.learnings_pane import LearningsPane
from autokaggle_tui.ui.widgets.phase_bar import PhaseBar
from autokaggle_tui.ui.widgets.rounds_table import RoundsTable
from autokaggle_tui.ui.widgets.score_chart import ScoreChart
from autokaggle_tui.ui.widgets.verdict_log import VerdictLine, VerdictLog

from .widget_stage import AT, STATE, Stage, seen, shown_table


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
