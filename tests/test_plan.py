"""Plans: what a front matter must hold, and that a plan survives being written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.plan import Plan, PlanError, PlanHeader, parse_plan

GOOD = """---
kind: model
family: lightgbm
hypothesis: target encoding recovers 400 levels
minutes: 4
---

# Why
"""


def test_a_plan_is_front_matter_and_a_body():
    plan = parse_plan(GOOD)
    assert (plan.header.kind, plan.header.family, plan.header.minutes) == ("model", "lightgbm", 4)
    assert plan.body == "# Why"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no matter", "does not start"),
        ("---\nkind: model", "not closed"),
        ("---\n- a\n---\n", "not a mapping"),
        ("---\na: [\n---\n", "not YAML"),
        (GOOD.replace("kind: model", "kind: magic"), "kind"),
        (GOOD.replace("minutes: 4", "minutes: -1"), "minutes"),
        (GOOD.replace("minutes: 4", "minuts: 4"), "minuts"),
        (GOOD.replace("family: lightgbm\n", ""), "family"),
    ],
)
def test_a_broken_plan_says_what_is_wrong(text: str, said: str):
    with pytest.raises(PlanError, match=said):
        parse_plan(text)


@given(
    idea=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=60),
    params=st.dictionaries(st.text("abc_", min_size=1), st.integers() | st.booleans() | st.floats(-1e9, 1e9)),
)
def test_writing_and_reading_gives_the_same_header(idea: str, params: dict):
    header = PlanHeader(kind="tune", family="catboost", hypothesis="h", idea=idea, params=params, parent="R01")
    assert parse_plan(Plan(header, "text").dump()).header == header


@given(st.text())
def test_any_text_is_a_plan_or_a_plan_error(text: str):
    for candidate in (text, f"---\n{text}\n---\n"):
        try:
            parse_plan(candidate)
        except PlanError as error:
            assert str(error)


def test_references_that_would_fill_the_memory_are_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    params = "\n".join(f"  {line}" for line in lines)
    with pytest.raises(PlanError, match="references"):
        parse_plan(GOOD.replace("minutes: 4", f"params:\n{params}"))
