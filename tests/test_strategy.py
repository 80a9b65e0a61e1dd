"""The playbook's strategy: what it tries next, and why, from what the registry shows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from backends.models.playbook.builder import code
from backends.models.playbook.candidates import estimated_seconds
from backends.models.playbook.strategy import Proposal, propose
from backends.models.tasks import CampaignView, DataView, ExperimentView, Task
from experiments.learnings import Rules
from experiments.recipes.catalog import catalog, get_recipe
from experiments.rules import PastExperiment, PlanFacts, blocking, check_plan
from experiments.spec import Spec

SPEC = Spec("c", "binary", "roc_auc", "maximize", "y", cv_strategy="stratified")
DATA = DataView(
    rows=10_000,
    test_rows=4_000,
    n_classes=2,
    n_numeric=10,
    n_categorical=3,
    n_text=0,
    n_datetime=0,
    max_cardinality=12,
    missing_share=0.0,
)
EMPTY = CampaignView(
    spec=SPEC,
    data=DATA,
    round=1,
    rounds_left=None,
    seconds_left=None,
    slots=2,
    threads=1,
    experiments=(),
    champion=None,
    best_single=None,
    correlations={},
    rules=Rules.built_in().to_json(),
)
FAMILIES = {recipe.family for recipe in catalog()}


def ran(round: int, family: str, score: float | None = 0.9, **more: Any) -> ExperimentView:
    """An experiment of the loop; complete and in the pool unless told otherwise."""
    facts: dict[str, Any] = {
        "kind": "blend" if family == "blend" else "model",
        "parent": None,
        "status": "keep" if score is not None else "crash",
        "fold_scores": {},
        "seconds": 20.0,
        "in_pool": score is not None,
        **more,
    }
    return ExperimentView(id=f"R{round:02d}", round=round, family=family, score=score, **facts)


def after(*experiments: ExperimentView, **more: Any) -> CampaignView:
    """The view of the round that follows."""
    singles = [e for e in experiments if e.kind != "blend" and e.score is not None]
    best = max(singles, key=lambda e: e.score or 0.0, default=None)
    return replace(
        EMPTY,
        round=len(experiments) + 1,
        experiments=experiments,
        best_single=best.id if best else None,
        champion=best.id if best else None,
        **more,
    )


def play(view: CampaignView, rounds: int, scores: dict[str, float] | None = None) -> list[Proposal]:
    """Let the strategy run against a registry that says yes to everything."""
    proposals = []
    for number in range(1, rounds + 1):
        proposal = propose(replace(view, round=number))
        proposals.append(proposal)
        if proposal.kind == "stop":
            break
        score = (scores or {}).get(proposal.family, 0.9) + 0.0001 * number
        done = ran(number, proposal.family, score, kind=proposal.kind, params=proposal.params, parent=proposal.parent)
        grown = after(*view.experiments, done)
        view = replace(view, experiments=grown.experiments, best_single=grown.best_single, champion=grown.champion)
    return proposals


def test_the_first_round_is_the_strongest_family_for_its_time() -> None:
    proposal = propose(EMPTY)
    assert (proposal.kind, proposal.family, proposal.params) == ("model", "lightgbm", {})
    assert proposal.minutes is None
    assert proposal.hypothesis
    assert "Nobody has tried" in proposal.reason


def test_the_same_view_gives_the_same_proposal() -> None:
    view = after(ran(1, "lightgbm"), ran(2, "catboost"))
    assert propose(view) == propose(view)


def test_every_family_is_tried_before_any_is_tuned() -> None:
    proposals = play(EMPTY, 40)
    first_tuning = next(n for n, p in enumerate(proposals) if p.kind == "tune")
    assert {p.family for p in proposals[:first_tuning]} >= FAMILIES


def test_many_classes_move_slow_boosting_back() -> None:
    many = replace(
        EMPTY, spec=replace(SPEC, task_type="multiclass", metric="accuracy"), data=replace(DATA, n_classes=26)
    )
    assert propose(many).family not in ("lightgbm", "xgboost", "catboost")


def test_a_family_that_does_not_fit_the_task_is_never_proposed() -> None:
    view = replace(EMPTY, spec=replace(SPEC, task_type="regression", metric="rmse", direction="minimize"))
    fit = {recipe.family for recipe in catalog() if "regression" in recipe.tasks} | {"blend", "none"}
    assert {p.family for p in play(view, 30)} <= fit


def test_nothing_is_proposed_twice_and_in_the_end_it_stops() -> None:
    proposals = play(EMPTY, 500)
    assert proposals[-1].kind == "stop"
    assert "Every family" in proposals[-1].reason
    models = [p for p in proposals if p.kind in ("model", "tune")]
    keys = [(p.family, get_recipe(p.family).key(p.params)) for p in models]
    assert len(set(keys)) == len(keys)
    assert {p.family for p in models} == FAMILIES


def test_its_plans_break_no_rule() -> None:
    rules = Rules.built_in()
    past: list[PastExperiment] = []
    for number, proposal in enumerate(play(EMPTY, 40, {"catboost": 0.95}), 1):
        plan = PlanFacts(
            number, proposal.kind, proposal.family, dict(proposal.params), proposal.parent, proposal.members
        )
        assert not blocking(check_plan(rules, plan, past)), proposal
        past.append(
            PastExperiment(
                f"R{number:02d}",
                proposal.kind,
                proposal.family,
                "discard",
                0.9,
                params=proposal.params,
                parent=proposal.parent,
                round=number,
            )
        )


def test_at_most_one_round_in_three_is_tuning() -> None:
    kinds = [p.kind for p in play(EMPTY, 60)]
    assert "tune" in kinds
    assert all(kinds[start : start + 3].count("tune") <= 1 for start in range(len(kinds) - 2))


def test_no_family_runs_three_rounds_in_a_row() -> None:
    families = [p.family for p in play(EMPTY, 60, {"catboost": 0.97})]
    runs = zip(families, families[1:], families[2:], strict=False)
    assert all(len(set(three)) > 1 for three in runs if three[0] != "blend")


def test_rules_that_are_off_or_edited_count() -> None:
    rules = {**EMPTY.rules, "research-over-tuning": {"enforce": "block", "max_tuning": 0, "window": 3}}
    view = replace(EMPTY, rules=rules)
    assert all(p.kind != "tune" for p in play(view, 10))


def test_one_bad_configuration_does_not_end_a_family() -> None:
    everything = [ran(n, recipe.family, 0.95 - 0.01 * n) for n, recipe in enumerate(catalog(), 1)]
    killed = [
        replace(e, status="killed", score=None, in_pool=False) if e.family == "xgboost" else e for e in everything
    ]
    later = play(after(*killed), 60)
    assert any(p.family == "xgboost" and "no proof" in p.reason for p in later)


def test_the_best_family_is_changed_first_and_from_its_best_configuration() -> None:
    done = [ran(n, recipe.family, 0.9) for n, recipe in enumerate(catalog(), 1)]
    best = [replace(e, score=0.93) if e.family == "catboost" else e for e in done]
    blended = ran(len(done) + 1, "blend", 0.94)
    proposal = propose(after(*best, blended))
    assert (proposal.kind, proposal.family) == ("model", "catboost")
    assert proposal.parent == next(e.id for e in best if e.family == "catboost")
    assert "CatBoost leads" in proposal.reason
    assert proposal.params in [v.params for v in get_recipe("catboost").variants if v.kind == "model"]


def test_the_second_round_probes_features_where_it_is_cheap() -> None:
    proposal = propose(after(ran(1, "lightgbm")))
    assert (proposal.kind, proposal.family, proposal.parent) == ("model", "lightgbm", "R01")
    assert proposal.params == get_recipe("lightgbm").variants[0].params


def test_a_new_family_starts_with_the_features_that_helped_another() -> None:
    features = dict(get_recipe("lightgbm").variants[0].params)

    def third(score: float, **more: Any) -> Proposal:
        return propose(after(ran(1, "lightgbm", 0.9), ran(2, "lightgbm", score, params=features, parent="R01", **more)))

    inherited = third(0.92)
    assert inherited.params == {k: v for k, v in features.items() if k in get_recipe(inherited.family).params} != {}
    assert "what helped another" in third(0.92).reason
    assert third(0.88).params == {}
    folds = {0: 0.9, 1: 0.9, 2: 0.9}
    view = after(
        ran(1, "lightgbm", 0.9, fold_scores=folds),
        ran(2, "lightgbm", 0.9001, params=features, parent="R01", fold_scores={0: 0.93, 1: 0.87, 2: 0.9003}),
    )
    assert propose(view).params == {}, "a gain within the scatter of the folds is none"


def test_what_failed_elsewhere_is_tried_later() -> None:
    done = [ran(n, recipe.family, 0.9 - 0.001 * n) for n, recipe in enumerate(catalog(), 1)]
    probe = get_recipe("lightgbm").variants[0]
    parent = next(e.id for e in done if e.family == "lightgbm")
    killed = ran(len(done) + 1, "lightgbm", None, params=probe.params, parent=parent, status="killed")
    proposal = propose(after(*done, killed, ran(len(done) + 2, "blend", 0.95)))
    assert proposal.params != dict(get_recipe(proposal.family).variants[0].params)


def test_a_blend_waits_for_something_new() -> None:
    three = [ran(1, "lightgbm"), ran(2, "catboost"), ran(3, "mlp")]
    four = [*three, ran(4, "xgboost")]
    assert propose(after(*four)).kind == "blend"
    assert propose(after(*four, ran(5, "blend"))).kind != "blend"
    assert propose(after(*four, ran(5, "blend"))).members == ()


def test_the_last_round_is_a_blend_when_two_models_are_there() -> None:
    pool = [ran(1, "lightgbm"), ran(2, "catboost")]
    assert propose(after(*pool, rounds_left=1)).kind == "blend"
    assert propose(after(*pool, rounds_left=2)).kind == "model"
    assert propose(after(pool[0], rounds_left=1)).kind == "model"
    assert propose(after(*pool, ran(3, "blend"), rounds_left=1)).kind == "model"


def test_a_blend_says_what_it_is_made_of() -> None:
    pool = [ran(1, "lightgbm"), ran(2, "catboost")]
    proposal = propose(after(*pool, rounds_left=1, correlations={("R01", "R02"): 0.97, ("R02", "R01"): 0.97}))
    assert proposal.family == "blend"
    assert proposal.members == ()
    assert "0.9700" in proposal.hypothesis
    assert "last round" in proposal.reason


def test_a_sent_back_plan_is_replaced_by_another() -> None:
    first = propose(EMPTY)
    second = propose(EMPTY, avoid=((first.family, first.params),))
    assert (second.family, second.params) != (first.family, first.params)
    pool = [ran(1, "lightgbm"), ran(2, "catboost")]
    assert propose(after(*pool, rounds_left=1), avoid=(("blend", {}),)).kind == "model"


def test_the_time_allowed_fits_what_is_left() -> None:
    for left in (60.0, 300.0, 3600.0):
        proposal = propose(replace(EMPTY, seconds_left=left))
        assert proposal.minutes is not None
        assert 0 < proposal.minutes * 60 <= 0.5 * left
    pool = [ran(1, "lightgbm"), ran(2, "catboost")]
    assert (propose(after(*pool, seconds_left=20.0)).minutes or 0) * 60 <= 20


def test_a_minute_is_enough_for_a_model() -> None:
    assert propose(replace(EMPTY, seconds_left=45.0)).kind == "model"


def test_large_data_and_little_time_start_with_something_that_ends() -> None:
    view = replace(EMPTY, seconds_left=120.0, data=replace(DATA, rows=2_000_000, n_numeric=50))
    proposal = propose(view)
    assert proposal.kind == "model"
    assert (proposal.minutes or 0) * 60 <= 60


def test_without_time_it_blends_and_then_stops() -> None:
    pool = [ran(1, "lightgbm"), ran(2, "catboost")]
    assert propose(after(*pool, seconds_left=3.0)).kind == "blend"
    stopped = propose(after(*pool, ran(3, "blend"), seconds_left=3.0))
    assert stopped.kind == "stop"
    assert "Nothing fits" in stopped.reason


def test_estimates_follow_what_was_measured() -> None:
    recipe = get_recipe("catboost")
    guess = estimated_seconds(EMPTY, recipe, {})
    slow = after(ran(1, "catboost", seconds=3 * guess))
    assert estimated_seconds(slow, recipe, {}) == pytest.approx(3 * guess, rel=0.3)
    assert estimated_seconds(slow, get_recipe("xgboost"), {}) > estimated_seconds(EMPTY, get_recipe("xgboost"), {})
    assert estimated_seconds(replace(EMPTY, slots=5), recipe, {}) < guess


def test_the_owners_hints_count() -> None:
    asked = replace(EMPTY, hints=("please try CatBoost soon",))
    assert propose(asked).family == "catboost"
    assert "owner" in propose(asked).reason
    banned = replace(EMPTY, hints=("no lightgbm please",))
    assert all(p.family != "lightgbm" for p in play(banned, 8))


def test_foreign_experiments_do_not_confuse_it() -> None:
    imported = replace(ran(1, "kernel-42", params={"who": "knows"}), id="kaggle", round=None, status="imported")
    own = ran(2, "lightgbm", params={"num_leaves": 200, "unknown": 1})
    assert propose(after(imported, own)).kind == "model"


def test_parameters_of_a_models_own_neither_stop_the_strategy_nor_the_code_of_its_plan() -> None:
    strange = {"pairs": "all", "num_leaves": True, "lambda_l2": 2, "city": "target", "bagging_fraction": math.nan}
    view = after(ran(1, "lightgbm", params=strange), ran(2, "linear", params={"strengths": ["low"], "knots": [9]}))
    assert propose(view).kind == "model"
    facts = {"plan": {"family": "lightgbm", "params": strange}}
    task = Task("code", "builder", 3, ("R03_experiment.py",), (), ("CODED",), view, facts)
    [text] = code(task).files.values()
    assert '"lambda_l2": 2,' in text and '"num_leaves": 31,' in text and "city" not in text
