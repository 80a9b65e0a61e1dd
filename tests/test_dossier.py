"""What the registry holds about a round, and the cards that show it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from textual.content import Content

from autokaggle_tui.dossier import Dossier, Fold, Neighbour, Rival, Word
from autokaggle_tui.dossiers import load_dossier
from autokaggle_tui.roundfiles import load_log, read_text
from autokaggle_tui.ui.widgets.card import table
from autokaggle_tui.ui.widgets.closeness_card import ClosenessCard
from autokaggle_tui.ui.widgets.fold_chart import FoldChart, FoldScores
from autokaggle_tui.ui.widgets.gain_card import GainCard
from autokaggle_tui.ui.widgets.prose import laid_out, sections
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .hosting import change, of_width
from .screen_host import HOSTILE, SHOWN


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty rounds and the thirty-first being played; nothing changes it."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A small campaign that a test may change: eight rounds, one of them a blend, the ninth being played."""
    return make_campaign(tmp_path / "demo", 8, playing=True)


class TestDossier:
    def test_it_compares_with_the_champion_of_its_time(self, made: Workspace) -> None:
        dossier = load_dossier(made, "R30")
        crowned = [
            row[0]
            for row in sqlite3.connect(made.facts).execute(
                "SELECT c.experiment FROM champions c, experiments e WHERE e.id = 'R30' AND c.at < e.ended_at"
            )
        ]
        assert dossier.rival is not None
        assert dossier.rival.name == crowned[-1]
        assert len(dossier.rival.folds) == len(dossier.folds) == 5
        assert dossier.standard_error == pytest.approx(dossier.gain / dossier.t)

    def test_the_first_champion_had_nobody_to_beat(self, made: Workspace) -> None:
        dossier = load_dossier(made, "T01")
        assert dossier.rival is None
        assert dossier.gain is None
        assert dossier.champion is not None

    def test_it_knows_which_blends_took_it_and_which_left_it_out(self, made: Workspace) -> None:
        blends = {
            row[0]: dict(json.loads(row[1]))
            for row in sqlite3.connect(made.facts).execute("SELECT id, members FROM experiments WHERE kind = 'blend'")
        }
        uses = load_dossier(made, "R01").uses
        assert {use.blend for use in uses} == blends.keys()
        assert all(use.weight == blends[use.blend].get("R01") for use in uses)

    def test_it_names_the_parent_or_the_last_of_its_family(self, fresh: Workspace) -> None:
        stated = load_dossier(fresh, "R08")
        assert stated.parent is not None
        assert stated.stated
        change(fresh, "UPDATE experiments SET parent = NULL WHERE id = 'R08'")
        change(fresh, "UPDATE rounds SET plan = '{}' WHERE round = 8")
        guessed = load_dossier(fresh, "R08")
        assert not guessed.stated
        assert guessed.parent is None or load_dossier(fresh, guessed.parent).family == guessed.family

    def test_an_unknown_name_is_an_empty_dossier(self, made: Workspace) -> None:
        assert load_dossier(made, "R99") == Dossier("R99")

    def test_neighbours_are_what_a_blend_may_choose(self, made: Workspace) -> None:
        near = load_dossier(made, "R30").neighbours
        assert [other.pearson for other in near] == sorted((other.pearson for other in near), reverse=True)
        assert all(load_dossier(made, other.name).kind != "blend" for other in near)

    def test_text_from_outside_is_cleaned_on_the_way_in(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE experiments SET idea = ?, reason = ? WHERE id = 'R08'", HOSTILE, HOSTILE)
        dossier = load_dossier(fresh, "R08")
        assert dossier.idea == dossier.reason == SHOWN

    def test_a_log_can_be_missing_or_damaged(self, fresh: Workspace) -> None:
        assert load_log(fresh, "R09")
        fresh.live.write_bytes(b"no database at all" * 100)
        assert load_log(fresh, "R09") == ()
        fresh.live.unlink()
        assert load_log(fresh, "R09") == ()

    def test_a_file_that_is_no_text_is_read_all_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "odd.md").write_bytes(b"\xff\xfe\x1b[2Jfine\x00")
        assert read_text(tmp_path / "odd.md").text.endswith("fine")
        assert read_text(tmp_path / "odd.md", cap=3).cut
        assert "Is a directory" in read_text(tmp_path).problem


class TestCards:
    RIVAL = Rival("R01", "lightgbm", 0.5, {0: 0.50, 1: 0.52})

    def test_better_is_to_the_right_whatever_the_metric(self) -> None:
        folds = (Fold(0, "ok", 0.48, 1.0, ""), Fold(1, "ok", 0.54, 1.0, ""))
        for better, first, second in ((1, "-0.02000", "+0.02000"), (-1, "+0.02000", "-0.02000")):
            chart = FoldChart()
            chart.show(FoldScores("R02", folds, 2, better, self.RIVAL))
            lines = of_width(chart).splitlines()
            assert lines[1].endswith(first)
            assert lines[2].endswith(second)
            assert (lines[1].index("●") > lines[1].index("○")) == (first[0] == "+")

    def test_folds_that_run_wait_or_failed_say_so(self) -> None:
        folds = (Fold(0, "ok", 0.51, 1.0, ""), Fold(1, "crash", None, 1.0, "KeyError: 'x'"))
        chart = FoldChart()
        chart.show(FoldScores("R02", folds, 4, 1, self.RIVAL, {2: 100.0}, 165.0, runs=True))
        lines = of_width(chart).splitlines()
        assert "! crash  KeyError: 'x'" in lines[2]
        assert "● runs  1:05" in lines[3]
        assert "· waits" in lines[4]
        assert "+0.01000" in lines[5]

    @pytest.mark.parametrize(
        ("gain", "t", "words"),
        [
            (0.002, 2.0, "✓ above the noise"),
            (0.002, 1.2, "≈ within the noise"),
            (-0.002, -1.0, "≈ within the noise"),
            (-0.002, -4.0, "✗ worse, by more than the noise"),
            (0.002, None, "noise of this gain is not known"),
            (0.002, 1000.0, "the same on every fold"),
            (0.0, 0.0, "≈ within the noise"),
        ],
    )
    def test_a_gain_is_told_in_words(self, gain: float, t: float | None, words: str) -> None:
        card = GainCard()
        card.show(Dossier("R02", status="keep", score=0.5, gain=gain, t=t, rival=self.RIVAL), 1.5)
        assert words in of_width(card)

    def test_what_the_rule_asked_of_this_very_gain_counts(self) -> None:
        card = GainCard()
        card.show(Dossier("R02", status="discard", score=0.5, gain=0.1, t=2.0, required_t=2.7), 1.5)
        assert "2.70 is asked" in of_width(card)
        assert "≈ within the noise" in of_width(card)

    def test_the_standard_error_is_the_one_that_t_was_computed_with(self) -> None:
        card = GainCard()
        card.show(Dossier("R02", status="keep", score=0.5, gain=0.003, t=1.5, rival=self.RIVAL), 1.5)
        assert "0.00200" in of_width(card)

    def test_the_reason_is_told_unless_the_noise_floor_said_the_same(self) -> None:
        card = GainCard()
        card.show(Dossier("R02", status="killed", reason="fold 1 is far behind"), 1.5)
        assert "✗ killed: fold 1 is far behind" in of_width(card)
        card.show(
            Dossier("R02", reason="too small", words=(Word("run", "rules", "block", "noise-floor", "too small"),)), 1.5
        )
        assert "too small" not in of_width(card)

    def test_pairs_above_the_threshold_have_a_sign(self) -> None:
        near = (Neighbour("R01", "mlp", 0.5, 0.9962), Neighbour("R03", "mlp", 0.5, 0.98))
        card = ClosenessCard()
        card.show(Dossier("R02", in_pool=True, neighbours=near, compared=9), 0.995)
        first, second, *sentence = of_width(card).splitlines()
        assert first.endswith("0.9962≡")
        assert second.rstrip().endswith("0.9800")
        assert "stacking-correlation" in " ".join(sentence)
        card.show(Dossier("R02", in_pool=True, neighbours=near, compared=9), None)
        assert "≡" not in of_width(card)
        assert "off" in of_width(card)

    def test_ranks_and_errors_are_told_where_they_were_measured(self) -> None:
        near = (Neighbour("R01", "mlp", 0.5, 0.9962, 0.9871, 0.4321), Neighbour("R03", "mlp", 0.5, 0.98))
        card = ClosenessCard()
        card.show(Dossier("R02", in_pool=True, neighbours=near, compared=9), 0.995)
        titles, first, second, *_ = of_width(card).splitlines()
        assert titles.split() == ["ρ", "ranks", "errors"]
        assert first.split()[-3:] == ["0.9962≡", "0.9871", "0.4321"]
        assert second.split()[-3:] == ["0.9800", "–", "–"]

    def test_a_table_wraps_its_last_column_beneath_itself(self) -> None:
        rows = [[Content("a"), Content("one two three four")], [Content("bcd"), Content("five")]]
        assert [line.plain.rstrip() for line in table(rows, 14, least=4)] == [
            "a    one two",
            "     three",
            "     four",
            "bcd  five",
        ]

    def test_long_texts_never_pass_the_border(self) -> None:
        rows = [[Content("x" * 40), Content("y" * 90)], [Content("目标" * 9), Content("z z")]]
        for width in (10, 30, 70):
            assert all(line.cell_length <= width for line in table(rows, width))


class TestProse:
    def written(self, text: str, width: int = 40) -> list[str]:
        found = sections(text)
        lines = [line for section in found for line in [section.heading, *laid_out(section.blocks, width)]]
        return [line.plain.rstrip() for line in lines]

    def test_sections_have_their_headings(self) -> None:
        assert [
            (part.level, part.heading.plain, len(part.blocks)) for part in sections("a\n\n# B *c*\n\nd\n\ne\n## F")
        ] == [
            (0, "", 1),
            (1, "B c", 2),
            (2, "F", 0),
        ]
        assert sections("") == []

    def test_lists_hang_and_nest(self) -> None:
        text = "- one two three four five six seven eight nine\n  1. inner\n- two"
        assert self.written(text, 30) == [
            "",
            "• one two three four five six",
            "  seven eight nine",
            "  1. inner",
            "• two",
        ]

    def test_a_list_with_room_keeps_it(self) -> None:
        assert self.written("- a\n\n- b") == ["", "• a", "", "• b"]

    def test_links_show_where_they_lead_and_html_is_text(self) -> None:
        text = "[a](http://b.c) <b>x</b> ![p](q.png) <http://d.e> `[/red]` \\[x\\]"
        assert self.written(text, 99) == ["", "a (http://b.c) <b>x</b> [p] (q.png) http://d.e [/red] [x]"]

    def test_code_keeps_its_lines(self) -> None:
        assert self.written("```python\ndef f():\n\treturn 1\n```\n\n    plain\n") == [
            "",
            " def f():",
            "     return 1",
            "",
            " plain",
        ]

    def test_figures_stand_to_the_right_and_long_columns_wrap(self) -> None:
        text = "| n | why |\n| --- | --- |\n| 1.5 | because of this and of that |\n| 200 | – |\n| 3 |\n"
        assert self.written(text, 20) == [
            "",
            "  n  why",
            "───  ───────────────",
            "1.5  because of this",
            "     and of that",
            "200  –",
            "  3",
        ]

    def test_no_line_is_wider_than_the_page(self) -> None:
        text = (
            "# " + "h" * 99 + "\n\n" + "x" * 99 + "\n\n> - " + "目标" * 40 + "\n\n```\n" + "y" * 99 + "\n```\n\n"
            "| a | b | c |\n| - | - | - |\n| " + "z" * 99 + " | 2 | 3 |\n\n---\n"
        )
        for width in (20, 33, 80):
            for section in sections(text):
                assert all(line.cell_length <= width for line in laid_out(section.blocks, width))

    def test_deep_nesting_and_odd_input_are_survived(self) -> None:
        for text in (">" * 500 + " x", "- " * 300 + "x", "[" * 2_000, "*" * 999, "|" * 500, "```", "\u2028a\u0085b"):
            for section in sections(text):
                laid_out(section.blocks, 40)
