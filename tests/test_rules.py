"""LEARNINGS.md read as rules, and the rules enforced over plain facts."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.code import normalised_code_sha
from experiments.errors import RuleError
from experiments.learnings import BUILT_IN, Rules, master_copy
from experiments.rules import (
    BlendMember,
    PastExperiment,
    PlanFacts,
    Ruling,
    blend_limits,
    blocking,
    check_blend,
    check_champion,
    check_code,
    check_gate,
    check_plan,
    gate_margin,
)
from experiments.significance import Gain

ROOT = Path(__file__).parents[1]
STRONG = Gain(0.01, 0.002, 5.0, 5)
WEAK = Gain(0.0004, 0.001, 0.4, 5)


def rules(**blocks: str) -> Rules:
    """Built-in rules with some blocks replaced: ``noise_floor='min_t = 3'``."""
    text = "".join(
        f'## {name}\n\n```toml\nid = "{name.replace("_", "-")}"\n{body}\n```\n' for name, body in blocks.items()
    )
    return Rules.parse(text)


def verdicts(rulings: tuple[Ruling, ...]) -> dict[str, str]:
    json.dumps([dict(ruling.figures) for ruling in rulings], allow_nan=False)
    assert all(ruling.reason.endswith(".") for ruling in rulings)
    return {ruling.rule: ruling.verdict for ruling in rulings}


# ---- the file


def test_the_repository_and_the_package_ship_the_same_file() -> None:
    assert (ROOT / "LEARNINGS.md").read_text(encoding="utf-8") == master_copy()


def test_the_shipped_file_holds_the_ten_rules_with_their_built_in_values() -> None:
    shipped = Rules.built_in()
    assert [rule.id for rule in shipped] == list(BUILT_IN)
    assert shipped.remarks == () and shipped.prose == ()
    for rule in shipped:
        assert rule.enforce == "block"
        assert rule.heading and len(rule.evidence) > 100 and rule.line > 0
        assert rule.thresholds == {name: limit.default for name, limit in BUILT_IN[rule.id].thresholds.items()}
    assert shipped["stacking-correlation"].number("max_correlation") == 0.995
    assert shipped["diversity-threshold"].number("max_gap") == 0.003
    json.dumps(shipped.to_json())


def test_an_edit_is_read_and_the_rest_keeps_its_values() -> None:
    text = """# Ours

## Trees only
We like trees.

```python
# not a heading
```

```toml
id = "noise-floor"      # stricter
enforce = "warn"
min_t = 3
```
"""
    found = Rules.parse(text)
    rule = found["noise-floor"]
    assert (rule.enforce, rule.number("min_t"), rule.heading, rule.line) == ("warn", 3.0, "Trees only", 10)
    assert rule.evidence == "We like trees."
    assert rule.number("min_evidence_t") == 1.0
    assert found["no-repeats"].enforce == "block" and found["no-repeats"].line == 0
    assert any("no block for 'no-repeats'" in remark for remark in found.remarks)


def test_an_unknown_id_is_prose_and_said_so() -> None:
    found = Rules.parse('## Seeds\nAverage them.\n```toml\nid = "noise-flor"\nseeds = 3\n```\n')
    assert [(rule.id, rule.evidence, rule.thresholds) for rule in found.prose] == [
        ("noise-flor", "Average them.", {"seeds": 3})
    ]
    assert any("line 3: 'noise-flor'" in remark and "'noise-floor'" in remark for remark in found.remarks)


def test_blocks_that_are_commented_out_or_no_toml_do_not_count() -> None:
    text = '<!--\n```toml\nid = "no-repeats"\nenforce = "off"\n```\n-->\n~~~text\nid = 5\n~~~\n'
    assert Rules.parse(text)["no-repeats"].enforce == "block"


@pytest.mark.parametrize(
    ("block", "line", "words"),
    [
        ("enforce = block", 7, "cannot be read"),
        ('enforce = "forbid"', 5, "'forbid'"),
        ("min_t = 'two'", 5, "Use a number of at least 0"),
        ("min_t = true", 5, "min_t"),
        ("min_t = nan", 5, "min_t"),
        ("min_t = -1", 5, "min_t"),
        ("mint_t = 2", 5, "nearest: 'min_t'"),
        ('override = "evidence"', 5, "cannot be lifted by evidence"),
        ("override = true", 5, "override"),
    ],
)
def test_a_broken_block_names_file_line_and_cure(block: str, line: int, words: str) -> None:
    text = f'# Rules\n\n## Noise\n\n```toml\nid = "noise-floor"\n{block}\n```\n'
    with pytest.raises(RuleError, match=f"notes/L.md, line {line}:") as caught:
        Rules.parse(text, "notes/L.md")
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('## A\n```toml\nenforce = "off"\n```\n', "line 2: the toml block of 'A' has no id"),
        ('## A\n```toml\nid = "no-repeats"\n', "line 2: the toml block is never closed"),
        ('```toml\nid="a"\n```\n## B\n```toml\nid="a"\n```\n', "line 5: rule 'a' is already set in line 1"),
        ('```toml\nid="small-blends"\nmin_members=5\n```\n', "at least 5 and at most 4"),
        ('```toml\nid="small-blends"\nmax_members=2.5\n```\n', "a whole number"),
    ],
)
def test_other_mistakes_are_refused(text: str, words: str) -> None:
    with pytest.raises(RuleError) as caught:
        Rules.parse(text)
    assert words in str(caught.value)


def test_files_that_are_missing_or_no_text(tmp_path: Path) -> None:
    missing = Rules.load(tmp_path / "LEARNINGS.md")
    assert dict(missing.by_id) == dict(Rules.built_in().by_id)
    assert "is missing" in missing.remarks[0]
    (tmp_path / "LEARNINGS.md").write_bytes(b"\xff\xfe")
    with pytest.raises(RuleError, match="not UTF-8"):
        Rules.load(tmp_path / "LEARNINGS.md")
    with pytest.raises(RuleError, match="cannot be read"):
        Rules.load(tmp_path)


@given(st.text(alphabet=list('#`~ \n\tab="[]<!->id'), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert list(Rules.parse(text).by_id) == list(BUILT_IN)
    except RuleError as error:
        assert "line" in error.message


# ---- fold1-gate


def gate(found: Rules, score: float, **other: object) -> Ruling:
    facts: dict[str, object] = {
        "best_fold_score": 0.86, "best_score": 0.865, "direction": "maximize", "bounded": True, "noise": 0.001,
    }  # fmt: skip
    (ruling,) = check_gate(found, fold_score=score, **(facts | other))  # type: ignore[arg-type]
    verdicts((ruling,))
    return ruling


def test_the_gate_margin_is_the_larger_of_threshold_and_noise() -> None:
    found = Rules.built_in()
    assert gate_margin(found, 0.865, True, 0.001) == 0.003
    assert gate_margin(found, 0.865, True, 0.01) == 0.01
    assert gate_margin(found, -50_000.0, False, 1.0) == 150.0
    assert gate_margin(rules(fold1_gate="noise_factor = 2"), 0.865, True, 0.01) == 0.02


def test_the_gate_kills_what_is_clearly_behind() -> None:
    found = Rules.built_in()
    assert gate(found, 0.859).verdict == "pass"
    assert gate(found, 0.857).verdict == "pass"  # 0.003 behind: within, whatever the rounding
    killed = gate(found, 0.85)
    assert killed.verdict == "block"
    assert killed.figures["behind"] == pytest.approx(0.01)
    assert "0.85" in killed.reason and "0.003" in killed.reason
    assert gate(found, 0.85, noise=0.02).verdict == "pass"
    assert gate(found, float("nan")).verdict == "block"
    assert gate(found, 0.85, best_fold_score=None, best_score=None).verdict == "pass"
    assert gate(found, 47_000, best_fold_score=46_000, best_score=46_000, direction="minimize", bounded=False).verdict == "block"  # fmt: skip  # noqa: E501
    assert gate(rules(fold1_gate='enforce = "warn"'), 0.85).verdict == "warn"
    off = rules(fold1_gate='enforce = "off"')
    assert check_gate(off, fold_score=0, best_fold_score=1, best_score=1, direction="maximize", bounded=True, noise=0) == ()  # fmt: skip  # noqa: E501


def test_a_weak_model_that_lifts_the_mix_may_run_on() -> None:
    found = Rules.built_in()
    lifted = gate(found, 0.85, evidence=STRONG)
    assert lifted.verdict == "warn" and "Lifted" in lifted.reason
    kept = gate(found, 0.85, evidence=WEAK)
    assert kept.verdict == "block" and "t = 0.40" in kept.reason
    assert gate(rules(fold1_gate='enforce = "block"'), 0.85, evidence=STRONG).verdict == "block"


# ---- noise-floor


def test_the_champion_changes_on_more_than_noise() -> None:
    found = rules(noise_floor="min_t = 2")
    assert verdicts(check_champion(found, None)) == {"noise-floor": "pass"}
    assert verdicts(check_champion(found, STRONG)) == {"noise-floor": "pass"}
    (ruling,) = check_champion(found, WEAK)
    assert ruling.verdict == "block"
    assert "+0.0004" in ruling.reason and "t = 0.40" in ruling.reason and "2.00" in ruling.reason
    assert check_champion(found, Gain(-0.01, 0.001, -10.0, 5))[0].verdict == "block"
    assert check_champion(found, Gain(0.01, math.inf, 0.0, 1))[0].figures["se"] is None
    # Two folds say less than five.
    assert check_champion(found, Gain(0.01, 0.004, 2.5, 2))[0].verdict == "block"


# ---- blends


PAIRS = {("R01", "R02"): 0.999, ("R01", "R03"): 0.95, ("R02", "R03"): 0.95}


def blend(found: Rules, *members: tuple[str, float], **other: object) -> dict[str, str]:
    facts: dict[str, object] = {
        "correlations": PAIRS, "best_score": 0.9, "direction": "maximize", "bounded": True,
    }  # fmt: skip
    named = [BlendMember(*member) for member in members]
    return verdicts(check_blend(found, named, **(facts | other)))  # type: ignore[arg-type]


def test_a_strong_diverse_pair_is_allowed() -> None:
    assert set(blend(Rules.built_in(), ("R01", 0.9), ("R03", 0.897)).values()) == {"pass"}


def test_near_duplicates_get_no_fitted_weights() -> None:
    found = Rules.built_in()
    assert blend(found, ("R02", 0.9), ("R01", 0.9))["stacking-correlation"] == "block"
    assert blend(found, ("R02", 0.9), ("R01", 0.9), fitted=False)["stacking-correlation"] == "pass"


def test_a_weak_member_is_blocked_unless_it_proves_itself() -> None:
    found = Rules.built_in()
    weak = ("R01", 0.9), ("R03", 0.89)
    assert blend(found, *weak)["diversity-threshold"] == "block"
    assert blend(found, *weak, evidence=WEAK)["diversity-threshold"] == "block"
    assert blend(found, *weak, evidence=STRONG)["diversity-threshold"] == "warn"
    loss = {"best_score": 40_000.0, "direction": "minimize", "bounded": False}
    assert blend(found, ("R01", 40_000), ("R03", 40_120), **loss)["diversity-threshold"] == "pass"
    assert blend(found, ("R01", 40_000), ("R03", 40_121), **loss)["diversity-threshold"] == "block"


def test_blends_stay_small_unless_more_is_better() -> None:
    found = Rules.built_in()
    many = [(f"M{j}", 0.9) for j in range(5)]
    assert blend(found, *many)["small-blends"] == "block"
    assert blend(found, *many[:4])["small-blends"] == "pass"
    assert blend(found, *many, evidence=STRONG)["small-blends"] == "warn"
    assert blend(found, many[0], evidence=STRONG)["small-blends"] == "block"


def test_only_blocking_rules_limit_a_fitted_blend() -> None:
    limits = blend_limits(Rules.built_in())
    assert (limits.max_correlation, limits.max_gap, limits.max_members) == (0.995, 0.003, 4)
    assert limits.lift == {"stacking-correlation", "diversity-threshold", "small-blends"}
    free = limits.without(limits.lifts[-1])
    assert free.max_members is None and free.margin(0.9, True) == math.inf
    assert limits.lifts[0] == () and all(set(a) < set(b) for a, b in pairwise(limits.lifts))
    some = blend_limits(rules(small_blends='enforce = "warn"', diversity_threshold="max_gap = 0.01"))
    assert (some.max_members, some.max_gap) == (None, 0.01)
    assert some.lift == {"stacking-correlation"}
    assert some.without(some.lifts[-1]).max_gap == 0.01
    assert some.margin(0.9, True) == 0.01 and some.margin(-200.0, False) == pytest.approx(0.6)


# ---- plans


def past(*kinds: str) -> list[PastExperiment]:
    """``"model:lgbm"``, ``"tune:lgbm:crash"`` ..., one round each."""
    found = []
    for number, kind in enumerate(kinds, start=1):
        name, family, *status = kind.split(":")
        found.append(
            PastExperiment(
                f"R{number:02d}", name, family, status[0] if status else "discard", 0.9, f"sha{number}",
                {"depth": number}, round=number,
            )
        )  # fmt: skip
    return found


def plan(kind: str = "model", family: str = "cat", round: int = 9, **other: object) -> PlanFacts:
    return PlanFacts(round=round, kind=kind, family=family, **other)  # type: ignore[arg-type]


def test_a_plain_plan_passes_every_rule() -> None:
    found = check_plan(Rules.built_in(), plan(), past("model:lgbm", "model:xgb"))
    assert set(verdicts(found)) == {
        "research-before-building", "research-over-tuning", "tunnel-vision", "false-negatives", "no-repeats",
    }  # fmt: skip
    assert blocking(found) == ()


def test_the_first_round_needs_the_eda_and_a_brief() -> None:
    found = Rules.built_in()
    first = check_plan(found, plan(round=1, has_brief=False), [])
    assert [ruling.rule for ruling in blocking(first)] == ["research-before-building"]
    assert "a research brief" in blocking(first)[0].reason
    assert blocking(check_plan(found, plan(round=1), [])) == ()
    assert blocking(check_plan(found, plan(round=2, has_eda=False), [])) == ()


def test_one_tuning_round_in_three() -> None:
    found = Rules.built_in()

    def allowed(*kinds: str) -> bool:
        tuning = check_plan(found, plan("tune"), past(*kinds))
        return verdicts(tuning)["research-over-tuning"] == "pass"

    assert allowed("model:lgbm", "model:xgb")
    assert not allowed("model:lgbm", "tune:xgb")
    assert not allowed("model:lgbm", "tune:xgb", "model:cat")
    assert allowed("model:lgbm", "tune:xgb", "model:cat", "blend:blend")
    # A crashed tuning round was one too; with nothing scored there is nothing to tune.
    assert not allowed("model:lgbm", "tune:xgb:crash")
    assert not allowed("model:lgbm:crash")
    assert not allowed()


def test_not_the_same_family_three_rounds_running() -> None:
    found = Rules.built_in()

    def verdict(*kinds: str, kind: str = "model") -> str:
        return verdicts(check_plan(found, plan(kind, "lgbm"), past(*kinds)))["tunnel-vision"]

    assert verdict("model:lgbm") == "pass"
    assert verdict("model:xgb", "model:lgbm", "tune:lgbm") == "block"
    assert verdict("model:lgbm", "model:lgbm", "model:xgb") == "pass"
    assert verdict("model:lgbm", "model:lgbm", "blend:blend") == "pass"
    assert verdict("model:lgbm", "model:lgbm", kind="stop") == "pass"


def test_a_family_is_given_up_after_two_configurations() -> None:
    found = Rules.built_in()
    leaving = plan(exhausted=("mlp",))
    assert "false-negatives" in [r.rule for r in blocking(check_plan(found, leaving, past("model:mlp")))]
    crashed = past("model:mlp", "model:mlp:crash")
    assert "mlp after 1" in blocking(check_plan(found, leaving, crashed))[0].reason
    assert blocking(check_plan(found, leaving, past("model:mlp", "model:mlp:killed"))) == ()


def test_the_same_parameters_are_planned_once() -> None:
    found = Rules.built_in()
    before = past("model:cat", "model:xgb")
    again = plan(params={"depth": 1})
    (ruling,) = blocking(check_plan(found, again, before))
    assert (ruling.rule, ruling.figures["repeats"]) == ("no-repeats", "R01")
    assert blocking(check_plan(found, plan(params={"depth": 2}), before)) == ()
    assert blocking(check_plan(found, plan(params={"depth": 1}, parent="R02"), before)) == ()
    # After a crash the same idea may be tried again, and a plan is no repeat of its own round.
    assert blocking(check_plan(found, again, past("model:cat:crash"))) == ()
    assert blocking(check_plan(found, plan(round=1, params={"depth": 1}), before)) == ()


def test_a_blend_of_the_pool_is_new_when_the_pool_has_grown() -> None:
    found = Rules.built_in()
    mixed = PastExperiment("R03", "blend", "blend", "keep", 0.91, members=("R01", "R02"), round=3)
    before = [*past("model:cat", "model:xgb"), mixed]
    again = [r.rule for r in blocking(check_plan(found, plan("blend", "blend"), before))]
    assert again == ["no-repeats"]
    imported = PastExperiment("best", "model", "imported", "imported", 0.9)
    assert blocking(check_plan(found, plan("blend", "blend"), [*before, imported])) == ()
    named = plan("blend", "blend", members=("R02", "R01"))
    assert len(blocking(check_plan(found, named, [*before, imported]))) == 1


# ---- code


SOURCE = '''"""An experiment."""
PARAMS = {"depth": 6}


def fit_predict(train, valid, test, ctx):
    """Predict."""
    model = make(PARAMS["depth"])  # deep enough
    return model.predict(valid), model.predict(test)
'''


def test_how_code_is_written_down_does_not_make_it_new() -> None:
    rewritten = """
PARAMS = {
    'depth': 6,   # as before
}
def fit_predict(train, valid, test, ctx):
    model = make(PARAMS['depth'])
    return (model.predict(valid),
            model.predict(test))
"""
    sha = normalised_code_sha(SOURCE)
    assert normalised_code_sha(rewritten) == sha
    assert normalised_code_sha(SOURCE.replace("6", "7")) != sha
    assert normalised_code_sha(SOURCE.replace("test)", "valid)")) != sha
    # A text that is a value is no docstring.
    assert normalised_code_sha("x = 'a'") != normalised_code_sha("x = 'b'")
    for broken in ("def (", "\0", "x = '\ud800'"):
        assert len(normalised_code_sha(broken)) == 64


def test_the_same_code_with_the_same_parameters_runs_once() -> None:
    found = Rules.built_in()
    sha = normalised_code_sha(SOURCE)
    done = PastExperiment("R01", "model", "cat", "discard", 0.9, sha, {"a": 1, "b": [2]}, round=1)

    def verdict(params: dict[str, object] | None, other: PastExperiment = done, experiment: str = "R02") -> str:
        return verdicts(check_code(found, sha, params, [other], experiment=experiment))["no-repeats"]

    assert verdict({"b": [2], "a": 1}) == "block"
    assert verdict({"a": 2, "b": [2]}) == "pass"
    assert verdict(None) == "block"  # a fix: no plan describes it
    assert verdict({"a": 1, "b": [2]}, experiment="R01") == "pass"  # resumed
    for status, expected in {"crash": "block", "killed": "block", "timeout": "pass", "running": "pass"}.items():
        other = PastExperiment("R01", "model", "cat", status, None, sha, {})
        assert verdict({}, other) == expected, status


# ---- thresholds


NUMBERS = st.floats(0, 1, allow_nan=False)


@given(NUMBERS, NUMBERS, st.floats(-1, 1), st.floats(0.001, 0.1))
def test_a_higher_min_t_never_lets_more_through(a: float, b: float, mean: float, se: float) -> None:
    low, high = sorted((5 * a, 5 * b))
    gain = Gain(mean, se, mean / se, 5)
    strict = check_champion(rules(noise_floor=f"min_t = {high!r}"), gain)
    loose = check_champion(rules(noise_floor=f"min_t = {low!r}"), gain)
    assert len(blocking(loose)) <= len(blocking(strict))


@given(NUMBERS, NUMBERS, st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=5))
def test_wider_blend_thresholds_never_forbid_more(a: float, b: float, facts: list[tuple[float, float]]) -> None:
    low, high = sorted((a, b))
    members = [BlendMember(f"M{j}", score) for j, (score, _) in enumerate(facts)]
    pairs = {(f"M{j}", f"M{j + 1}"): rho for j, (_, rho) in enumerate(facts[:-1])}

    def forbidden(limit: float) -> set[str]:
        found = rules(diversity_threshold=f"max_gap = {limit!r}", stacking_correlation=f"max_correlation = {limit!r}")
        said = check_blend(found, members, correlations=pairs, best_score=1.0, direction="maximize", bounded=True)
        return {ruling.rule for ruling in blocking(said)}

    assert forbidden(high) <= forbidden(low)


@given(NUMBERS, NUMBERS, st.floats(0.8, 0.9), st.floats(0, 0.05))
def test_a_wider_gate_never_kills_more(a: float, b: float, score: float, noise: float) -> None:
    low, high = sorted((a / 10, b / 10))
    strict = gate(rules(diversity_threshold=f"max_gap = {low!r}"), score, noise=noise)
    loose = gate(rules(diversity_threshold=f"max_gap = {high!r}"), score, noise=noise)
    assert (loose.verdict, strict.verdict) != ("block", "pass")
