"""The pool as a map: order, groups, cells, and what the rule on stacking says."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.widget import Widget

from autokaggle_tui.poolmap import Member, PoolMap, best_first, clusters, likeness, load_maps
from autokaggle_tui.ui.screens.correlation import CorrelationScreen
from autokaggle_tui.ui.screens.help import living
from autokaggle_tui.ui.widgets.heat_map import HeatMap, Scale
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .hosting import SMALL, change, opened, press, said, seen
from .screen_host import settled


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty rounds and the thirty-first being played; nothing changes it."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A small campaign that a test may change: eight rounds, one of them a blend, the ninth being played."""
    return make_campaign(tmp_path / "demo", 8, playing=True)


def pool_of(values: dict[tuple[str, str], float], *names: str) -> PoolMap:
    size = len(names)
    cells = array("d", [float("nan")]) * (size * size)
    for (a, b), value in values.items():
        i, j = names.index(a), names.index(b)
        cells[i * size + j] = cells[j * size + i] = value
    for place in range(size):
        cells[place * size + place] = 1.0
    return PoolMap(tuple(Member(name, "mlp", "keep", 0.9, float(place)) for place, name in enumerate(names)), cells)


class TestLikeness:
    def test_the_alike_are_neighbours_and_groups(self) -> None:
        pool = pool_of(
            {
                ("A", "B"): 0.90, ("A", "C"): 0.999, ("A", "D"): 0.80, ("A", "E"): 0.91,
                ("B", "C"): 0.90, ("B", "D"): 0.85, ("B", "E"): 0.997,
                ("C", "D"): 0.80, ("C", "E"): 0.90, ("D", "E"): 0.84,
            },
            *"ABCDE",
        )  # fmt: skip
        found = likeness(pool, 0.995)
        order = "".join(pool.members[place].name for place in found.order)
        assert {"AC", "CA"} & {order[i : i + 2] for i in range(4)}
        assert {"BE", "EB"} & {order[i : i + 2] for i in range(4)}
        assert order[0] == "D" or order[-1] == "D"
        assert sorted(sorted(pool.members[p].name for p in group) for group in found.groups) == [["A", "C"], ["B", "E"]]

    def test_pairs_that_were_never_measured_are_the_last_choice(self) -> None:
        found = likeness(pool_of({("A", "C"): 0.5}, *"ABC"), 0.4)
        assert sorted(found.order) == [0, 1, 2]
        assert len(found.groups) == 1

    def test_a_limit_that_all_or_none_pass(self) -> None:
        pool = pool_of({("A", "B"): 0.9, ("A", "C"): 0.9, ("B", "C"): 0.9}, *"ABC")
        assert [len(group) for group in likeness(pool, 0.1).groups] == [3]
        assert likeness(pool, 0.99).groups == ()
        assert likeness(pool, None).groups == ()
        assert likeness(PoolMap(), 0.5).order == ()
        assert likeness(pool_of({}, "A"), 0.5).order == (0,)

    def test_a_cluster_begins_with_the_member_to_keep(self) -> None:
        pool = pool_of({("A", "B"): 0.997, ("B", "C"): 0.999, ("A", "C"): 0.9, ("C", "D"): 0.5}, *"ABCD")
        scores = {"A": 0.93, "B": None, "C": 0.95, "D": 0.99}
        pool = PoolMap(tuple(replace(member, score=scores[member.name]) for member in pool.members), pool.values)
        found = likeness(pool, 0.995)
        for better, names in ((1, "CAB"), (-1, "ACB")):
            (cluster,) = clusters(pool, found, 0.995, better)
            assert "".join(pool.members[place].name for place in cluster.members) == names
            assert (cluster.low, cluster.high) == (0.997, 0.999)
        assert [pool.members[place].name for place in best_first(pool.members, 1)] == ["D", "C", "A", "B"]

    def test_two_figures_and_never_rounded_up(self) -> None:
        assert Scale(0).figures(0.979) == "97"
        assert Scale(0).figures(0.9999) == "99"
        assert Scale(0).figures(1.0) == "99"
        assert Scale(0).figures(0.05) == "05"
        assert Scale(0).figures(-0.34) == "-3"
        assert Scale(1).figures(0.9736) == "73"
        assert Scale(1).figures(0.97) == "70"
        assert Scale(1).figures(0.53) == ".5"
        assert Scale.over([0.97, 0.98, 0.99, 0.2] * 9).nines == 0
        assert Scale.over([0.97, 0.98, 0.99] * 9).nines == 1
        assert Scale.over([]).figures(0.5) == "50"
        assert Scale.over([0.9712, 0.9736, 0.9888]).example == "73 is 0.973"
        assert Scale.over([0.2, 0.5321, 0.9]).example == "53 is 0.53"


class TestCorrelations:
    async def test_the_pool_as_a_map(self, made: Workspace) -> None:
        async with opened(made, CorrelationScreen()) as (app, pilot):
            pool = load_maps(made)["pearson"]
            size = len(pool)
            above = sum(value > 0.995 for value in pool.pairs())
            assert f"{size} predictions · {size * (size - 1) // 2} pairs · ≡ {above} above 0.995" in said(
                app, "#summary"
            )
            heat = app.screen.query_one(HeatMap)
            shown = seen(heat)
            assert "≡" in shown
            assert "╲" in shown
            assert heat.pair is not None
            row, column = heat.pair
            assert row.name in said(app, "#pair")
            assert f"× {column.name}" in " ".join(said(app, "#pair").split())
            value = next(
                text for text in str(app.screen.query_one("#map").border_subtitle).split(" · ") if " is " in text
            )
            assert f" {value.split()[0]}" in shown
            await press(pilot, "down", "right", "j")
            assert heat.pair != (row, column)
            await press(pilot, "k", "up", "left")
            assert heat.pair == (row, column)
            told = {entry.said: entry.keys for entries in living(app.screen).values() for entry in entries}
            assert told["A column to the right"] == ["→"]
            assert told["Down by a line or row"] == ["j", "↓"]
            assert next(entry for said_, entry in told.items() if said_.startswith("LEARNINGS.md")) == ["l"]
            await press(pilot, "enter")
            assert heat.pair is not None
            assert app.opened == [heat.pair[0].name]

    async def test_what_the_rule_says_of_a_pair(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE correlations SET pearson = 0.5")
        change(fresh, "UPDATE correlations SET pearson = 0.9981 WHERE a = 'R01' AND b = 'R02'")
        async with opened(fresh, CorrelationScreen()) as (app, pilot):
            heat = app.screen.query_one(HeatMap)
            heat.go_to("R02", "R01")
            await settled(pilot)
            assert "ρ 0.9981 ≡" in said(app, "#pair")
            assert "a fitted blend keeps one of them" in said(app, "#pair")
            assert "R02" in said(app, "#group-lines")
            assert "0.9981" in said(app, "#group-lines")
            heat.go_to("R02", "T01")
            await settled(pilot)
            assert "0.4950 below 0.995" in said(app, "#pair")

    async def test_clusters_are_marked_and_named(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE correlations SET pearson = 0.5")
        change(fresh, "UPDATE correlations SET pearson = 0.9981 WHERE a = 'R01' AND b = 'R02'")
        change(fresh, "UPDATE experiments SET score = 0.99 WHERE id = 'R02'")
        async with opened(fresh, CorrelationScreen()) as (app, _pilot):
            line = " ".join(said(app, "#group-lines").split())
            assert line.startswith("a R02 ") and "and 1 like it: R01" in line
            lines = [line.split() for line in seen(app.screen.query_one(HeatMap)).splitlines()[1:] if line.strip()]
            assert {line[0] for line in lines if line[1] == "a"} == {"R01", "R02"}

    async def test_the_map_shows_predictions_ranks_or_errors(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE correlations SET pearson = 0.5, spearman = 0.7, error = NULL")
        change(fresh, "UPDATE correlations SET pearson = 0.9981, error = 0.31 WHERE a = 'R01' AND b = 'R02'")
        async with opened(fresh, CorrelationScreen()) as (app, pilot):
            heat = app.screen.query_one(HeatMap)
            heat.go_to("R02", "R01")
            await settled(pilot)
            pair = " ".join(said(app, "#pair").split())
            assert "ρ 0.9981 ≡ ranks 0.7000 errors 0.3100" in pair

            def rows() -> list[str]:
                return [line.split()[0] for line in seen(heat).splitlines()[1:] if line.strip()]

            order = rows()
            for words, value in (("ranks", 0.7), ("errors", 0.31), ("predictions", 0.9981)):
                await press(pilot, "v")
                assert str(app.screen.query_one("#map").border_subtitle).startswith(words)
                assert heat.value == value
                # The rule and the clusters go by Pearson: rows and marks stay where they are.
                assert rows() == order
                assert seen(heat).count("≡") == 2
                if words == "errors":
                    assert "?" in seen(heat)
            await press(pilot, "y")
            assert app.clipboard == "R02 R01 0.998100 0.700000 0.310000"

    async def test_figures_of_an_older_version_are_said_to_be_unknown(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE correlations SET spearman = NULL, error = NULL")
        async with opened(fresh, CorrelationScreen()) as (app, pilot):
            assert "ranks" not in said(app, "#pair")
            await press(pilot, "v")
            assert "not measured" in str(app.screen.query_one("#map").border_subtitle)

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("max_correlation = 0.995", "max_correlation = 0.4", "above 0.4"),
            ("max_correlation = 0.995", "max_correlation = broken", "above 0.995"),
            (
                'id = "stacking-correlation"\nenforce = "block"',
                'id = "stacking-correlation"\nenforce = "off"',
                "is off",
            ),
        ],
    )
    async def test_the_threshold_is_that_of_learnings(self, fresh: Workspace, old: str, new: str, words: str) -> None:
        text = fresh.learnings.read_text()
        assert old in text
        fresh.learnings.write_text(text.replace(old, new))
        async with opened(fresh, CorrelationScreen(), SMALL) as (app, _pilot):
            assert words in said(app, "#summary")

    async def test_it_sorts_by_likeness_score_and_time(self, made: Workspace) -> None:
        async with opened(made, CorrelationScreen()) as (app, pilot):

            def names() -> list[str]:
                lines = seen(app.screen.query_one(HeatMap)).splitlines()[1:]
                return [line.split()[0] for line in lines if line.strip()]

            pool = load_maps(made)["pearson"]
            await press(pilot, "g", "s")
            best = sorted(pool.members, key=lambda member: -(member.score or 0.0))
            assert app.screen.query_one("#map").border_subtitle is not None
            assert "by score" in str(app.screen.query_one("#map").border_subtitle)
            heat = app.screen.query_one(HeatMap)
            heat.go_to(best[0].name)
            await settled(pilot)
            assert names()[:5] == [member.name for member in best[:5]]
            await press(pilot, "s", "S", "g")
            assert names()[0] == pool.members[-1].name

    async def test_labels_stay_while_two_hundred_models_scroll(self) -> None:
        names = [f"R{number}" for number in range(100, 300)]
        cells = array("d", [0.97]) * 40_000
        pool = PoolMap(tuple(Member(name, "mlp", "keep", 0.9, 0.0) for name in names), cells)

        class Reader(App[None]):
            def compose(self) -> Iterable[Widget]:
                yield HeatMap()

        app = Reader()
        async with app.run_test(size=(40, 12)) as pilot:
            heat = app.query_one(HeatMap)
            heat.show(pool, Scale.over([0.97, 0.98]), range(200), 0.995)
            heat.focus()
            heat.go_to("R250", "R280")
            await pilot.pause()
            head, *rows = seen(heat).splitlines()
            assert "280" in head
            assert [row.split()[0] for row in rows if row.startswith("R")][-1] == "R250"
            assert all("70" in row for row in rows if row.startswith("R"))
            heat.scroll_to(x=42, animate=False, force=True)
            await pilot.pause()
            head, *rows = seen(heat).splitlines()
            assert len(head.split()) == len(rows[0].split()) - 1
            assert all(number == "70" for number in rows[1].split()[1:])
            assert all(len(name) == 3 for name in head.split())
            await pilot.press("end", "G")
            await pilot.pause()
            assert heat.pair == (pool.members[-1], pool.members[-1])
            assert "299" in seen(heat).splitlines()[0]
            await pilot.click(heat, offset=(8, 1))
            assert heat.pair != (pool.members[-1], pool.members[-1])

    @pytest.mark.parametrize(
        ("keep", "words"), [("", "The pool is empty."), ("R01", "Only R01 is in the pool.")], ids=["none", "one"]
    )
    async def test_nothing_to_compare(self, fresh: Workspace, keep: str, words: str) -> None:
        change(fresh, "UPDATE experiments SET in_pool = (id = ?)", keep)
        async with opened(fresh, CorrelationScreen(), SMALL) as (app, pilot):
            assert words in said(app, "#missing")
            assert not app.screen.query_one("#halves").display
            await press(pilot, "s", "enter", "y", "down")
            assert app.opened == []

    async def test_a_prediction_that_joins_the_pool_appears(self, fresh: Workspace) -> None:
        screen = CorrelationScreen()
        async with opened(fresh, screen) as (app, pilot):
            before = len(load_maps(fresh)["pearson"])
            change(fresh, "UPDATE experiments SET in_pool = 1, score = 0.97, status = 'discard' WHERE id = 'R09'")
            row = replace(app.state.results["R09"], in_pool=True, status="discard", score=0.97)
            app.state = replace(app.state, results={**app.state.results, "R09": row})
            screen.follow(app.state, app.engine)
            await settled(pilot)
            assert f"{before + 1} predictions" in said(app, "#summary")
