"""Syscalls: the engine is killed, or told of a failing disk, at the Nth system call around a write."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.arena import Arena, Engine, wait
from benchmarks.chaos.siege import Strike

WRITES = ("pwrite64", "fdatasync", "fsync", "write", "ftruncate", "rename", "unlink", "mkdir")
ERRORS = {
    "pwrite64": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "write": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "rename": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "mkdir": ("ENOSPC",),
}
LASTING = 0.2
"""Share of errors that stay once they came."""
DENSITY = 3
TRIES = 3
"""How often a campaign may end before its Nth call came, until N is given up."""


def missing() -> str:
    """Why this attack cannot be made here; empty when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (Linux only)"
    return ""


@dataclass
class Plan:
    """One fault: at the Nth such call of a thread."""

    call: str
    number: int
    fault: str
    tries: int = 0

    @property
    def injection(self) -> str:
        return f"inject={self.call}:{self.fault.replace('@', str(self.number))}"

    @property
    def kind(self) -> str:
        return f"{self.call} {'kill' if 'KILL' in self.fault else self.fault.split('=')[1].split(':')[0]}"


@dataclass
class Syscalls:
    """Every N of the calls of a whole campaign, or as many as are wanted, spread evenly.

    Attributes:
        deadly: Kill; else let the call fail.
        counts: Calls of the engine's busiest thread over a whole campaign, by name.
    """

    deadly: bool
    counts: Counter[str]
    wanted: int
    seed: int
    plans: list[Plan] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)
        self.plans = list(_plans(self.counts, self.deadly, self.wanted, chance))
        chance.shuffle(self.plans)

    @property
    def name(self) -> str:
        return "syscall-kills" if self.deadly else "syscall-errors"

    def strike(self, arena: Arena, chance: random.Random) -> Strike:
        """Start the engine with the next fault in its way."""
        if not self.plans:
            self.__post_init__()
        plan = self._choose(arena)
        engine, log = arena.start(held=True), arena.folder / "strace.log"
        tracer = attach(engine, log, ["-e", f"trace={plan.call}", "-e", plan.injection])
        engine.release()
        code = engine.see_end()
        wait(tracer, 30)
        injected = log.read_text(errors="replace").count("(INJECTED)")
        met = code == -9 if self.deadly else injected > 0
        if not met and plan.tries < TRIES and code == 0:
            plan.tries += 1
            self.plans.insert(chance.randint(0, len(self.plans)), plan)
        arena.progress += plan.number / self.counts[plan.call]
        arena.history.append(f"{plan.injection}: {'met' if met else 'not met'}")
        return Strike(Counter({plan.kind: 1}) if met else Counter(), code, engine.said())

    def _choose(self, arena: Arena) -> Plan:
        """A fault that lies within what is left of the campaign, if there is one."""
        for place, plan in enumerate(self.plans):
            if arena.progress + plan.number / self.counts[plan.call] < 1.0:
                return self.plans.pop(place)
        return self.plans.pop()


def count_calls(arena: Arena) -> Counter[str]:
    """The calls around writes of a campaign without faults, of the engine's busiest thread."""
    engine, log = arena.start(held=True), arena.folder / "strace.log"
    tracer = attach(engine, log, ["-e", f"trace={','.join(WRITES)}"])
    engine.release()
    code = engine.see_end()
    wait(tracer, 30)
    if code != 0:
        raise SystemExit(f"the campaign does not even end under strace: {engine.said()}")
    threads: dict[str, Counter[str]] = {}
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE):
        threads.setdefault(thread, Counter())[call] += 1
    return max(threads.values(), key=lambda counts: counts.total())


def attach(engine: Engine, log: Path, options: list[str]) -> int:
    """Trace all threads of a held engine, and no program it starts; returns the tracer's pid."""
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_RDWR), 2)
            command = ["strace", "-f", "-b", "execve", "-p", str(engine.pid), "-o", str(log), *options]
            os.execvp(command[0], command)
        finally:
            os._exit(70)
    deadline = time.monotonic() + 20
    while "TracerPid:\t0\n" in Path(f"/proc/{engine.pid}/status").read_text():
        if time.monotonic() > deadline or wait(pid, 0) is not None:
            raise SystemExit("strace cannot attach here (it needs ptrace)")
        time.sleep(0.002)
    return pid


def _plans(counts: Counter[str], deadly: bool, wanted: int, chance: random.Random) -> Iterator[Plan]:
    """Each call gets its share of the faults: rare ones every N, frequent ones a sample, denser at small N.

    A campaign goes on where the last fault left it, so a small N falls into its middle as well.
    """
    left = {call: count for call, count in counts.items() if call in WRITES}
    share = dict.fromkeys(left, 0)
    while sum(share.values()) < wanted and any(share[call] < left[call] for call in left):
        for call in left:
            share[call] = min(share[call] + 1, left[call])
    for call, some in share.items():
        for place in range(some):
            reach = ((place + chance.random()) / some) ** DENSITY
            number = place + 1 if some == left[call] else 1 + int(reach * left[call])
            if deadly:
                yield Plan(call, number, "signal=KILL:when=@")
                continue
            # An engine whose every write fails cannot say so.
            lasting = chance.random() < LASTING and call != "write"
            yield Plan(call, number, f"error={chance.choice(ERRORS[call])}:when=@" + ("+" if lasting else ""))
