"""Products of matrices on one thread.

More threads gain little where products are small, and lose a lot where other work has the cores: each of
hundreds of products then waits for its slowest part.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_inside: list[AbstractContextManager[object]] = []
_depth = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS use one thread in a ``with``, for the whole process; of several at once the last ends it."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
            limited.__enter__()
            _inside.append(limited)
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _inside.pop().__exit__(None, None, None)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
