"""Runs the engine on a workspace and kills it with SIGKILL after the Nth event, or never.

python killable.py WORKSPACE ROUNDS EVENT_KINDS N
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from autokaggle_tui.engine import RunOptions, run_engine
from autokaggle_tui.workspace import Workspace


def main() -> int:
    folder, rounds, kinds, wanted = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4])
    seen = 0

    def listen(row) -> None:
        nonlocal seen
        if row["kind"] in kinds:
            seen += 1
            if seen == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

    return asyncio.run(run_engine(Workspace(folder), RunOptions(rounds=rounds), listen))


if __name__ == "__main__":
    sys.exit(main())
