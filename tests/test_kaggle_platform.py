"""Submissions to Kaggle: each file at most once, whatever breaks; and what comes back."""

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backends.platforms.base import Platform, Receipt
from backends.platforms.kaggle.platform import describe
from experiments.errors import PlatformError
from experiments.files import sha256_file
from tests.emulators.kaggle import DROP, DROP_AFTER, KEY, NOON, RATE, TEAM, USER, Fault, KaggleServer
from tests.kaggles import HASTY, platform_of, server, submission

__all__ = ["server"]


def hand_in(platform: Platform, server: KaggleServer, folder: Path, token: str = "a1b2", seed: int = 0) -> Receipt:
    file, sha = submission(server, folder, seed)
    return platform.submit(file, token, sha, server.clock())


def test_a_submission_is_taken_scored_and_found(server: KaggleServer, tmp_path: Path) -> None:
    server.polls = 2
    platform = platform_of(server)
    file, sha = submission(server, tmp_path)
    receipt = platform.submit(file, "a1b2", sha, server.clock())
    assert (receipt.state, receipt.scoring, receipt.public_score) == ("accepted", "pending", None)
    (taken,) = server.ledger
    assert receipt.ref == str(taken.ref) and taken.content == file.read_bytes() and taken.file == file.name
    assert taken.description == f"ak:a1b2 sha256:{sha} {file.name}"
    assert [platform.find("a1b2").scoring for _ in range(3)] == ["pending", "pending", "complete"]
    (sent,) = platform.submissions()
    assert (sent.token, sent.sha256, sent.file, sent.team) == ("a1b2", sha, file.name, TEAM)
    assert sent.receipt.public_score == pytest.approx(taken.scores.public, abs=1e-5) and sent.private_score is None
    assert sent.submitted_at == NOON and sent.status == "complete"
    assert platform.find("other") is None


def test_the_same_token_is_not_handed_in_again(server: KaggleServer, tmp_path: Path) -> None:
    platform = platform_of(server)
    first = hand_in(platform, server, tmp_path)
    assert hand_in(platform, server, tmp_path).ref == first.ref and len(server.ledger) == 1
    assert "used for another file" in hand_in(platform, server, tmp_path, seed=1).message
    assert len(server.ledger) == 1


def test_a_file_that_changed_or_is_gone_is_not_sent(server: KaggleServer, tmp_path: Path) -> None:
    platform = platform_of(server)
    file, sha = submission(server, tmp_path)
    file.write_bytes(server.task.submission(0.6, 9))
    assert "changed after it was checked" in platform.submit(file, "a", sha, NOON).message
    assert "cannot be read" in platform.submit(tmp_path / "none.csv", "a", sha, NOON).message
    assert server.received == []


@pytest.mark.parametrize("fault", [DROP_AFTER, Fault("slow", seconds=1.0)])
def test_what_arrived_though_the_line_broke_is_found(server: KaggleServer, tmp_path: Path, fault: Fault) -> None:
    server.fail("CreateSubmission", fault)
    patience = HASTY if fault.how == "slow" else None
    platform = platform_of(server, patience) if patience else platform_of(server)
    if fault.how == "slow":
        # It is taken only after the client went away: nobody knows, and nothing is sent again.
        with pytest.raises(PlatformError) as error:
            hand_in(platform, server, tmp_path)
        assert error.value.maybe_sent and server.calls("CreateSubmission") == 1
    else:
        assert hand_in(platform, server, tmp_path).state == "accepted"
        assert len(server.ledger) == server.calls("CreateSubmission") == 1


@pytest.mark.parametrize("fault", [DROP, Fault("status", 500), Fault("status", 503), Fault("page")])
def test_what_may_have_arrived_is_neither_claimed_nor_sent_again(
    server: KaggleServer, tmp_path: Path, fault: Fault
) -> None:
    server.fail("CreateSubmission", fault)
    with pytest.raises(PlatformError) as error:
        hand_in(platform_of(server), server, tmp_path)
    assert error.value.maybe_sent and server.calls("CreateSubmission") == 1 and server.ledger == []


def test_a_list_that_lags_hides_what_was_taken(server: KaggleServer, tmp_path: Path) -> None:
    server.lag = 1
    server.fail("CreateSubmission", DROP_AFTER)
    platform = platform_of(server)
    with pytest.raises(PlatformError) as error:
        hand_in(platform, server, tmp_path)
    assert error.value.maybe_sent and len(server.ledger) == 1
    assert platform.find("a1b2").ref == str(server.ledger[0].ref)
    assert platform.listing_lag > timedelta(0)


@pytest.mark.parametrize("name", ["ListSubmissions", "StartSubmissionUpload", "Put"])
@pytest.mark.parametrize("fault", [RATE, Fault("status", 500), DROP])
def test_before_the_submission_all_may_be_tried_again(
    server: KaggleServer, tmp_path: Path, name: str, fault: Fault
) -> None:
    server.fail(name, fault, fault)
    assert hand_in(platform_of(server), server, tmp_path).state == "accepted" and len(server.ledger) == 1
    server.fail_always(name, fault)
    with pytest.raises(PlatformError) as error:
        hand_in(platform_of(server), server, tmp_path, "b", 1)
    assert not error.value.maybe_sent and error.value.passing and len(server.ledger) == 1


@pytest.mark.parametrize("seed", range(6))
def test_whatever_breaks_each_token_is_taken_once(server: KaggleServer, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    server.daily_limit = 100
    platform = platform_of(server)
    faults = [DROP, DROP_AFTER, RATE, Fault("status", 500), Fault("status", 401, "no"), Fault("page")]
    for number in range(8):
        server.heal()
        for name in ("ListSubmissions", "StartSubmissionUpload", "Put", "CreateSubmission"):
            server.fail(name, *draw.choices(faults, k=draw.choice([0, 0, 0, 1, 2, 5])))
        server.lag = draw.choice([0, 0, 2])
        taken = len(server.ledger)
        try:
            receipt = hand_in(platform, server, tmp_path, f"t{number}", number)
        except PlatformError as error:
            arrived = len(server.ledger) > taken
            assert error.maybe_sent or not arrived
            server.heal()
            # As much later as a list may lag, it says whether it arrived.
            found = [platform.find(f"t{number}") for _ in range(3)][-1]
            assert (found is not None) == arrived
            assert hand_in(platform, server, tmp_path, f"t{number}", number).state == "accepted"
        else:
            assert receipt.state == "accepted" and receipt.ref == str(server.ledger[-1].ref)
        assert len(server.ledger) == number + 1
        assert server.ledger[-1].description.startswith(f"ak:t{number} ")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (RATE, "rate"),
        (Fault("status", 401, "Unauthenticated"), "credentials"),
        (Fault("status", 403, "no", "RulesAcceptanceRequired"), "rules"),
    ],
)
def test_what_was_refused_for_another_reason_was_not_sent(
    server: KaggleServer, tmp_path: Path, fault: Fault, kind: str
) -> None:
    server.fail("CreateSubmission", fault)
    with pytest.raises(PlatformError) as error:
        hand_in(platform_of(server), server, tmp_path)
    assert (error.value.fault, error.value.maybe_sent) == (kind, False)
    assert server.calls("CreateSubmission") == 1


def test_the_limit_of_the_day_counts_utc_days(server: KaggleServer, tmp_path: Path) -> None:
    server.daily_limit = 2
    platform = platform_of(server)
    # Who never submitted is told zeros, which is no limit.
    assert (platform.quota(NOON).used, platform.quota(NOON).limit) == (0, 2)
    for seed in range(2):
        assert hand_in(platform, server, tmp_path, f"t{seed}", seed).state == "accepted"
    quota = platform.quota(server.clock())
    assert (quota.used, quota.left, quota.resets_at) == (2, 0, datetime(2026, 3, 2, tzinfo=UTC))
    refused = hand_in(platform, server, tmp_path, "t2", 2)
    assert (refused.state, refused.fault) == (
        "refused",
        "limit",
    ) and "daily Submission allowance (2)" in refused.message
    server.clock = lambda: quota.resets_at
    assert hand_in(platform, server, tmp_path, "t2", 2).state == "accepted"
    server.total_limit = 3
    assert platform.quota(server.clock()).by_total


def test_notebooks_alone_and_closed(server: KaggleServer, tmp_path: Path) -> None:
    platform = platform_of(server)
    server.closed = True
    assert hand_in(platform, server, tmp_path).fault == "closed"
    server.kernels_only, server.daily_limit = True, 0
    refused = hand_in(platform, server, tmp_path)
    assert refused.fault == "notebooks-only" and "from notebooks alone" in refused.message


def test_a_submission_that_kaggle_cannot_score_says_why(server: KaggleServer, tmp_path: Path) -> None:
    platform = platform_of(server)
    file = tmp_path / "short.csv"
    file.write_text("id,malignant\n1,0.5\n")
    assert platform.submit(file, "bad", sha256_file(file), NOON).state == "accepted"
    found = platform.find("bad")
    assert (found.scoring, found.public_score, found.message) == ("error", None, "Submission must have 142 rows")
    assert platform.quota(NOON).used == 0


def test_a_state_that_nobody_knows_loses_no_list(server: KaggleServer, tmp_path: Path) -> None:
    server.polls, server.odd_status = 1, "SUBMISSION_STATUS_OF_TOMORROW"
    platform = platform_of(server)
    hand_in(platform, server, tmp_path)
    assert [sent.status for sent in platform.submissions()] == ["pending"]
    assert [sent.status for sent in platform.submissions()] == ["complete"]


def test_every_page_is_read(server: KaggleServer, tmp_path: Path) -> None:
    server.daily_limit = 300
    platform = platform_of(server)
    hand_in(platform, server, tmp_path, "first")
    first = server.ledger[0]
    for number in range(250):
        server.ledger.append(type(first)(**(vars(first) | {"ref": first.ref + 1 + number, "description": "by hand"})))
    sent = platform.submissions()
    assert len(sent) == 251 and sent[0].token == "first" and {one.token for one in sent[1:]} == {""}
    assert platform.find("first") is not None
    server.teams = 450
    board = platform.leaderboard()
    assert len(board) == 451 and [row.rank for row in board] == list(range(1, 452))
    assert any(row.name == TEAM for row in board) and board[0].score >= board[1].score


def test_private_scores_show_after_the_deadline(server: KaggleServer, tmp_path: Path) -> None:
    platform = platform_of(server)
    hand_in(platform, server, tmp_path)
    server.clock = lambda: server.deadline + timedelta(days=1)
    (sent,) = platform.submissions()
    assert sent.private_score == pytest.approx(server.ledger[0].scores.private, abs=1e-5)


def test_the_mark_survives_a_description_that_is_cut() -> None:
    assert describe("abc", "0" * 64, "x" * 500).startswith(f"ak:abc sha256:{'0' * 64} xxx")
    assert len(describe("abc", "0" * 64, "x" * 500)) <= 250


def test_kaggles_own_command_line_works_with_the_emulator(server: KaggleServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "KAGGLE_CONFIG_DIR": str(home),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "HTTP_PROXY": server.url,
        "KAGGLE_USERNAME": USER,
        "KAGGLE_KEY": KEY,
    }
    slug = server.task.slug
    file, _ = submission(server, tmp_path)
    script = """
import contextlib, io, sys
from kaggle.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["kaggle", *line.split("|")]
    main()
"""
    commands = [
        "competitions|list",
        f"competitions|files|{slug}",
        f"competitions|download|{slug}|-p|{tmp_path / 'cli'}",
        f"competitions|submit|-c|{slug}|-f|{file}|-m|by hand",
        f"competitions|submissions|{slug}|-v",
        f"competitions|leaderboard|{slug}|--show",
    ]
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input="\n".join(commands),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all(name in ran.stdout for name in server.task.files)
    assert "Successfully submitted to Tumours" in ran.stdout and "4 submissions remaining today" in ran.stdout
    (taken,) = server.ledger
    assert taken.content == file.read_bytes() and taken.description == "by hand"
    assert f"{taken.ref},{file.name}" in ran.stdout and f"{taken.scores.public:.5f}" in ran.stdout
    assert (tmp_path / "cli" / f"{slug}.zip").read_bytes() == server.archive
