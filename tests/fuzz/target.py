"""What a fuzz target is: one check, inputs for hypothesis, seeds for a coverage-guided fuzzer.

The invariant of every check: a result, or an error of our own family whose text can be shown as it is. Any other
exception, a hang, unbounded memory or a file outside is a defect.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from agents.tool import ToolError
from experiments.errors import AutokaggleError
from experiments.text import clean

OURS = (AutokaggleError, ToolError)
LONGEST_MESSAGE = 20_000


@dataclass(frozen=True)
class Target:
    """One parser under attack.

    Attributes:
        name: What ``make fuzz TARGET=...`` calls it.
        check: Feeds one input to the product and asserts the invariant.
        inputs: What hypothesis draws.
        seeds: Sound files of the format: the fuzzer mutates their bytes. Without any, ``check`` takes structured
            values and the fuzzer's bytes steer what hypothesis draws.
        words: Pieces of the format, for the fuzzer's dictionary.
        examples: How many inputs the test suite draws.
    """

    name: str
    check: Callable[[Any], object]
    inputs: st.SearchStrategy[Any]
    seeds: Sequence[bytes] = ()
    words: Sequence[bytes] = ()
    examples: int = 60


def of_bytes(
    name: str, check: Callable[[bytes], object], seeds: Sequence[bytes], words: Sequence[bytes] = (), examples: int = 60
) -> Target:
    """A target that takes the bytes of a file."""
    return Target(name, check, near(seeds, words), seeds, words, examples)


def near(seeds: Sequence[bytes], words: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Rubbish, and sound files with a piece cut out, put in or doubled."""
    pieces = st.one_of(st.binary(max_size=12), st.text(max_size=6).map(_utf8), st.sampled_from([b"", *words]))

    def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
        spot = st.integers(0, len(seed))
        change = st.tuples(spot, st.integers(0, 40), pieces)
        return st.lists(change, min_size=1, max_size=4).map(lambda changes: _changed(seed, changes))

    return st.one_of(st.binary(max_size=200), st.sampled_from(seeds).flatmap(mutated))


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result, or None after an error of our own, whose text a terminal can show."""
    try:
        return call(*arguments, **named)
    except OURS as error:
        shown(str(error))
        return None


def shown(text: str, most: int = LONGEST_MESSAGE) -> None:
    """Assert that a text can be shown and kept: no control characters, no lone surrogates, no endless length."""
    assert clean(text) == text, f"not fit to be shown: {text[:300]!r}"
    assert len(text) <= most, f"{len(text)} characters: {text[:100]!r}"


@cache
def scratch() -> Path:
    """A folder of this process, gone at its end."""
    folder = Path(tempfile.mkdtemp(prefix="autokaggle-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def file_of(name: str, data: bytes) -> Path:
    """A file in the scratch folder with this content; the same one every time."""
    path = scratch() / name
    path.write_bytes(data)
    return path


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _changed(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, piece in changes:
        data = data[:at] + piece + data[at + length :]
    return data
