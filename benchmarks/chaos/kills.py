"""Kills: SIGKILL at random instants, of the engine, what it started, or both."""

from __future__ import annotations

import random
import time
from collections import Counter

import psutil

from benchmarks.chaos.arena import START_SECONDS, Arena, Engine, others, supervises
from benchmarks.chaos.siege import Strike

TARGETS = {"engine": 9, "engine and all": 4, "worker": 4, "supervisor": 3, "engine and supervisor": 3}
LONGEST = 3.0
"""Seconds after which an engine is struck at the latest."""
MOST_EVENTS = 40
JITTER = 0.03
LOOK = 0.002


class Kills:
    """Half of the instants are spread over time, half lie right after a fact, where commits are near."""

    name = "kills"

    def strike(self, arena: Arena, chance: random.Random) -> Strike:
        """Start the engine and kill until it is hit itself or comes to its end."""
        engine = arena.start()
        faults: Counter[str] = Counter()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            code = self._await(engine, chance)
            if code is not None:
                engine.events()
                return Strike(faults, code, engine.said())
            target = self._kill(engine, arena, chance)
            faults[target] += target != ""
            if target.startswith("engine"):
                engine.see_end()
                return Strike(faults, -9, engine.said())
        engine.kill()
        return Strike(faults, None, engine.said())

    def _await(self, engine: Engine, chance: random.Random) -> int | None:
        """Wait for the instant; the exit code when the engine ends before."""
        until = time.monotonic() + chance.uniform(0.0, LONGEST)
        events = chance.randint(1, MOST_EVENTS) if chance.random() < 0.5 else None
        while True:
            if (code := engine.poll()) is not None:
                return code
            if events is not None:
                events -= len(engine.events())
                if events <= 0:
                    time.sleep(chance.uniform(0.0, JITTER))
                    return engine.poll()
            elif time.monotonic() > until:
                return None
            time.sleep(LOOK)

    def _kill(self, engine: Engine, arena: Arena, chance: random.Random) -> str:
        """Kill what the lot falls on, if there is such a process; returns who it was."""
        below = others(engine)
        supervisors = [one for one in below if supervises(one)]
        workers = [one for one in below if not supervises(one)]
        target = chance.choices(list(TARGETS), TARGETS.values())[0]
        if target.endswith("supervisor") and not supervisors:
            target = "engine"
        if target == "worker" and not workers:
            return ""
        victims = {
            "engine": [],
            "engine and all": below,
            "worker": [chance.choice(workers)] if workers else [],
            "supervisor": [chance.choice(supervisors)] if supervisors else [],
            "engine and supervisor": supervisors,
        }[target]
        if target in ("worker", "supervisor"):
            arena.whole = False
        order = [psutil.Process(engine.pid)] if target.startswith("engine") else []
        order += victims
        if chance.random() < 0.5:
            order.reverse()
        for victim in order:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        return target
