"""What programs print, made safe and small enough to keep."""

from __future__ import annotations

import contextlib
import os
from typing import IO

from experiments.text import clean

MAX_REPORTS = 1_000
"""Reports of one fold that are kept."""
END_BYTES = 128_000
"""Longest message in which a fold says how it ended."""


def shorten(text: str, limit: int) -> str:
    """Cut a text to at most ``limit`` characters, the last one an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


class LineReader:
    """Turns the bytes of a pipe into clean lines, capped in length, number and total size.

    Past the caps the bytes are counted and dropped, at no cost per line. What a carriage return
    overwrites (progress bars) is left out.

    Args:
        line_chars: Longest line; the rest of it is cut.
        max_lines: Lines kept.
        max_chars: Characters kept in all.
    """

    def __init__(self, *, line_chars: int = 2_000, max_lines: int = 10_000, max_chars: int = 1_000_000) -> None:
        self._line_chars = line_chars
        self._line_bytes = 4 * line_chars
        self._lines_left = max_lines
        self._chars_left = max_chars
        self._rest = b""
        self.dropped = 0

    def feed(self, data: bytes) -> list[str]:
        """Take the next bytes; return the lines they complete."""
        lines: list[str] = []
        start = 0
        while not self._full:
            end = data.find(b"\n", start)
            if end < 0:
                self._keep(data[start:])
                return lines
            self._keep(data[start:end])
            lines.append(self._take())
            start = end + 1
        self.dropped += len(data) - start
        return lines

    def close(self) -> list[str]:
        """The last line, if it had no newline, and a note on what was dropped."""
        lines = [self._take()] if self._rest and not self._full else []
        if self.dropped:
            lines.append(f"[log full: {_size(self.dropped)} more were dropped]")
        return lines

    @property
    def _full(self) -> bool:
        return self._lines_left <= 0 or self._chars_left <= 0

    def _keep(self, part: bytes) -> None:
        room = self._line_bytes - len(self._rest)
        if len(part) <= room:
            self._rest += part
            return
        if b"\r" in part:
            # Only what follows the last return would still stand on a terminal.
            part = b"\r" + part.rstrip(b"\r").rpartition(b"\r")[2]
            self._rest, room = b"", self._line_bytes
        self._rest += part[: room + 1]

    def _take(self) -> str:
        raw = self._rest[: self._line_bytes + 1]
        self._rest = b""
        text = clean(raw.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2])
        text = shorten(text, min(self._line_chars, max(1, self._chars_left)))
        self._lines_left -= 1
        self._chars_left -= len(text) + 1
        return text


def tail(output: IO[bytes], size: int = 600) -> str:
    """The end of a file that a program printed into, as clean text; empty when it cannot be read."""
    with contextlib.suppress(OSError):
        end = output.seek(0, os.SEEK_END)
        output.seek(max(0, end - size))
        return clean(output.read().decode("utf-8", "replace")).strip()
    return ""


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000 or unit == "MB":
            break
        count //= 1000
    return f"{count:,} {unit}"
