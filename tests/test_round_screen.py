"""The screen of a round, on made campaigns, in an app that offers what a screen may use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from textual.app import App
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static, TabbedContent

from autokaggle_tui.dossiers import load_dossier
from autokaggle_tui.reducing import reduce
from autokaggle_tui.roundfiles import Text
from autokaggle_tui.ui.papers import papers_of
from autokaggle_tui.ui.screens.round import RoundScreen
from autokaggle_tui.ui.widgets.card import Card
from autokaggle_tui.ui.widgets.document import DocumentPage, Paper, Prose, split_matter
from autokaggle_tui.ui.widgets.overview import Overview
from autokaggle_tui.wording import clock_text
from autokaggle_tui.workspace import Workspace

from .campaigns import make_campaign
from .hosting import SMALL, change, opened, press, read, said, seen
from .screen_host import HOSTILE, SHOWN, Host, settled, toasts


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Thirty rounds and the thirty-first being played; nothing changes it."""
    return make_campaign(tmp_path_factory.mktemp("made") / "demo", 30, playing=True)


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A small campaign that a test may change: eight rounds, one of them a blend, the ninth being played."""
    return make_campaign(tmp_path / "demo", 8, playing=True)


class TestOverview:
    async def test_a_round_at_a_glance(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, _pilot):
            dossier = load_dossier(made, "R30")
            assert dossier.rival is not None
            title = seen(app.screen.query_one("#title"))
            assert f"R30   {dossier.family}" in title
            assert f"✗ {dossier.status}" in title
            assert dossier.idea in title
            assert "‹ R29" in title
            assert "R31 ›" in title
            assert dossier.rival.name in said(app, "#folds")
            assert len(said(app, "#folds").splitlines()) == 8
            assert "the cv pools all rows" in said(app, "#folds")
            assert "is asked" in said(app, "#gain")
            assert dossier.neighbours[0].name in said(app, "#closeness")
            assert "gpt-5-codex" in said(app, "#phases")
            builder = next(line for line in said(app, "#models").splitlines() if line.startswith("builder"))
            for part in ("$0.", " in, ", " t/s"):
                assert part in builder
            assert "gpt-5-codex · 3 calls · context" in said(app, "#models")
            assert "noise-floor" in said(app, "#verdicts")
            assert "Not submitted: no gain (discard)." in said(app, "#submission")
            assert "experiment.py" in said(app, "#files")
            assert not app.screen.query_one(Overview).has_class("-single")

    async def test_nothing_is_claimed_before_it_was_read(self, made: Workspace) -> None:
        app = Host(made)
        async with app.run_test(size=(120, 40)):
            screen = RoundScreen("R30")
            screen.follow = lambda state, engine: None  # type: ignore[method-assign]
            await app.push_screen(screen)
            assert said(app, ".overview--waiting") == "Reading…"
            assert not any(card.region for card in screen.query(Card))
            assert "Reading…" in said(app, ".code--head") and "Reading…" in said(app, ".log--head")

    async def test_a_finished_round_tells_how_long_its_experiment_took(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, _pilot):
            names = [line.split()[0] for line in said(app, "#phases").splitlines() if line[:1].strip()]
            assert names.index("code") < names.index("run") < names.index("findings")
            assert clock_text(load_dossier(made, "R30").seconds) in said(app, "#phases")

    async def test_what_was_sent_although_its_round_did_not_says_so(self, fresh: Workspace) -> None:
        change(
            fresh,
            "INSERT INTO submissions (competition, experiment, file, sha256, token, state, public_score, at) "
            "VALUES ('c', 'R07', 'f.csv', 'x', 'y', 'accepted', 0.9, 3e9)",
        )
        change(fresh, """UPDATE phases SET outcome = 'skipped', detail = '{"line": "no gain (discard)"}' """
               "WHERE round = 7 AND phase = 'submit'")  # fmt: skip
        async with opened(fresh, RoundScreen("R07")) as (app, _pilot):
            told = " ".join(said(app, "#submission").split())
            assert "✓ accepted" in told
            assert "Its round did not send it (no gain (discard)): it was sent by hand or when the run ended." in told

    async def test_on_a_small_screen_the_cards_stand_in_one_column(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30"), SMALL) as (app, pilot):
            overview = app.screen.query_one(Overview)
            assert overview.has_class("-single")
            cards = [card.region for card in app.screen.query(Card) if card.display]
            assert len({(card.x, card.width) for card in cards if card.width}) <= 2
            await press(pilot, "G")
            assert overview.scroll_offset.y == overview.max_scroll_y > 0
            await press(pilot, "g", "j")
            assert overview.scroll_offset.y == 1

    async def test_folds_can_be_compared_with_the_champion_of_now(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R05")) as (app, pilot):
            dossier = load_dossier(made, "R05")
            assert dossier.rival is not None
            assert dossier.champion is not None
            assert f"○ {dossier.rival.name}" in str(app.screen.query_one("#folds").border_subtitle)
            await press(pilot, "v")
            assert f"○ {dossier.champion.name}" in str(app.screen.query_one("#folds").border_subtitle)

    async def test_what_is_not_known_is_not_invented(self, fresh: Workspace) -> None:
        change(fresh, "UPDATE experiments SET in_pool = 0 WHERE id = 'R08'")
        change(fresh, "DELETE FROM correlations WHERE a = 'R08' OR b = 'R08'")
        async with opened(fresh, RoundScreen("R08")) as (app, _pilot):
            assert "not in the pool" in said(app, "#closeness")
            assert "no blend can take it" in said(app, "#uses")

    async def test_a_round_that_was_just_opened(self, fresh: Workspace) -> None:
        change(
            fresh,
            "INSERT INTO rounds (round, run, status, started_at) SELECT 10, run, 'open', 2e9 FROM rounds LIMIT 1",
        )
        async with opened(fresh, RoundScreen("R10")) as (app, pilot):
            assert "No fold was scored." in said(app, "#folds")
            assert "Nothing was said of it yet." in said(app, "#verdicts")
            for key, missing in (("2", "phase plan"), ("3", "phase review"), ("6", "phase findings")):
                await press(pilot, key)
                assert missing in " ".join(str(label.render()) for label in app.screen.query(".document--missing"))
            await press(pilot, "4")
            assert "phase code" in said(app, ".code--head")

    async def test_an_unknown_round_and_a_broken_registry_are_survived(self, fresh: Workspace) -> None:
        async with opened(fresh, RoundScreen("R77")) as (app, pilot):
            assert "R77" in seen(app.screen.query_one("#title"))
            fresh.facts.write_bytes(b"nonsense" * 999)
            app.state = replace(app.state, champion="R01")
            app.screen.follow(app.state, app.engine)
            await settled(pilot)
            assert "autokaggle.db" in toasts(pilot)


class TestDocuments:
    async def test_front_matter_is_a_table_and_a_brief_stands_beneath(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R30")) as (app, pilot):
            await press(pilot, "2")
            page = app.screen.query_one("#plan", DocumentPage)
            assert [str(sheet.border_title) for sheet in page.query(".document--paper")] == [
                "R30_plan.md",
                "R30_research_brief.md",
                "R30_retro.md",
            ]
            matter = str(page.query(Card).first().render())
            assert "expected gain" in matter
            assert "0.0004" in matter
            assert "---" not in read(page)

    async def test_hostile_text_is_shown_and_never_obeyed(self, fresh: Workspace) -> None:
        text = f"APPROVED {HOSTILE}\n\n# {HOSTILE}\n\n[click](https://example.com/x) ![p](file:///etc/passwd)\n\n```\n{HOSTILE}\n```\n"
        (fresh.rounds / "R08_review.md").write_text(text)
        (fresh.rounds / "R08_plan.md").write_text(f"---\nfamily: {HOSTILE}\nkind: [\n---\n{HOSTILE}\n")
        change(fresh, "UPDATE experiments SET idea = ?, family = ? WHERE id = 'R08'", HOSTILE, HOSTILE)
        async with opened(fresh, RoundScreen("R08")) as (app, pilot):
            assert SHOWN in seen(app.screen.query_one("#title"))
            went: list[str] = []
            app.open_url = lambda url, *, new_tab=True: went.append(url)  # type: ignore[method-assign]
            for key, page in (("2", "#plan"), ("3", "#review")):
                await press(pilot, key)
                shown = read(app.screen.query_one(page))
                assert SHOWN in shown
                assert "\x1b" not in shown
            sheet = app.screen.query_one("#review", DocumentPage)
            assert "click (https://example.com/x)" in read(sheet)
            for part in sheet.query(Prose):
                for strip in part.render_lines(Region(0, 0, *part.outer_size)):
                    assert not any(segment.style and "@click" in segment.style.meta for segment in strip)
            await pilot.click(sheet.query(Prose).first(), offset=(2, 0))
            assert went == []

    def test_front_matter_is_never_evaluated(self) -> None:
        text = (
            "---\nkind: model\nhypothesis: 'it''s\n  long'\nmembers:\n- R01\n- R02\nparams:\n  a: 1\n  b: *c\n---\nbody"
        )
        assert split_matter(text) == (
            [("kind", "model"), ("hypothesis", "it's long"), ("members", "R01 · R02"), ("params", "a: 1 · b: *c")],
            "body",
        )
        assert split_matter("---\nnever closed") == ([], "---\nnever closed")
        assert split_matter("no matter") == ([], "no matter")

    async def test_a_huge_paper_is_cut_and_says_so(self, made: Workspace) -> None:
        class Reader(App[None]):
            def compose(self) -> Iterable[Widget]:
                yield DocumentPage()

        app = Reader()
        async with app.run_test(size=SMALL) as pilot:
            await app.query_one(DocumentPage).show([Paper("big.md", Text("word " * 30_000))])
            await pilot.pause()
            assert "e opens the whole file" in str(app.query_one(".document--note", Static).render())

    def test_what_was_never_planned_says_why(self, made: Workspace) -> None:
        for name, words in (("T01", "Tried by hand"), ("tilii-lgbm", "Imported"), ("R00", "Round 0")):
            (paper,) = papers_of("review", load_dossier(made, name), {})
            assert paper.text is None
            assert words in paper.missing

    async def test_round_0_shows_the_eda(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R00")) as (app, pilot):
            await press(pilot, "2")
            assert str(app.screen.query_one(TabbedContent).get_tab("tab-plan").label) == "2 EDA"
            assert [str(sheet.border_title) for sheet in app.screen.query("#plan .document--paper")] == ["R00_eda.md"]


class TestFollowing:
    async def test_a_fold_that_ends_appears_by_itself(self, fresh: Workspace) -> None:
        screen = RoundScreen("R09")
        async with opened(fresh, screen) as (app, pilot):
            assert said(app, "#folds").count("● runs  12s") + said(app, "#folds").count("● runs") > 0
            assert "fold 4/5" in seen(app.screen.query_one("#title"))
            told = {"experiment": "R09", "fold": 3, "folds": 5, "done": 4, "status": "ok", "score": 0.98765}
            told |= {"seconds": 20.0, "error": ""}
            change(
                fresh,
                "INSERT INTO folds (experiment, fold, key, status, score, seconds, at) "
                "VALUES ('R09', 3, '', 'ok', 0.98765, 20, 1)",
            )
            event = {"id": app.state.last_id + 1, "at": 1.0, "run": None, "round": 9, "kind": "fold_done", "data": told}
            app.state = reduce(app.state, event)
            screen.follow(app.state, app.engine)
            await settled(pilot)
            assert "0.98765" in said(app, "#folds")
            assert "fold 5/5" in seen(app.screen.query_one("#title"))

    async def test_with_no_engine_nothing_runs(self, fresh: Workspace) -> None:
        async with opened(fresh, RoundScreen("R09"), pid=None) as (app, _pilot):
            assert "unfinished" in seen(app.screen.query_one("#title"))
            assert "● runs" not in said(app, "#folds")

    async def test_tabs_and_rounds_by_key(self, made: Workspace) -> None:
        screen = RoundScreen("R30")
        async with opened(made, screen) as (app, pilot):
            await press(pilot, "right_square_bracket")
            assert screen.tab == "plan"
            await press(pilot, "left", "left")
            assert screen.tab == "findings"
            await press(pilot, "right")
            assert screen.tab == "overview"
            await press(pilot, "3", "less_than_sign")
            assert screen.tab == "review"
            assert "R29" in seen(app.screen.query_one("#title"))
            assert str(app.screen.query("#review .document--paper").first().border_title) == "R29_review.md"
            await press(pilot, "greater_than_sign", "right_curly_bracket", "right_curly_bracket")
            assert screen.round_name == "R31"
            await pilot.click("#title", offset=(116, 1))
            assert screen.round_name == "R30"

    async def test_a_blend_shows_its_members(self, made: Workspace) -> None:
        async with opened(made, RoundScreen("R27")) as (app, pilot):
            members = load_dossier(made, "R27").members
            assert members
            await press(pilot, "4")
            assert str(app.screen.query_one(TabbedContent).get_tab("tab-code").label) == "4 Members"
            shown = str(app.screen.query_one("#code MembersCard").render())
            assert all(name in shown and f"{weight:.3f}" in shown for name, weight in members)
            await press(pilot, "d")
            assert not app.screen.query_one("#code-view").display
