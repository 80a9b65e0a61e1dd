"""The ways of blending on a round's screen, and what a damaged report leaves of them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autokaggle_tui.blendways import read_notes, read_ways
from autokaggle_tui.dossier import Dossier
from autokaggle_tui.ui.widgets.ways_card import WaysCard
from experiments.blending import PoolMember, survey_blends
from experiments.blendreport import BlendJudge
from experiments.folds import Folds
from experiments.metrics import get_metric
from experiments.rules import Rules, blend_limits


def report() -> dict[str, Any]:
    random = np.random.default_rng(0)
    y = 10 + random.standard_normal(600)
    pool = {}
    for name, size in (("R01", 1.0), ("R02", 1.0), ("R03", 2.0)):
        oof = (y + size * random.standard_normal(600)).astype(np.float32)
        pool[name] = PoolMember(oof, oof[:50])
    folds = Folds.from_assignment("kfold", np.arange(600) % 5)
    rules = Rules.built_in()
    metric = get_metric("rmse")
    return BlendJudge(survey_blends(pool, y, folds, metric, limits=blend_limits(rules)), rules, metric).report()


REPORT = report()


def test_every_way_has_its_score_its_noise_and_the_rules_that_fired() -> None:
    ways = read_ways(REPORT)
    assert len(ways) == len(REPORT["candidates"]) and ways[0].chosen
    shown = Dossier("R09", kind="blend", status="keep", ways=ways, blend_notes=read_notes(REPORT))
    card = WaysCard()
    card.show_ways(shown)
    for width in (40, 60, 100):
        text = "\n".join(line.plain for line in card.lines(width))
        assert all(len(line) <= width for line in text.splitlines()), width
        assert "●" in text and "±" in text and "optimism" in text.replace("\n", " ")
        assert "diversity-threshold" in text


PLACES = st.sampled_from(["label", "members", "score", "gain", "allowed", "rulings", "chosen"])
JUNK = st.one_of(st.none(), st.text(max_size=5), st.integers(), st.lists(st.integers(), max_size=2), st.booleans())


@given(PLACES, JUNK)
def test_of_a_damaged_report_the_rest_is_shown(place: str, junk: Any) -> None:
    damaged = copy.deepcopy(REPORT)
    damaged["candidates"][1][place] = junk
    assert len(read_ways(damaged)) >= len(REPORT["candidates"]) - 1


@given(JUNK)
def test_what_is_no_report_shows_nothing(junk: Any) -> None:
    assert read_ways(junk) == () and read_notes(junk) == ()
    assert read_ways({"candidates": junk}) == ()
    assert isinstance(read_notes({"chosen": junk, "reason": junk}), tuple)
