"""Medal zones, where a team stands, and whether the leaderboard agrees with the cross-validation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from autokaggle_tui.agreement import CLEAR_T, Agreement, Shot, agreement, clearly_better, picks, spearman
from autokaggle_tui.standing import board_facts, board_from, board_line, board_of, board_text, medal_ranks
from experiments.significance import paired_gain

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("teams", "gold", "silver", "bronze"),
    [
        (1, 1, 1, 1),
        (50, 5, 10, 20),
        (99, 9, 19, 39),
        (100, 10, 20, 40),
        (249, 10, 49, 99),
        (250, 10, 50, 100),
        (500, 11, 50, 100),
        (999, 11, 50, 100),
        (1000, 12, 50, 100),
        (5000, 20, 250, 500),
    ],
)
def test_medals_by_the_number_of_teams(teams: int, gold: int, silver: int, bronze: int):
    assert medal_ranks(teams) == {"gold": gold, "silver": silver, "bronze": bronze}


def test_nobody_is_on_an_empty_leaderboard():
    assert medal_ranks(0) == {}
    board = board_of([], team="us", best=None, better=1, at=1.0)
    assert (board.teams, board.rank, board.zones) == (0, None, ())
    assert "nothing of ours is scored" in board_line(board_facts(board, 1))


PLACES = [(f"Team {place}", 0.99 - place / 1000) for place in range(100)]


def test_rank_zone_and_the_distance_to_the_next():
    places = sorted([*PLACES, ("us", 0.9555)], key=lambda row: -row[1])
    board = board_of(places, team="us", best=0.9555, better=1, at=1.0)
    assert (board.teams, board.rank, board.zone) == (101, 36, "bronze")
    assert board.next.name == "silver" and board.distance(1) == pytest.approx(PLACES[19][1] - 0.9555)
    said = board_line(board_facts(board, 1))
    assert said == "rank 36 of 101 (top 35.6 %), bronze; silver (rank 20) needs 0.01550 more"
    assert board_from(board_text(board)) == board


def test_a_leaderboard_that_lags_behind_our_best_is_read_with_our_best():
    places = sorted([*PLACES, ("us", 0.9005)], key=lambda row: -row[1])
    board = board_of(places, team="us", best=0.9895, better=1, at=1.0)
    assert (board.rank, board.score, board.teams, board.zone, board.next) == (2, 0.9895, 101, "gold", None)


def test_who_is_not_on_it_yet_has_the_rank_that_the_score_would_have():
    board = board_of(PLACES, team="", best=0.9885, better=1, at=1.0)
    assert (board.rank, board.teams, board.zone, board.next) == (3, 101, "gold", None)


def test_where_lower_is_better():
    board = board_of([("a", 1.0), ("b", 2.0), ("us", 3.0)], team="us", best=3.0, better=-1, at=1.0)
    assert (board.rank, board.first) == (3, 1.0) and board.distance(-1) == 2.0


def test_a_platform_without_teams_has_no_medals():
    board = board_of([("R01_submission.csv", 0.9)], team="", best=0.9, better=1, at=1.0, teams=False)
    assert (board.rank, board.teams, board.percentile, board.zones) == (1, 0, None, ())
    assert "ranks no teams" in board_line(board_facts(board, 1))


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"zones": 1}', None, 7])
def test_what_is_no_board_is_none(told: object):
    assert board_from(told) is None


@given(teams=st.integers(1, 20_000))
def test_zones_lie_within_one_another(teams: int):
    ranks = list(medal_ranks(teams).values())
    assert ranks == sorted(ranks) and ranks[0] >= 1 and ranks[-1] <= max(teams, 1)


@given(pairs=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=30))
def test_the_rank_correlation_is_scipys(pairs: list[tuple[float, float]]):
    x, y = zip(*pairs, strict=True)
    mine = spearman(x, y)
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert mine is None
    else:
        assert mine == pytest.approx(spearmanr(x, y).statistic, abs=1e-9)


@given(
    new=st.lists(st.floats(0, 1), min_size=2, max_size=10), off=st.lists(st.floats(-0.1, 0.1), min_size=10, max_size=10)
)
def test_clearly_better_is_the_engines_own_test_of_a_gain(new: list[float], off: list[float]):
    old = [score - by for score, by in zip(new, off, strict=False)]
    k = len(new)
    gain = paired_gain(new, old, "maximize", n_train=k - 1, n_valid=1)
    if abs(gain.t - CLEAR_T) > 1e-6 and gain.se != 0:
        assert clearly_better(dict(enumerate(new)), dict(enumerate(old)), 1) == (gain.mean > 0 and gain.t > CLEAR_T)


def shot(name: str, cv: float, lb: float, kind: str = "model") -> Shot:
    return Shot(name, kind, cv, lb, {fold: cv + off for fold, off in enumerate((0.01, -0.01, 0.0))})


def test_they_part_when_the_leaderboard_orders_clear_differences_the_other_way():
    shots = [shot("R01", 0.90, 0.80), shot("R02", 0.91, 0.79), shot("R03", 0.92, 0.78), shot("R04", 0.93, 0.77)]
    found = agreement(shots, 1)
    assert (found.rho, found.clear, len(found.parted)) == (pytest.approx(-1.0), 6, 6)
    assert "of 6 pairs" in found.warning and "R04 leads in CV and R03" in found.warning
    assert agreement(shots[:3], 1).warning == "" and agreement(shots[:3], 1).rho is None, "three say nothing yet"
    lower = agreement(shots, -1)
    assert len(lower.parted) == 6, "where lower is better it is the same disagreement"


def test_they_agree_while_the_order_is_the_same_or_the_difference_is_noise():
    same = [shot("R01", 0.90, 0.77), shot("R02", 0.91, 0.78), shot("R03", 0.92, 0.79), shot("R04", 0.93, 0.80)]
    assert agreement(same, 1) == Agreement(tuple(same), pytest.approx(1.0), 6, (), "")
    noisy = [Shot(f"R{i}", "model", 0.9 + i / 1e4, 0.8 - i / 1e4, {0: 0.9 + i % 2, 1: 0.9 - i % 2}) for i in range(4)]
    assert agreement(noisy, 1).parted == () and agreement(noisy, 1).warning == ""


def test_the_final_two_are_the_best_cv_and_the_best_blend_that_the_leaderboard_does_not_contradict():
    shots = [shot("R01", 0.93, 0.80), shot("B01", 0.92, 0.70, "blend"), shot("B02", 0.91, 0.79, "blend")]
    found = agreement(shots, 1)
    assert [pick.experiment for pick in picks(found, 1)] == ["R01", "B02"]
    blend_first = agreement([shot("B01", 0.93, 0.80, "blend"), shot("R01", 0.92, 0.79)], 1)
    assert [pick.experiment for pick in picks(blend_first, 1)] == ["B01", "R01"]
    assert picks(agreement([shot("R01", 0.9, 0.8)], 1), 1)[0].why == "best CV (a single model)"
    assert picks(Agreement(), 1) == ()
