"""The recipes as data: read by ``ast``, never imported, rendered to self-contained experiment files.

A recipe is a module of this package with a docstring, a ``RECIPE`` literal (what a strategist needs to
know), a ``PARAMS`` literal (its defaults) and ``fit_predict``. It may import names from the helper modules
beside it (those whose file name starts with an underscore); rendering copies in just what is used.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from experiments.errors import UsageError
from experiments.recipes._render import render_source

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Variant:
    """A named change of a recipe's parameters, with the reason to try it.

    Attributes:
        kind: ``model`` when it brings new features or another learner, ``tune`` when it only turns settings.
        needs: What must hold of the data: ``numeric2`` (two numeric columns), ``few_classes``, ``many_rows``,
            ``categorical``, ``text``, ``datetime``, ``missing``, ``high_cardinality``.
    """

    name: str
    kind: str
    params: Mapping[str, Any]
    idea: str
    hypothesis: str
    needs: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Cost:
    """How long one fold takes on one thread.

    Attributes:
        seconds: At 10,000 training rows, 20 feature columns and one output, all set-up included.
        rows: Exponent of rows / 10,000.
        features: Exponent of columns / 20.
        outputs: Exponent of the number of outputs (classes of a multiclass task, else 1).
        most: The recipe stops itself after about this many seconds.
    """

    seconds: float
    rows: float = 1.0
    features: float = 0.7
    outputs: float = 0.8
    most: float = 3600.0

    def estimate(self, rows: int, columns: int, outputs: int) -> float:
        """Seconds of one fold on one thread."""
        scale = (
            math.pow(max(rows, 500) / 10_000, self.rows)
            * math.pow(max(columns, 4) / 20, self.features)
            * math.pow(max(outputs, 1), self.outputs)
        )
        return min(self.seconds * scale, self.most)


@dataclass(frozen=True)
class Recipe:
    """One family of models.

    Attributes:
        order: Position in a campaign without any evidence: expected gain per second, best first.
        params: The defaults; a variant or a caller overrides some of them.
        source: Text of the recipe's module, not rendered.
    """

    family: str
    label: str
    order: int
    tasks: tuple[str, ...]
    idea: str
    hypothesis: str
    cost: Cost
    params: Mapping[str, Any]
    variants: tuple[Variant, ...]
    source: str = field(repr=False)

    def merged(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with ``params`` put over them.

        Raises:
            UsageError: A name that the recipe does not have.
        """
        for name in params:
            if name not in self.params:
                near = difflib.get_close_matches(name, self.params, n=1)
                known = ", ".join(self.params)
                raise UsageError(
                    f"recipe {self.family} has no parameter {name!r}.",
                    hint=f"Did you mean {near[0]!r}?" if near else f"It has: {known}.",
                )
        return {**self.params, **params}

    def render(self, params: Mapping[str, Any] | None = None) -> str:
        """A self-contained experiment file; the same parameters give the same text.

        Raises:
            UsageError: A parameter that the recipe does not have.
        """
        return render_source(self.source, self.merged(params or {}), self.params, _HERE)

    def key(self, params: Mapping[str, Any]) -> str:
        """What tells two configurations of this family apart."""
        return json.dumps(self.merged(params), sort_keys=True)


def _literals(tree: ast.Module, path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            name = node.target.id
            if name in ("RECIPE", "PARAMS"):
                found[name] = ast.literal_eval(node.value)
    if set(found) != {"RECIPE", "PARAMS"}:
        raise UsageError(f"{path.name} is not a recipe: it needs RECIPE and PARAMS, both plain literals.")
    return found["RECIPE"], found["PARAMS"]


def _variant(change: dict[str, Any]) -> Variant:
    lists: dict[str, Any] = {name: tuple(change[name]) for name in ("needs", "tasks") if name in change}
    return Variant(**{**change, **lists})


def read_recipe(path: Path) -> Recipe:
    """Read one recipe file without importing it.

    Raises:
        UsageError: RECIPE or PARAMS is missing, or a variant changes a parameter that PARAMS lacks.
    """
    source = path.read_text(encoding="utf-8")
    about, params = _literals(ast.parse(source), path)
    recipe = Recipe(
        family=about["family"],
        label=about["label"],
        order=about["order"],
        tasks=tuple(about["tasks"]),
        idea=about["idea"],
        hypothesis=about["hypothesis"],
        cost=Cost(**about["cost"]),
        params=params,
        variants=tuple(_variant(change) for change in about["variants"]),
        source=source,
    )
    for variant in recipe.variants:
        recipe.merged(variant.params)
    return recipe


@cache
def catalog() -> tuple[Recipe, ...]:
    """Every recipe of this package, best first for a campaign without evidence."""
    paths = (p for p in _HERE.glob("[a-z]*.py") if "RECIPE: dict" in p.read_text(encoding="utf-8"))
    recipes = [read_recipe(path) for path in sorted(paths) if path.name != "catalog.py"]
    return tuple(sorted(recipes, key=lambda recipe: (recipe.order, recipe.family)))


def get_recipe(family: str) -> Recipe:
    """The recipe of a family.

    Raises:
        UsageError: There is none.
    """
    for recipe in catalog():
        if recipe.family == family:
            return recipe
    known = ", ".join(recipe.family for recipe in catalog())
    raise UsageError(f"there is no recipe for family {family!r}.", hint=f"There are: {known}.")
