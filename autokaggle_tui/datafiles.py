"""Which of a competition's files are train, test and sample submission, and whether its kind can be played at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from backends.platforms.base import RemoteFile
from experiments.errors import DataError, PlatformError
from experiments.files import make_folder, write_atomic

SUFFIXES = (".csv", ".csv.gz", ".parquet")
SAMPLE = "sample_submission"
PACKED = (".csv.zip", ".parquet.zip")
_MEDIA = {
    "images": frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".dcm", ".nii", ".webp"}),
    "sound": frozenset({".wav", ".mp3", ".ogg", ".flac"}),
    "video": frozenset({".mp4", ".avi", ".mov"}),
}
_FEW = 10
"""So few pictures may illustrate a description."""


@dataclass(frozen=True)
class DataFiles:
    """A competition's files, told apart.

    Attributes:
        others: All that is neither of the three.
    """

    train: Path
    test: Path
    sample: Path | None
    others: tuple[Path, ...]


def check_kind(files: Sequence[RemoteFile]) -> None:
    """Refuse a competition whose data this version cannot play, by the names of its files alone.

    Raises:
        PlatformError: It is about images, sound or video, or has no table.
    """
    endings = [PurePosixPath(file.name.casefold()).suffix for file in files]
    for kind, suffixes in _MEDIA.items():
        count = sum(ending in suffixes for ending in endings)
        if count > _FEW:
            raise _unbuilt(f"the competition is about {kind} ({count} such files are listed)")
    tables = [name for file in files if (name := _unpacked(file.name.casefold())).endswith(SUFFIXES)]
    packed = ".zip" in endings
    if files and not tables and not packed:
        raise _unbuilt(f"its data hold no table (they are {_named([file.name for file in files])})")


def find_files(paths: Sequence[Path], folder: Path) -> DataFiles:
    """Tell the files apart by their names.

    Args:
        paths: The data files.
        folder: That they lie in; of two of a name the one nearer to it counts.

    Raises:
        DataError: Train or test is missing, or several could be it.
    """
    tables = [path for path in paths if path.name.casefold().endswith(SUFFIXES)]
    sample = _one([path for path in tables if "submission" in _stem(path)], SAMPLE, folder, needed=False)
    rest = [path for path in tables if path != sample and "submission" not in _stem(path)]
    train = _one([path for path in rest if "train" in _stem(path)], "train", folder)
    test = _one([path for path in rest if "test" in _stem(path)], "test", folder)
    if train is None or test is None:
        missing = "train" if train is None else "test"
        raise DataError(
            f"None of the competition's files is called {missing}: it has {_named([path.name for path in paths])}.",
            hint=f"If one of them is, use it as a local competition: autokaggle-tui init --train FILE "
            f"--target COLUMN. They lie in {folder}.",
        )
    taken = {train, test, sample}
    return DataFiles(train, test, sample, tuple(path for path in paths if path not in taken))


def stage_files(files: DataFiles, folder: Path, staged: Path) -> None:
    """Put the files into a staging folder as the data folder will have them, by links where the disk allows.

    Train, test and sample take the names that the engine looks for; others keep theirs, below ``other/`` where
    that name is taken.
    """
    for stem, path in (("train", files.train), ("test", files.test), (SAMPLE, files.sample)):
        if path is not None:
            _link(path, staged / f"{stem}{_suffix(path)}")
    for path in files.others:
        taken = path.parent == folder and _stem(path) in ("train", "test", SAMPLE)
        _link(path, staged / ("other" if taken else "") / path.relative_to(folder))


def _one(found: Sequence[Path], stem: str, folder: Path, *, needed: bool = True) -> Path | None:
    """The file that is called so exactly, else the only one whose name holds the word; the nearest of several."""
    if not found:
        return None
    exact = [path for path in found if _stem(path) == stem]
    chosen = exact or list(found)
    nearest = min(len(path.relative_to(folder).parts) for path in chosen)
    chosen = [path for path in chosen if len(path.relative_to(folder).parts) == nearest]
    if len({_stem(path) for path in chosen}) > 1:
        if not needed:
            return None
        raise DataError(
            f"Several of the competition's files could be {stem}: {_named([path.name for path in chosen])}.",
            hint="Choose among them with a local competition: autokaggle-tui init --train FILE --test FILE "
            f"--target COLUMN. They lie in {folder}.",
        )
    return min(chosen, key=lambda path: SUFFIXES.index(_suffix(path)))


def _link(source: Path, target: Path) -> None:
    make_folder(target.parent)
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as file:
            write_atomic(target, partial(shutil.copyfileobj, file))


def _stem(path: Path) -> str:
    name = path.name.casefold().replace("-", "_")
    name = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), path.stem)
    return SAMPLE if name in ("samplesubmission", "submission_sample", "sample_sub") else name


def _suffix(path: Path) -> str:
    return next(suffix for suffix in SUFFIXES if path.name.casefold().endswith(suffix))


def _unpacked(name: str) -> str:
    return name.removesuffix(".zip")


def _unbuilt(why: str) -> PlatformError:
    return PlatformError(
        f"This version plays tables of numbers, categories, dates and texts: {why}.",
        hint="Choose a competition whose train and test are tables, and whose target is a class or a number.",
        maybe_sent=False,
    )


def _named(names: Sequence[str], shown: int = 8) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
