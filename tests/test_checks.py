"""The six checks of the playbook's Reviewer: each answered from the registry, of this very plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from backends.models.playbook.checks import Check, six_checks
from backends.models.playbook.reviewer import review
from backends.models.playbook.strategy import propose
from backends.models.tasks import CampaignView, RetroIdea, Task
from experiments.recipes.catalog import catalog, get_recipe

from .test_strategy import DATA, EMPTY, after, ran


def plan(family: str, kind: str = "model", **more: Any) -> dict[str, Any]:
    facts = {"kind": kind, "family": family, "hypothesis": "it helps", "idea": "", "parent": None, "params": {}}
    return {**facts, "members": [], "expected_gain": None, "minutes": None, **more}


def check(view: CampaignView, name: str, proposed: dict[str, Any], *findings: str) -> Check:
    return next(one for one in six_checks(replace(view, bounded=True), proposed, findings) if one.name == name)


def alike(**pairs: float) -> dict[tuple[str, str], float]:
    """``alike(R01_R02=0.99)``: both orders, as the engine's map reads."""
    found = {}
    for names, value in pairs.items():
        one, other = names.split("_")
        found[one, other] = found[other, one] = value
    return found


def test_a_family_of_copies_of_the_best_is_no_diversity() -> None:
    runs = [ran(1, "lightgbm", 0.95), ran(2, "xgboost", 0.94), ran(3, "xgboost", 0.94)]
    copies = after(*runs, correlations=alike(R01_R02=0.9991, R01_R03=0.9972))
    told = check(copies, "Diversity", plan("xgboost"))
    assert not told.passed and "R02 0.9991, R03 0.9972" in told.said and "R01" in told.said
    mixed = after(*runs, correlations=alike(R01_R02=0.9991, R01_R03=0.97))
    told = check(mixed, "Diversity", plan("xgboost"))
    assert told.passed and "R03 is least like R01 (0.9700" in told.said
    assert check(copies, "Diversity", plan("mlp")).said == "no prediction of mlp is in the pool yet."
    assert check(copies, "Diversity", plan("lightgbm")).passed, "of its own family there is only the best"
    looser = {**EMPTY.rules, "stacking-correlation": {"enforce": "block", "max_correlation": 0.9995}}
    assert check(replace(copies, rules=looser), "Diversity", plan("xgboost")).passed


def test_a_blend_is_as_diverse_as_its_least_alike_members() -> None:
    runs = [ran(1, "lightgbm", 0.95), ran(2, "xgboost", 0.94), ran(3, "mlp", 0.94)]
    view = after(*runs, correlations=alike(R01_R02=0.9991, R01_R03=0.97, R02_R03=0.98))
    assert "0.9700" in check(view, "Diversity", plan("blend", "blend")).said
    assert not check(view, "Diversity", plan("blend", "blend", members=["R01", "R02"])).passed


def test_a_change_that_failed_elsewhere_speaks_against_the_plan() -> None:
    folds = [{k: 0.9 + 0.001 * k for k in range(5)}, {k: 0.896 + 0.0011 * k for k in range(5)}]
    runs = [
        ran(1, "lightgbm", 0.902, fold_scores=folds[0]),
        ran(2, "lightgbm", 0.898, parent="R01", params={"pairs": 6}, fold_scores=folds[1]),
        ran(3, "xgboost", 0.901, fold_scores=folds[0]),
    ]
    same = plan("xgboost", parent="R03", params={"pairs": 6})
    told = check(after(*runs), "Contradiction", same)
    assert not told.passed and "pairs = 6 failed before: R02 lightgbm -0.00380, t" in told.said
    helped = [runs[0], replace(runs[1], score=0.91, fold_scores={k: v + 0.01 for k, v in folds[0].items()}), runs[2]]
    assert "R02 lightgbm +0.01000" in check(after(*helped), "Contradiction", same).said
    assert check(after(*helped), "Contradiction", same).passed
    assert check(after(*runs), "Contradiction", plan("xgboost", parent="R03", params={"num_leaves": 7})).passed


def test_findings_of_the_family_speak_against_it_too() -> None:
    best = ran(1, "lightgbm", 0.95)
    broken = [ran(2, "mlp", None), ran(3, "mlp", None, status="timeout")]
    told = check(after(best, *broken), "Contradiction", plan("mlp"))
    assert not told.passed and "R02 crash, R03 timeout" in told.said
    far = [ran(2, "mlp", 0.93, params={"layers": 1}), ran(3, "mlp", 0.935, params={"layers": 2})]
    told = check(after(best, *far), "Contradiction", plan("mlp"))
    assert not told.passed and "R03, is 0.01500 behind R01" in told.said
    assert check(after(best, far[0]), "Contradiction", plan("mlp")).passed, "one configuration is no proof"


def test_a_blend_of_nothing_new_is_a_contradiction() -> None:
    runs = [ran(1, "lightgbm"), ran(2, "mlp"), ran(3, "blend", 0.91, members=(("R01", 0.5), ("R02", 0.5)))]
    assert not check(after(*runs), "Contradiction", plan("blend", "blend")).passed
    assert not check(after(*runs), "Contradiction", plan("blend", "blend", members=["R02", "R01"])).passed
    assert check(after(*runs, ran(4, "linear")), "Contradiction", plan("blend", "blend")).passed


def test_circling_one_family_is_narrow_and_says_what_it_took() -> None:
    runs = [ran(1, "mlp", seconds=10.0), ran(2, "lightgbm", seconds=30.0), ran(3, "lightgbm", seconds=40.0)]
    told = check(after(*runs), "Narrow search", plan("lightgbm"))
    assert not told.passed
    assert told.said == "the last rounds were mlp, lightgbm, lightgbm; lightgbm took 88% of the time (2 of 3 rounds)."
    assert check(after(*runs), "Narrow search", plan("mlp")).passed
    between = [*runs, ran(4, "linear", seconds=1.0), ran(5, "lightgbm", seconds=9.0), ran(6, "linear", seconds=1.0)]
    assert not check(after(*between), "Narrow search", plan("lightgbm")).passed, "more than half of the time"


def test_untried_families_are_named_with_what_they_cost() -> None:
    runs = [ran(1, "lightgbm"), ran(2, "catboost")]
    told = check(after(*runs), "Untried family", plan("lightgbm"))
    assert not told.passed and "xgboost (about " in told.said and "catboost" not in told.said
    assert check(after(*runs), "Untried family", plan("xgboost")).passed
    short = after(*runs, seconds_left=1.0, data=replace(DATA, rows=3_000_000))
    assert check(short, "Untried family", plan("lightgbm")).passed, "none of them fits the time"
    banned = after(*runs, hints=tuple(f"no {recipe.family}" for recipe in catalog() if recipe.family != "lightgbm"))
    assert check(banned, "Untried family", plan("lightgbm")).passed


def test_bold_moves_that_wait_are_named() -> None:
    done = [ran(n, recipe.family, 0.9, idea=recipe.idea) for n, recipe in enumerate(catalog(), 1)]
    view = after(*done)
    tune = plan("lightgbm", "tune", parent="R01", idea="more leaves")
    assert check(view, "Bold moves", tune).passed
    told = check(view, "Bold moves", tune, "Distance to the coast, squared")
    assert not told.passed and "the brief has “Distance to the coast, squared”" in told.said
    assert check(view, "Bold moves", plan("lightgbm", idea="distance to the coast"), "Distance to the coast").passed
    named = replace(view, retro=len(done) + 1, top=(RetroIdea("xgboost", idea="pairs of columns"),))
    assert "R08's retro names xgboost pairs of columns" in check(named, "Bold moves", tune).said
    ignored = replace(after(*done[:2]), hints=("please try the mlp",))
    told = check(ignored, "Bold moves", plan(done[0].family))
    assert not told.passed and told.said == "the owner asked for mlp."
    assert check(ignored, "Bold moves", plan("mlp")).passed
    hinted = replace(view, hints=("Watch the worst radius!",))
    assert "“Watch the worst radius!”" in check(hinted, "Bold moves", plan("lightgbm")).said
    assert check(hinted, "Bold moves", plan("lightgbm", idea="ratios with worst radius")).passed


def test_the_return_on_time_is_weighed_against_what_the_last_rounds_bought() -> None:
    runs = [ran(n, f"own{n}", 0.90 + 0.01 * n, seconds=60.0) for n in range(1, 6)]
    told = check(after(*runs), "Return on time", plan("own9", expected_gain=0.01, minutes=1.0))
    assert told.passed and "+0.01 a minute; the last 4 rounds bought +0.01 a minute" in told.said
    poor = check(after(*runs), "Return on time", plan("own9", expected_gain=0.001, minutes=1.0))
    assert not poor.passed
    assert not check(after(*runs), "Return on time", plan("own9", expected_gain=-0.001)).passed
    late = check(after(*runs, seconds_left=20.0), "Return on time", plan("own9", expected_gain=0.1, minutes=2.0))
    assert not late.passed and "cannot be finished" in late.said
    assert check(EMPTY, "Return on time", plan("lightgbm")).passed


def reviewed(view: CampaignView, proposed: dict[str, Any], *rulings: dict[str, Any]) -> tuple[str, str]:
    facts = {"plan": proposed, "rulings": list(rulings), "findings": ["Distance to the coast"]}
    task = Task("review", "reviewer", view.round, ("R09_review.md",), (), ("APPROVED", "REVISE"), view, facts)
    answer = review(task)
    return answer.line, answer.files["R09_review.md"]


def test_one_failed_check_does_not_send_a_plan_back_and_a_blocking_rule_does() -> None:
    view = after(ran(1, "lightgbm"))
    line, text = reviewed(view, plan("lightgbm", parent="R01", params={"pairs": 6}))
    assert line == "APPROVED" and "4. ✗ Untried family" in text
    figures = {"family": "lightgbm", "rounds_running": ["R01", "R02"], "max_running": 2}
    ruling = {"rule": "tunnel-vision", "verdict": "block", "reason": "Again.", "figures": figures}
    line, text = reviewed(view, plan("lightgbm"), ruling)
    assert line == "REVISE: tunnel-vision: Again."
    assert "- tunnel-vision (block): Again. [lightgbm × 2 (R01, R02), 2 may be]" in text


def test_many_failed_checks_send_a_plan_back_when_there_is_a_better_one() -> None:
    runs = [ran(n, "lightgbm", 0.9, params={"num_leaves": n}, parent="R01") for n in (1, 2, 3)]
    view = after(*runs)
    circling = plan("lightgbm", "tune", parent="R01", params={"num_leaves": 9}, idea="nine leaves")
    line, _ = reviewed(view, circling)
    better = propose(view, avoid=(("lightgbm", {"num_leaves": 9}),))
    assert line.startswith("REVISE: ") and "narrow search" in line
    assert f"{better.family} ({better.idea}) would fail none" in line
    done = [ran(n, recipe.family, 0.9, seconds=900.0) for n, recipe in enumerate(catalog(), 1)]
    ended = after(*done, ran(9, "blend", 0.9), seconds_left=1.0)
    assert propose(ended).kind == "stop"
    failing = plan("lightgbm", "tune", parent="R09", expected_gain=-1.0)
    assert reviewed(ended, failing)[0] == "APPROVED", "there is nothing better to ask for"


def test_the_playbooks_own_plans_pass_its_review() -> None:
    view, sent_back = EMPTY, 0
    scores = {recipe.family: 0.95 - 0.01 * recipe.order for recipe in catalog()}
    for number in range(1, 31):
        proposal = propose(replace(view, round=number))
        if proposal.kind == "stop":
            break
        proposed = plan(
            proposal.family,
            proposal.kind,
            **{
                name: getattr(proposal, name)
                for name in ("parent", "params", "idea", "expected_gain", "members", "minutes")
            },
        )
        sent_back += reviewed(view, proposed)[0] != "APPROVED"
        score = scores.get(proposal.family, 0.951) + 0.0001 * number
        done = ran(number, proposal.family, score, kind=proposal.kind, params=proposal.params, parent=proposal.parent)
        view = replace(after(*view.experiments, done), round=number + 1)
    assert len(view.experiments) > 20 and sent_back <= 2


def test_the_same_plan_gets_the_same_answers() -> None:
    view = after(*[ran(n, recipe.family, 0.9) for n, recipe in enumerate(catalog(), 1)])
    proposed = plan("lightgbm", "tune", parent="R01", params=dict(get_recipe("lightgbm").variants[-1].params))
    assert six_checks(view, proposed, ["a"]) == six_checks(view, proposed, ["a"])
