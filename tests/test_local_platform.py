"""The local platform: hidden labels, limits, and a ledger that neither loses nor doubles."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from backends.platforms.base import Platform, Receipt
from backends.platforms.local_platform import LocalPlatform
from backends.platforms.local_store import LocalCompetition, competition_slug, public_half
from experiments.errors import PlatformError
from experiments.files import sha256_file
from experiments.metrics import get_metric
from experiments.submission import SubmissionFormat

ROWS = 40
IDS = [f"r{i:03d}" for i in range(ROWS)]
LABELS = ["yes" if i % 4 == 0 else "no" for i in range(ROWS)]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCORES = [((i * 7) % ROWS) / ROWS for i in range(ROWS)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def create(home: Path, name: str = "Churn 2026!", labels: list[str] | None = LABELS) -> LocalCompetition:
    return LocalCompetition.create(
        name,
        task_type="binary",
        form=SubmissionFormat("id", ("y",), "probability"),
        classes=("no", "yes"),
        ids=IDS,
        labels=labels,
        seed=42,
        home=home,
    )


@pytest.fixture
def platform(home: Path) -> Callable[..., LocalPlatform]:
    made = create(home)

    def build(**options: Any) -> LocalPlatform:
        return LocalPlatform(made.id, metric=get_metric("roc_auc"), data_home=home, **options)

    return build


def submission(folder: Path, name: str = "s.csv", shift: float = 0.0, rows: list[int] | None = None) -> Path:
    order = range(ROWS) if rows is None else rows
    path = folder / name
    path.write_text("id,y\n" + "".join(f"{IDS[i]},{(SCORES[i] + shift) % 1:.4f}\n" for i in order))
    return path


def hand_in(platform: Platform, file: Path, token: str, now: datetime = NOON) -> Receipt:
    return platform.submit(file, token, sha256_file(file), now)


def test_the_public_half_is_told_and_the_private_half_kept(
    platform: Callable[..., LocalPlatform], tmp_path: Path
) -> None:
    local = platform()
    receipt = hand_in(local, submission(tmp_path), "a")
    y = np.array([label == "yes" for label in LABELS])
    public = public_half(LABELS, "binary", 42)
    assert receipt.state == "accepted"
    assert receipt.public_score == pytest.approx(roc_auc_score(y[public], np.array(SCORES)[public]))
    private = local.private_scores()[receipt.ref]
    assert private == pytest.approx(roc_auc_score(y[~public], np.array(SCORES)[~public]))
    assert "private" not in receipt.message


def test_halves_are_fixed_equal_and_hold_both_classes() -> None:
    public = public_half(LABELS, "binary", 42)
    assert public.sum() == ROWS // 2
    assert (public == public_half(LABELS, "binary", 42)).all()
    assert (public != public_half(LABELS, "binary", 43)).any()
    of_yes = public[[label == "yes" for label in LABELS]]
    assert of_yes.sum() == len(of_yes) // 2
    assert public_half([str(i) for i in range(11)], "regression", 1).sum() == 6


def test_rows_may_come_in_any_order(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform()
    first = hand_in(local, submission(tmp_path), "a")
    turned = hand_in(local, submission(tmp_path, "t.csv", rows=list(range(ROWS))[::-1]), "b")
    assert turned.public_score == first.public_score


def test_the_same_token_submits_once(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform(daily_limit=1)
    file = submission(tmp_path)
    assert local.find("a") is None
    receipt = hand_in(local, file, "a")
    assert hand_in(local, file, "a") == receipt == local.find("a") == platform().find("a")
    assert local.quota(NOON).used == 1
    other = submission(tmp_path, "o.csv", 0.5)
    assert "used for another file" in hand_in(local, other, "a").message


def test_the_same_file_is_accepted_once(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform()
    hand_in(local, submission(tmp_path), "a")
    again = hand_in(local, submission(tmp_path, "again.csv"), "b")
    assert again.state == "refused" and "accepted before, as submission 1 (s.csv)" in again.message
    assert local.find("b") is None


def test_the_daily_limit_counts_utc_days(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform(daily_limit=2)
    for number in range(2):
        assert hand_in(local, submission(tmp_path, shift=0.1 * number), f"t{number}").state == "accepted"
    third = submission(tmp_path, shift=0.5)
    refused = hand_in(local, third, "t2")
    assert refused == Receipt(
        "",
        "refused",
        None,
        "All 2 submissions of today are used; the next is possible from 2026-03-02 00:00 UTC.",
        fault="limit",
    )
    quota = local.quota(NOON)
    assert (quota.used, quota.limit, quota.left) == (2, 2, 0)
    assert quota.resets_at == datetime(2026, 3, 2, tzinfo=UTC)
    # Still the same day in UTC, though the next one where the clock hangs.
    elsewhere = datetime.fromisoformat("2026-03-02T01:00:00+02:00")
    assert hand_in(local, third, "t2", elsewhere).state == "refused"
    assert hand_in(local, third, "t2", quota.resets_at).state == "accepted"


def test_without_a_limit_there_is_no_end(platform: Callable[..., LocalPlatform]) -> None:
    assert platform().quota(NOON).left is None


def test_nothing_is_accepted_after_the_deadline(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform(deadline=NOON)
    file = submission(tmp_path)
    late = hand_in(local, file, "a", NOON + timedelta(seconds=1))
    assert (late.state, late.fault) == ("refused", "closed")
    assert "deadline passed on 2026-03-01 12:00 UTC" in late.message
    assert hand_in(local, file, "a", NOON).state == "accepted"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,y\n", "has a header but no rows"),
        ("id,z\nr000,1\n", "lacks y and has z too many"),
        ("id,y\nr000,1\n", "lacks 39 of 40 ids"),
        ("id,y\n" + "".join(f"{name},2\n" for name in IDS), "outside [0, 1]"),
    ],
)
def test_invalid_files_are_refused_and_cost_nothing(
    platform: Callable[..., LocalPlatform], tmp_path: Path, content: str, said: str
) -> None:
    local = platform(daily_limit=1)
    file = tmp_path / "s.csv"
    file.write_text(content)
    receipt = hand_in(local, file, "a")
    assert receipt.state == "refused" and said in receipt.message
    assert local.quota(NOON).used == 0


def test_a_file_that_changed_since_it_was_checked_is_refused(
    platform: Callable[..., LocalPlatform], tmp_path: Path
) -> None:
    file = submission(tmp_path)
    assert "changed after" in platform().submit(file, "a", "0" * 64, NOON).message
    sha = sha256_file(file)
    file.unlink()
    assert "cannot be read" in platform().submit(file, "a", sha, NOON).message


def test_without_hidden_labels_files_are_checked_but_not_scored(home: Path, tmp_path: Path) -> None:
    made = create(home, labels=None)
    local = LocalPlatform(made.id, metric=get_metric("roc_auc"), data_home=home)
    receipt = hand_in(local, submission(tmp_path), "a")
    assert receipt.state == "accepted" and receipt.public_score is None and "without a score" in receipt.message
    assert hand_in(local, submission(tmp_path, rows=[0]), "b").state == "refused"
    assert local.leaderboard() == [] and local.private_scores() == {"1": None}


def test_the_leaderboard_is_sorted_by_the_public_score(platform: Callable[..., LocalPlatform], tmp_path: Path) -> None:
    local = platform()
    for number in range(3):
        hand_in(local, submission(tmp_path, f"s{number}.csv", 0.3 * number), f"t{number}")
    table = local.leaderboard()
    assert [row.rank for row in table] == [1, 2, 3]
    scores = [row.score for row in table]
    assert scores == sorted(scores, reverse=True)
    assert table[0].submitted_at == NOON


def test_labels_and_values_are_scored_too(home: Path, tmp_path: Path) -> None:
    made = LocalCompetition.create(
        "grades",
        task_type="multiclass",
        form=SubmissionFormat("id", ("y",), "label"),
        classes=(1, 2, 3),
        ids=IDS,
        labels=[str(i % 3 + 1) for i in range(ROWS)],
        seed=1,
        home=home,
    )
    file = tmp_path / "s.csv"
    file.write_text("id,y\n" + "".join(f"{name},{i % 3 + 1}\n" for i, name in enumerate(IDS)))
    local = LocalPlatform(made.id, metric=get_metric("accuracy"), data_home=home)
    assert hand_in(local, file, "a").public_score == 1.0
    prices = LocalCompetition.create(
        "prices",
        task_type="regression",
        form=SubmissionFormat("id", ("y",), "value"),
        classes=None,
        ids=IDS,
        labels=[str(i + 0.5) for i in range(ROWS)],
        seed=1,
        home=home,
    )
    file.write_text("id,y\n" + "".join(f"{name},{i}\n" for i, name in enumerate(IDS)))
    local = LocalPlatform(prices.id, metric=get_metric("rmse"), data_home=home)
    assert hand_in(local, file, "a").public_score == pytest.approx(0.5)


def test_no_two_competitions_share_a_ledger(home: Path) -> None:
    first, second = create(home), create(home)
    assert (first.id, second.id) == ("churn-2026", "churn-2026-2")
    assert LocalCompetition.open(second.id, home=home).folder == home / "competitions" / "churn-2026-2"
    assert competition_slug("  ../../etc ") == "etc" and competition_slug("???") == "competition"


def test_hidden_labels_are_for_their_owner_alone(home: Path) -> None:
    made = create(home)
    assert made.folder.stat().st_mode & 0o077 == 0
    assert (made.folder / "solution.csv").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["never-made", "../churn-2026", ""])
def test_a_competition_that_is_not_there(home: Path, name: str) -> None:
    create(home)
    with pytest.raises(PlatformError, match="no local competition"):
        LocalPlatform(name, metric=get_metric("roc_auc"), data_home=home)


def test_damaged_files_are_explained(home: Path, tmp_path: Path) -> None:
    made = create(home)
    file = submission(tmp_path)
    local = LocalPlatform(made.id, metric=get_metric("roc_auc"), data_home=home)
    (made.folder / "solution.csv").write_text("")
    with pytest.raises(PlatformError, match="hidden labels cannot be read"):
        hand_in(local, file, "a")
    (made.folder / "ledger.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(PlatformError, match="ledger"):
        local.quota(NOON)
    (made.folder / "competition.json").write_text("{}")
    with pytest.raises(PlatformError, match="damaged"):
        LocalCompetition.open(made.id, home=home)


RACER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from backends.platforms.local_platform import LocalPlatform
from experiments.files import sha256_file
from experiments.metrics import get_metric

home, competition, file, token = sys.argv[1:]
local = LocalPlatform(competition, metric=get_metric("roc_auc"), data_home=Path(home), daily_limit=1)
now = datetime(2026, 3, 1, 12, tzinfo=UTC)
sys.stdin.read()
print(local.submit(Path(file), token, sha256_file(Path(file)), now).state)
"""


def test_processes_that_race_keep_the_limit_and_the_token(home: Path, tmp_path: Path) -> None:
    made = create(home)
    files = [submission(tmp_path, f"s{number}.csv", 0.01 * number) for number in range(2)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(home), made.id, str(file), f"t{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, file in [(0, files[0]), (0, files[0]), (1, files[1])]
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.close()
    states = [racer.stdout.read().strip() for racer in racers if racer.stdout is not None]
    assert [racer.wait() for racer in racers] == [0] * len(racers)
    # The first token was handed in twice: both hold its receipt, or both lost.
    assert states in (["accepted", "accepted", "refused"], ["refused", "refused", "accepted"])
    local = LocalPlatform(made.id, metric=get_metric("roc_auc"), data_home=home, daily_limit=1)
    assert local.quota(NOON).used == 1 and len(local.private_scores()) == 1
