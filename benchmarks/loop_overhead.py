"""What a round costs outside training and model calls, and whether it stays flat.

    python -m benchmarks.loop_overhead [--rounds 200]

A scripted model plans an experiment a round that predicts a constant, so all that is left is the loop:
phases, files, registry, exports, scoring, correlations with the pool, a slot's fold start. The time of the
folds themselves is taken off. Prints the overhead of the first rounds, the last ones, and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from autokaggle_tui.bench import open_bench
from autokaggle_tui.control import StopRun
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace, round_name
from backends.models.base import Chunk, Done, Request, TextDelta, ToolCall, Usage
from backends.models.playbook.model import Playbook
from experiments.schema import Row

CODE = """import numpy as np

def fit_predict(train, valid, test, ctx):
    rng = np.random.default_rng({seed})
    return rng.random(len(valid)), rng.random(len(test))
"""
PLAN = """---
kind: model
family: noise{number}
hypothesis: none
params: {{seed: {number}}}
---
"""
LEARNINGS = "".join(
    f'## {name}\n\nOff for the measurement.\n\n```toml\nid = "{name}"\nenforce = "off"\n```\n\n'
    for name in ("fold1-gate", "tunnel-vision", "research-over-tuning", "false-negatives")
)


class Scripted:
    """Plans and writes a trivial experiment each round; leaves the other phases to the playbook."""

    name = "scripted"
    context: int | None = None

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        task = request.task
        if task.phase not in ("plan", "code") or request.messages[-1].role == "tool":
            if task.phase in ("plan", "code"):
                yield TextDelta(task.answers[0])
                yield Done("stop")
                return
            async for chunk in Playbook().stream(request):
                yield chunk
            return
        text = CODE.format(seed=task.round)
        if task.phase == "plan":
            text = PLAN.format(number=task.round)
        yield ToolCall("1", "write_file", json.dumps({"path": f"rounds/{task.outputs[0]}", "content": text}))
        yield Usage(0, 0, 0.0)
        yield Done("tool_calls")


async def measure(rounds: int, folder: Path) -> list[float]:
    """Seconds of overhead of each round."""
    workspace = Workspace(demo_workspace(folder))
    workspace.learnings.write_text(LEARNINGS)
    began: dict[int, float] = {}
    folds: dict[int, float] = {}
    overhead: list[float] = []

    def listen(row: Row) -> None:
        number = row["round"]
        if row["kind"] == "round_started":
            began[number] = time.perf_counter()
        elif row["kind"] == "fold_done":
            folds[number] = folds.get(number, 0.0) + row["data"]["seconds"]
        elif row["kind"] == "round_done" and number:
            overhead.append(time.perf_counter() - began[number] - folds.get(number, 0.0) / bench.campaign.slots)

    async with open_bench(workspace, listen) as bench:
        await bench.runner.starting
        bench.desk.staff.open = lambda _name: Scripted()
        try:
            await Session(bench, RunOptions(rounds=rounds)).run()
        except StopRun:
            pass
    return overhead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    wanted = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        seconds = asyncio.run(measure(wanted, Path(folder) / "demo"))
    few = max(1, min(10, len(seconds) // 4))
    first, last = statistics.median(seconds[1 : few + 1]), statistics.median(seconds[-few:])
    print(f"loop overhead per round, median of {few}: {first:.3f} s from {round_name(2)}, ", end="")
    print(f"{last:.3f} s up to {round_name(len(seconds))}; ratio {last / first:.2f}")


if __name__ == "__main__":
    main()
