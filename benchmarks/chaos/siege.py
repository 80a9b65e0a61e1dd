"""The siege: strike at a campaign until it is over, look what is left of it, begin another."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.chaos.arena import Arena

MOST_STRIKES = 25
"""Strikes at one campaign; then it is left to end in peace."""
DAMAGES = ("lost", "doubled", "corrupt", "unresumed", "unclear", "left")


@dataclass(frozen=True)
class Strike:
    """One start of the engine, and what was done to it.

    Attributes:
        faults: How many faults of each kind it met; empty when it came to its end before.
        code: Its exit code (minus the signal when killed); None when it hung.
        said: What it told the person.
    """

    faults: Counter[str]
    code: int | None
    said: str

    def __str__(self) -> str:
        done = ", ".join(f"{kind} x{count}" for kind, count in self.faults.items()) or "nothing"
        return f"{done} -> exit {self.code}" + (f"; {self.said.splitlines()[0][:160]}" if self.said else "")


class Attack(Protocol):
    """A way to make a campaign's life hard."""

    name: str

    def strike(self, arena: Arena, chance: random.Random) -> Strike:
        """Start the engine, do the harm, see the engine end."""


@dataclass
class Tally:
    """What came of an attack.

    Attributes:
        damage: Findings by kind: ``DAMAGES``.
    """

    name: str
    faults: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    campaigns: int = 0
    damage: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.faults.values())


@dataclass
class Siege:
    """One attack, carried through.

    Attributes:
        make: Makes a fresh campaign in a folder.
        keep: Where campaigns with a finding are kept.
        say: Prints a line.
    """

    attack: Attack
    make: Callable[[Path], Arena]
    chance: random.Random
    folder: Path
    keep: Path
    say: Callable[[str], None] = lambda line: print(line, flush=True)

    def lay(self, wanted: int, seconds: float) -> Tally:
        """Strike so many times, or for so many seconds; every campaign that was begun is brought to its end."""
        tally = Tally(self.attack.name)
        began = time.monotonic()
        while tally.total < wanted and time.monotonic() - began < seconds:
            self._campaign(tally, wanted, began + seconds)
        tally.seconds = time.monotonic() - began
        return tally

    def _campaign(self, tally: Tally, wanted: int, deadline: float) -> None:
        tally.campaigns += 1
        arena = self.make(self.folder / f"{self.attack.name}-{tally.campaigns}")
        found: list[str] = []
        over = closed = False
        try:
            for number in range(MOST_STRIKES + 1):
                peace = number == MOST_STRIKES or tally.total >= wanted or time.monotonic() > deadline
                strike = self._peace(arena) if peace else self.attack.strike(arena, self.chance)
                tally.starts += 1
                tally.faults += strike.faults
                arena.history.append(str(strike))
                over = arena.finished()
                # What the last engine could not write or remove any more would be put right by the next.
                closed = strike.code == 0 and not any(kind.startswith("unlink") for kind in strike.faults)
                found += [*_judge(strike, over), *map(str, arena.check_standing())]
                if over or found or peace:
                    break
            if over:
                found += map(str, arena.check_finished(closed=closed))
            elif not found:
                found.append("unresumed: the campaign did not come to its end")
            self._report(tally, arena, list(dict.fromkeys(found)))
        finally:
            shutil.rmtree(arena.folder, ignore_errors=True)

    def _peace(self, arena: Arena) -> Strike:
        """The person's own command, in a process of its own, with nothing in its way."""
        engine = arena.start(real=True)
        code = engine.see_end()
        return Strike(Counter(), code, engine.said())

    def _report(self, tally: Tally, arena: Arena, found: list[str]) -> None:
        tally.damage += Counter(text.split(":")[0] for text in found)
        if not found:
            return
        kept = self.keep / arena.folder.name
        shutil.copytree(arena.folder, kept, symlinks=True, ignore=_no_files)
        if arena.disk != arena.folder:
            shutil.copytree(arena.disk, kept / "disk", symlinks=True, ignore=_no_files)
        (kept / "history").write_text("\n".join([*arena.history, "", *found]) + "\n")
        self.say(f"  {arena.folder.name}: {len(found)} findings, kept in {kept}")
        for text in found[:8]:
            self.say(f"    {text}")


def _no_files(folder: str, names: list[str]) -> list[str]:
    """The doors of slots among these: sockets cannot be copied."""
    return [name for name in names if (Path(folder) / name).is_socket()]


def _judge(strike: Strike, over: bool) -> list[str]:
    """What is wrong with how an engine ended; a campaign that is over may have come to nothing."""
    found = []
    if strike.code is None:
        found.append(f"unresumed: the engine hung; {strike}")
    elif strike.code > 0 and not strike.faults and not over:
        found.append(f"unresumed: {strike}")
    if "Traceback" in strike.said or "Bug:" in strike.said or ((strike.code or 0) > 0 and not strike.said and not over):
        found.append(f"unclear: {strike}; {strike.said[-400:]}")
    return found
