"""The playbook's retrospective: what only shows across rounds, what the next rounds may buy, and what it feeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.models.playbook.candidates import candidates
from backends.models.playbook.gains import expected_gain
from backends.models.playbook.lessons import lessons
from backends.models.playbook.links import cross_round_links, worth_another_look
from backends.models.playbook.retro import learnings, retro, top_five
from backends.models.playbook.returns import Curve, fit, returns
from backends.models.playbook.strategy import propose
from backends.models.tasks import CampaignView, Outcome, RetroIdea, Task
from experiments.learned import learnings_of
from experiments.recipes.catalog import catalog
from experiments.retro import RetroError, next_experiments

from .test_checks import alike
from .test_strategy import EMPTY, after, ran

FOLDS = {k: 0.9 + 0.001 * k for k in range(5)}


def folds(gain: float, scatter: float = 0.0002) -> dict[int, float]:
    return {k: score + gain + scatter * (-1) ** k for k, score in FOLDS.items()}


def written(view: CampaignView) -> str:
    task = Task("retro", "reviewer", view.round, ("R10_retro.md",), (), ("DONE",), view)
    return retro(task).files["R10_retro.md"]


def test_a_change_that_helped_and_was_never_carried_over_is_a_link() -> None:
    runs = [
        ran(1, "lightgbm", 0.902, fold_scores=FOLDS),
        ran(2, "lightgbm", 0.905, parent="R01", params={"pairs": 6}, fold_scores=folds(0.003)),
        ran(3, "xgboost", 0.9, fold_scores=FOLDS),
    ]
    view = after(*runs)
    [link, *_] = cross_round_links(view, lessons(view))
    assert link.startswith("pairs = 6 helped R02 lightgbm +0.00304, t ") and link.endswith(
        "xgboost (R03) never had it."
    )
    carried = after(*runs, ran(4, "xgboost", 0.9, params={"pairs": 6}))
    assert cross_round_links(carried, lessons(carried)) == []


def test_the_least_alike_strong_pair_that_was_never_blended_is_a_link() -> None:
    runs = [ran(1, "lightgbm", 0.95), ran(2, "mlp", 0.949), ran(3, "linear", 0.9485), ran(4, "kernel", 0.80)]
    pairs = alike(R01_R02=0.98, R01_R03=0.95, R02_R03=0.96, R01_R04=0.3, R02_R04=0.3, R03_R04=0.3)
    view = replace(after(*runs, correlations=pairs), bounded=True)
    [link] = cross_round_links(view, ())
    assert link.startswith("R01 (lightgbm) and R03 (linear) correlate at 0.9500"), "the weak one is no partner"
    blend = ran(5, "blend", 0.951, members=(("R01", 0.5), ("R03", 0.5), ("R02", 0.0)))
    again = replace(after(*runs, blend, correlations=pairs), bounded=True)
    [link] = cross_round_links(again, ())
    assert link.startswith("R02 (mlp) and R03 (linear) correlate at 0.9600")


def test_an_error_that_is_repeated_is_a_link() -> None:
    runs = [ran(n, "mlp", None) for n in (1, 2, 3)]
    reasons = ["fold 1: KeyError: 'city'", "fold 3: KeyError: 'city'", "fold 1: MemoryError"]
    outcomes = {run.id: Outcome(reason) for run, reason in zip(runs, reasons, strict=True)}
    assert cross_round_links(replace(after(*runs), outcomes=outcomes), ()) == [
        "R01 and R02 ended alike: KeyError: 'city'."
    ]


def test_lost_work_is_worth_another_look_with_the_figure_why() -> None:
    runs = [
        ran(1, "lightgbm", 0.95),
        ran(2, "xgboost", None, status="killed"),
        ran(3, "kernel", None, status="killed"),
        ran(4, "mlp", 0.93, status="discard"),
        ran(5, "linear", None, status="timeout", seconds=600.0),
    ]
    outcomes = {
        "R02": Outcome("behind", gate=(0.004, 0.003)),
        "R03": Outcome("behind", gate=(0.02, 0.003)),
        "R05": Outcome("fold 2: the time is used up"),
    }
    view = replace(after(*runs, correlations=alike(R01_R04=0.91)), outcomes=outcomes, bounded=True)
    told = worth_another_look(view)
    assert told[0].startswith("R02 xgboost: killed on fold 1, 0.00400 behind at a margin of 0.00300 (1.33 margins)")
    assert told[1].startswith("R04 mlp: discarded 0.02000 behind") and "(correlation 0.9100)" in told[1]
    assert told[2] == "R05 linear: timeout after 600 s, never mended: fold 2: the time is used up"
    assert not any(line.startswith("R03 kernel: killed on fold 1") for line in told), "far beyond the margin"
    assert {line.split()[0] for line in told if "no proof" in line} == {"R02", "R03", "R04"}
    mended = after(*runs, ran(6, "linear", 0.94))
    assert not any("never mended" in line for line in worth_another_look(mended))


@given(
    limit=st.floats(0.5, 1.0),
    drop=st.floats(0.01, 0.4),
    power=st.sampled_from([0.05 * 1.15**step for step in range(8, 26)]),
    count=st.integers(6, 40),
)
def test_the_fit_finds_the_curve_that_made_the_points(limit: float, drop: float, power: float, count: int) -> None:
    curve = Curve(limit, drop, power)
    xs = [float(n) for n in range(1, count + 1)]
    found = fit(xs, [curve.at(x) for x in xs])
    assert found.at(2 * count) - found.at(count) == pytest.approx(curve.at(2 * count) - curve.at(count), rel=0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_fit_never_promises_a_loss(steps: list[float]) -> None:
    ys = [max(steps[: n + 1]) for n in range(len(steps))]
    curve = fit([float(n + 1) for n in range(len(ys))], ys)
    assert curve.drop >= 0 and curve.at(len(ys) + 10) >= curve.at(len(ys)) - 1e-12


def test_returns_say_what_the_last_rounds_bought_and_the_next_ones_may() -> None:
    curve = Curve(0.97, 0.07, 0.8)
    runs = [ran(n, f"own{n}", curve.at(n), seconds=120.0, status="keep") for n in range(1, 21)]
    found = returns(after(*runs), 10)
    assert found is not None
    assert (found.rounds, found.minutes) == (10, 20.0)
    assert found.bought == pytest.approx(curve.at(20) - curve.at(10)) == found.proved
    assert found.by_rounds == pytest.approx(curve.at(30) - curve.at(20), rel=0.05)
    assert found.by_minutes == pytest.approx(found.by_rounds, rel=0.05)
    flat = [ran(n, f"own{n}", 0.9, status="discard" if n > 1 else "keep") for n in range(1, 12)]
    still = returns(after(*flat), 10)
    assert still is not None and (still.bought, still.by_rounds) == (0.0, None)
    assert returns(after(ran(1, "mlp")), 10) is None
    noise = [ran(1, "mlp", 0.9), ran(2, "linear", 0.91, status="discard")]
    lucky = returns(after(*noise), 10)
    assert lucky is not None and lucky.proved == 0.0 < lucky.bought, "a better score within the noise is no champion"


def test_errors_count_downwards() -> None:
    spec = replace(EMPTY.spec, task_type="regression", metric="rmse", direction="minimize")
    view = replace(after(ran(1, "mlp", 3.0), ran(2, "linear", 2.5)), spec=spec)
    found = returns(view, 5)
    assert found is not None and found.bought == 0.5


def test_an_expected_gain_follows_what_similar_changes_bought() -> None:
    change = {"pairs": 6}

    def expected(gain: float | None) -> float:
        score = None if gain is None else 0.902 + gain
        tried = ran(2, "lightgbm", score, parent="R01", params=change, status="killed")
        if gain is not None:
            tried = replace(tried, fold_scores=folds(gain), status="discard")
        view = after(ran(1, "lightgbm", 0.902, fold_scores=FOLDS), tried, ran(3, "xgboost", 0.92))
        estimate = expected_gain(view, lessons(view), "xgboost", change, view.experiments[2])
        assert estimate is not None and estimate.value >= 0 and "R02 lightgbm" in estimate.why
        return estimate.value

    assert expected(0.004) > expected(0.001) > expected(-0.004)
    assert expected(None) < expected(0.0)
    assert expected_gain(EMPTY, (), "xgboost", {}, None) is None


def test_a_parent_far_behind_promises_less() -> None:
    runs = [ran(1, "lightgbm", 0.95), ran(2, "mlp", 0.9), ran(3, "xgboost", 0.949)]
    view = after(*runs)
    near = expected_gain(view, (), "xgboost", {"pairs": 6}, runs[2])
    far = expected_gain(view, (), "mlp", {"layers": 3}, runs[1])
    assert near is not None and far is not None and near.value > far.value


def test_the_top_five_are_new_ranked_by_gain_per_minute_and_read_back() -> None:
    runs = [ran(n, recipe.family, 0.9 - 0.002 * n) for n, recipe in enumerate(catalog()[:4], 1)]
    view = after(*runs)
    ideas = [idea for idea, _, _ in top_five(view, lessons(view))]
    rates = [(idea.expected_gain or 0) / (idea.minutes or 1) for idea in ideas]
    assert len(ideas) == 5 and rates == sorted(rates, reverse=True)
    text = written(view)
    read = next_experiments(text)
    assert [(one.family, one.params, one.parent) for one in read] == [(i.family, i.params, i.parent) for i in ideas]
    assert [one.expected_gain for one in read] == pytest.approx([idea.expected_gain for idea in ideas])
    assert "1. " in text and "a minute" in text and "The last 3 rounds bought" in text


def test_the_next_plan_prefers_what_the_retrospective_names() -> None:
    blended = ran(9, "blend", 0.95)
    view = after(*[ran(n, recipe.family, 0.9 - 0.001 * n) for n, recipe in enumerate(catalog(), 1)], blended)
    first = propose(view)
    others = [
        c for c in candidates(view) if c.variant is not None and c.recipe.family != first.family and c.kind == "model"
    ]
    wanted = max(others, key=lambda candidate: candidate.rank)
    idea = RetroIdea(wanted.recipe.family, params={**wanted.params})
    fed = propose(replace(view, retro=10, top=(idea,)))
    assert (fed.family, dict(fed.params)) == (wanted.recipe.family, dict(wanted.params))
    assert "The retrospective of R10 names it (place 1 of its top five)." in fed.reason
    nothing = RetroIdea("no such family", params={"x": object()})
    assert replace(propose(replace(view, retro=10, top=(nothing,)))) == first


def test_it_learns_what_helped_every_family() -> None:
    runs = []
    for n, family in enumerate(("lightgbm", "xgboost"), 1):
        runs.append(ran(2 * n - 1, family, 0.902, fold_scores=FOLDS))
        runs.append(ran(2 * n, family, 0.905, parent=f"R0{2 * n - 1}", params={"pairs": 6}, fold_scores=folds(0.003)))
    view = replace(after(*runs), bounded=True)
    [(heading, evidence)] = learnings(view, lessons(view))
    assert heading == "pairs = 6 helps here"
    assert "2 of 2 families" in evidence and "R02 lightgbm +0.00304, t " in evidence and "R04 xgboost" in evidence
    [learned] = learnings_of(written(view))
    assert (learned.heading, learned.evidence) == (heading, evidence)
    assert list(learnings(after(*runs[:3]), lessons(after(*runs[:3])))) == [], "one family teaches nothing yet"


def test_it_learns_which_families_stay_behind() -> None:
    far = [ran(n, "linear", 0.93 + 0.001 * n, params={"strengths": [n]}) for n in (2, 3, 4)]
    view = replace(after(ran(1, "lightgbm", 0.95), *far), bounded=True)
    [(heading, evidence)] = learnings(view, lessons(view))
    assert heading == "linear stays behind here"
    assert "3 configurations, none within 0.00300 of R01; the best, R04, is 0.01600 behind" in evidence
    patient = replace(view, rules={**view.rules, "false-negatives": {"enforce": "block", "min_configurations": 4}})
    assert list(learnings(patient, ())) == []
    same = [replace(run, params={}) for run in far]
    twice = replace(after(ran(1, "lightgbm", 0.95), *same), bounded=True)
    assert list(learnings(twice, ())) == [], "the same configuration three times is one"


def test_a_campaign_without_anything_has_a_retrospective() -> None:
    text = written(EMPTY)
    assert "Nothing has run." in text and "Too few rounds to tell." in text
    assert len(next_experiments(text)) == 5


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("next: [", "cannot be read"),
        ("next: xgboost", "not a list"),
        ("next:\n  - {idea: no family}", "family: Field required"),
        ("next:\n  - {family: mlp, minutes: -1}", "minutes"),
        ("next:\n  - {family: mlp, expected_gain: .nan}", "expected_gain"),
        ("next:\n  - {family: mlp, enforce: off}", "enforce: Extra inputs"),
        ("next: &a [*a]", "references"),
    ],
)
def test_a_block_that_cannot_be_read_says_what_is_wrong(block: str, said: str) -> None:
    with pytest.raises(RetroError, match=said) as caught:
        next_experiments(f"# Retro\n\n```yaml\n{block}\n```\n")
    assert "\n" not in str(caught.value)


def test_other_blocks_and_none_at_all_are_no_fault() -> None:
    assert next_experiments("# Retro\n\nno block\n\n```yaml\n- [\n```\n\n```yaml\nother: 1\n```\n") == ()
    many = "".join(f"  - {{family: f{n}}}\n" for n in range(9))
    assert [one.family for one in next_experiments(f"```yaml\nnext:\n{many}```\n")] == ["f0", "f1", "f2", "f3", "f4"]


@given(st.text(max_size=300))
def test_no_text_is_too_odd_to_look_for_the_block(text: str) -> None:
    try:
        assert len(next_experiments(f"```yaml\nnext:\n{text}\n```\n{text}")) <= 5
    except RetroError as error:
        assert "\n" not in str(error)


def test_a_thousand_rounds_are_looked_at_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that grows with the square of the rounds would show in how often experiments are looked at."""
    looked = []
    original = CampaignView.experiment
    monkeypatch.setattr(CampaignView, "experiment", lambda self, name: looked.append(name) or original(self, name))
    counts = []
    for size in (100, 200):
        family = [recipe.family for recipe in catalog()]
        runs = [
            ran(n, family[n % len(family)], 0.9 + n % 7 / 1000, parent=f"R{max(n - 7, 1):02d}")
            for n in range(1, size + 1)
        ]
        looked.clear()
        written(after(*runs))
        counts.append(len(looked))
    assert counts[1] <= 3 * counts[0]
