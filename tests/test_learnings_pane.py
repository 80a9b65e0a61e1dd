"""The pane of rules and notices."""

from dataclasses import replace

from autokaggle_tui.ui.widgets.learnings_pane import LearningsPane
from experiments.learnings import Rules

from .widget_stage import AT, STATE, Stage, lines, seen


class TestLearnings:
    async def test_rules_with_how_often_they_bound_and_the_last_notices(self) -> None:
        app = Stage(LearningsPane())
        async with app.run_test(size=(60, 30)) as pilot:
            app.widget.show_rules(Rules.built_in(), {})
            app.widget.show(STATE, "running", AT)
            await pilot.pause()
            text = [line.strip("│ ") for line in lines(app.widget)]
        assert "■ block   4×  noise-floor  R16" in text
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
