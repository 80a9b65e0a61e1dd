"""What is submitted when, what waits, and how what became of it is found out: against the emulated Kaggle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.commander import Commander
from autokaggle_tui.control import Control
from autokaggle_tui.loading import load_state
from autokaggle_tui.loop.clerk import Clerk, Outcome
from autokaggle_tui.loop.closing import Closing
from autokaggle_tui.loop.orchestrator import Orchestrator
from autokaggle_tui.loop.policy import Occasion
from autokaggle_tui.loop.settling import LOOKS
from autokaggle_tui.reducing import reduce
from autokaggle_tui.state import State
from experiments.errors import PlatformError
from experiments.schema import open_viewer

from .clerks import add, at_once, make_workspace, opened, queue, states, ticking, told
from .emulators.kaggle import DROP, DROP_AFTER, NOON, TEAM, Fault, KaggleServer
from .kaggles import platform_of, server

__all__ = ["server"]
HOUR = 3600.0
DAY = 24 * HOUR
LAG = 5 * 60.0


class Office:
    """A clerk on a campaign, with a clock that the test sets, for the platform as well."""

    def __init__(self, campaign: Campaign, clerk: Clerk, moment: list[float]) -> None:
        self.campaign, self.clerk, self.moment = campaign, clerk, moment
        self.registry = campaign.registry

    def later(self, seconds: float) -> None:
        self.moment[0] += seconds

    def do(self, work: Awaitable) -> object:
        async def run() -> object:
            return await work

        return asyncio.run(run())

    def offer(self, name: str, occasion: Occasion = "round", **more: object) -> Outcome:
        return self.do(self.clerk.offer(self.registry.experiment(name), occasion, **more))

    def tick(self) -> None:
        self.do(self.clerk.tick())

    def command(self, verb: str, **args: str) -> tuple[str, str]:
        """What a person asked for, carried out; (state, result)."""
        number = self.registry.insert(
            "commands", uuid=f"{verb}{self.registry.clock()}{args}", run=None, verb=verb, args=args, at=self.moment[0]
        )

        async def run() -> None:
            commander = Commander(self.campaign, Control(), {}, self.clerk, 0)
            commander.obey()
            await commander.close(30.0)

        asyncio.run(run())
        row = self.registry.row("SELECT state, result FROM commands WHERE id = ?", [number])
        return row["state"], row["result"]


@pytest.fixture
def office(server: KaggleServer, tmp_path: Path) -> Iterator[Callable[..., Office]]:
    """Makes an office; its settings are those of config.json."""
    closing = []

    def make(**config: object) -> Office:
        moment = [NOON.timestamp()]
        server.clock = lambda: datetime.fromtimestamp(moment[0], UTC)
        context = opened(make_workspace(tmp_path / "made", server.task, **config), ticking(moment))
        closing.append(context)
        campaign = context.__enter__()
        return Office(campaign, at_once(campaign, platform_of(server)), moment)

    yield make
    for context in closing:
        context.__exit__(None, None, None)


def test_a_gain_is_submitted_and_its_score_follows_when_kaggle_has_it(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office()
    server.polls = 2
    add(desk.campaign, "R01", 0.9)
    assert desk.offer("R01").word == "accepted"
    assert states(desk.campaign) == [("R01", "accepted", "pending")]
    for _ in range(3):
        desk.tick()
    assert states(desk.campaign) == [("R01", "accepted", "complete")]
    last = told(desk.campaign, "submission")[-1]
    assert last["public_score"] == pytest.approx(server.ledger[0].scores.public, abs=1e-5)
    asked = server.calls("ListSubmissions")
    desk.tick()
    assert server.calls("ListSubmissions") == asked, "nothing is open any more"


def test_what_cannot_be_scored_says_why(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    server.scoring_error = "Evaluation metric raised an unexpected error"
    add(desk.campaign, "R01", 0.9)
    desk.offer("R01")
    desk.tick()
    assert states(desk.campaign) == [("R01", "accepted", "error")]
    assert "Evaluation metric raised" in told(desk.campaign, "submission")[-1]["note"]
    assert desk.offer("R01", "end").word == "skipped", "the same file is not sent again"


def test_when_the_day_is_spent_the_best_waits_and_goes_first_when_it_turns(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office(submit={"keep_last": False})
    server.daily_limit = 1
    for name, score in (("R01", 0.90), ("R02", 0.91), ("R03", 0.92)):
        add(desk.campaign, name, score)
    assert desk.offer("R01").word == "accepted"
    assert desk.offer("R02") == Outcome("queued", "the daily limit of 1 is used up")
    assert queue(desk.campaign)["R02"] == ("waiting", "the daily limit of 1 is used up")
    desk.offer("R03")
    state, reason = queue(desk.campaign)["R02"]
    assert state == "left" and reason.startswith("outclassed: R03 is better by more than noise")
    desk.later(11 * HOUR)
    desk.tick()
    assert len(server.ledger) == 1
    desk.later(2 * HOUR)
    desk.tick()
    assert [sent.file for sent in server.ledger] == ["R01_submission.csv", "R03_submission.csv"]
    assert queue(desk.campaign)["R03"][0] == "sent"


def test_what_is_within_the_noise_of_the_best_waits_its_turn(office: Callable[..., Office], server: KaggleServer):
    desk = office(submit={"keep_last": False})
    server.daily_limit = 1
    add(desk.campaign, "R01", 0.90, noise=())
    add(desk.campaign, "R02", 0.900, noise=(0.03, -0.03, 0.02, -0.02, 0.0))
    add(desk.campaign, "R03", 0.901, noise=(-0.03, 0.03, -0.02, 0.02, 0.0))
    for name in ("R01", "R02", "R03"):
        desk.offer(name)
    for _ in range(2):
        desk.later(DAY)
        desk.tick()
    assert [sent.file[:3] for sent in server.ledger] == ["R01", "R03", "R02"]


def test_the_last_of_the_day_is_kept_for_the_end_of_the_run_or_of_the_day(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office()
    server.daily_limit = 2
    for name, score in (("R01", 0.90), ("R02", 0.91), ("B01", 0.92)):
        add(desk.campaign, name, score)
    desk.offer("R01")
    kept = desk.offer("R02")
    assert kept.word == "queued" and "the last submission of the day is kept" in kept.reason
    desk.tick()
    assert len(server.ledger) == 1
    desk.later(11.5 * HOUR)
    desk.tick()
    assert [sent.file[:3] for sent in server.ledger] == ["R01", "R02"]
    desk.later(HOUR)
    desk.offer("B01")
    add(desk.campaign, "B02", 0.93)
    assert desk.offer("B02").word == "queued"
    assert desk.offer("B02", "end").word == "accepted"


def test_on_the_last_day_nothing_is_kept_and_nothing_waits_for_the_next(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office(deadline="2026-03-01T20:00:00Z")
    server.daily_limit = 2
    for name, score in (("R01", 0.90), ("R02", 0.91), ("R03", 0.92)):
        add(desk.campaign, name, score)
    assert [desk.offer(name).word for name in ("R01", "R02")] == ["accepted", "accepted"]
    late = desk.offer("R03")
    assert late.word == "skipped" and "the deadline comes before the next day" in late.reason
    assert queue(desk.campaign) == {}
    desk.later(9 * HOUR)
    assert "has passed" in desk.offer("R03", "end").reason and len(server.ledger) == 2


def test_what_waits_leaves_the_queue_when_the_deadline_passes(office: Callable[..., Office], server: KaggleServer):
    desk = office(deadline="2026-03-02T00:30:00Z", submit={"keep_last": False})
    server.daily_limit = 1
    for name, score in (("R01", 0.90), ("R02", 0.91)):
        add(desk.campaign, name, score)
        desk.offer(name)
    desk.later(13 * HOUR)
    desk.tick()
    state, reason = queue(desk.campaign)["R02"]
    assert state == "left" and "the deadline (2026-03-02 00:30 UTC) has passed" in reason
    assert len(server.ledger) == 1


def test_ask_waits_for_a_persons_word(office: Callable[..., Office], server: KaggleServer):
    desk = office(submit={"when": "ask"})
    add(desk.campaign, "R01", 0.9)
    assert desk.offer("R01").word == "queued" and queue(desk.campaign)["R01"][0] == "asking"
    desk.later(DAY)
    desk.tick()
    assert server.ledger == []
    assert desk.command("approve") == ("refused", "say which: approve R07")
    assert desk.command("approve", experiment="R02")[0] == "refused"
    state, said = desk.command("approve", experiment="1")
    assert state == "done" and said.startswith("R01 was accepted")
    assert queue(desk.campaign)["R01"][0] == "sent" and len(server.ledger) == 1


def test_never_leaves_it_to_the_person(office: Callable[..., Office], server: KaggleServer):
    desk = office(submit={"when": "never"})
    add(desk.campaign, "R01", 0.9)
    assert desk.offer("R01").word == desk.offer("R01", "end").word == "skipped"
    assert desk.command("submit", experiment="R01")[0] == "done" and len(server.ledger) == 1


async def test_every_so_many_rounds_the_best_that_was_not_sent_goes(office, server: KaggleServer):
    desk = office(submit={"when": "every 2 rounds"})
    for name, score in (("R01", 0.92), ("R02", 0.91)):
        add(desk.campaign, name, score, status="keep" if name == "R01" else "discard")
    nothing = [None] * 4
    playing = Orchestrator(desk.campaign, *nothing, desk.clerk, None, Control(), None, None, 1)
    rows = {name: desk.registry.experiment(name) for name in ("R01", "R02")}
    assert await playing._offer(1, rows["R01"], "") == ("skipped", "the next is submitted after round 2")
    word, reason = await playing._offer(2, rows["R02"], "")
    assert word == "accepted" and reason.startswith("R01: ")
    assert (await playing._offer(4, rows["R02"], ""))[1] == "the best there is, R01, was submitted before"


def test_the_stricter_of_two_counts_decides(office: Callable[..., Office], server: KaggleServer):
    """Somebody else of the team submitted too; and config.json allows less than Kaggle."""
    desk = office(max_submissions_per_day=2, submit={"keep_last": False})
    for name, score in (("R01", 0.90), ("R02", 0.91), ("R03", 0.92)):
        add(desk.campaign, name, score)
    desk.offer("R01")
    other = replace(server.ledger[0], ref=1, description="by hand", file="mine.csv")
    server.ledger.append(other)
    assert desk.offer("R02") == Outcome("queued", "the daily limit of 2 is used up")
    server.ledger.remove(other)
    assert desk.offer("R02").word == "accepted"
    assert desk.offer("R03").word == "queued" and len(server.ledger) == 2


def test_a_platform_that_says_the_day_is_spent_is_believed(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    spent = "Submission not allowed: Your team has used its daily Submission allowance (5) today, please try again"
    server.fail("CreateSubmission", Fault("status", 400, spent))
    add(desk.campaign, "R01", 0.9)
    assert desk.offer("R01").word == "queued"
    assert states(desk.campaign) == [("R01", "refused", "complete")] and queue(desk.campaign)["R01"][0] == "waiting"
    desk.later(DAY)
    desk.tick()
    assert states(desk.campaign)[-1][:2] == ("R01", "accepted")


@pytest.mark.parametrize("call", ["GetSubmissionLimits", "StartSubmissionUpload", "Put"])
def test_a_platform_that_fails_before_anything_was_handed_in_is_tried_again(
    office: Callable[..., Office], server: KaggleServer, call: str
):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    server.fail_always(call, Fault("status", 503))
    with pytest.raises(PlatformError):
        desk.offer("R01")
    assert queue(desk.campaign)["R01"][0] == "waiting" and server.ledger == []
    server.heal()
    desk.tick()
    assert len(server.ledger) == 1 and queue(desk.campaign)["R01"][0] == "sent"


def test_dropped_before_it_arrived_it_stays_open_for_the_lag_and_then_goes_again(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    server.fail("CreateSubmission", DROP)
    with pytest.raises(PlatformError):
        desk.offer("R01")
    desk.later(LAG - 1)
    desk.tick()
    assert states(desk.campaign) == [("R01", "intent", "complete")]
    assert "still being looked for" in desk.command("approve", experiment="R01", said="send-again")[1]
    desk.later(2)
    desk.tick()
    assert [state for _, state, _ in states(desk.campaign)] == ["refused", "accepted"] and len(server.ledger) == 1


def test_dropped_after_it_arrived_it_is_found_though_the_list_lags(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    server.lag = 2
    server.fail("CreateSubmission", DROP_AFTER)
    with pytest.raises(PlatformError):
        desk.offer("R01")
    assert states(desk.campaign) == [("R01", "intent", "complete")]
    for _ in range(2):
        desk.tick()
    assert states(desk.campaign) == [("R01", "accepted", "complete")]
    assert len(server.ledger) == server.calls("CreateSubmission") == 1


def lost(desk: Office, server: KaggleServer) -> None:
    """R01 arrived, and for long the list does not show it."""
    add(desk.campaign, "R01", 0.9)
    server.lag = 50
    server.fail("CreateSubmission", DROP_AFTER)
    with pytest.raises(PlatformError):
        desk.offer("R01")
    desk.later(LAG + 1)
    for _ in range(LOOKS):
        desk.tick()
    assert states(desk.campaign) == [("R01", "unknown", "complete")]


def test_what_nobody_can_tell_is_unknown_and_never_goes_again_by_itself(
    office: Callable[..., Office], server: KaggleServer
):
    """The list lacks it, but Kaggle's count of the day has room for it."""
    desk = office()
    lost(desk, server)
    desk.later(DAY)
    desk.tick()
    assert desk.offer("R01", "end").word == "skipped" and desk.command("submit")[0] == "refused"
    assert server.calls("CreateSubmission") == 1
    assert "say --arrived or --send-again" in desk.command("approve", experiment="R01")[1]


def test_a_person_who_knows_that_it_arrived_says_so_and_the_score_comes_later(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office()
    lost(desk, server)
    assert desk.command("approve", experiment="R01", said="arrived")[0] == "done"
    assert states(desk.campaign) == [("R01", "accepted", "complete")]
    server.ledger[0].hidden = 0
    assert desk.command("refresh") == ("done", "everything is settled")
    assert told(desk.campaign, "submission")[-1]["public_score"] is not None


@pytest.mark.parametrize("how", [("approve", "send-again"), ("submit", "")])
def test_a_person_may_have_it_sent_again(office: Callable[..., Office], server: KaggleServer, how: tuple[str, str]):
    verb, said = how
    desk = office()
    lost(desk, server)
    assert desk.command(verb, experiment="R01", **({"said": said} if said else {}))[0] == "done"
    assert [state for _, state, _ in states(desk.campaign)] == ["refused", "accepted"] and len(server.ledger) == 2


def test_unknown_becomes_accepted_as_soon_as_the_list_shows_it(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    lost(desk, server)
    server.ledger[0].hidden = 0
    desk.tick()
    assert states(desk.campaign) == [("R01", "accepted", "complete")]


def test_without_a_network_an_open_one_becomes_unknown_and_is_settled_when_it_is_back(
    office: Callable[..., Office], server: KaggleServer
):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    server.fail_always("CreateSubmission", DROP)
    with pytest.raises(PlatformError):
        desk.offer("R01")
    server.fail_always("ListSubmissions", DROP)
    desk.later(LAG + 1)
    for _ in range(LOOKS):
        desk.tick()
    assert states(desk.campaign) == [("R01", "unknown", "complete")]
    warnings = told(desk.campaign, "warning")
    assert len([row for row in warnings if "still open" in row["text"]]) == 1
    server.heal()
    desk.tick()
    assert [state for _, state, _ in states(desk.campaign)] == ["refused", "accepted"]


def test_the_leaderboard_is_a_fact_that_viewers_read(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    desk.offer("R01")
    desk.do(desk.clerk.finish(10.0))
    desk.tick()
    connection = open_viewer(desk.campaign.workspace.facts)
    read = load_state(connection)
    connection.close()
    board = read.board
    assert board is not None and (board.teams, board.team) == (58, TEAM)
    others = [0.999 - 0.002 * place for place in range(57)]
    assert board.rank == 1 + sum(score > board.score for score in others)
    assert [(zone.name, zone.last) for zone in board.zones] == [("gold", 5), ("silver", 11), ("bronze", 23)]
    assert board.distance(1) == pytest.approx(others[22] - board.score, abs=1e-4)
    events = desk.registry.rows("SELECT * FROM events ORDER BY id")
    reduced = State()
    for event in events:
        reduced = reduce(reduced, event)
    assert (reduced.board, reduced.submissions, reduced.queue) == (board, read.submissions, read.queue)


def test_at_the_end_of_a_run_the_two_to_select_are_named(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    for name, score, kind in (("R01", 0.90, "model"), ("R02", 0.92, "model"), ("B01", 0.91, "blend")):
        add(desk.campaign, name, score, kind=kind, noise=())
        desk.offer(name)
    desk.tick()
    Closing(desk.campaign, None, None, desk.clerk, Control(), SimpleNamespace())._advise()
    (said,) = [row["text"] for row in told(desk.campaign, "note")]
    assert "R02 (best CV (a single model)) and B01 (best blend by CV" in said


def test_a_run_waits_for_its_last_scores_within_limits(office: Callable[..., Office], server: KaggleServer):
    desk = office()
    add(desk.campaign, "R01", 0.9)
    server.polls = 10_000
    desk.offer("R01")
    desk.do(desk.clerk.finish(0.0))
    assert states(desk.campaign) == [("R01", "accepted", "pending")]
    assert "R01: not scored or not settled yet" in told(desk.campaign, "note")[-1]["text"]
