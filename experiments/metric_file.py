"""A metric of one's own: ``metric.py`` in a workspace.

    NAME = "within_10_percent"      # what config.json calls it
    DIRECTION = "maximize"          # or "minimize"
    PREDICTION = "value"            # or "ranking", "probability", "label", "top_k"
    TASKS = ("regression",)         # optional: value -> regression, top_k -> multiclass, else binary and multiclass
    BOUNDED = True                  # optional: scores lie in [0, 1]
    FLOOR = 0.0                     # optional, with PREDICTION "value": lower predictions are raised to it
    K = 3                           # only with PREDICTION "top_k"

    def score(y_true, y_pred):
        return float((abs(y_pred - y_true) <= 0.1 * abs(y_true)).mean())

``y_true`` is (n,): class codes 0..K-1 (int64) or numbers (float64). ``y_pred`` is float64 (n,) or, for K classes,
(n, K); codes (n,) with PREDICTION "label", codes (n, K) with "top_k". Both are copies, for ``score`` to change as
it likes. The constants are literals: they are read without running the file, which runs only when something is
scored, in the engine. The file stands alone: it cannot import its neighbours.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from experiments.errors import MetricError
from experiments.jail import read_text
from experiments.metrics import Metric, Prediction, builtin_called, normal_name
from experiments.spec import Direction, TaskType

_HINT = "a metric.py holds NAME, DIRECTION, PREDICTION and score(y_true, y_pred)"
_TASKS = {"value": ("regression",), "top_k": ("multiclass",)}
_CONSTANTS = ("NAME", "DIRECTION", "PREDICTION", "TASKS", "BOUNDED", "FLOOR", "K")
_MODULE = "autokaggle_workspace_metric"


def declare_metric(path: Path) -> Metric:
    """Read what a metric.py declares, without running it: all but a working ``score``.

    Raises:
        MetricError: The file cannot be read or parsed, a constant is missing or wrong, or the name is taken.
    """
    return _declared(path, _parse(path, _read(path)))


def refuse_builtin_name(path: Path) -> None:
    """Check that a metric.py whose metric is not asked for does not call it like a built-in one.

    Raises:
        MetricError: It does, or the file cannot be read or parsed.
    """
    name = _constants(path, _parse(path, _read(path)), ("NAME",)).get("NAME")
    if isinstance(name, str):
        _check_free(path, name)


def load_metric(path: Path) -> Metric:
    """Run a metric.py and return its metric; whatever its ``score`` raises becomes a MetricError.

    Raises:
        MetricError: As ``declare_metric``, the file fails when run, or ``score`` does not take two arguments.
    """
    source = _read(path)
    tree = _parse(path, source)
    metric = _declared(path, tree)
    module = ModuleType(_MODULE)
    module.__file__ = str(path)
    # Dataclasses and pickles defined in the file look their module up by name.
    sys.modules[_MODULE] = module
    try:
        exec(compile(tree, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise MetricError(f"{path}{_line(error, path)}: {_described(error)}", hint=_HINT) from error
    function = module.__dict__.get("score")
    if not callable(function):
        raise MetricError(f"{path}: score is not a function", hint=_HINT)
    _check_signature(path, function)
    return replace(metric, function=_guarded(path, function))


def _check_signature(path: Path, function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # Some functions written in C do not tell theirs.
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise MetricError(f"{path}: score{signature} cannot be called with two values: {error}", hint=_HINT) from None


def _guarded(path: Path, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], float]:
    def score(y_true: Any, y_pred: Any) -> float:
        try:
            value = function(y_true, y_pred)
        except (Exception, SystemExit) as error:
            raise MetricError(f"{path}{_line(error, path)}: score failed: {_described(error)}") from error
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise MetricError(f"{path}: score must return a number, not {type(value).__name__}") from error

    return score


def _read(path: Path) -> str:
    try:
        return read_text(path, links=True, encoding="utf-8-sig")
    except OSError as error:
        raise MetricError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MetricError(f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error


def _parse(path: Path, source: str) -> ast.Module:
    try:
        return ast.parse(source, str(path))
    except SyntaxError as error:
        raise MetricError(f"{path}, line {error.lineno}: {error.msg}", hint=_HINT) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise MetricError(f"{path} is not Python: {error}", hint=_HINT) from error


def _declared(path: Path, tree: ast.Module) -> Metric:
    constants = _constants(path, tree, _CONSTANTS)
    if not any(isinstance(node, ast.FunctionDef) and node.name == "score" for node in tree.body):
        raise MetricError(f"{path}: there is no function score(y_true, y_pred)", hint=_HINT)
    name = constants.get("NAME")
    if not isinstance(name, str) or not normal_name(name):
        raise MetricError(f"{path}: NAME must be the metric's name, in quotes", hint=_HINT)
    _check_free(path, name)
    prediction = _one_of(path, constants, "PREDICTION", get_args(Prediction))
    given = constants.get("TASKS", _TASKS.get(prediction, ("binary", "multiclass")))
    tasks = [given] if isinstance(given, str) else given
    if not isinstance(tasks, (tuple, list)) or not tasks or any(t not in get_args(TaskType) for t in tasks):
        raise MetricError(f"{path}: TASKS must name some of {', '.join(get_args(TaskType))}", hint=_HINT)
    k = constants.get("K")
    if (prediction == "top_k") != (type(k) is int and k > 0):
        raise MetricError(f'{path}: K, a whole number above 0, goes with PREDICTION = "top_k"', hint=_HINT)
    floor = constants.get("FLOOR")
    if floor is not None and (prediction != "value" or type(floor) not in (int, float)):
        raise MetricError(f'{path}: FLOOR is a number, and goes with PREDICTION = "value"', hint=_HINT)
    bounded = constants.get("BOUNDED", False)
    if type(bounded) is not bool:
        raise MetricError(f"{path}: BOUNDED must be True or False", hint=_HINT)
    return Metric(
        name=name.strip(),
        direction=_one_of(path, constants, "DIRECTION", get_args(Direction)),
        tasks=frozenset(tasks),
        prediction=prediction,
        bounded=bounded,
        k=k,
        floor=None if floor is None else float(floor),
    )


def _constants(path: Path, tree: ast.Module, names: tuple[str, ...]) -> dict[str, Any]:
    """What the file's top level assigns to these names."""
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in names:
                try:
                    found[target.id] = ast.literal_eval(value)
                except (ValueError, TypeError, RecursionError) as error:
                    raise MetricError(
                        f"{path}, line {node.lineno}: {target.id} must be a literal", hint=_HINT
                    ) from error
    return found


def _one_of(path: Path, constants: dict[str, Any], key: str, allowed: tuple[Any, ...]) -> Any:
    value = constants.get(key)
    if value not in allowed:
        names = ", ".join(f'"{a}"' for a in allowed)
        raise MetricError(f"{path}: {key} must be one of {names}", hint=_HINT)
    return value


def _check_free(path: Path, name: str) -> None:
    if (taken := builtin_called(name)) is not None:
        raise MetricError(
            f"{path}: NAME {name!r} is the built-in metric {taken}", hint="choose another name, or remove the file"
        )


def _line(error: BaseException, path: Path) -> str:
    """``, line N`` of the innermost frame inside the file, or nothing."""
    line = ""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            line = f", line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
