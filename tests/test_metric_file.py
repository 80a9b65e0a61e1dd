"""metric.py: a metric of the workspace's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments.errors import MetricError
from experiments.metrics import (
    describe_metric,
    get_metric,
)

# Scoring warns of nothing: degenerate rows have a defined score, or are refused.
pytestmark = pytest.mark.filterwarnings("error")


WITHIN = '''
"""Share of predictions within ten percent."""
import numpy as np

NAME = "within_10_percent"
DIRECTION = "maximize"
PREDICTION = "value"
BOUNDED = True

def score(y_true, y_pred):
    return np.mean(np.abs(y_pred - y_true) <= 0.1 * np.abs(y_true))
'''


def written(folder: Path, text: str) -> Path:
    path = folder / "metric.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_metric_file_adds_a_metric(tmp_path: Path) -> None:
    path = written(tmp_path, WITHIN)
    metric = get_metric("Within 10 percent", metric_file=path)
    assert (metric.name, metric.direction, metric.tasks) == (
        "within_10_percent",
        "maximize",
        frozenset({"regression"}),
    )
    assert metric.bounded
    assert metric.score([10.0, 10.0, 10.0], [10.5, 12.0, np.nan], mask=np.array([True, True, False])) == 0.5
    assert get_metric("rmse", metric_file=path).name == "rmse"
    assert list(tmp_path.iterdir()) == [path]


def test_a_metric_file_gets_labels_codes_and_top_classes_as_it_asks(tmp_path: Path) -> None:
    label = "NAME='own'\nDIRECTION='maximize'\nPREDICTION='label'\ndef score(t, p): return (t == p).mean()\n"
    assert get_metric("own", metric_file=written(tmp_path, label)).score([0, 1], [0.2, 0.9]) == 1.0
    top = (
        "NAME='hit'\nDIRECTION='maximize'\nPREDICTION='top_k'\nK=2\n"
        "def score(t, p): return (p == t[:, None]).any(axis=1).mean()\n"
    )
    metric = get_metric("hit", metric_file=written(tmp_path, top))
    assert metric.tasks == {"multiclass"}
    assert metric.score([0, 1], [[0.5, 0.3, 0.2], [0.5, 0.1, 0.4]]) == 0.5


def test_a_score_function_may_change_what_it_is_given(tmp_path: Path) -> None:
    text = """NAME='own'; DIRECTION='maximize'; PREDICTION='ranking'; TASKS=('binary', 'regression')
def score(t, p):
    t[:] = p[:] = 7
    return 1
"""
    metric = get_metric("own", metric_file=written(tmp_path, text))
    for y, p in (
        (np.array([0, 1]), np.array([0.25, 0.75])),
        (np.array([0.5, 1.5]), np.array([0.25, 0.75])),
    ):
        expected = y.tolist(), p.tolist()
        assert metric.score(y, p) == metric.score(y, p, mask=np.array([True, True])) == 1.0
        assert (y.tolist(), p.tolist()) == expected
        # Also where neither may be written to, as in an array mapped from a file.
        y.flags.writeable = p.flags.writeable = False
        assert metric.score(y, p) == 1.0


@pytest.mark.parametrize("name", ["rmse", "R-MSE", "AUC", "map", "MAP@3", "neg_log_loss"])
@pytest.mark.parametrize("asked", ["rmse", "own"])
def test_a_metric_file_cannot_take_a_built_in_name(tmp_path: Path, name: str, asked: str) -> None:
    path = written(
        tmp_path, f"NAME = '{name}'\nDIRECTION = 'minimize'\nPREDICTION = 'value'\ndef score(t, p): return 0\n"
    )
    for find in (get_metric, describe_metric):
        with pytest.raises(MetricError, match=f"metric.py: NAME '{name}' is the built-in metric") as error:
            find(asked, metric_file=path)
        assert "choose another name" in error.value.hint


def test_a_script_that_names_no_metric_leaves_the_built_in_ones_alone(tmp_path: Path) -> None:
    assert get_metric("rmse", metric_file=written(tmp_path, "NAMES = open('x')\n")).name == "rmse"
    with pytest.raises(MetricError, match="line 1"):
        get_metric("rmse", metric_file=written(tmp_path, "NAME =\n"))


@pytest.mark.parametrize(
    "arguments", ["", "y_true", "y_true, y_pred, weight", "*, y_true, y_pred", "y_true, *, y_pred"]
)
def test_a_score_that_does_not_take_two_arguments_is_told_when_loaded(tmp_path: Path, arguments: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score({arguments}): return 0\n"
    with pytest.raises(MetricError) as error:
        get_metric("own", metric_file=written(tmp_path, text))
    assert f"metric.py: score({arguments}) cannot be called with two values" in error.value.message


@pytest.mark.parametrize("arguments", ["t, p", "t, p, weight=None", "*both", "t, /, p"])
def test_a_score_that_takes_two_arguments_is_loaded(tmp_path: Path, arguments: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score({arguments}): return 0\n"
    assert get_metric("own", metric_file=written(tmp_path, text)).score([1.0], [2.0]) == 0.0
    wrapped = text + "import functools\nscore = functools.partial(score)\n"
    assert get_metric("own", metric_file=written(tmp_path, wrapped)).score([1.0], [2.0]) == 0.0


def test_a_metric_file_is_described_without_running_it(tmp_path: Path) -> None:
    path = written(tmp_path, "raise SystemExit('ran')\n" + WITHIN)
    assert describe_metric("within_10_percent", metric_file=path).direction == "maximize"
    with pytest.raises(MetricError, match="line 1: SystemExit: ran"):
        get_metric("within_10_percent", metric_file=path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def score(:", "line 1"),
        ("NAME = 'a'\nDIRECTION = 'maximize'\nPREDICTION = 'value'\n", "no function score"),
        (WITHIN.replace('"within_10_percent"', "3"), "NAME must be"),
        (WITHIN.replace('"within_10_percent"', "'--'"), "NAME must be"),
        (WITHIN.replace('"within_10_percent"', '"AUC"'), "built-in metric roc_auc"),
        (WITHIN.replace('"within_10_percent"', "str(1)"), "line 5: NAME must be a literal"),
        (WITHIN.replace('"maximize"', '"up"'), 'DIRECTION must be one of "maximize", "minimize"'),
        (WITHIN.replace('"value"', '"score"'), "PREDICTION must be one of"),
        (WITHIN.replace('"value"', '"top_k"'), "K, a whole number"),
        (WITHIN + "\nK = 3\n", "K, a whole number"),
        (WITHIN + "\nTASKS = ('detection',)\n", "TASKS must name"),
        (WITHIN + "\nTASKS = [['binary']]\n", "TASKS must name"),
        (WITHIN + "\nFLOOR = 'zero'\n", "FLOOR is a number"),
        (WITHIN + "\nBOUNDED = 1\n", "BOUNDED must be"),
        (WITHIN + "\nimport nowhere_at_all\n", "line 13: ModuleNotFoundError"),
        (WITHIN + "\nscore = 3\n", "score is not a function"),
    ],
)
def test_a_wrong_metric_file_says_what_is_wrong(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(MetricError, match=reason):
        get_metric("within_10_percent", metric_file=written(tmp_path, text))


def test_a_metric_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "metric.py"
    path.write_bytes(b"NAME = '\xff'\n")
    with pytest.raises(MetricError, match="not UTF-8"):
        get_metric("own", metric_file=path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return 1 / 0", "line 3: score failed: ZeroDivisionError"),
        ("return 'high'", "must return a number, not str"),
        ("return float('nan')", "undefined on these 2 rows"),
    ],
)
def test_a_failing_score_function_is_a_metric_error(tmp_path: Path, body: str, reason: str) -> None:
    text = f"NAME='own'; DIRECTION='minimize'; PREDICTION='value'\ndef score(t, p):\n    {body}\n"
    metric = get_metric("own", metric_file=written(tmp_path, text))
    with pytest.raises(MetricError, match=reason):
        metric.score([1.0, 2.0], [1.0, 2.0])


def test_the_name_in_a_metric_file_is_offered_when_it_is_near(tmp_path: Path) -> None:
    with pytest.raises(MetricError, match="did you mean within_10_percent"):
        get_metric("within_10_percnt", metric_file=written(tmp_path, WITHIN))
