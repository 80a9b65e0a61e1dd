"""Arrays in files, read without trust: numbers and names alone, no pickle, no more memory than the file vouches for."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np

from experiments.jail import open_regular

# What numpy and zipfile raise for headers that are no headers.
_BROKEN = (ValueError, TypeError, OverflowError, SyntaxError, TokenError, RecursionError, EOFError, KeyError)
_BROKEN_ARCHIVE = (*_BROKEN, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def map_array(path: Path, *, links: bool = False) -> np.ndarray:
    """Memory-map a .npy file, read-only: a header that promises more than the file holds is found out at once.

    Raises:
        OSError: The file is missing, or ``open_regular`` refuses it.
        ValueError: It is no .npy file, holds anything but numbers, or is cut short.
    """
    with open_regular(path, links=links) as file:
        try:
            shape, fortran, dtype = _header(file)
            if dtype.kind not in "fiub":
                raise ValueError("it holds no numeric array")
            return np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C")
        except _BROKEN as error:
            raise ValueError(str(error) or type(error).__name__) from None


def read_archive(path: Path, *, most: int, links: bool = False) -> dict[str, np.ndarray]:
    """The arrays of an .npz file: numbers and texts.

    Args:
        most: Bytes that all of them may hold.

    Raises:
        OSError: As ``map_array``.
        ValueError: It is no .npz file, holds more than that or anything else, or is damaged.
    """
    found: dict[str, np.ndarray] = {}
    with open_regular(path, most=most, links=links) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    with archive.open(name) as member:
                        found[name.removesuffix(".npy")] = values = _read(member, most)
                    most -= values.nbytes
        except _BROKEN_ARCHIVE as error:
            raise ValueError(str(error) or type(error).__name__) from None
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array that starts here."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    read = readers.get(np.lib.format.read_magic(file))
    if read is None:
        raise ValueError("it is of an unknown version")
    shape, fortran, dtype = read(file)
    if any(length < 0 for length in shape):
        raise ValueError("it has a shape that cannot be")
    return shape, fortran, dtype


def _read(file: IO[bytes], most: int) -> np.ndarray:
    shape, fortran, dtype = _header(file)
    if dtype.kind not in "fiubU" or not dtype.itemsize:
        raise ValueError("it holds neither numbers nor texts")
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError("its arrays are larger than they can be")
    raw = file.read(size + 1)
    if len(raw) != size:
        raise ValueError("one of its arrays is cut short")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")
