"""Where local competitions live: hidden labels and ledger, outside every workspace."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import platformdirs

from experiments.errors import DataError, PlatformError
from experiments.files import make_folder, sync_folder, write_atomic
from experiments.jail import read_regular
from experiments.spec import TaskType
from experiments.submission import SubmissionFormat
from experiments.tables import read_text
from experiments.target import Label, encode_labels, parse_numbers

ABOUT = "competition.json"
SOLUTION = "solution.csv"
LABEL, USAGE = "label", "usage"
ID = "id"
NAME_LENGTH = 50


def data_home() -> Path:
    """The user's folder for local competitions; ``AUTOKAGGLE_DATA_HOME`` overrides it."""
    given = os.environ.get("AUTOKAGGLE_DATA_HOME")
    return Path(given).expanduser() if given else platformdirs.user_data_path("autokaggle-tui")


def competition_slug(name: str) -> str:
    """Lower-case words joined by dashes, as in an address."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:NAME_LENGTH].strip("-")
    return slug or "competition"


@dataclass(frozen=True)
class LocalCompetition:
    """A local competition as kept on disk.

    Attributes:
        id: Name of its folder; no two competitions share one.
        folder: Holds ``competition.json``, ``solution.csv`` (ids and, if known, labels) and the ledger.
    """

    id: str
    folder: Path
    task_type: TaskType
    form: SubmissionFormat
    classes: tuple[Label, ...] | None
    scored: bool

    @classmethod
    def create(
        cls,
        name: str,
        *,
        task_type: TaskType,
        form: SubmissionFormat,
        classes: tuple[Label, ...] | None,
        ids: Sequence[str],
        labels: Sequence[str] | None,
        seed: int,
        home: Path | None = None,
    ) -> LocalCompetition:
        """Claim a folder of its own for a competition and write the hidden labels into it.

        The id is the slug of the name, with a number behind it when that is taken: an existing folder is
        never used again, so two workspaces cannot come to share a ledger.

        Args:
            ids: (m,) ids of the test rows.
            labels: (m,) their labels as spelled, or None when nobody knows them.
            seed: Of the public and private half.
        """
        folder = _claim((home or data_home()) / "competitions", competition_slug(name))
        made = cls(folder.name, folder, task_type, form, classes, labels is not None)
        try:
            usage = None if labels is None else public_half(labels, task_type, seed)
            write_atomic(folder / SOLUTION, _solution(ids, labels, usage))
            (folder / SOLUTION).chmod(0o600)
            about = {
                "id": made.id,
                "name": name,
                "task_type": task_type,
                "classes": None if classes is None else list(classes),
                "submission": asdict(form),
                "scored": made.scored,
            }
            write_atomic(folder / ABOUT, (json.dumps(about, indent=2) + "\n").encode())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return made

    @classmethod
    def open(cls, id: str, *, home: Path | None = None) -> LocalCompetition:
        """Find a competition by its id.

        Raises:
            PlatformError: There is none, or its files are damaged.
        """
        folder = (home or data_home()) / "competitions" / id
        # The id comes from a file that people edit; it must not lead elsewhere.
        if competition_slug(id) != id or not (folder / ABOUT).is_file():
            raise PlatformError(
                f"There is no local competition '{id}' in {folder.parent}.",
                hint="Run `autokaggle-tui init` in a new folder; AUTOKAGGLE_DATA_HOME must be as it was then.",
            )
        try:
            about: dict[str, Any] = json.loads(read_regular(folder / ABOUT, links=True))
            form = about["submission"]
            classes = about["classes"]
            return cls(
                id=id,
                folder=folder,
                task_type=about["task_type"],
                form=SubmissionFormat(form["id_column"], tuple(form["columns"]), form["kind"]),
                classes=None if classes is None else tuple(classes),
                scored=about["scored"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PlatformError(
                f"{folder / ABOUT} is damaged: {error}", hint="Restore it from a backup, or run init again."
            ) from None

    def remove(self) -> None:
        """Delete the folder of a competition that came to nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ids(self) -> pd.Series[Any]:
        """(m,) ids of the test rows, as spelled."""
        return self._solution[ID]

    @cached_property
    def labels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Hidden targets and the public rows: (m,) codes or floats, (m,) bool; None when unknown."""
        if not self.scored:
            return None
        text, public = self._solution[LABEL], (self._solution[USAGE] == "Public").to_numpy()
        if self.classes is not None:
            return encode_labels(text, self.classes), public
        numbers = parse_numbers(text)
        if numbers is None:
            raise PlatformError(f"{self.folder / SOLUTION} holds labels that are no numbers.", hint="Run init again.")
        return numbers, public

    @cached_property
    def _solution(self) -> pd.DataFrame:
        try:
            return read_text(self.folder / SOLUTION)
        except DataError as error:
            raise PlatformError(f"The hidden labels cannot be read: {error.message}", hint=error.hint) from None


def public_half(labels: Sequence[str], task_type: TaskType, seed: int) -> np.ndarray:
    """(m,) bool: the rows that the public leaderboard scores; half of each class, or of all rows."""
    rng = np.random.default_rng(seed)
    if task_type == "regression":
        order = rng.permutation(len(labels))
    else:
        # Row after row of a class goes by turns to one half and the other.
        shuffled = rng.permutation(len(labels))
        codes = pd.factorize(np.asarray(labels, dtype=object), sort=True)[0]
        order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    public = np.zeros(len(labels), dtype=bool)
    public[order[::2]] = True
    return public


def _claim(home: Path, slug: str) -> Path:
    make_folder(home)
    number = 1
    while True:
        folder = home / (slug if number == 1 else f"{slug}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
        else:
            sync_folder(home)
            return folder


def _solution(ids: Sequence[str], labels: Sequence[str] | None, public: np.ndarray | None) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if labels is None or public is None:
        writer.writerow([ID])
        writer.writerows([name] for name in ids)
    else:
        writer.writerow([ID, LABEL, USAGE])
        halves = np.where(public, "Public", "Private")
        writer.writerows(zip(ids, labels, halves, strict=True))
    return out.getvalue().encode()
