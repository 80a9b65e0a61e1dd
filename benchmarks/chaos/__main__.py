"""Is anything lost, doubled or corrupt, whatever dies and whatever fails?

    python -m benchmarks.chaos [--long] [--parts kills,syscalls,errors,disk] [--seed 1] [--minutes 8]

A short campaign on real data, submissions to the local platform included, is attacked until it is over, again and
again; then its workspace, its registry and the platform's ledger are checked cold:

    kills     engine, worker slots and their supervisors killed with SIGKILL at random instants, alone or together
    syscalls  the engine killed at the Nth system call around a write (strace)
    errors    those calls fail with EIO or ENOSPC, once or from then on (strace)
    disk      the workspace on a small tmpfs that is full at random instants (root)

Each campaign is ended by the command that a person would give. One Markdown table comes last; a campaign with a finding
is kept for a look. Exit code 1 when something was found.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos import disks, syscalls
from benchmarks.chaos.arena import Arena, reaped
from benchmarks.chaos.kills import Kills
from benchmarks.chaos.siege import DAMAGES, Attack, Siege, Tally
from experiments.processes import adopt_orphans, end_descendants

ROUNDS = 3
SHORT = {"kills": 45, "syscalls": 45, "errors": 45, "disk": 30}
LONG = {"kills": 300, "syscalls": 300, "errors": 350, "disk": 250}
FLOORS = ("0", "0", "2m")
"""Free disk below which the engine pauses, by turns; 0: it runs into the wall."""


def main() -> int:
    options = _options()
    wanted = {part: count for part, count in (LONG if options.long else SHORT).items() if part in options.parts}
    if options.count is not None:
        wanted = dict.fromkeys(wanted, options.count)
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Engines are forked from here; the threads that libraries started are theirs, and idle.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    import autokaggle_tui.engine
    import autokaggle_tui.headless  # noqa: F401

    keep = Path(options.keep or tempfile.mkdtemp(prefix="chaos-found-"))
    tallies: list[Tally] = []
    try:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            for part, count in wanted.items():
                print(f"{part}: {count} faults, seed {options.seed}", flush=True)
                tally = _attack(part, count, options.seed, options.minutes * 60 / len(wanted), Path(folder), keep)
                tallies += [tally] if tally else []
    finally:
        end_descendants(reaped, "")
        with contextlib.suppress(OSError):
            keep.rmdir()
    if options.tally:
        tallies = _added(Path(options.tally), tallies)
    print(f"\n{table(tallies)}")
    return int(any(tally.damage for tally in tallies))


def _attack(part: str, count: int, seed: int, seconds: float, folder: Path, keep: Path) -> Tally | None:
    """Carry one attack through; None when it cannot be made on this machine."""
    chance = random.Random(f"{part} {seed}")
    why = {"syscalls": syscalls.missing, "errors": syscalls.missing, "disk": disks.missing}.get(part, lambda: "")()
    if why:
        print(f"  skipped: {why}", flush=True)
        return None
    template = Arena.make(folder / f"{part}-template", rounds=ROUNDS, slots=2 if part == "kills" else 1)
    if part != "disk":
        attack: Attack = Kills() if part == "kills" else _syscalls(part, count, seed, template, folder)
        return Siege(attack, template.copy, chance, folder, keep).lay(count, seconds)
    with disks.mounted(folder / "disk") as disk:
        siege = Siege(disks.Fills(disk / "filler"), _on_disk(template, disk), chance, folder, keep)
        return siege.lay(count, seconds)


def _on_disk(template: Arena, disk: Path) -> Callable[[Path], Arena]:
    """Makes campaigns on a disk that holds one at a time."""
    made = 0

    def make(folder: Path) -> Arena:
        nonlocal made
        for old in disk.iterdir():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        arena = template.copy(folder, disk)
        arena.set_floor(FLOORS[made % len(FLOORS)])
        made += 1
        return arena

    return make


def _syscalls(part: str, count: int, seed: int, template: Arena, folder: Path) -> syscalls.Syscalls:
    counts = syscalls.count_calls(template.copy(folder / f"{part}-baseline"))
    said = ", ".join(f"{call} {number}" for call, number in counts.most_common())
    print(f"  calls of a whole campaign: {said}", flush=True)
    return syscalls.Syscalls(part == "syscalls", counts, count, seed)


def table(tallies: list[Tally]) -> str:
    """The figures as Markdown."""
    lines = [f"| attack | campaigns | starts | faults | {' | '.join(DAMAGES)} |", f"|{' --- |' * (4 + len(DAMAGES))}"]
    for tally in tallies:
        cells = [tally.name, tally.campaigns, tally.starts, tally.total, *(tally.damage[name] for name in DAMAGES)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for tally in tallies:
        said = ", ".join(f"{kind} {count}" for kind, count in tally.faults.most_common())
        lines.append(f"\n{tally.name} ({tally.seconds:.0f} s): {said}.")
    return "\n".join(lines)


def _added(path: Path, tallies: list[Tally]) -> list[Tally]:
    """Add these to a file of earlier ones; returns the sums by attack."""
    sums: dict[str, Tally] = {}
    with path.open("a+") as file:
        for tally in tallies:
            file.write(json.dumps(vars(tally)) + "\n")
        file.seek(0)
        for row in map(json.loads, file):
            total = sums.setdefault(row["name"], Tally(row["name"]))
            total.faults += Counter(row["faults"])
            total.damage += Counter(row["damage"])
            for name in ("starts", "campaigns", "seconds"):
                setattr(total, name, getattr(total, name) + row[name])
    return list(sums.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="at least 500 kills and 500 disk faults, an hour or so")
    parser.add_argument("--parts", default=",".join(SHORT), help="which attacks, separated by commas")
    parser.add_argument("--count", type=int, help="faults of each attack")
    parser.add_argument("--minutes", type=float, help="most minutes for all (short: 8, long: 120)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="makes a run reproducible")
    parser.add_argument("--tally", help="a file that sums the figures of several runs")
    parser.add_argument("--keep", help="where campaigns with a finding are kept")
    options = parser.parse_args()
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(SHORT):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.minutes is None:
        options.minutes = 120.0 if options.long else 8.0
    return options


if __name__ == "__main__":
    sys.exit(main())
