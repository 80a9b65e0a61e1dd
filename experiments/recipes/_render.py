"""Turning a recipe module into one self-contained experiment file."""

from __future__ import annotations

import ast
import json
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = "experiments.recipes."


@dataclass(frozen=True)
class _Block:
    """A top-level definition: its text (comments above included) and the names it reads."""

    text: str
    uses: frozenset[str]


@dataclass(frozen=True)
class _Module:
    """A module taken apart.

    Attributes:
        imports: Statement by the name that it binds.
        blocks: Definition by name, in file order.
        helpers: Helper module by the name imported from it.
    """

    imports: Mapping[str, str]
    blocks: Mapping[str, _Block]
    helpers: Mapping[str, str]


def _names(node: ast.AST) -> frozenset[str]:
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _imports(node: ast.Import | ast.ImportFrom) -> Iterable[tuple[str, str]]:
    for alias in node.names:
        bound = (alias.asname or alias.name).split(".")[0]
        renamed = f" as {alias.asname}" if alias.asname else ""
        if isinstance(node, ast.Import):
            yield bound, f"import {alias.name}{renamed}"
        else:
            yield bound, f"from {node.module} import {alias.name}{renamed}"


def _with_comments(lines: list[str], node: ast.stmt) -> str:
    """Source of a definition with its decorators and the comment lines right above it."""
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    while start > 0 and lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(lines[start : node.end_lineno])


@cache
def _take_apart(source: str) -> _Module:
    imports: dict[str, str] = {}
    blocks: dict[str, _Block] = {}
    helpers: dict[str, str] = {}
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_PACKAGE):
            helper = (node.module or "").removeprefix(_PACKAGE)
            helpers.update({alias.name: helper for alias in node.names})
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if getattr(node, "module", "") != "__future__":
                imports.update(_imports(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            blocks[node.name] = _Block(_with_comments(lines, node), _names(node))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                blocks[target.id] = _Block(_with_comments(lines, node), _names(node) - {target.id})
    return _Module(imports, blocks, helpers)


def _gather(module: _Module, wanted: Iterable[str], folder: Path, chosen: dict[str, str], imports: set[str]) -> None:
    """Add to ``chosen`` what ``wanted`` needs, each definition after those it was written below."""
    todo, needed = list(wanted), set[str]()
    while todo:
        name = todo.pop()
        if name in module.blocks and name not in needed:
            needed.add(name)
            todo.extend(module.blocks[name].uses)
        elif name in module.imports:
            imports.add(module.imports[name])
        elif name in module.helpers:
            helper = _take_apart((folder / f"{module.helpers[name]}.py").read_text(encoding="utf-8"))
            _gather(helper, [name], folder, chosen, imports)
    for name, block in module.blocks.items():
        if name in needed:
            chosen[name] = block.text


def _import_lines(imports: set[str]) -> str:
    """Import statements in the order of a linter: standard library first, then the rest."""

    def module(statement: str) -> str:
        return statement.split()[1]

    def order(statement: str) -> tuple[bool, bool, str]:
        outside = module(statement).split(".")[0] not in sys.stdlib_module_names
        return outside, statement.startswith("from"), statement.lower()

    merged: dict[str, list[str]] = {}
    for statement in sorted(imports, key=order):
        head, _, names = statement.partition(" import ")
        merged.setdefault(statement if statement.startswith("import ") else head, []).append(names)
    lines = [head if head.startswith("import ") else _from_line(head, names) for head, names in merged.items()]
    inside = [line for line in lines if module(line).split(".")[0] in sys.stdlib_module_names]
    outside = [line for line in lines if line not in inside]
    return "\n\n".join("\n".join(part) for part in (inside, outside) if part)


def _from_line(head: str, names: list[str]) -> str:
    line = f"{head} import {', '.join(names)}"
    return line if len(line) <= 110 else f"{head} import (\n    " + ",\n    ".join(names) + ",\n)"


def _literal(value: Any) -> str:
    """A Python literal with double quotes, as a formatter would leave it."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _header(doc: str, params: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    changed = [f"{name} = {value!r}" for name, value in params.items() if value != defaults[name]]
    note = "The recipe's defaults."
    if changed:
        note = textwrap.fill("Other than the recipe's defaults: " + ", ".join(changed) + ".", 100)
    return '"""' + doc.strip().replace("\\", "\\\\") + "\n\n" + note.replace("\\", "\\\\") + '\n"""'


def render_source(source: str, params: Mapping[str, Any], defaults: Mapping[str, Any], folder: Path) -> str:
    """Write the experiment file of a recipe.

    Args:
        source: The recipe's module.
        params: Complete parameters, put in place of the ``PARAMS`` literal.
        defaults: What the literal holds in ``source``.
        folder: Where the helper modules are.
    """
    module = _take_apart(source)
    chosen: dict[str, str] = {}
    imports: set[str] = set()
    _gather(module, ["PARAMS", "fit_predict"], folder, chosen, imports)
    lines = [f"    {json.dumps(name)}: {_literal(value)}," for name, value in params.items()]
    chosen["PARAMS"] = "\n".join(["PARAMS = {", *lines, "}"])
    first = {"PARAMS": chosen.pop("PARAMS")}
    doc = ast.get_docstring(ast.parse(source)) or ""
    parts = [_header(doc, params, defaults), "from __future__ import annotations", _import_lines(imports)]
    head = "\n\n".join(parts)
    blocks = [*first.values(), *chosen.values()]
    return head + "\n\n" + "\n\n\n".join(blocks) + "\n"
