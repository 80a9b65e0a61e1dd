"""What the rules leave open to blends, what was sent, and what would be sent next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autokaggle_tui.ledger import (
    Blend,
    Judgement,
    Pair,
    Prediction,
    candidates,
    is_bounded,
    load_ledger,
    models_used,
    obstacle,
    quota,
    room,
)
from autokaggle_tui.state import Result, Submission
from autokaggle_tui.workspace import Workspace
from experiments.learnings import Rules, master_copy
from experiments.schema import open_facts, open_viewer

from .campaigns import make_campaign

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
POOL = (
    Prediction("R01", "lightgbm", "round", 0.970),
    Prediction("R02", "catboost", "round", 0.967),
    Prediction("R03", "linear", "round", 0.9669),
    Prediction("mine", "imported", "imported", 0.980),
)


def rules(**changes: str) -> Rules:
    """The shipped rules with other lines in their blocks."""
    text = master_copy()
    for rule_id, line in changes.items():
        name = rule_id.replace("_", "-")
        text = text.replace(f'id = "{name}"\nenforce = "block"', f'id = "{name}"\n{line}')
    return Rules.parse(text)


def standings(pool=POOL, pairs=(), given=None, *, better=1, bounded=True) -> dict[str, tuple[str, str]]:
    found = room(pool, pairs, given or rules(), better=better, bounded=bounded)
    return {place.prediction.name: (place.standing, place.twin) for place in found.places}


def sent(number: int, experiment: str, state: str = "accepted", at: float = NOON) -> Submission:
    return Submission(number, at, experiment, f"{experiment}_submission.csv", state, None, "")


def test_a_member_must_be_close_to_the_best_single_model_whose_folds_can_be_vouched_for():
    assert standings() == {"mine": ("pass", ""), "R01": ("pass", ""), "R02": ("pass", ""), "R03": ("block", "")}


def test_where_lower_is_better_and_scores_have_no_bounds_the_distance_is_a_share():
    pool = (Prediction("R01", "a", "round", 100.0), Prediction("R02", "b", "round", 100.3))
    pool += (Prediction("R03", "c", "round", 100.4), Prediction("R04", "d", "round", None))
    found = room(pool, (), rules(), better=-1, bounded=False)
    assert [place.prediction.name for place in found.places] == ["R01", "R02", "R03", "R04"]
    assert [place.standing for place in found.places] == ["pass", "pass", "block", "block"]
    assert found.margin == pytest.approx(0.3)


@pytest.mark.parametrize(("line", "word"), [('enforce = "warn"', "warn"), ('enforce = "off"', "pass")])
def test_a_rule_that_only_warns_or_is_off_forbids_nothing(line: str, word: str):
    assert standings(given=rules(diversity_threshold=line))["R03"] == (word, "")


def test_of_two_that_are_too_alike_the_worse_one_is_flagged_with_its_closest_better_one():
    pairs = (Pair("R02", "R03", 0.999), Pair("R01", "R03", 0.9985), Pair("R01", "gone", 0.998))
    assert standings(pairs=pairs) | {"mine": 0, "R01": 0} == {
        "mine": 0,
        "R01": 0,
        "R02": ("pass", ""),
        "R03": ("block", "R02"),
    }
    off = rules(stacking_correlation='enforce = "off"')
    assert standings(pairs=pairs, given=off)["R03"] == ("block", "")


def test_an_empty_pool_has_room_for_everything():
    found = room((), (), rules(), better=1, bounded=True)
    assert (found.best, found.places, found.few, found.many) == (None, (), 2, 4)


def test_the_days_quota_counts_what_may_have_arrived_since_midnight_utc():
    yesterday = NOON - 13 * HOUR
    ledger = [sent(1, "R01", at=yesterday), sent(2, "R02"), sent(3, "R03", "unknown"), sent(4, "R04", "refused")]
    today = quota([*ledger, sent(5, "R05", "intent")], 5, NOON)
    assert (today.used, today.left, today.resets_at - NOON) == (3, 2, 12 * HOUR)
    assert quota(ledger, None, NOON).left is None
    assert quota(ledger, 1, NOON).left == 0


def test_what_stands_against_submitting_is_said():
    over = datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert obstacle(quota([], 5, NOON), None, NOON) == ""
    assert "deadline (2026-03-01 11:00 UTC)" in obstacle(quota([], 5, NOON), over, NOON)
    assert "2 submissions of today are used up" in obstacle(quota([sent(1, "R1"), sent(2, "R2")], 2, NOON), None, NOON)
    assert "config.json" in obstacle(quota([], 0, NOON), None, NOON)


def results(**scores: tuple[str, float | None]) -> dict[str, Result]:
    return {
        name: Result(name, kind=kind, score=score, in_pool=score is not None, status="discard")
        for name, (kind, score) in scores.items()
    }


def test_the_champion_is_next_until_it_was_sent():
    known = results(R01=("model", 0.97), R02=("model", 0.96), R03=("model", None))
    waiting = candidates(known, "R01", [], better=1)
    assert [(item.name, item.due) for item in waiting] == [("R01", True), ("R02", False)]
    assert waiting[0].titles == ("champion", "best single model")
    after = candidates(known, "R01", [sent(1, "R01", "unknown")], better=1)
    assert [(item.name, item.due) for item in after] == [("R02", False)]
    refused = candidates(known, "R01", [sent(1, "R01", "refused")], better=1)
    assert refused[0].name == "R01"


def test_the_end_of_a_run_sends_a_blend_that_scores_better_than_the_champion():
    known = results(R01=("model", 0.97), B01=("blend", 0.971), R02=("model", 0.9705))
    waiting = candidates(known, "R01", [], better=1)
    assert [(item.name, item.due) for item in waiting] == [("B01", True), ("R01", False), ("R02", False)]


def test_where_lower_is_better_the_lowest_score_comes_first():
    waiting = candidates(results(R01=("model", 3.0), R02=("model", 2.0)), "R02", [], better=-1)
    assert [item.name for item in waiting] == ["R02", "R01"]


def test_bounded_metrics_are_known_without_running_metric_py(tmp_path: Path):
    place = Workspace(tmp_path)
    assert is_bounded("roc_auc", place)
    assert not is_bounded("rmse", place)
    assert not is_bounded("no such metric", place)


def test_a_made_campaign_is_read(tmp_path: Path):
    connection = open_viewer(make_campaign(tmp_path / "made", 30).facts)
    ledger = load_ledger(connection, above=0.995)
    assert [blend.name for blend in ledger.blends] == ["B01", "R27", "R20", "R13", "R06"]
    assert all(len(blend.members) == 3 and blend.folds == 5 and blend.t is not None for blend in ledger.blends)
    pool = {item.name for item in ledger.pool}
    assert "tilii-lgbm" in pool and not pool & {"R06", "R04", "R08"}
    assert ledger.pairs[0].pearson >= ledger.pairs[-1].pearson > 0.995
    assert all({pair.a, pair.b} <= pool for pair in ledger.pairs)
    used = {usage.model: usage for usage in models_used(connection)}
    assert used["openai/gpt-5-codex"].calls > 0 and used["openai/gpt-5-codex"].cost


def test_each_blend_has_the_rules_that_judged_it(tmp_path: Path):
    """Also those outside a round: the closing blend, which ran alone."""
    path = tmp_path / "autokaggle.db"
    connection = open_facts(path)
    connection.execute("INSERT INTO runs VALUES ('a', 'running', '', NULL, NULL, 1, 0, 1, 0, NULL)")
    connection.execute("INSERT INTO rounds (round, run, status, started_at) VALUES (3, 'a', 'done', 10)")

    def experiment(name: str, number: int | None, source: str, at: float, kind: str = "blend") -> None:
        connection.execute(
            "INSERT INTO experiments (id, round, source, kind, family, seed, status, members, started_at) "
            "VALUES (?, ?, ?, ?, 'blend', 1, 'discard', ?, ?)",
            [name, number, source, kind, json.dumps([["R01", 0.5], ["R02", 0.5]]), at],
        )

    def verdict(number: int | None, rule: str, word: str, at: float, phase: str = "run") -> None:
        connection.execute(
            "INSERT INTO verdicts (round, phase, author, verdict, rule, reason, at) "
            "VALUES (?, ?, 'rules', ?, ?, 'so', ?)",
            [number, phase, word, rule, at],
        )

    experiment("R03", 3, "round", 10)
    verdict(3, "tunnel-vision", "block", 11, phase="review")
    verdict(3, "small-blends", "warn", 12)
    verdict(3, "noise-floor", "block", 12)
    experiment("B01", None, "closing", 20)
    verdict(None, "noise-floor", "block", 21)
    experiment("T01", None, "try", 30, kind="model")
    verdict(None, "noise-floor", "block", 31)
    experiment("B02", None, "closing", 40)

    judged = {blend.name: blend.judged for blend in load_ledger(connection, above=1).blends}
    noise = Judgement("noise-floor", "block", "so")
    assert judged == {"R03": (noise, Judgement("small-blends", "warn", "so")), "B01": (noise,), "B02": ()}
    blend = load_ledger(connection, above=1).blends[0]
    assert isinstance(blend, Blend) and blend.members == (("R01", 0.5), ("R02", 0.5)) and blend.score is None
