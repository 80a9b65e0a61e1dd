"""The watcher: a machine short of memory or disk holds the loop, one that slept is told. Figures come in as values."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from autokaggle_tui.config import Resources
from autokaggle_tui.control import Control, Hold
from autokaggle_tui.durations import format_duration
from autokaggle_tui.notifying import watch_deadline
from autokaggle_tui.sizes import size_text
from autokaggle_tui.usage import free_bytes
from experiments.registry import Registry

DISK = "disk"
TEMPORARY = "temporary disk"
MACHINE = "machine"
"""Holds the loop in this name."""
MEMORY = "memory"

ENOUGH = 1.25
"""A shortage is over above this many times its floor."""
CALM_LOOKS = 5
"""And once it stayed there for so many looks, a second apart."""
MEMORY_LOOKS = 3
"""A fold that allocates dips for a moment: memory is short after so many looks."""
PRESSURE = 25.0
"""Percent of the last ten seconds in which every task waited for memory: the machine thrashes."""
CALM_PRESSURE = 10.0
NEAR = 4.0
"""Pressure counts below this many times the floor: another container may thrash within a limit of its own."""
SLEPT_SECONDS = 5.0
JUMP_SECONDS = 60.0

_PRESSURE_FILE = Path("/proc/pressure/memory")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Figures:
    """How the machine stands.

    Attributes:
        memory: Available bytes, None when that cannot be told.
        pressure: Percent of the last ten seconds in which every task waited for memory (Linux PSI, ``full avg10``).
        disks: Free bytes by name; a place that cannot be measured is missing.
        wall: Unix seconds; ``monotonic``: a clock that stands still while the machine sleeps; ``boot``: one that
            does not, None where there is none.
    """

    memory: int | None = None
    pressure: float | None = None
    disks: Mapping[str, int] = field(default_factory=dict)
    wall: float = 0.0
    monotonic: float = 0.0
    boot: float | None = None


def measure(workspace: Path, temporary: Path) -> Figures:
    """The figures of this machine, now; takes well under a millisecond."""
    places = {DISK: workspace, TEMPORARY: temporary}
    if _device(workspace) == _device(temporary):
        del places[TEMPORARY]
    free = {name: free_bytes(place) for name, place in places.items()}
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else None
    return Figures(
        memory=available_memory(),
        pressure=_pressure(),
        disks={name: bytes for name, bytes in free.items() if bytes is not None},
        wall=time.time(),
        monotonic=time.monotonic(),
        boot=boot,
    )


def available_memory() -> int:
    """Bytes that can be had without swapping, within the limits of the control group (v2) as well."""
    rooms = [psutil.virtual_memory().available, *_cgroup_rooms()]
    return min(rooms)


def _cgroup_rooms() -> Iterator[int]:
    """What each limit above this process leaves; file cache that can be dropped counts as free."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        name = next((line[3:] for line in lines if line.startswith("0::")), None)
        folder = None if name is None else _CGROUPS / name.strip("/")
        while folder is not None and folder.is_relative_to(_CGROUPS):
            with contextlib.suppress(OSError, ValueError):
                limit, used = (int((folder / f"memory.{part}").read_text()) for part in ("max", "current"))
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield max(limit - used + int(stat.get("inactive_file", 0)), 0)
            folder = folder.parent


def _pressure() -> float | None:
    try:
        lines = _PRESSURE_FILE.read_text().splitlines()
        full = next(line for line in lines if line.startswith("full"))
        return float(full.split()[1].removeprefix("avg10="))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _device(place: Path) -> int | None:
    try:
        return place.stat().st_dev
    except OSError:
        return None


@dataclass
class _Gauge:
    """Whether one thing is short: entered after ``looks`` looks in a row, left after ``CALM_LOOKS``."""

    looks: int
    short: bool = False
    _count: int = 0

    def see(self, low: bool, fine: bool) -> None:
        """One more look."""
        self._count = self._count + 1 if (fine if self.short else low) else 0
        if self._count >= (CALM_LOOKS if self.short else self.looks):
            self.short, self._count = not self.short, 0


class Watch:
    """Looks at the machine once a second: holds the loop, lets it go on, and says so."""

    def __init__(
        self,
        registry: Registry,
        control: Control,
        limits: Resources,
        measure: Callable[[], Figures],
        *,
        deadline: datetime | None = None,
    ) -> None:
        self._registry = registry
        self._control = control
        self._limits = limits
        self._measure = measure
        self._deadline = deadline
        self._gauges: dict[str, _Gauge] = {}
        self._before: Figures | None = None
        self._told: tuple[str, ...] = ()

    def look(self) -> None:
        """Measure, and act on it."""
        figures = self._measure()
        if self._before is not None:
            self._clocks(self._before, figures)
        short = [name for name, reading in self._readings(figures).items() if self._see(name, *reading)]
        self._before = figures
        if self._control.stopping:
            return
        if short:
            hold = Hold(
                ", ".join(self._shortage(name, figures) for name in short),
                " and ".join(self._wanted(name) for name in short),
            )
            self._control.hold(MACHINE, hold)
        else:
            self._control.release(MACHINE)
        if tuple(short) != self._told:
            self._tell(tuple(short))

    def _readings(self, figures: Figures) -> dict[str, tuple[bool, bool]]:
        """By name: whether it is too low, and whether it is fine; between the two it stays as it is."""
        found = {}
        floor = self._limits.min_disk
        for name, free in figures.disks.items() if floor else ():
            found[name] = (free < floor, free >= floor * ENOUGH)
        floor = self._limits.min_memory
        if floor and figures.memory is not None:
            pressure = figures.pressure if figures.pressure is not None and figures.memory < floor * NEAR else 0.0
            low = figures.memory < floor or pressure > PRESSURE
            found[MEMORY] = (low, figures.memory >= floor * ENOUGH and pressure < CALM_PRESSURE)
        return found

    def _see(self, name: str, low: bool, fine: bool) -> bool:
        # At the start nothing runs yet that could let go of memory.
        patient = name == MEMORY and self._before is not None
        gauge = self._gauges.setdefault(name, _Gauge(1))
        gauge.looks = MEMORY_LOOKS if patient else 1
        gauge.see(low, fine)
        return gauge.short

    def _shortage(self, name: str, figures: Figures) -> str:
        if name != MEMORY:
            return f"{name} {size_text(figures.disks[name])} free"
        memory = figures.memory or 0
        text = f"memory {size_text(memory)} free"
        busy = memory >= self._limits.min_memory and figures.pressure is not None
        return f"{text}, {figures.pressure:.0f} % of the time spent waiting for it" if busy else text

    def _wanted(self, name: str) -> str:
        if name == MEMORY:
            return f"{size_text(self._limits.min_memory * ENOUGH)} of memory are available"
        return f"{size_text(self._limits.min_disk * ENOUGH)} are free on the {name}"

    def _tell(self, short: tuple[str, ...]) -> None:
        held = self._control.held
        try:
            if held is not None:
                self._registry.event("held", text=held.text, until=held.until)
            else:
                self._registry.event("released", text=f"enough {' and '.join(self._told)} again")
        except sqlite3.OperationalError as error:
            # A disk without any room left: the loop is held all the same, and it is told at a later look.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise
            return
        self._told = short

    def _clocks(self, before: Figures, now: Figures) -> None:
        """Tell of a sleep, and of a clock that was set; either way the deadline may be nearer than it was."""
        awake, wall = now.monotonic - before.monotonic, now.wall - before.wall
        passed = wall if before.boot is None or now.boot is None else now.boot - before.boot
        slept, jumped = passed - awake, wall - passed
        if slept >= SLEPT_SECONDS:
            with self._registry.transaction():
                self._registry.event("slept", seconds=round(slept, 3))
                self._registry.event(
                    "note",
                    text=f"The machine slept for {_span(slept)}; that counts against no time limit but the deadline.",
                )
        if abs(jumped) >= JUMP_SECONDS:
            way = "forward" if jumped > 0 else "back"
            self._registry.event(
                "note", text=f"The clock was set {way} by {_span(abs(jumped))}; time limits do not depend on it."
            )
        if slept >= SLEPT_SECONDS or abs(jumped) >= JUMP_SECONDS:
            watch_deadline(self._registry, self._deadline, datetime.fromtimestamp(now.wall, UTC))


def _span(seconds: float) -> str:
    return format_duration(float(round(seconds)))
