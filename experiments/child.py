"""The process of one fold: it gets data as file descriptors, runs the experiment, and ends."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import json
import linecache
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import types
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from experiments.alignment import align_prediction
from experiments.confine import reveal
from experiments.context import Context, pipe_sender
from experiments.errors import PredictionError
from experiments.foldcache import GROUP_FIELD, TIME_FIELD, read_frame
from experiments.landlock import keep_signals_inside
from experiments.logtext import shorten
from experiments.processes import LINUX, die_with_parent
from experiments.text import clean

MODULE = "experiment"
ERROR_CHARS = 300
TRACEBACK_CHARS = 8_000


@dataclass(frozen=True)
class Descriptors:
    """The file descriptors of one fold, in the order they are sent.

    Attributes:
        job: JSON: code, context, expected, time_limit, data_dir.
        train: Arrow IPC file, read-only.
        valid: Arrow IPC file, read-only.
        test: Arrow IPC file, read-only.
        result: Takes the predictions: float32 values of valid, then of test, without a header.
        log: Pipe that takes standard output and error.
        report: Pipe that takes JSON lines: ``{"report": {...}}`` and last ``{"end": {...}}``.
    """

    job: int
    train: int
    valid: int
    test: int
    result: int
    log: int
    report: int

    def close(self) -> None:
        """Close them all."""
        for descriptor in astuple(self):
            os.close(descriptor)


@dataclass(frozen=True)
class End:
    """How the experiment ended, as the child tells it."""

    status: str
    error: str = ""
    traceback: str = ""

    def line(self) -> bytes:
        """One JSON line, at most ``END_BYTES``."""
        return json.dumps({"end": vars(self)}).encode() + b"\n"


def run_child(fds: Descriptors, scratch: Path, owner: int, *, confined: bool) -> NoReturn:
    """Run one fold and end the process; called right after the fork, with all else closed.

    Args:
        scratch: Fresh folder of this fold.
        owner: Pid of the warm process.
        confined: The warm process has confined itself; the fold is kept from it as well.
    """
    os.setpgid(0, 0)
    die_with_parent(signal.SIGKILL)
    if confined:
        reveal()
        keep_signals_inside()
    if os.getppid() != owner:
        os._exit(1)
    os.dup2(fds.log, 1)
    os.dup2(fds.log, 2)
    os.close(fds.log)
    _prepare(scratch)
    me = os.getpid()
    end = _run(fds, scratch)
    if os.getpid() != me:
        # The experiment forked and both came back: only the first process speaks for the fold.
        os._exit(0)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Native libraries print through C buffers, which _exit does not flush.
    ctypes.CDLL(None).fflush(None)
    os.write(fds.report, end.line())
    os._exit(0)


def _prepare(scratch: Path) -> None:
    """Make the forked process the experiment's own; out of memory, the kernel is to take it first."""
    os.chdir(scratch)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    faulthandler.enable(file=2)
    tempfile.tempdir = str(scratch)
    if LINUX:
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")


def _run(fds: Descriptors, scratch: Path) -> End:
    with os.fdopen(fds.job, "rb") as file:
        file.seek(0)
        job: dict[str, Any] = json.load(file)
    train, hidden = _frame(fds.train)
    valid, _ = _frame(fds.valid)
    test, _ = _frame(fds.test)
    indexes = (valid.index, test.index)
    context = job["context"]
    ctx = Context(
        context,
        y=train[context["columns"]["target"]].to_numpy().copy(),
        groups=hidden.get(GROUP_FIELD),
        times=hidden.get(TIME_FIELD),
        deadline=time.monotonic() + job["time_limit"],
        scratch=scratch,
        data_dir=Path(job["data_dir"]) if job["data_dir"] else None,
        send=pipe_sender(fds.report),
    )
    random.seed(ctx.seed)
    np.random.seed(ctx.seed % 2**32)
    path = scratch / f"{MODULE}.py"
    try:
        fit_predict = _load(job["code"], path)
        returned = fit_predict(train, valid, test, ctx)
        return _collect(returned, indexes, job, fds.result)
    except SystemExit as error:
        return End("crash", f"called sys.exit({error.code!r:.100})", _own_traceback(error, path))
    except BaseException as error:  # noqa: BLE001 - whatever the experiment raises is its outcome
        return _crash(error, path)


def _load(code: str, path: Path) -> Any:
    """Execute the experiment as an importable module; return its ``fit_predict``."""
    path.write_text(code, encoding="utf-8")
    # Processes that the experiment spawns import it from here.
    sys.path.insert(0, str(path.parent))
    sys.argv = [path.name]
    linecache.cache[str(path)] = (len(code), None, code.splitlines(keepends=True), str(path))
    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module
    exec(compile(code, str(path), "exec"), module.__dict__)
    function = getattr(module, "fit_predict", None)
    if not callable(function):
        raise AttributeError("the file defines no function fit_predict(train, valid, test, ctx)")
    return function


def _collect(returned: Any, indexes: tuple[pd.Index, pd.Index], job: dict[str, Any], result: int) -> End:
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        return End(
            "invalid",
            f"fit_predict must return (valid_pred, test_pred), it returned a {type(returned).__name__}",
        )
    context = job["context"]
    n_outputs = job["expected"][2]
    parts = []
    for name, value, index in zip(("valid_pred", "test_pred"), returned, indexes, strict=True):
        try:
            part = align_prediction(value, index, n_outputs, context["classes"], context["task_type"])
        except PredictionError as error:
            return End("invalid", clean(f"{name} {error}"))
        parts.append(part)
    with os.fdopen(result, "wb") as file:
        file.seek(0)
        for part in parts:
            file.write(part.astype("<f4").tobytes())
    return End("ok")


def _frame(descriptor: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    with os.fdopen(descriptor, "rb") as file:
        if LINUX:
            return read_frame(mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
        # Read, not mapped: a mapping would show the file's path, next to which other folds' files lie.
        file.seek(0)
        return read_frame(file.read())


def _crash(error: BaseException, path: Path) -> End:
    summary = "".join(traceback.format_exception_only(error)).strip().splitlines()
    message = summary[-1] if summary else type(error).__name__
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    where = f" ({path.name}, line {lines[-1]})" if lines else ""
    return End("crash", shorten(clean(message), ERROR_CHARS) + where, _own_traceback(error, path))


def _own_traceback(error: BaseException, path: Path) -> str:
    """The traceback with the experiment's own frames and the innermost one, capped."""
    formatted = traceback.TracebackException.from_exception(error, limit=-40, max_group_width=3)
    seen: set[int] = set()
    pending: list[traceback.TracebackException | None] = [formatted]
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        last = len(part.stack) - 1
        part.stack = traceback.StackSummary.from_list(
            [
                frame
                for number, frame in enumerate(part.stack)
                if frame.filename == str(path) or (number == last and frame.filename != __file__)
            ]
        )
        pending += [part.__cause__, part.__context__]
    text = clean("".join(formatted.format())).replace(str(path), path.name)
    if len(text) > TRACEBACK_CHARS:
        half = TRACEBACK_CHARS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text


def forget_garbage() -> None:
    """Before a fork: keep what is loaded out of later collections, which would copy its pages."""
    gc.collect()
    gc.freeze()
