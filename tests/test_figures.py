"""The figures of rules that fired, in a few words: of everything the rules can say, and of what nobody wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.figures import MOST, figures_text
from experiments.learnings import BUILT_IN, Rules
from experiments.rules import (
    BlendMember,
    PastExperiment,
    PlanFacts,
    Ruling,
    check_blend,
    check_champion,
    check_code,
    check_gate,
    check_plan,
)
from experiments.significance import Gain

RULES = Rules.built_in()


def told(rulings: tuple[Ruling, ...], rule: str) -> str:
    """As a viewer has it: through the registry's JSON."""
    [ruling] = [ruling for ruling in rulings if ruling.rule == rule and ruling.verdict != "pass"]
    return figures_text(rule, json.loads(json.dumps(dict(ruling.figures))))


def test_runs_and_champions() -> None:
    gain = Gain(0.0004, 0.0006, 0.67, 5)
    assert told(check_champion(RULES, gain), "noise-floor") == "gain +0.00040 ± 0.00060 · t 0.67 < 1.50"
    alone = Gain(0.0004, float("inf"), 0.0, 1)
    assert told(check_champion(RULES, alone), "noise-floor") == "gain +0.00040 · t 0.00 < 1.50"
    gate = check_gate(
        RULES,
        fold_score=0.93,
        best_fold_score=0.95,
        best_score=0.951,
        direction="maximize",
        bounded=True,
        noise=0.001,
        evidence=Gain(0.001, 0.001, 0.5, 5),
    )
    said = "fold 1 0.93000 against 0.95000 · behind 0.02000 > 0.00300 · evidence +0.00100 · t 0.50"
    assert told(gate, "fold1-gate") == said


def test_blends() -> None:
    members = [BlendMember(name, score) for name, score in (("R01", 0.95), ("R02", 0.949), ("R03", 0.93))]
    many = [*members, *(BlendMember(f"R0{n}", 0.95) for n in range(4, 7))]
    correlations = {("R01", "R02"): 0.998, ("R01", "R04"): 0.996}
    rulings = check_blend(RULES, many, correlations=correlations, best_score=0.95, direction="maximize", bounded=True)
    assert told(rulings, "stacking-correlation") == "R01-R02 0.9980 > 0.995 · 1 more pair"
    assert told(rulings, "diversity-threshold") == "R03 0.02000 > 0.00300"
    assert told(rulings, "small-blends") == "6 members, 2 to 4 may be"


def test_plans() -> None:
    past = [
        PastExperiment("R01", "model", "mlp", "keep", 0.9, "a", {"x": 1}, round=1),
        PastExperiment("R02", "tune", "mlp", "discard", 0.9, "b", {"x": 2}, round=2),
    ]
    plan = PlanFacts(3, "tune", "mlp", {"x": 2}, exhausted=("linear",))
    rulings = check_plan(RULES, plan, past)
    assert told(rulings, "research-over-tuning") == "tuning 2 of 3 (R02), 1 may be"
    assert told(rulings, "tunnel-vision") == "mlp × 2 (R01, R02), 2 may be"
    assert told(rulings, "false-negatives") == "linear 0 < 2 configurations"
    assert told(rulings, "no-repeats") == "repeats R02 (discard)"
    first = check_plan(RULES, PlanFacts(1, "model", "mlp", has_brief=False), [])
    assert told(first, "research-before-building") == "EDA ✓ · brief ✗"
    assert told(check_code(RULES, "a", None, past, experiment="R03"), "no-repeats") == "repeats R01 (keep)"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted(
    {
        *("gain", "se", "t", "required_t", "margin", "behind", "fold_score", "best_fold_score", "pairs", "members"),
        *("max_correlation", "min_members", "max_members", "recent_tuning", "window", "max_tuning", "rounds_running"),
        *("family", "max_running", "configurations", "min_configurations", "repeats", "status", "evidence"),
    }
)


@given(st.sampled_from([*BUILT_IN, "unknown", ""]), st.dictionaries(st.sampled_from(KEYS), anything) | anything)
def test_figures_that_nobody_wrote_are_no_error(rule: str, figures: object) -> None:
    said = figures_text(rule, figures)
    assert len(said) <= MOST and "\n" not in said and "\x1b" not in said


@pytest.mark.parametrize("figures", [None, {}, "text", {"gain": "much"}])
def test_without_figures_nothing_is_said(figures: object) -> None:
    assert figures_text("noise-floor", figures) == "" == figures_text(None, figures)
