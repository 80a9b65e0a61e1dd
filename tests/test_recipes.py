"""The recipes: read without importing, rendered to files that stand alone, and hard to break."""

from __future__ import annotations

import ast
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.context import Context, context_values
from experiments.errors import UsageError
from experiments.recipes.catalog import Recipe, catalog, get_recipe, read_recipe
from experiments.spec import Columns, Spec, TaskType

FAMILIES = [recipe.family for recipe in catalog()]
TASKS: list[TaskType] = ["binary", "multiclass", "regression"]
METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
SMALL: dict[str, dict[str, Any]] = {
    "lightgbm": {"max_rounds": 25, "patience": 5},
    "xgboost": {"max_rounds": 25, "patience": 5},
    "catboost": {"max_rounds": 15, "patience": 5},
    "extra_trees": {"trees": 20, "leaves": [3]},
    "mlp": {"epochs": 4, "members": 2, "layers": [16]},
    "kernel": {"penalties": [0.1], "scalings": ["standard"]},
    "linear": {"strengths": [0.3, 3.0]},
}
ALLOWED_IMPORTS = {"numpy", "pandas", "scipy", "sklearn", "lightgbm", "xgboost", "catboost"}


def messy(n: int, seed: int = 0) -> pd.DataFrame:
    """Every kind of column that a competition may hold."""
    rng = np.random.default_rng(seed)
    words = np.array(["red", "fast", "old house", "garden", "cheap", "large", "view of the lake"])
    stamps = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 500, n), unit="D")
    frame = pd.DataFrame(
        {
            "plain": rng.normal(size=n),
            "gaps": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
            "empty": np.full(n, np.nan),
            "constant": 7,
            "infinite": np.where(rng.random(n) < 0.05, np.inf, rng.normal(size=n)),
            "flag": rng.random(n) < 0.5,
            "count": rng.integers(0, 5, n),
            "colour": rng.choice(["red", "green", "blue"], n),
            "code": [f"id{k}" for k in rng.integers(0, n, n)],
            "maybe": pd.Series(rng.choice(["yes", "no"], n)).where(rng.random(n) < 0.8),
            "seen": [str(stamp.date()) for stamp in stamps],
            "story": [" ".join(rng.choice(words, 4)) for _ in range(n)],
        }
    )
    frame.loc[frame.index[:3], ["seen", "story"]] = None
    return frame


COLUMNS = Columns(
    features=tuple(messy(1).columns),
    numeric=("plain", "gaps", "empty", "constant", "infinite", "flag", "count"),
    categorical=("colour", "code", "maybe"),
    text=("story",),
    datetime=("seen",),
    target="goal",
)


def goal(frame: pd.DataFrame, task: TaskType) -> np.ndarray:
    signal = frame["plain"] + (frame["colour"] == "red") + 0.3 * np.random.default_rng(9).normal(size=len(frame))
    if task == "regression":
        return signal.to_numpy(float)
    cuts = [0.3] if task == "binary" else [-0.3, 0.6]
    return np.digitize(signal, cuts).astype(np.int32)


class Fold:
    """A fold of messy rows; validation and test hold levels that training does not."""

    def __init__(self, task: TaskType, n: int = 120, seconds: float = 60.0, metric: str = "") -> None:
        self.train, self.valid, self.test = messy(n), messy(31, seed=1), messy(17, seed=2)
        self.valid.loc[self.valid.index[:2], "colour"] = "violet"
        self.test["maybe"] = "unheard of"
        y = goal(self.train, task)
        classes = None if task == "regression" else ["a", "b", "c", "d"][: 2 if task == "binary" else 4]
        direction: Any = "maximize" if task == "binary" else "minimize"
        strategy: Any = "kfold" if task == "regression" else "stratified"
        spec = Spec("c", task, metric or METRICS[task], direction, "goal", cv_strategy=strategy)
        values = context_values(spec, COLUMNS, classes, fold=0, n_folds=5, threads=1)
        self.train["goal"] = y
        self.train.index = pd.Index(np.arange(n) * 3)
        self.ctx = Context(values, y=y, deadline=time.monotonic() + seconds, scratch=Path())
        self.outputs = 4 if task == "multiclass" else 1

    def use_target(self, y: np.ndarray) -> None:
        """Another target than the usual one."""
        self.train["goal"] = y
        self.ctx._y = y

    def check(self, valid: np.ndarray, test: np.ndarray) -> None:
        """Shapes and values as the engine asks for them."""
        for part, rows in ((valid, len(self.valid)), (test, len(self.test))):
            assert part.shape == ((rows, self.outputs) if self.outputs > 1 else (rows,))
            assert np.isfinite(part).all()
            if self.outputs > 1:
                np.testing.assert_allclose(part.sum(axis=1), 1, atol=1e-5)
            if self.ctx.task_type != "regression":
                assert part.min() >= 0
                assert part.max() <= 1 + 1e-6


def run(code: str, fold: Fold) -> tuple[np.ndarray, np.ndarray]:
    """Run an experiment file as a worker would."""
    names: dict[str, Any] = {"__name__": "experiment"}
    exec(compile(code, "experiment.py", "exec"), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        valid, test = names["fit_predict"](fold.train.copy(), fold.valid.copy(), fold.test.copy(), fold.ctx)
    return np.asarray(valid), np.asarray(test)


def suits(recipe: Recipe, task: TaskType) -> bool:
    return task in recipe.tasks


def test_the_catalogue_is_read_without_importing_a_learner() -> None:
    import subprocess

    code = "import sys; from experiments.recipes.catalog import catalog; catalog(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not ALLOWED_IMPORTS & set(loaded)


def test_the_catalogue_holds_each_family_once_in_its_order() -> None:
    assert {"lightgbm", "xgboost", "catboost", "extra_trees", "linear", "mlp"} <= set(FAMILIES)
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert [recipe.order for recipe in catalog()] == sorted(recipe.order for recipe in catalog())
    assert get_recipe("lightgbm").label == "LightGBM"
    with pytest.raises(UsageError, match="no recipe for family 'lightgmb'"):
        get_recipe("lightgmb")


@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_a_rendered_recipe_stands_alone(recipe: Recipe) -> None:
    for params in ({}, *(variant.params for variant in recipe.variants)):
        code = recipe.render(params)
        tree = ast.parse(code)
        modules = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert modules - sys.stdlib_module_names <= ALLOWED_IMPORTS
        assert "experiments" not in code
        assert "RECIPE" not in code
        assert ast.get_docstring(tree)
        assert code == recipe.render(dict(params))
        names: dict[str, Any] = {}
        exec(compile(ast.Module([n for n in tree.body if _is_params(n)], []), "x", "exec"), names)
        assert names["PARAMS"] == recipe.merged(params)


def _is_params(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARAMS"


def test_rendering_names_what_differs_from_the_defaults_and_refuses_unknown_parameters() -> None:
    recipe = get_recipe("lightgbm")
    assert "num_leaves = 7" in recipe.render({"num_leaves": 7})
    assert recipe.key({}) == recipe.key({"num_leaves": recipe.params["num_leaves"]})
    assert recipe.key({}) != recipe.key({"num_leaves": 7})
    with pytest.raises(UsageError, match="no parameter 'num_leafs'") as caught:
        recipe.render({"num_leafs": 7})
    assert "num_leaves" in caught.value.hint


def test_a_file_without_the_literals_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text("def fit_predict(train, valid, test, ctx): ...\n")
    with pytest.raises(UsageError, match=r"bare\.py is not a recipe"):
        read_recipe(path)


def test_every_variant_changes_something_and_says_why() -> None:
    for recipe in catalog():
        names = [variant.name for variant in recipe.variants]
        assert len(set(names)) == len(names)
        for variant in recipe.variants:
            assert recipe.key(variant.params) != recipe.key({})
            assert variant.kind in ("model", "tune")
            assert variant.idea
            assert variant.hypothesis
            json.dumps(variant.params)


def test_cost_grows_with_rows_columns_and_classes() -> None:
    for recipe in catalog():
        small = recipe.cost.estimate(1_000, 10, 1)
        assert 0 < small <= recipe.cost.estimate(50_000, 10, 1) <= recipe.cost.estimate(50_000, 200, 20)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_a_recipe_copes_with_every_kind_of_column(recipe: Recipe, task: TaskType) -> None:
    if not suits(recipe, task):
        pytest.skip(f"{recipe.family} does not do {task}")
    fold = Fold(task)
    fold.check(*run(recipe.render(SMALL[recipe.family]), fold))


@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_a_recipe_learns(recipe: Recipe) -> None:
    """On plain numbers every family orders the classes far better than chance."""
    fold = Fold("binary", n=300)
    params = {**SMALL[recipe.family], **({"epochs": 30} if recipe.family == "mlp" else {})}
    valid, _ = run(recipe.render(params), fold)
    y = goal(fold.valid, "binary")
    assert valid[y == 1].mean() > valid[y == 0].mean() + 0.1


@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_a_recipe_answers_when_hardly_any_time_is_left(recipe: Recipe) -> None:
    fold = Fold("multiclass", seconds=0.05)
    fold.check(*run(recipe.render({}), fold))


@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_a_class_that_training_rows_lack_gets_no_probability(recipe: Recipe) -> None:
    fold = Fold("multiclass")
    y = fold.train["goal"].to_numpy().copy()
    y[y == 0] = 3
    fold.use_target(y)
    valid, test = run(recipe.render(SMALL[recipe.family]), fold)
    fold.check(valid, test)
    assert valid[:, 0].max() == 0
    fold.use_target(np.full(len(y), 2, dtype=np.int32))
    valid, _ = run(recipe.render(SMALL[recipe.family]), fold)
    np.testing.assert_array_equal(valid[:, 2], 1)


@pytest.mark.parametrize("recipe", catalog(), ids=FAMILIES)
def test_predictions_for_rmsle_and_mae_suit_the_metric(recipe: Recipe) -> None:
    for metric in ("rmsle", "mae"):
        fold = Fold("regression", metric=metric)
        fold.use_target(np.exp(3 * goal(fold.train, "regression")))
        valid, test = run(recipe.render(SMALL[recipe.family]), fold)
        fold.check(valid, test)
        if metric == "rmsle":
            assert valid.min() >= 0


@pytest.mark.parametrize("family", ["lightgbm", "extra_trees", "catboost", "xgboost"])
def test_feature_variants_run(family: str) -> None:
    recipe = get_recipe(family)
    for variant in recipe.variants:
        if variant.kind == "model":
            fold = Fold("binary")
            fold.check(*run(recipe.render({**SMALL[family], **variant.params}), fold))


def test_one_row_per_class_and_columns_without_information_are_enough() -> None:
    for recipe in catalog():
        fold = Fold("binary", n=12)
        for frame in (fold.train, fold.valid, fold.test):
            for name in COLUMNS.features:
                frame[name] = "x" if name in COLUMNS.categorical + COLUMNS.text + COLUMNS.datetime else 1.0
        fold.use_target(np.array([0, 1] * 6, dtype=np.int32))
        fold.check(*run(recipe.render(SMALL[recipe.family]), fold))
