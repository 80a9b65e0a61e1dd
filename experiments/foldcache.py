"""What each fold may see, as columnar files: written once, handed to workers by file descriptor."""

from __future__ import annotations

import hashlib
from mmap import mmap
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.errors import DataError
from experiments.files import write_atomic
from experiments.folds import Folds, group_codes, time_ranks
from experiments.spec import Columns

LAYOUT = "1"
GROUP_FIELD = "\0group"
TIME_FIELD = "\0time"


class FoldData(Protocol):
    """The part of a competition that goes into the files."""

    @property
    def train(self) -> pd.DataFrame:
        """Features and encoded target; the index is the row number."""

    @property
    def test(self) -> pd.DataFrame:
        """Features; the index is the row number."""

    @property
    def columns(self) -> Columns:
        """Roles of the columns."""

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) groups of the training rows."""

    @property
    def times(self) -> np.ndarray | None:
        """(n,) times of the training rows."""

    @property
    def data_hash(self) -> str:
        """Digest of the data."""


class FoldCache:
    """The Arrow IPC files of one competition under one set of folds.

    A train file holds the fold's training rows with the target, and (hidden from the experiment's
    frame) codes of their groups and times for ``ctx.inner_split``; a valid file holds the validation
    rows without the target. Files are published atomically, so one that exists is whole.
    """

    def __init__(self, root: Path, competition: FoldData, folds: Folds) -> None:
        self._data = competition
        self._folds = folds
        self.folder = root / _key(competition, folds)

    def files(self, fold: int) -> tuple[Path, Path, Path]:
        """Train, valid and test file of a fold, written first where missing.

        Raises:
            DataError: A column's values cannot be stored (mixed types).
        """
        train = self.folder / f"fold{fold}_train.arrow"
        valid = self.folder / f"fold{fold}_valid.arrow"
        test = self.folder / "test.arrow"
        train_rows, valid_rows = self._folds.splits[fold]
        target = self._data.columns.target
        if not train.exists():
            _write(train, self._data.train.iloc[train_rows], self._hidden(train_rows))
        if not valid.exists():
            _write(valid, self._data.train.iloc[valid_rows].drop(columns=target), {})
        if not test.exists():
            _write(test, self._data.test, {})
        return train, valid, test

    def _hidden(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        hidden = {}
        n_rows = len(self._data.train)
        if self._data.groups is not None:
            hidden[GROUP_FIELD] = group_codes(self._data.groups, n_rows, self._data.columns.group)[rows]
        if self._data.times is not None:
            hidden[TIME_FIELD] = time_ranks(self._data.times, n_rows, self._data.columns.time)[rows]
        return hidden


def read_frame(content: bytes | mmap) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The frame in an Arrow IPC file, and its hidden columns. The frame can be written to."""
    table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
    hidden = {}
    for name in (GROUP_FIELD, TIME_FIELD):
        if name in table.column_names:
            hidden[name] = table.column(name).to_numpy()
            table = table.drop_columns(name)
    return table.to_pandas(use_threads=False).copy(), hidden


def _write(path: Path, frame: pd.DataFrame, hidden: dict[str, np.ndarray]) -> None:
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None, nthreads=1)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"A column cannot be stored: {error}", hint="Give each column values of one type.") from None
    for name, values in hidden.items():
        table = table.append_column(name, pa.array(values))

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)

    write_atomic(path, write)


def _key(data: FoldData, folds: Folds) -> str:
    kinds = [f"{name}:{dtype}" for name, dtype in data.train.dtypes.items()]
    parts = (LAYOUT, data.data_hash, folds.digest, data.columns.target, *kinds)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
