"""ctx: what an experiment is told and the helpers it has; the log it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.context import Context, context_values
from experiments.logtext import LineReader
from experiments.spec import Columns, CvStrategy, Spec, TaskType
from experiments.text import clean

SPEC = Spec("c", "binary", "auc_roc", "maximize", "y", cv_strategy="stratified")
COLUMNS = Columns(("a",), ("a",), (), (), (), "y")


def context(y: np.ndarray, strategy: CvStrategy, task: TaskType = "binary", **more: Any) -> Context:
    spec = replace(SPEC, cv_strategy=strategy, task_type=task)
    classes = None if task == "regression" else [f"c{k}" for k in range(int(y.max()) + 1)]
    values = context_values(spec, COLUMNS, classes, fold=0, n_folds=5, threads=1)
    return Context(json.loads(json.dumps(values)), y=y, scratch=Path(), **more)


@pytest.mark.parametrize("strategy", ["kfold", "stratified", "group", "stratified_group", "time"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_inner_split_follows_the_strategy(strategy: CvStrategy, task: TaskType) -> None:
    rng = np.random.default_rng(0)
    y = rng.random(400) if task == "regression" else rng.integers(0, 2 + (task == "multiclass"), 400)
    groups, times = rng.integers(0, 30, 400), rng.permutation(400)
    ctx = context(y, strategy, task, groups=groups, times=times)
    fit, evaluate = ctx.inner_split(4)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, evaluate])), np.arange(400))
    assert 60 <= len(evaluate) <= 140
    if "group" in strategy:
        assert not set(groups[fit]) & set(groups[evaluate])
    if strategy == "time":
        assert times[fit].max() < times[evaluate].min()
    if strategy in ("kfold", "stratified") and task != "regression":
        assert abs(y[evaluate].mean() - y.mean()) < 0.02
    again = ctx.inner_split(4)
    np.testing.assert_array_equal(again[1], evaluate)


def test_inner_split_keeps_a_class_of_one_row_where_models_learn_it() -> None:
    y = np.array([0] * 30 + [1] * 30 + [2], dtype=np.int32)
    fit, _ = context(y, "stratified", "multiclass").inner_split()
    assert 60 in fit


def test_inner_split_falls_back_where_the_rows_do_not_allow_the_strategy() -> None:
    y = np.arange(20, dtype=np.int32)
    for ctx in (
        context(y, "stratified", "multiclass"),
        context(np.arange(20.0), "group", "regression", groups=np.zeros(20, dtype=int)),
        context(np.arange(20.0), "time", "regression", times=np.zeros(20, dtype=int)),
        context(np.arange(20.0), "group", "regression", groups=np.arange(20) // 10),
        context(np.arange(2.0), "kfold", "regression"),
    ):
        fit, evaluate = ctx.inner_split()
        assert len(fit) and len(evaluate)
    with pytest.raises(ValueError, match="at least 2"):
        context(y, "kfold", "multiclass").inner_split(1)


def test_align_fills_absent_classes() -> None:
    ctx = context(np.array([0, 1, 2, 3]), "stratified", "multiclass")
    aligned = ctx.align([[0.25, 0.75]], [3, 1])
    np.testing.assert_array_equal(aligned, [[0, 0.75, 0, 0.25]])
    np.testing.assert_array_equal(ctx.align(np.array([[0.5, 0.5]]), np.array([0.0, 2.0])), [[0.5, 0, 0.5, 0]])
    with pytest.raises(ValueError, match=r"codes 0\.\.3"):
        ctx.align([[1.0]], [4])
    with pytest.raises(ValueError, match="proba has shape"):
        ctx.align([[1.0]], [0, 1])


def test_report_sends_what_json_can_hold_and_no_more() -> None:
    sent: list[bytes] = []
    ctx = context(np.array([0, 1]), "stratified", send=sent.append)
    ctx.report(score=np.float32(0.5), best={"a": np.int64(3), "b": [1, float("nan")]}, what=object)
    ctx.report(huge="x" * 10_000, many=list(range(1000)))
    first = json.loads(sent[0])["report"]
    assert first["score"] == 0.5 and first["best"] == {"a": 3, "b": [1, None]}
    assert all(len(line) < 4096 and line.endswith(b"\n") for line in sent)
    for _ in range(2000):
        ctx.report(step=1)
    assert len(sent) == 1000


def test_context_carries_the_facts() -> None:
    values = context_values(SPEC, COLUMNS, ["no", "yes"], fold=2, n_folds=5, threads=3)
    ctx = Context(values, y=np.array([0, 1]), scratch=Path("s"), deadline=0.0)
    assert (ctx.fold, ctx.n_folds, ctx.threads, ctx.seed, ctx.metric) == (2, 5, 3, 42, "auc_roc")
    assert ctx.columns == COLUMNS and ctx.classes == ["no", "yes"] and ctx.time_left() == 0


def test_log_lines_lose_terminal_sequences() -> None:
    assert clean("\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07 \x9b tab\there") == "red bell  tab\there"


def test_a_progress_bar_leaves_its_last_state() -> None:
    reader = LineReader()
    assert reader.feed(b"\r 10%\r 20%\r100%\nnext\r\n") == ["100%", "next"]
    for step in range(5000):
        assert reader.feed(b"\r%d of many steps" % step) == []
    assert reader.close() == ["4999 of many steps"]


def test_lines_are_cut_in_length_number_and_total() -> None:
    reader = LineReader(line_chars=10, max_lines=3)
    assert reader.feed(b"0123456789abc") == []
    assert reader.feed(b"def\nshort\n" + b"x" * 1000 + b"\nfourth\nfif") == [
        "012345678…",
        "short",
        "xxxxxxxxx…",
    ]
    reader.feed(b"th\n" * 2000)
    assert reader.close() == ["[log full: 6 kB more were dropped]"]
    total = LineReader(max_chars=25)
    assert sum(map(len, total.feed(b"abcdefghi\n" * 100))) <= 25


def test_lines_arrive_whole_however_the_bytes_are_cut() -> None:
    text = "grüße\n→ two\n\nlast".encode()
    for step in (1, 2, 3, 7):
        reader = LineReader()
        lines = [line for start in range(0, len(text), step) for line in reader.feed(text[start : start + step])]
        assert lines + reader.close() == ["grüße", "→ two", "", "last"]
