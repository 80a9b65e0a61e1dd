"""Targets: what experiments print and report, and text on its way to a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from autokaggle_tui.roundfiles import read_text
from backends.compute.fold import _safe
from experiments.logtext import LineReader
from experiments.text import clean, one_line

from .target import Target, file_of, of_bytes, shown

NASTY = st.text(
    st.sampled_from("\x1b[]()\x07\x08\r\n\t\x00\x7f\x9b\x9d\u202e\u2066\u200f\ufeff\ud800\udfff;0m?hJK\\aé中🙂\u0301"),
    max_size=60,
)
CHUNKS = st.lists(NASTY.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=80), max_size=8)


def _log(chunks: Sequence[bytes]) -> None:
    reader = LineReader(line_chars=20, max_lines=12, max_chars=100)
    lines = [line for chunk in chunks for line in reader.feed(chunk)] + reader.close()
    for line in lines:
        shown(line, 80)
        assert "\n" not in line
    assert len(lines) <= 14
    assert sum(map(len, lines)) <= 300
    shown(read_text(file_of("R01_plan.md", b"\n".join(chunks))).text, 2_000_000)


def _text(text: str) -> None:
    tidy = clean(text)
    shown(tidy)
    line = one_line(text, 20)
    shown(line, 20)
    assert "\n" not in line
    tidy.encode("utf-8")


def _report(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    kept = json.dumps(_safe(value))
    assert len(kept) < 100_000_000


TARGETS = (
    Target("printed", _log, CHUNKS, examples=150),
    Target("text", _text, NASTY | st.text(), examples=150),
    of_bytes("report", _report, [b'{"loss": [1.5, NaN, {"a": "\\u001b[2J"}]}'], [b"[" * 900, b'"\\ud800"', b"9" * 400]),
)
