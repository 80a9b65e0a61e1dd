"""Signals, and the end of a process that runs the loop. Standard library only; asyncio waits until it is needed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, NoReturn

INTERRUPTED = 130


def leave(code: int) -> NoReturn:
    """End the process now: a step that a thread is in the middle of is not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Ctrl-C ends the process quietly, for as long as nothing is open yet.

    Imports need it: a KeyboardInterrupt there can get lost, or come out of a library as another error.
    """
    before = signal.signal(signal.SIGINT, lambda *_: leave(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def hangups_ignored() -> Iterator[None]:
    """A lost terminal does not end the process; programs it starts keep their own ways."""
    before = signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def interrupts(first: Callable[[], None], at_once: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C calls ``first``, then ``at_once``; SIGTERM calls ``at_once``. Before and after, it is as it was."""
    import asyncio

    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    asked = False

    def interrupt() -> None:
        nonlocal asked
        if asked:
            at_once()
        else:
            asked = True
            first()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, at_once)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)


def run_to_end(work: Coroutine[Any, Any, int]) -> int:
    """``asyncio.run`` for work that returns an exit code.

    Interrupted work has written its end and closed what it opened when it comes back here; then the process
    leaves without waiting for its threads, as ``asyncio.run`` would.
    """

    import asyncio

    async def watched() -> int:
        try:
            code = await work
        except asyncio.CancelledError:
            code = INTERRUPTED
        if code == INTERRUPTED:
            leave(code)
        return code

    return asyncio.run(watched())
