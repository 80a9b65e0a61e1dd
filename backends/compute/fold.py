"""The supervisor's side of one running fold: what it is given, what comes from it, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from backends.compute.base import FoldOutcome, LogLine, Record, Report
from backends.compute.messages import Ticket
from experiments.logtext import END_BYTES, MAX_REPORTS, LineReader, shorten
from experiments.processes import describe_exit
from experiments.text import clean

DRAIN_SECONDS = 5.0


@dataclass
class RunningFold:
    """One fold: its descriptors, what has come from it, how it ended.

    Attributes:
        given: Descriptors (job, train, valid, test, result); they stay open.
        tell: Takes log lines and reports as they come.
        reason: Why it was killed; ``limit``: it took more of the machine than it may, ``excess`` says of what.
    """

    ticket: Ticket
    given: Sequence[int]
    tell: Callable[[Record], None]
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    reason: Literal["", "killed", "timeout", "limit"] = ""
    excess: str = ""
    sent: bool = False
    started: float = field(default_factory=time.monotonic)
    descriptors: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pipes: list[int] = []
        self._readers: list[_PipeReader] = []
        self._end: Mapping[str, Any] | None = None
        self._log_lines = LineReader()
        self._report_lines = LineReader(line_chars=END_BYTES, max_lines=sys.maxsize, max_chars=sys.maxsize)
        self._reports = 0

    def open(self) -> None:
        """Make the list of all that the child gets, ``experiments.child.Descriptors``."""
        self.descriptors = [os.dup(descriptor) for descriptor in self.given]
        for _ in range(2):
            ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            self._pipes.append(ours)
            self.descriptors.append(theirs)

    async def connect(self) -> None:
        """Read both pipes from now on."""
        loop = asyncio.get_running_loop()
        for descriptor, take in zip(self._pipes, (self._take_log, self._take_reports), strict=True):
            file = os.fdopen(descriptor, "rb", buffering=0)
            _, reader = await loop.connect_read_pipe(partial(_PipeReader, take), file)
            self._readers.append(reader)
        self._pipes = []

    async def drain(self) -> None:
        """Wait for what is still in the pipes; their writers are gone by now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                for reader in self._readers:
                    await reader.ended.wait()
        for text in self._log_lines.close():
            self.log(text)

    def outcome(self, done: Mapping[str, Any] | None, lost: str = "") -> FoldOutcome:
        """How the fold ended, without its predictions.

        Args:
            done: What the warm process says of the child's end; None when it cannot say.
            lost: What became of the warm process when it was lost, else empty.
        """
        extra: dict[str, Any] = {}
        if done is not None:
            extra = {"cpu_seconds": done["cpu_seconds"], "peak_mb": round(done["peak_bytes"] / 1e6)}
        if lost and self.reason != "limit":
            extra["worker_lost"] = True
        end = self._end or {}
        status, text = end.get("status"), clean(str(end.get("traceback", "")))[:END_BYTES]
        error = shorten(clean(str(end.get("error", ""))).replace("\n", " "), 500)
        outcome = partial(FoldOutcome, self.ticket.fold, seconds=time.monotonic() - self.started, extra=extra)
        if self.reason == "killed":
            return outcome("killed", error="killed on request")
        if status == "ok":
            return outcome("ok")
        if status in ("invalid", "crash"):
            return outcome(status, error=error, traceback=text if status == "crash" else "")
        if self.reason == "timeout":
            return outcome("timeout", error=f"still running after its time limit of {self.ticket.time_limit:g} s")
        if self.reason == "limit":
            return outcome("crash", error=f"was killed: {self.excess}")
        if done is None:
            return outcome("crash", error=f"the worker slot was lost under it: {lost}")
        return outcome("crash", error=f"its process {describe_exit(done['status'])} before it returned predictions")

    def fill(self, excess: str) -> None:
        """The kernel ended it, or part of it, for want of memory; what it was told to end for goes first."""
        if not self.reason:
            self.reason, self.excess = "limit", excess

    def log(self, text: str) -> None:
        """Add a log line."""
        self.tell(LogLine(self.ticket.fold, text))

    def close_theirs(self) -> None:
        """Close the descriptors that were sent."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def close_ours(self) -> None:
        """Close what is read from."""
        for reader in self._readers:
            reader.close()
        self._readers = []
        while self._pipes:
            os.close(self._pipes.pop())

    def _take_log(self, data: bytes) -> None:
        for text in self._log_lines.feed(data):
            self.log(text)

    def _take_reports(self, data: bytes) -> None:
        for line in self._report_lines.feed(data):
            if self._reports >= MAX_REPORTS and not line.startswith('{"end"'):
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(message, dict):
                continue
            if isinstance(message.get("end"), dict):
                self._end = message["end"]
            elif isinstance(message.get("report"), dict):
                self._reports += 1
                self.tell(Report(self.ticket.fold, _safe(message["report"])))


class _PipeReader(asyncio.Protocol):
    """Feeds what comes out of a pipe to a function."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._transport: asyncio.BaseTransport | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _safe(value: Any, depth: int = 5) -> Any:
    """A report as it may be kept: clean strings, bounded, finite numbers."""
    if isinstance(value, str):
        return shorten(clean(value), 500)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if depth and isinstance(value, dict):
        items = list(value.items())[:100]
        return {shorten(clean(key), 100): _safe(item, depth - 1) for key, item in items}
    if depth and isinstance(value, list):
        return [_safe(item, depth - 1) for item in value[:100]]
    return None
