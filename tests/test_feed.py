"""What a viewer's feed tells: a state to start from, then everything that is new, whatever happens to the files."""

import functools
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from autokaggle_tui.loading import load_state
from autokaggle_tui.reducing import reduce
from autokaggle_tui.state import State
from autokaggle_tui.ui import feed as feeding
from autokaggle_tui.ui import livetail
from autokaggle_tui.ui.feed import Batch, Feed
from autokaggle_tui.workspace import Workspace
from experiments.schema import open_live, open_viewer

from .campaigns import make_campaign

ROLES = ("researcher", "builder", "reviewer")


class Clock:
    """A time that a test moves; every look is due."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += feeding.LOOK_SECONDS
        return self.now


@pytest.fixture
def campaign(tmp_path: Path) -> Workspace:
    return make_campaign(tmp_path / "campaign", 12, playing=True)


@pytest.fixture
def open_feed():
    """Makes feeds that look when they are asked to, and are closed at the end."""
    made: list[Feed] = []

    def make(workspace: Workspace, **settings) -> Feed:
        made.append(Feed(workspace, clock=Clock(), **{"patience": 0.0, **settings}))
        return made[-1]

    yield make
    for feed in made:
        feed.stop()


def look(feed: Feed, times: int = 1) -> Batch:
    """Everything new, as one batch."""
    for _ in range(times):
        feed.look()
    batches = feed.drain()
    return Batch(
        next((batch.state for batch in reversed(batches) if batch.state is not None), None),
        tuple(event for batch in batches for event in batch.events),
        tuple(row for batch in batches for row in batch.streamed),
        tuple(row for batch in batches for row in batch.logged),
        batches[-1].pid if batches else None,
        batches[-1].problem if batches else "",
    )


def happen(workspace: Workspace, *kinds: str, **data) -> None:
    """Events, as the engine writes them."""
    connection = sqlite3.connect(workspace.facts)
    rows = [(kind, json.dumps(data)) for kind in kinds]
    connection.executemany("INSERT INTO events (at, run, round, kind, data) VALUES (1.0, 'x', 7, ?, ?)", rows)
    connection.commit()
    connection.close()


def say(workspace: Workspace, role: str, *texts: str, kind: str = "text") -> None:
    """Rows of the stream, as the engine writes them."""
    connection = open_live(workspace.live)
    rows = [(role, kind, text) for text in texts]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO stream (at, round, role, kind, text) VALUES (1.0, 7, ?, ?, ?)", rows)
    connection.execute("COMMIT")
    connection.close()


def print_lines(workspace: Workspace, experiment: str, *texts: str) -> None:
    """Lines of a log, as the engine writes them."""
    connection = open_live(workspace.live)
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO logs (at, experiment, fold, text) VALUES (1.0, ?, 0, ?)", [(experiment, text) for text in texts]
    )
    connection.execute("COMMIT")
    connection.close()


class TestFacts:
    def test_the_first_batch_has_the_state_and_the_next_ones_what_happened_since(self, campaign, open_feed):
        feed = open_feed(campaign)
        first = look(feed)
        assert first.state is not None
        assert first.state.now.round == 13
        assert first.events == ()
        happen(campaign, "note", "warning", text="mind")
        later = look(feed)
        assert later.state is None
        assert [event["kind"] for event in later.events] == ["note", "warning"]
        assert [event["id"] for event in later.events] == [first.state.last_id + 1, first.state.last_id + 2]
        assert later.events[0]["data"] == {"text": "mind"}

    def test_state_and_events_together_are_what_the_registry_says(self, campaign, open_feed):
        feed = open_feed(campaign)
        first = look(feed)
        happen(campaign, "note", text="one")
        happen(campaign, "warning", text="two")
        followed = functools.reduce(reduce, look(feed).events, first.state)
        connection = open_viewer(campaign.facts)
        assert followed == load_state(connection)
        connection.close()

    def test_nothing_new_is_no_batch(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed, 2)
        feed.look()
        assert feed.drain() == []

    def test_many_events_come_in_several_batches_in_order(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        happen(campaign, *["note"] * (feeding.EVENTS_AT_ONCE + 20), text="x")
        feed.look()
        assert len(feed.drain()[0].events) == feeding.EVENTS_AT_ONCE
        assert len(look(feed).events) == 20

    def test_a_viewer_that_fell_far_behind_starts_anew_from_the_state(self, campaign, open_feed, monkeypatch):
        monkeypatch.setattr(feeding, "MOST_EVENTS", 10)
        feed = open_feed(campaign)
        look(feed)
        happen(campaign, *["note"] * 11, text="x")
        batch = look(feed)
        assert batch.events == ()
        assert batch.state is not None
        assert len(batch.state.notices) >= 11

    def test_a_viewer_that_takes_nothing_makes_nothing_pile_up(self, campaign, open_feed):
        feed = open_feed(campaign)
        for _ in range(feeding.MOST_WAITING + 20):
            happen(campaign, "note", text="x")
            feed.look()
        assert len(feed.drain()) == feeding.MOST_WAITING

    def test_control_characters_in_events_are_removed(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        happen(campaign, "note", text="\x1b[2Jgone \x07 [/foo]", more=["\x1b[31mred"])
        (event,) = look(feed).events
        assert event["data"] == {"text": "gone  [/foo]", "more": ["red"]}

    def test_it_never_writes(self, campaign, open_feed):
        before = campaign.facts.read_bytes(), campaign.live.read_bytes()
        feed = open_feed(campaign)
        look(feed, 3)
        feed.stop()
        assert (campaign.facts.read_bytes(), campaign.live.read_bytes()) == before

    def test_an_engine_that_writes_at_the_moment_is_waited_for(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        writer = sqlite3.connect(campaign.facts, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("INSERT INTO events (at, kind) VALUES (1.0, 'note')")
        assert look(feed) == Batch()
        writer.execute("COMMIT")
        assert [event["kind"] for event in look(feed).events] == ["note"]
        writer.close()


class TestTrouble:
    def test_a_workspace_in_which_nothing_ran_is_waited_for(self, tmp_path, open_feed):
        workspace = Workspace(tmp_path / "new")
        feed = open_feed(workspace)
        feed.look()
        assert feed.drain() == [Batch()]
        feed.look()
        assert feed.drain() == []
        assert not workspace.root.exists()
        make_campaign(workspace.root, 3)
        batch = look(feed)
        assert batch.state is not None
        assert batch.state.results
        assert batch.streamed

    def test_a_registry_that_was_deleted_is_told_and_a_new_one_taken_up(self, campaign, tmp_path, open_feed):
        feed = open_feed(campaign)
        look(feed)
        campaign.facts.unlink()
        assert "does not exist" in look(feed).problem
        shutil.copy(make_campaign(tmp_path / "other", 4).facts, campaign.facts)
        batch = look(feed)
        assert batch.problem == ""
        assert batch.state is not None
        assert batch.state.now.round == 4

    def test_a_registry_put_in_the_place_of_another_is_a_new_start(self, campaign, tmp_path, open_feed):
        feed = open_feed(campaign)
        look(feed)
        other = make_campaign(tmp_path / "other", 4)
        happen(other, "note", text="x")
        other.facts.replace(campaign.facts)
        batch = look(feed)
        assert batch.state is not None
        assert batch.state.now.round == 4
        assert batch.events == ()

    def test_a_registry_set_back_in_place_is_a_new_start(self, campaign, open_feed):
        kept = campaign.facts.read_bytes()
        happen(campaign, "note", text="x")
        feed = open_feed(campaign)
        last = look(feed).state.last_id
        campaign.facts.write_bytes(kept)
        batch = look(feed)
        assert batch.state is not None
        assert batch.state.last_id < last

    @pytest.mark.parametrize(("version", "said"), [(0, "migrates"), (99, "newer")])
    def test_a_registry_of_another_version_is_told(self, campaign, open_feed, version, said):
        connection = sqlite3.connect(campaign.facts, isolation_level=None)
        now = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version}")
        feed = open_feed(campaign)
        assert said in look(feed).problem
        connection.execute(f"PRAGMA user_version = {now}")
        connection.close()
        batch = look(feed)
        assert batch.problem == ""
        assert batch.state is not None

    def test_a_damaged_registry_is_told_with_what_to_do_and_tried_again(self, campaign, open_feed):
        kept = campaign.facts.read_bytes()
        feed = open_feed(campaign)
        campaign.facts.write_bytes(b"no database at all" * 300)
        assert "backup" in look(feed).problem
        campaign.facts.write_bytes(kept)
        batch = look(feed)
        assert (batch.problem, batch.state is None) == ("", False)

    def test_a_registry_damaged_while_it_is_read_is_told_too(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        campaign.facts.write_bytes(b"no database at all" * 300)
        assert "backup" in look(feed, 2).problem

    def test_a_moment_of_trouble_is_not_told(self, campaign, open_feed):
        kept = campaign.facts.read_bytes()
        feed = open_feed(campaign, patience=60.0)
        campaign.facts.write_bytes(b"")
        assert look(feed, 3) == Batch()
        campaign.facts.write_bytes(kept)
        assert look(feed).state is not None

    def test_a_bug_is_told_and_written_down_once(self, campaign, open_feed, monkeypatch):
        def broken(_connection) -> State:
            raise KeyError("nobody thought of this")

        monkeypatch.setattr(feeding, "load_state", broken)
        feed = open_feed(campaign)
        batch = look(feed, 4)
        assert "bug of autokaggle-tui (KeyError: 'nobody thought of this')" in batch.problem
        assert (campaign.root / "engine.log").read_text().count("Traceback") == 1
        monkeypatch.undo()
        assert look(feed).state is not None


class TestLive:
    def test_the_first_batch_has_the_last_words_of_each_role(self, campaign, open_feed, monkeypatch):
        monkeypatch.setattr(livetail, "KEPT", 5)
        for role in ROLES:
            say(campaign, role, *[f"{role} {number}" for number in range(9)])
        batch = look(open_feed(campaign))
        for role in ROLES:
            told = [row.text for row in batch.streamed if row.role == role]
            assert told == [f"{role} {number}" for number in range(4, 9)]

    def test_then_come_the_rows_since(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        say(campaign, "builder", "one", "two")
        say(campaign, "builder", "write_file x +3", kind="call")
        assert [(row.role, row.kind, row.text) for row in look(feed).streamed] == [
            ("builder", "text", "one"),
            ("builder", "text", "two"),
            ("builder", "call", "write_file x +3"),
        ]

    def test_a_log_begins_with_the_running_experiment(self, campaign, open_feed):
        campaign.live.unlink()
        print_lines(campaign, "R12", "old")
        print_lines(campaign, "R13", "first", "second")
        feed = open_feed(campaign)
        assert [row.text for row in look(feed).logged] == ["first", "second"]
        print_lines(campaign, "R13", "third")
        assert [(row.experiment, row.fold, row.text) for row in look(feed).logged] == [("R13", 0, "third")]

    def test_without_a_running_experiment_no_old_line_is_told(self, tmp_path, open_feed):
        ended = make_campaign(tmp_path / "ended", 3)
        print_lines(ended, "R03", "old")
        feed = open_feed(ended)
        assert look(feed).logged == ()
        print_lines(ended, "R04", "new")
        assert [row.text for row in look(feed).logged] == ["new"]

    def test_what_control_characters_there_are_is_removed(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        say(campaign, "builder", "\x1b[2Jcleared \x9b31m\x07 [red]", "tab\tand\nbreak")
        assert [row.text for row in look(feed).streamed] == ["cleared 31m [red]", "tab\tand\nbreak"]

    def test_a_viewer_far_behind_is_told_how_much_it_misses(self, campaign, open_feed, monkeypatch):
        monkeypatch.setattr(livetail, "MOST_BEHIND", 20)
        monkeypatch.setattr(livetail, "KEPT", 5)
        monkeypatch.setattr(livetail, "WINDOW", 8)
        feed = open_feed(campaign)
        look(feed)
        say(campaign, "builder", *[str(number) for number in range(1_030)])
        say(campaign, "reviewer", "well")
        told = look(feed).streamed
        assert [(row.role, row.kind, row.text) for row in told[:1]] == [("builder", "skipped", "1,025 pieces skipped")]
        assert [row.text for row in told[1:]] == ["1025", "1026", "1027", "1028", "1029", "well"]
        say(campaign, "builder", "on")
        assert [row.text for row in look(feed).streamed] == ["on"]

    def test_so_it_is_with_log_lines(self, campaign, open_feed, monkeypatch):
        monkeypatch.setattr(livetail, "MOST_BEHIND", 20)
        monkeypatch.setattr(livetail, "KEPT_LOGS", 3)
        feed = open_feed(campaign)
        look(feed)
        print_lines(campaign, "R13", *[str(number) for number in range(30)])
        assert [row.text for row in look(feed).logged] == ["… 27 lines skipped", "27", "28", "29"]

    def test_a_file_that_vanishes_and_comes_again_is_read_from_its_beginning(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        campaign.live.unlink()
        assert look(feed) == Batch()
        assert not campaign.live.exists()
        say(campaign, "builder", "anew")
        assert [row.text for row in look(feed).streamed] == ["anew"]

    def test_a_file_put_in_its_place_is_read_from_its_beginning(self, campaign, tmp_path, open_feed):
        feed = open_feed(campaign)
        look(feed)
        other = Workspace(tmp_path)
        say(other, "builder", "other")
        other.live.replace(campaign.live)
        assert [row.text for row in look(feed).streamed] == ["other"]

    def test_ids_that_begin_anew_in_the_same_file_are_noticed(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        connection = sqlite3.connect(campaign.live)
        connection.executescript("DELETE FROM stream; DELETE FROM sqlite_sequence")
        connection.close()
        look(feed)
        say(campaign, "builder", "again")
        assert [row.text for row in look(feed).streamed] == ["again"]

    def test_a_damaged_one_is_no_problem(self, campaign, open_feed):
        feed = open_feed(campaign)
        look(feed)
        campaign.live.write_bytes(b"no database at all" * 300)
        happen(campaign, "note", text="x")
        batch = look(feed, 2)
        assert (batch.problem, len(batch.events), batch.streamed) == ("", 1, ())
        say(campaign, "builder", "open_live made a new one")
        assert [row.text for row in look(feed).streamed] == ["open_live made a new one"]

    def test_without_one_the_facts_are_told(self, campaign, open_feed):
        campaign.live.unlink()
        batch = look(open_feed(campaign))
        assert (batch.state is None, batch.streamed, batch.problem) == (False, (), "")


class TestEngine:
    def test_a_change_of_pid_alone_makes_a_batch(self, campaign, open_feed):
        feed = open_feed(campaign)
        assert look(feed).pid is None
        with campaign.locked():
            assert look(feed).pid == os.getpid()
            feed.look()
            assert feed.drain() == []
        feed.look()
        assert feed.drain() == [Batch(pid=None)]


class TestThread:
    def test_it_follows_by_itself_until_it_is_stopped(self, campaign):
        feed = Feed(campaign, interval=0.001)
        feed.start()
        try:
            batches: list[Batch] = []
            while not batches:
                batches = feed.drain()
            assert batches[0].state is not None
            happen(campaign, "note", text="x")
            events: list = []
            while not events:
                events = [event for batch in feed.drain() for event in batch.events]
            assert events[0]["kind"] == "note"
        finally:
            feed.stop()
        happen(campaign, "note", text="y")
        assert feed.drain() == []

    def test_stopping_what_never_started_is_allowed(self, campaign):
        Feed(campaign).stop()
