"""An archive from outside, unpacked so that it stays in its folder and gets no larger than it was announced."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from backends.platforms.base import Progress
from experiments.errors import PlatformError
from experiments.files import published

_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_LOOSE = 1 << 20
"""Bytes that more may be there than Kaggle lists: it rounds the sizes of some."""
_SPARE = 64 << 20
"""Bytes that must stay free on the disk."""
_BAD = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class UnfitError(PlatformError):
    """The archive itself is what is wrong."""


def unpack(archive: Path, folder: Path, announced: int | None, progress: Progress) -> tuple[Path, ...]:
    """Unpack a zip archive file by file; each appears under its name when it is complete.

    Args:
        announced: All bytes that the files have together; None when it is not known.

    Returns:
        The files, sorted.

    Raises:
        UnfitError: It is damaged, would leave the folder, or holds more than was announced.
        PlatformError: It does not fit the disk.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = _members(packed)
            size = sum(info.file_size for info in members.values())
            if announced is not None and size > announced * 1.05 + _LOOSE:
                raise _unfit(f"it holds {size:,} bytes where Kaggle lists {announced:,}")
            _room(folder, size)
            made = []
            for name, info in members.items():
                target = folder / name
                progress(name.name, 0, info.file_size)
                with published(target) as temporary, packed.open(info) as source, temporary.open("r+b") as file:
                    _copy(source, file, info.file_size, name)
                progress(name.name, info.file_size, info.file_size)
                made.append(target)
    except _BAD as error:
        raise _unfit(f"it is damaged ({error})") from None
    except OSError as error:
        raise PlatformError(
            f"The data cannot be unpacked into {folder}: {error.strerror or error}.",
            hint="Make room on the disk, or mend the folder's permissions, and run the same command again.",
            maybe_sent=False,
        ) from None
    return tuple(sorted(made))


def _members(packed: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in packed.infolist():
        name = PurePosixPath(info.filename)
        if info.is_dir() or any(part == "__MACOSX" or part == ".DS_Store" for part in name.parts):
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if _leads_out(info.filename, name) or kind not in (0, stat.S_IFREG):
            raise _unfit(f"{info.filename!r} in it would not stay in its folder")
        if info.flag_bits & _ENCRYPTED:
            raise _unfit(f"{info.filename!r} in it has a password")
        if name in found:
            raise _unfit(f"{info.filename!r} is in it twice")
        found[name] = info
    if not found:
        raise _unfit("it is empty")
    return found


def _leads_out(spelled: str, name: PurePosixPath) -> bool:
    """Whether a name climbs, starts at a root, hides, or means something else on another system."""
    return (
        name.is_absolute()
        or not name.parts
        or any(part == ".." or part.startswith(".") for part in name.parts)
        or any(sign in spelled for sign in "\\:\0")
    )


def _copy(source: object, file: object, size: int, name: PurePosixPath) -> None:
    left = size
    while chunk := source.read(_CHUNK):  # type: ignore[attr-defined]
        left -= len(chunk)
        if left < 0:
            break
        file.write(chunk)  # type: ignore[attr-defined]
    if left:
        raise _unfit(f"'{name}' in it has not the size that it says")


def _room(folder: Path, needed: int) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed + _SPARE > free:
        raise PlatformError(
            f"The data take {needed:,} bytes unpacked, and {free:,} are free at {place}.",
            hint="Make room on the disk, or choose another folder, and run the same command again.",
            maybe_sent=False,
        )


def _unfit(why: str) -> UnfitError:
    return UnfitError(
        f"The archive of the data cannot be used: {why}.",
        hint="It is fetched anew by the same command; if that does not help, get the data in the browser.",
        maybe_sent=False,
    )
