"""The shipped prompts keep to what they tell the agents: names, rules, queries, plans and code that run."""

import re
import textwrap
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from agents.prompts import load_prompt
from agents.tools import TOOLS, Toolbox
from autokaggle_tui.loop.phasebook import PHASES, code_problem, opening_word, plan_problem
from backends.models.tasks import Role
from experiments.alignment import align_prediction
from experiments.context import Context, context_values
from experiments.learned import MOST_CHARACTERS, MOST_LEARNINGS, learnings_of
from experiments.learnings import Rules
from experiments.registry import Registry
from experiments.retro import next_experiments
from experiments.spec import Columns, Spec, TaskType

ROLES: tuple[Role, ...] = get_args(Role)
COMING = {"check_rules", "run_python", "preview_blend"}
WORDS = 1_800


def text_of(role: Role) -> str:
    return load_prompt(role, Path("nowhere")).text


def indented_after(text: str, heading: str) -> str:
    """The first indented block after a heading."""
    lines = text[text.index(f"## {heading}") :].splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("    "))
    block = []
    for line in lines[start:]:
        if line.strip() and not line.startswith("    "):
            break
        block.append(line)
    return textwrap.dedent("\n".join(block)).strip() + "\n"


EXAMPLES = re.findall(r"```python\n(.*?)```", text_of("builder"), re.DOTALL)
QUERIES = sorted({query for role in ROLES for query in re.findall(r"`(SELECT [^`]+)`", text_of(role))})


@pytest.mark.parametrize("role", ROLES)
def test_a_prompt_is_short_and_names_only_what_there_is(role: Role):
    text = text_of(role)
    assert len(text.split()) < WORDS
    named = set(re.findall(r"`([a-z0-9]+-[a-z-]+)`", text))
    assert named and named <= set(Rules.built_in().by_id)
    for tool in COMING - TOOLS.keys():
        # A tool that a version may lack is named under a condition.
        assert all("list of tools has" in sentence for sentence in re.split(r"\n\n|\n(?=- )", text) if tool in sentence)
    words = {word for spec in PHASES.values() if spec.role == role for word in spec.answers}
    assert all(word in text for word in words)


def test_every_attribute_of_ctx_exists():
    y = np.array([0, 1])
    ctx = Context(values("binary", ["no", "yes"]), y=y, scratch=Path())
    for name in set(re.findall(r"ctx\.([a-z_]+)", text_of("builder"))):
        assert hasattr(ctx, name), name
    roles = re.findall(r"`([a-z]+)`", re.search(r"`ctx\.columns`: ([^.]*)\.", text_of("builder"))[1])
    assert set(roles) == {"features", "numeric", "categorical", "text", "datetime", "group", "time"}


def test_the_plan_in_the_prompt_is_a_plan():
    assert plan_problem(indented_after(text_of("builder"), "RNN_plan.md")) == ""


def test_the_review_in_the_prompt_is_a_review():
    review = indented_after(text_of("reviewer"), "RNN_review.md")
    assert opening_word(review, PHASES["review"].answers) == "APPROVED"
    assert re.findall(r"^(\d)\.", review, re.MULTILINE) == list("123456")


def test_the_retrospective_in_the_prompt_feeds_the_plans_and_teaches():
    retro = indented_after(text_of("reviewer"), "RNN_retro.md")
    assert [(one.family, one.parent, one.minutes) for one in next_experiments(retro)] == [
        ("xgboost", "R04", 3),
        ("kernel", None, 5),
    ]
    [learned] = learnings_of(retro)
    assert learned.heading == "Target encoding of city pays in every family" and "t 2.1" in learned.evidence
    assert f"at most three of {MOST_CHARACTERS:,} characters" in text_of("reviewer") and MOST_LEARNINGS == 3


@pytest.mark.parametrize("query", QUERIES)
async def test_queries_in_the_prompts_run(query: str, tmp_path: Path):
    Registry(tmp_path / "autokaggle.db").close()
    box = Toolbox(tmp_path, tmp_path / "autokaggle.db", ("query_registry",))
    assert (await box.call("query_registry", f'{{"sql": "{query}"}}')).endswith('"rows": []}')


def values(task: TaskType, classes: list[str] | None) -> dict:
    spec = Spec("c", task, "log_loss", "minimize", "y", cv_strategy="kfold" if task == "regression" else "stratified")
    columns = Columns(("a", "b", "few", "many"), ("a", "b"), ("few", "many"), (), (), "y")
    return context_values(spec, columns, classes, fold=0, n_folds=5, threads=1)


def frame(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    number = rng.normal(size=rows)
    number[::17] = np.nan
    few = pd.Series(rng.choice(["x", "y", "z"], rows)).mask(rng.random(rows) < 0.1)
    # Some levels are new to the rows to predict.
    many = pd.Series([f"city {level}" for level in rng.integers(seed, 30 + seed, rows)])
    return pd.DataFrame({"a": number, "b": rng.normal(size=rows), "few": few, "many": many})


@pytest.mark.parametrize("task", get_args(TaskType))
@pytest.mark.parametrize("example", EXAMPLES, ids=["complete", "tuning"])
def test_the_worked_examples_learn(example: str, task: TaskType, tmp_path: Path):
    assert code_problem(example, "R01_experiment.py") == ""
    train, valid, test = (frame(rows, seed) for rows, seed in ((300, 0), (80, 5), (60, 9)))
    signal = [part["b"] + 0.3 * part["few"].eq("x") for part in (train, valid)]
    classes = None
    if task == "binary":
        classes = ["no", "yes"]
        targets = [(part > 0).astype(np.int32) for part in signal]
    elif task == "multiclass":
        # The third class is in no row of this fold.
        classes = ["low", "high", "absent", "top"]
        targets = [pd.Series(np.select([part < -0.5, part < 0.5], [0, 1], 3).astype(np.int32)) for part in signal]
    else:
        targets = signal
    train["y"] = targets[0]
    ctx = Context(values(task, classes), y=train["y"].to_numpy(), scratch=tmp_path, deadline=1e12)
    space: dict = {}
    exec(compile(example.replace("n_trials=30", "n_trials=3"), "R01_experiment.py", "exec"), space)
    said = space["fit_predict"](train, valid, test, ctx)
    outputs = 4 if task == "multiclass" else 1
    on_valid, _ = (
        align_prediction(part, rows.index, outputs, classes, task)
        for part, rows in zip(said, (valid, test), strict=True)
    )
    if task == "multiclass":
        assert not on_valid[:, 2].any()
        assert (on_valid.argmax(axis=1) == targets[1]).mean() > 0.6
    else:
        assert np.corrcoef(on_valid, targets[1])[0, 1] > 0.5


def test_the_complete_example_never_encodes_a_row_by_its_own_label():
    assert len(EXAMPLES) == 2
    space: dict = {}
    exec(EXAMPLES[0], space)
    parts = [frame(rows, seed) for rows, seed in ((300, 0), (80, 5), (60, 9))]
    # As many levels as rows: fitted on the rows that it encodes, it would be the label itself.
    parts[0]["many"] = [f"city {row}" for row in range(300)]
    y = pd.Series(np.random.default_rng(1).integers(0, 2, 300))
    ctx = Context(values("binary", ["no", "yes"]), y=y.to_numpy(), scratch=Path())
    made = space["features"](*parts, y, ctx)
    assert [list(part.columns) for part in made] == [["a", "b", "few", "target_0"]] * 3
    assert np.corrcoef(made[0]["target_0"], y)[0, 1] < 0.1
