"""Taking in local files: what they are, which rows to hold back, and the data folder they make."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.competition import (
    SAMPLE,
    Competition,
    check_columns,
    check_ids,
    drop_empty_target,
    drop_missing_target,
    read_competition,
    time_values,
)
from experiments.detect import Choice, detect_format, detect_id, detect_metric, detect_task, top_labels
from experiments.dummy import check_metric
from experiments.errors import DataError, MetricError
from experiments.files import write_atomic
from experiments.folds import group_codes, make_folds, time_ranks
from experiments.holdout import hold_out
from experiments.metrics import Metric, get_metric
from experiments.spec import CvStrategy, Spec, TaskType
from experiments.submission import SubmissionFormat, check_labels, naming_note, submission_frame
from experiments.tables import read_raw, read_table, read_text, table_suffix, write_raw
from experiments.target import Target

STEMS = ("train", "test", SAMPLE)
AS_GIVEN = "as given"


@dataclass(frozen=True)
class Given:
    """What the person said on the command line, or a platform of its competition.

    Attributes:
        why: Where ``id_column`` and ``metric`` come from, if not from the person.
    """

    train: Path
    test: Path | None
    sample: Path | None
    target: str
    id_column: str | None
    metric: str | None
    group_column: str | None
    time_column: str | None
    folds: int
    seed: int
    name: str
    why: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Detected:
    """What the files turned out to be, the lines that say why, and what the person should look at."""

    spec: Spec
    metric: Metric
    lines: list[str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """The private test that was held back: ids and labels as spelled."""

    ids: list[str]
    labels: list[str]


def detect(workspace: Path, given: Given) -> Detected:
    """Find out what the files are, checking them on the way.

    Args:
        workspace: Where a ``metric.py`` may lie.

    Raises:
        DataError: A file cannot be used.
        MetricError: The metric is unknown, or does not score this task or this target.
    """
    spelled = [given.target, *([given.id_column] if given.id_column else [])]
    train = read_table(given.train, text=spelled)
    test = read_table(given.test, text=spelled) if given.test else None
    sample = read_text(given.sample) if given.sample else None
    if test is not None:
        test, _ = drop_empty_target(test, given.target)
    taken = {name for name in (given.target, given.group_column, given.time_column) if name}
    ident: Choice[str | None] = Choice(given.id_column, given.why.get("id_column", AS_GIVEN))
    if given.id_column is None:
        ident = detect_id(train, test, sample, exclude=taken)
    spec = _draft(given, ident.value)
    check_columns(train, test, spec, ident.value, given.train, given.test)
    rows, _ = drop_missing_target(train, Target.read(given.target, train[given.target]))
    target = Target.read(given.target, rows[given.target])

    own = workspace / "metric.py"
    metric = None if given.metric is None else get_metric(given.metric, metric_file=own if own.is_file() else None)
    task = detect_task(target, metric=metric, sample=sample)
    y, classes = target.encode(task.value)

    def form_for(known: Metric | None) -> Choice[SubmissionFormat]:
        return detect_format(
            task.value, classes, target=given.target, id_column=ident.value, metric=known, sample=sample
        )

    form, why = form_for(metric), given.why.get("metric", AS_GIVEN)
    if metric is None:
        ranks = sample is not None and form.value.kind == "top_k"
        top = top_labels(sample[form.value.columns[0]]) if sample is not None and ranks else 3
        guess = detect_metric(task.value, len(classes or ()), form.value if sample is not None else None, top)
        metric, why = get_metric(guess.value), guess.reason
        if sample is None:
            form = form_for(metric)
    _check_scores(metric, task.value)
    check_labels(form.value, classes, given.target)
    check_metric(metric, y, None if classes is None else len(classes), given.target)
    notes: list[str | None] = []
    if sample is not None:
        check_ids(sample[form.value.id_column], given.sample)
        notes.append(naming_note(form.value, classes, given.target))
        if test is None:
            notes.append(_unknown_ids(sample[form.value.id_column], train))
    spec = replace(
        spec,
        task_type=task.value,
        metric=metric.name,
        direction=metric.direction,
        cv_strategy=_cv_strategy(task.value, given),
    )
    lines = [
        line("id", f"{ident.value or 'none'}: {ident.reason}"),
        line("task", f"{task.value}: {task.reason}"),
        line("metric", f"{metric.name} ({metric.direction}): {why}"),
        line("submission", f"{_header(form.value)} ({form.value.kind.replace('_', ' ')}): {form.reason}"),
    ]
    return Detected(spec, metric, lines, tuple(note for note in notes if note))


def copy_files(given: Given, detected: Detected, staged: Path) -> Competition:
    """Stage train, test and sample byte for byte; a sample is written when none was given.

    Raises:
        DataError: A file cannot be used.
    """
    if given.test is None:
        raise ValueError("there is no test file to copy")
    metric = detected.metric
    competition = read_competition(detected.spec, given.train, given.test, given.sample, metric=metric)
    check_folds(competition)
    for stem, source in zip(STEMS, (given.train, given.test, given.sample), strict=True):
        if source is not None:
            with source.open("rb") as file:
                write_atomic(staged / f"{stem}{table_suffix(source)}", partial(shutil.copyfileobj, file))
    if given.sample is None:
        write_sample(competition, metric, staged)
    return competition


def hold_back(given: Given, detected: Detected, staged: Path) -> tuple[Competition, HeldOut]:
    """Stage train without the rows held back, those rows without their labels, and a sample.

    Values keep the spelling they have in the file.

    Raises:
        DataError: The rows cannot be divided.
    """
    spec, metric = detected.spec, detected.metric
    frame = read_table(given.train, text=[given.target, *([spec.id_column] if spec.id_column else [])])
    present = np.flatnonzero(~Target.read(given.target, frame[given.target]).missing)
    rows = frame.iloc[present].reset_index(drop=True)
    held = _rows_to_hold(rows, spec)
    raw, suffix = read_raw(given.train), table_suffix(given.train)
    train, test = staged / f"train{suffix}", staged / f"test{suffix}"
    write_raw(raw.take(pa.array(present[~held])), train)
    write_raw(raw.drop_columns(given.target).take(pa.array(present[held])), test)
    competition = read_competition(spec, train, test, None, metric=metric)
    check_folds(competition)
    if given.sample is not None:
        competition = _with_format(competition, given.sample, metric)
    write_sample(competition, metric, staged)
    dropped = len(frame) - len(rows)
    if dropped:
        note = f"{dropped:,} of {len(frame):,} rows have no '{given.target}': left out"
        competition = replace(competition, notes=(note, *competition.notes))
    labels = rows[given.target][held].astype(str).tolist()
    return competition, HeldOut(spelled_ids(competition), labels)


def spelled_ids(competition: Competition) -> list[str]:
    """Ids of the test rows as they stand in a submission; row numbers where there are none."""
    ids = competition.test_ids
    return [str(row) for row in range(len(competition.test))] if ids is None else ids.astype(str).tolist()


def describe(competition: Competition, held: HeldOut | None) -> list[str]:
    """Lines about classes, folds, data and the private test."""
    spec, roles = competition.spec, competition.columns
    counts = {
        "numeric": len(roles.numeric),
        "categorical": len(roles.categorical),
        "text": len(roles.text),
        "datetime": len(roles.datetime),
    }
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    lines = []
    if competition.classes is not None:
        labels = [str(label) for label in competition.classes]
        shown = ", ".join(labels[:8]) + (f" and {len(labels) - 8} more" if len(labels) > 8 else "")
        positive = f"; the positive one is {labels[1]}" if spec.task_type == "binary" else ""
        lines.append(line("classes", f"{shown}{positive}"))
        words = any(isinstance(label, str) and not label.isdecimal() for label in competition.classes)
        if spec.metric == "qwk" and spec.task_type == "multiclass" and words:
            scale = " < ".join(labels[:8]) + (" < …" if len(labels) > 8 else "")
            cure = "if that is not their order, write the grades as numbers"
            lines.append(line("scale", f"{scale}: {spec.metric} takes the classes in alphabetical order; {cure}"))
    rows, test_rows = len(competition.train), len(competition.test)
    lines += [
        line("data", f"{rows:,} rows of train, {test_rows:,} of test; {len(roles.features)} features: {kinds}"),
        line("folds", f"{spec.cv_folds}, {spec.cv_strategy}"),
    ]
    if held is not None:
        share = test_rows / (rows + test_rows)
        lines.append(line("test", f"{test_rows:,} rows of train ({share:.0%}) held back, as no --test was given"))
    return lines


def line(label: str, text: str) -> str:
    """A line of what init says."""
    return f"{label:<12}{text}"


def _draft(given: Given, ident: str | None) -> Spec:
    """The spec before task and metric are known."""
    return Spec(
        name=given.name,
        task_type="regression",
        metric="",
        direction="maximize",
        target=given.target,
        id_column=ident,
        group_column=given.group_column,
        time_column=given.time_column,
        cv_folds=given.folds,
        seed=given.seed,
    )


def _header(form: SubmissionFormat, shown: int = 5) -> str:
    names = form.header
    return ",".join(names[:shown]) + (f",… ({len(names)} columns)" if len(names) > shown else "")


def _check_scores(metric: Metric, task: TaskType) -> None:
    if task not in metric.tasks:
        scored = " and ".join(sorted(metric.tasks))
        raise MetricError(
            f"{metric.name} scores {scored}, but the task is {task}.", hint="Choose another --metric, or leave it out."
        )


def _cv_strategy(task: TaskType, given: Given) -> CvStrategy:
    if given.time_column:
        return "time"
    if given.group_column:
        return "group" if task == "regression" else "stratified_group"
    return "kfold" if task == "regression" else "stratified"


def _rows_to_hold(rows: pd.DataFrame, spec: Spec) -> np.ndarray:
    y, _ = Target.read(spec.target, rows[spec.target]).encode(spec.task_type)
    group, time = spec.group_column, spec.time_column
    return hold_out(
        y,
        spec.task_type,
        seed=spec.seed,
        groups=group_codes(rows[group].to_numpy(), len(rows), group) if group else None,
        times=time_ranks(time_values(rows[time]), len(rows), time) if time else None,
    )


def _with_format(competition: Competition, sample: Path, metric: Metric) -> Competition:
    """Take the columns of a sample whose ids belong to another test."""
    spec = competition.spec
    form = detect_format(
        spec.task_type,
        competition.classes,
        target=spec.target,
        id_column=spec.id_column,
        metric=metric,
        sample=read_text(sample),
    )
    return replace(competition, submission=form.value)


def check_folds(competition: Competition) -> None:
    """Make the folds once, so that init already says what is wrong with them, in terms of its own options.

    Raises:
        DataError: They cannot be made.
    """

    def divide(folds: int) -> None:
        spec = replace(competition.spec, cv_folds=folds)
        make_folds(spec, competition.y, groups=competition.groups, times=competition.times)

    given = competition.spec.cv_folds
    try:
        divide(given)
    except DataError as error:
        hint = error.hint
        if "cv_" in hint:
            hint = "Give another --group or --time, or more rows."
        for fewer in range(given - 1, 1, -1):
            with suppress(DataError):
                divide(fewer)
                hint = f"Give --folds {fewer}."
                break
        raise DataError(error.message, hint=hint) from None


def _unknown_ids(ids: pd.Series[Any], train: pd.DataFrame) -> str | None:
    """What to say of a sample submission without a test file: its ids need not be known."""
    name = str(ids.name)
    known = int(ids.astype(str).isin(train[name].astype(str)).sum()) if name in train.columns else 0
    if known == len(ids):
        return None
    matched = f"{known:,} of the" if known else "none of the"
    return f"{matched} {len(ids):,} ids ('{name}') of the sample submission are in train: only its columns are used"


def write_sample(competition: Competition, metric: Metric, staged: Path) -> None:
    """Write a sample submission that predicts the same for every row: the mean, or the share of each class."""
    rows, y, classes = len(competition.test), competition.y, competition.classes
    if competition.spec.task_type == "multiclass" and classes is not None:
        shares = np.bincount(y, minlength=len(classes)) / len(y)
        pred = np.tile(shares.round(6), (rows, 1))
    else:
        pred = np.full(rows, round(float(y.mean()), 6))
    frame = submission_frame(competition, metric, pred)
    write_atomic(staged / f"{SAMPLE}.csv", frame.to_csv(index=False, lineterminator="\n").encode())
