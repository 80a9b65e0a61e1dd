"""Products of matrices on one thread.

More threads gain little where products are small, and lose a lot where other work has the cores: each of
hundreds of products then waits for its slowest part.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[object]:
    """Let BLAS use one thread until the end of a ``with``; for the whole process."""
    limited: AbstractContextManager[object] = _controller().limit(limits=1, user_api="blas")
    return limited


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
