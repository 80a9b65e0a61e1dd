"""The parent's side of one running fold: what it is given, what comes from it, how it is judged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from backends.compute.base import FoldJob, FoldOutcome, LogLine, Record, Report
from backends.compute.memory import fixed_size, sealed_bytes, sealed_copy
from experiments.child import END_BYTES
from experiments.context import MAX_REPORTS
from experiments.errors import DataError, PredictionError
from experiments.logtext import LineReader, shorten
from experiments.predictions import check_prediction
from experiments.processes import describe_exit
from experiments.text import clean

DRAIN_SECONDS = 5.0


@dataclass
class RunningFold:
    """The parent's side of one fold: its descriptors, what has come from it, how it ended."""

    job: FoldJob
    records: asyncio.Queue[Record | None] = field(default_factory=asyncio.Queue)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reason: Literal["", "killed", "timeout", "limit"] = ""
    exceeded: str | None = None
    sent: bool = False
    started: float = field(default_factory=time.monotonic)
    descriptors: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._result = -1
        self._pipes: list[int] = []
        self._readers: list[_PipeReader] = []
        self._end: Mapping[str, Any] | None = None
        self._log_lines = LineReader()
        self._report_lines = LineReader(line_chars=END_BYTES, max_lines=sys.maxsize, max_chars=sys.maxsize)
        self._reports = 0

    def open(self) -> None:
        """Open all that the child gets; the data as copies that it cannot change."""
        job = self.job
        try:
            self.descriptors = [sealed_bytes(_payload(job))]
            for path in (job.train, job.valid, job.test):
                self.descriptors.append(sealed_copy(path))
        except OSError as error:
            raise DataError(
                f"The data file {error.filename} of fold {job.fold} cannot be opened: {error.strerror}.",
                hint="The fold cache can be deleted; it is written again at the next start.",
            ) from None
        self._result = fixed_size(_result_size(job))
        self.descriptors.append(os.dup(self._result))
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

    async def finish(self, done: Mapping[str, Any] | None, lost: str = "") -> None:
        """Judge the fold and put its outcome last.

        Args:
            done: What the warm process says of the child's end; None when it cannot say.
            lost: What became of the warm process when it was lost, else empty.
        """
        self.records.put_nowait(await asyncio.to_thread(self._outcome, done, lost))

    def supervised(self, _task: asyncio.Task[None]) -> None:
        """Nothing follows: wake the reader."""
        self.over.set()
        self.records.put_nowait(None)

    def log(self, text: str) -> None:
        """Add a log line."""
        self.records.put_nowait(LogLine(self.job.fold, text))

    def close_theirs(self) -> None:
        """Close the descriptors that were sent."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    async def close_ours(self) -> None:
        """Close what is read from."""
        for reader in self._readers:
            reader.close()
        self._readers = []
        while self._pipes:
            os.close(self._pipes.pop())
        if self._result >= 0:
            os.close(self._result)
            self._result = -1

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
                self.records.put_nowait(Report(self.job.fold, _safe(message["report"])))

    def _outcome(self, done: Mapping[str, Any] | None, lost: str) -> FoldOutcome:
        job, seconds = self.job, time.monotonic() - self.started
        extra: dict[str, Any] = {}
        if done is not None:
            extra = {"cpu_seconds": done["cpu_seconds"], "peak_mb": round(done["peak_bytes"] / 1e6)}
        if lost:
            extra["worker_lost"] = True
        end = self._end or {}
        status, text = end.get("status"), clean(str(end.get("traceback", "")))[:END_BYTES]
        error = shorten(clean(str(end.get("error", ""))).replace("\n", " "), 500)
        if self.reason == "killed":
            return FoldOutcome(job.fold, "killed", seconds, error="killed on request", extra=extra)
        if status == "ok":
            try:
                valid, test = _read_result(self._result, job)
            except PredictionError as problem:
                return FoldOutcome(job.fold, "invalid", seconds, error=str(problem), extra=extra)
            return FoldOutcome(job.fold, "ok", seconds, valid, test, extra=extra)
        if status == "invalid":
            return FoldOutcome(job.fold, "invalid", seconds, error=error, extra=extra)
        if status == "crash":
            return FoldOutcome(job.fold, "crash", seconds, error=error, traceback=text, extra=extra)
        if self.reason == "timeout":
            error = f"still running after its time limit of {job.time_limit:g} s"
            return FoldOutcome(job.fold, "timeout", seconds, error=error, extra=extra)
        if self.reason == "limit":
            return FoldOutcome(job.fold, "crash", seconds, error=f"was killed: {self.exceeded}", extra=extra)
        if done is None:
            error = f"the worker slot was lost under it: {lost}"
        else:
            error = f"its process {describe_exit(done['status'])} before it returned predictions"
        return FoldOutcome(job.fold, "crash", seconds, error=error, extra=extra)


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


def _payload(job: FoldJob) -> bytes:
    return json.dumps(
        {
            "code": job.code,
            "context": dict(job.context),
            "expected": list(job.expected),
            "time_limit": job.time_limit,
            "data_dir": None if job.data_dir is None else str(job.data_dir),
        }
    ).encode()


def _result_size(job: FoldJob) -> int:
    n_valid, n_test, n_outputs = job.expected
    return 4 * n_outputs * (n_valid + n_test)


def _read_result(descriptor: int, job: FoldJob) -> tuple[np.ndarray, np.ndarray]:
    """The predictions as the engine expects them; the child is not believed about any of it."""
    n_valid, _, n_outputs = job.expected
    size = _result_size(job)
    if os.fstat(descriptor).st_size != size:
        raise PredictionError("the predictions have another size than the rows to predict")
    raw = bytearray()
    while len(raw) < size:
        chunk = os.pread(descriptor, min(size - len(raw), 1 << 26), len(raw))
        if not chunk:
            raise PredictionError("the predictions are cut short")
        raw += chunk
    values = np.frombuffer(raw, dtype="<f4").reshape(-1, n_outputs)
    parts = []
    for name, part in (("valid_pred", values[:n_valid]), ("test_pred", values[n_valid:])):
        part = part[:, 0] if n_outputs == 1 else part
        try:
            checked = check_prediction(part, len(part), n_outputs, job.context["task_type"])
        except PredictionError as error:
            raise PredictionError(f"{name} {error.message}") from None
        parts.append(checked)
    return parts[0], parts[1]


def _safe(value: Any, depth: int = 5) -> Any:
    """A report as it may be kept: clean strings, bounded, finite numbers."""
    if isinstance(value, str):
        return shorten(clean(value), 500)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) < 2**63 else None
    if depth and isinstance(value, dict):
        items = list(value.items())[:100]
        return {shorten(clean(key), 100): _safe(item, depth - 1) for key, item in items}
    if depth and isinstance(value, list):
        return [_safe(item, depth - 1) for item in value[:100]]
    return None
