"""Targets: the files that a person puts into a workspace."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from hypothesis import strategies as st

from autokaggle_tui.config import Config, load_config
from autokaggle_tui.durations import format_duration, parse_duration
from autokaggle_tui.intake import Given, copy_files, describe, detect, hold_back
from autokaggle_tui.loop.foldparts import load_part
from autokaggle_tui.ui.uistate import UiState, state_file
from backends.platforms.local_store import LocalCompetition
from experiments.folds import Folds
from experiments.learnings import FILE_NAME, Rules, master_copy
from experiments.metric_file import declare_metric, refuse_builtin_name
from experiments.metrics import canonical_name, describe_metric
from experiments.predictions import array_sha, check_prediction, load_array
from experiments.submission import SubmissionFormat, decode_submission
from experiments.tables import read_raw, read_table, read_text

from .target import Target, file_of, of_bytes, refused, scratch, shown

CONFIG = {
    "competition": "bank",
    "data_dir": "data",
    "task_type": "binary",
    "metric": "roc_auc",
    "target_column": "y",
    "id_column": "id",
    "cv_folds": 5,
    "deadline": "2026-03-31T23:59:00Z",
    "budget": {"usd": 5.0, "tokens": 1000, "time": "2h", "rounds": 9},
    "compute": {"slots": "auto", "threads": 1},
    "models": {"builder": "playbook"},
    "notify": "notify-send 'a b'",
    "keys": {"pause": "p,f5"},
    "knowledge_files": ["a.md"],
}


def _config(data: bytes) -> None:
    folder = file_of("config.json", data).parent
    config = refused(load_config, folder)
    if config is not None:
        again = Config.parse(config.model_dump(mode="json", by_alias=True, exclude_unset=True), folder)
        assert again.spec() == config.spec()
        for name in ("data_dir", "existing_oof_dir", "competition_dir", "scraper_path"):
            if (given := getattr(config, name)) is not None:
                refused(config.path, folder, given)


def _learnings(data: bytes) -> None:
    rules = refused(Rules.load, file_of(FILE_NAME, data))
    if rules is not None:
        assert len(rules.by_id) == 10
        shown("".join(rules.remarks), 10_000_000)
        json.dumps(rules.to_json(), default=str)


def _csv(data: bytes) -> None:
    if data.startswith(b"\x1f\x8b"):
        refused(read_table, file_of("table.csv.gz", data))
        return
    path = file_of("table.csv", data)
    frame = refused(read_table, path)
    spelled = refused(read_text, path)
    assert (frame is None) == (spelled is None) or b"\0" in data
    raw = refused(read_raw, path)
    assert (raw is None) or raw.num_rows > 0


def _parquet(data: bytes) -> None:
    path = file_of("table.parquet", data)
    refused(read_table, path)
    refused(read_text, path)


def _metric(data: bytes) -> None:
    path = file_of("metric.py", data)
    metric = refused(declare_metric, path)
    refused(refuse_builtin_name, path)
    if metric is not None:
        shown(metric.name)
        refused(describe_metric, metric.name, metric_file=path)


def _arrays(data: bytes) -> None:
    path = file_of("x_oof.npy", data)
    for values in (refused(load_array, path), refused(load_array, path, mmap=False)):
        if values is not None:
            array_sha(values)
            refused(check_prediction, values, 6, 1, "regression")
    folds = refused(Folds.load, path)
    assert folds is None or folds.n_folds >= 1
    part = load_part(path, (3, 2, 1), "binary")
    assert part is None or np.isfinite(part.valid).all()


def _kept(data: bytes) -> None:
    """Files that the program itself keeps as JSON."""
    state_file().parent.mkdir(parents=True, exist_ok=True)
    state_file().write_bytes(data)
    state = UiState.load()
    assert isinstance(state.theme, str) and isinstance(state.sort_reverse, bool)
    folder = scratch() / "competitions" / "bank"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "competition.json").write_bytes(data)
    (folder / "solution.csv").write_bytes(b"id,label,Usage\n1,yes,Public\n2,no,Private\n")
    refused(LocalCompetition.open, "bank", home=scratch())


def _word(text: str | float) -> None:
    """What a person types: names of metrics, spans of time."""
    seconds = refused(parse_duration, text)
    if seconds is not None:
        assert abs(parse_duration(format_duration(seconds)) - seconds) <= 1e-6 + 1e-9 * seconds
    if isinstance(text, str):
        refused(canonical_name, text)
        refused(describe_metric, text)


def _npy_bytes(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


def _npz_bytes(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _parquet_bytes(table: pa.Table) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file)
    return file.getvalue()


def _folds_bytes() -> bytes:
    path = scratch() / "sound.npz"
    Folds.from_assignment("kfold", np.arange(20, dtype=np.int32) % 4).save(path)
    return path.read_bytes()


CSV = (
    b"id,x,y\n1,2.5,yes\n2,,no\n",
    b'\xef\xbb\xbfid,"a,b",day\n1,"two\nlines",2024-01-31\n2,"""",2024-02-01T10:00:00Z\n',
    b"a\r\nTrue\r\nFalse\r\nNA\r\n",
    b"id,p_0,p_1\n1,0.1,0.9\n1,1e400,-inf\n",
)
LEARNINGS = (
    master_copy().encode(),
    b'# A rule\n\nWhy.\n\n```toml\nid = "noise-floor"\nenforce = "warn"\nmin_t = 2.0\n```\n<!-- gone\n-->\n',
    b'## B\n~~~toml\nid = "mine"\nx = [1, {a = 2024-01-01}]\n~~~\n',
)
METRIC = (
    b'NAME = "mine"\nDIRECTION = "maximize"\nPREDICTION = "value"\n\ndef score(y, p):\n    return 1.0\n',
    b'NAME: str = "top"\nDIRECTION = "minimize"\nPREDICTION = "top_k"\nK = 3\nTASKS = ("multiclass",)\nBOUNDED = True\n'
    b"def score(y, p):\n    return 0\n",
)
TABLE = pa.table(
    {
        "id": pa.array([1, 2, None], pa.int64()),
        "word": pa.array(["a", None, ""], pa.string()).dictionary_encode(),
        "at": pa.array([0, 1, 2], pa.timestamp("ns", tz="Europe/Berlin")),
        "list": pa.array([[1], [], None], pa.list_(pa.int8())),
    }
)
NPY = (
    _npy_bytes(np.linspace(0, 1, 6, dtype=np.float32)),
    _npy_bytes(np.arange(6, dtype=">i8").reshape(3, 2)),
    _npy_bytes(np.array([True, False])),
    _npy_bytes(np.array([{"a": 1}], dtype=object)),
    _npz_bytes(valid=np.zeros(3)),
)
ARCHIVES = (
    _npz_bytes(valid=np.zeros(3, np.float32), test=np.zeros(2, np.float32), log=np.frombuffer(b"a", np.uint8)),
    _npz_bytes(strategy=np.array("time"), digest=np.array("0"), assignment=np.arange(4)),
)
ABOUT = {
    "id": "bank",
    "task_type": "binary",
    "classes": ["no", "yes"],
    "submission": {"id_column": "id", "columns": ["y"], "kind": "probability"},
    "scored": True,
}

# Frames that are given to `init`, drawn column by column.

NAMES = st.one_of(
    st.sampled_from(["id", "x", "y", "z", "day", "Class_1", "\x1b[31mred", " ", "__index_level_0__", "a,b", "Y"]),
    st.text(min_size=1, max_size=5),
)
CELLS = st.one_of(
    st.sampled_from(["", "NA", "None", "True", "0", "1", "-1", "1e308", "1e400", "nan", "inf", "2024-01-31", "a b"]),
    st.integers(-5, 5).map(str),
    st.floats(-10, 10).map(lambda value: f"{value:.3g}"),
    st.text(max_size=4),
)


@st.composite
def _frames(draw: st.DrawFn) -> dict[str, Any]:
    rows = draw(st.integers(1, 40))
    names = draw(st.lists(NAMES, min_size=1, max_size=5))

    def column() -> list[str]:
        pool = draw(st.lists(CELLS, min_size=1, max_size=6))
        if draw(st.booleans()):
            return [str(row + 1) for row in range(rows)]
        return [pool[(row * 7 + row // 3) % len(pool)] for row in range(rows)]

    columns = {name: column() for name in names}
    return {
        "columns": columns,
        "target": draw(st.sampled_from([*names, "y"])),
        "id": draw(st.none() | st.sampled_from([*names, "id"])),
        "group": draw(st.none() | st.sampled_from(names)),
        "time": draw(st.none() | st.sampled_from(names)),
        "metric": draw(st.none() | st.sampled_from(["roc_auc", "rmse", "map@3", "accuracy", "rmsle", "qwk", "?"])),
        "test": draw(st.sampled_from(["none", "same", "without"])),
        "sample": draw(st.sampled_from(["none", "id", "all", "last"])),
        "folds": draw(st.integers(2, 6)),
    }


def _init(drawn: dict[str, Any]) -> None:
    import csv
    import shutil

    folder = scratch() / "init"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "staged").mkdir(parents=True)
    columns: dict[str, list[str]] = drawn["columns"]

    def write(name: str, wanted: list[str]) -> Path:
        path = folder / name
        with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            writer = csv.writer(file)
            writer.writerow(wanted)
            writer.writerows(zip(*(columns[key] for key in wanted), strict=True))
        return path

    names = list(columns)
    rest = [name for name in names if name != drawn["target"]]
    test = {"none": None, "same": names, "without": rest}[drawn["test"]]
    sample = {"none": None, "id": rest[:1], "all": names, "last": names[-2:]}[drawn["sample"]]
    given = Given(
        train=write("train.csv", names),
        test=write("test.csv", test) if test else None,
        sample=write("sample_submission.csv", sample) if sample else None,
        target=drawn["target"],
        id_column=drawn["id"],
        metric=drawn["metric"],
        group_column=drawn["group"],
        time_column=None if drawn["group"] else drawn["time"],
        folds=drawn["folds"],
        seed=1,
        name="x",
    )
    found = refused(detect, folder, given)
    if found is None:
        return
    if given.test is None:
        made = refused(hold_back, given, found, folder / "staged")
        competition, held = made if made else (None, None)
    else:
        competition, held = refused(copy_files, given, found, folder / "staged"), None
    if competition is not None:
        describe(competition, held)
        frame = next((folder / "staged").glob("sample_submission.*"), None)
        if frame is not None and competition.test_ids is not None:
            ids = competition.test_ids.astype(str)
            refused(decode_submission, read_text(frame), ids, competition.submission, competition.classes)


FORMS = (
    (SubmissionFormat("id", ("y",), "probability"), ("no", "yes")),
    (SubmissionFormat("id", ("y",), "value"), None),
    (SubmissionFormat("id", ("y",), "label"), ("a", "b", "c")),
    (SubmissionFormat("id", ("y",), "top_k"), (1, 2, 3)),
    (SubmissionFormat("id", ("Status_a", "Status_b"), "class_probabilities"), ("a", "b")),
)
SUBMISSIONS = (
    b"id,y\n1,0.25\n2,0.75\n",
    b"id,y\n1,a\n2,c\n",
    b"id,y\n1,1 2 3\n2,3 1\n",
    b"id,Status_a,Status_b\n2,0.1,0.9\n1,0,1\n",
)


def _submission(data: bytes) -> None:
    import pandas as pd

    frame = refused(read_text, file_of("submission.csv", data))
    if frame is None:
        return
    for form, classes in FORMS:
        decoded = refused(decode_submission, frame, pd.Series(["1", "2"], name="id"), form, classes)
        assert decoded is None or np.isfinite(decoded).all()


TARGETS = (
    of_bytes(
        "config",
        _config,
        (json.dumps(CONFIG, indent=1).encode(), b'{"competition": "a"}'),
        [f'"{name}": '.encode() for name in (*Config.model_fields, "metric", "$schema")]
        + [b"null", b"1e999", b"NaN", b"-1", b'"\\ud800"', b"[[[[", b'"\\u001b[2J"', b"9" * 400],
    ),
    of_bytes(
        "learnings", _learnings, LEARNINGS, [b"```toml\n", b"```\n", b"id = ", b"<!--", b"-->", b"# ", b"[a.b]\n"]
    ),
    of_bytes(
        "csv", _csv, CSV, [b'"', b",", b"\r\n", b"\xff\xfe", b"\0", b"\x1b[31m", b"1e400", b"NA", b"\xef\xbb\xbf"]
    ),
    of_bytes("parquet", _parquet, [_parquet_bytes(TABLE), _parquet_bytes(TABLE.select(["id", "word"]))]),
    of_bytes("submission", _submission, SUBMISSIONS, [b"nan", b"inf", b"-1", b"1e400", b'"', b"\n1,", b"id,y\n"]),
    of_bytes(
        "metric", _metric, METRIC, [b"NAME", b"K = ", b"TASKS = ", b"FLOOR = ", b"{", b"[" * 50, b"-" * 50, b"1j"]
    ),
    of_bytes(
        "arrays",
        _arrays,
        (*NPY, _folds_bytes(), *ARCHIVES),
        [b"\x93NUMPY", b"'descr': ", b"'<f4'", b"'|O'", b"'shape': (", b"True", b"9999999999,", b"PK\x05\x06"],
    ),
    of_bytes(
        "kept",
        _kept,
        [b'{"theme": "nord", "sort_reverse": true}', json.dumps(ABOUT).encode()],
        [b"null", b"[[", b'"\\ud800"', b"[]", b"{}", b'"classes": ', b'"kind": '],
    ),
    Target(
        "word",
        _word,
        st.text(max_size=30)
        | st.text(alphabet="0123456789.dhms in\n", max_size=12)
        | st.sampled_from(["map@3", "MAP at 0x", "f_beta@9"])
        | st.floats()
        | st.integers(),
    ),
    Target("init", _init, _frames(), examples=40),
)
