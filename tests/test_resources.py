"""A machine short of memory or disk holds the loop and lets it go on; a machine that slept is told."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autokaggle_tui.bench import open_bench
from autokaggle_tui.config import Config, Resources
from autokaggle_tui.control import Control, StopRun
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.loading import load_state
from autokaggle_tui.reducing import reduce
from autokaggle_tui.resources import CALM_LOOKS, DISK, MEMORY_LOOKS, Figures, Watch, measure
from autokaggle_tui.sizes import format_size, parse_size, size_text
from autokaggle_tui.state import Now, PhaseNow, State
from autokaggle_tui.status import load_status
from autokaggle_tui.workspace import Workspace
from experiments.errors import UsageError
from experiments.registry import Registry
from experiments.schema import Row, open_viewer

from .conftest import Scripted, kinds

GB, MB = 2**30, 2**20
ROOMY = Figures(memory=8 * GB, pressure=0.0, disks={DISK: 66 * GB}, wall=1e9, monotonic=100.0, boot=100.0)
FULL = replace(ROOMY, disks={DISK: int(0.4 * GB)})
TIGHT = replace(ROOMY, memory=100 * MB)
THRASHING = replace(ROOMY, memory=300 * MB, pressure=60.0)


@dataclass
class Machine:
    """A machine whose figures a test sets."""

    registry: Registry
    control: Control
    figures: Figures = ROOMY
    deadline: datetime | None = None

    def __post_init__(self) -> None:
        self.watch = Watch(self.registry, self.control, Resources(), lambda: self.figures, deadline=self.deadline)

    def look(self, figures: Figures, times: int = 1) -> bool:
        """Look so often at these figures; returns whether the loop is held then."""
        self.figures = figures
        for _ in range(times):
            self.watch.look()
        return self.control.held is not None

    def told(self, kind: str) -> list[dict]:
        return kinds(self.registry.rows("SELECT kind, data FROM events ORDER BY id"), kind)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path / "autokaggle.db")
    yield opened
    opened.close()


@pytest.fixture
def machine(registry: Registry) -> Machine:
    return Machine(registry, Control())


def test_a_disk_that_fills_holds_the_loop_and_room_lets_it_go_on(machine: Machine):
    assert not machine.look(ROOMY)
    assert machine.look(FULL) and machine.control.paused
    assert machine.told("held") == [{"text": "disk 0.4 GB free", "until": "1.2 GB are free on the disk"}]
    assert machine.look(replace(ROOMY, disks={DISK: GB + 1}), 60), "just above the floor is not enough"
    assert machine.look(ROOMY, CALM_LOOKS - 1), "nor is a moment"
    assert not machine.look(ROOMY) and not machine.control.paused
    assert machine.told("released") == [{"text": "enough disk again"}]
    assert len(machine.told("held")) == 1, "told once, however long it lasted"


@pytest.mark.parametrize("short", [TIGHT, THRASHING])
def test_memory_is_short_when_it_stays_so(machine: Machine, short: Figures):
    machine.look(ROOMY)
    assert not machine.look(short, MEMORY_LOOKS - 1), "a fold that allocates dips"
    assert not machine.look(ROOMY)
    assert machine.look(short, MEMORY_LOOKS)
    assert "memory" in machine.told("held")[0]["text"]
    assert not machine.look(ROOMY, CALM_LOOKS)


def test_before_anything_runs_memory_is_judged_at_once(machine: Machine):
    assert machine.look(TIGHT)


def test_pressure_with_plenty_of_memory_is_somebody_else_s(machine: Machine):
    assert not machine.look(replace(ROOMY, pressure=90.0), 10)


def test_what_cannot_be_measured_or_has_no_floor_holds_nothing(registry: Registry):
    assert not Machine(registry, Control()).look(Figures(), 10)
    limits = Resources(min_memory="0", min_disk="0")  # type: ignore[arg-type]
    watch = Watch(registry, control := Control(), limits, lambda: replace(FULL, memory=0))
    watch.look()
    assert control.held is None


def test_two_shortages_are_told_together_and_each_change_again(machine: Machine):
    machine.look(FULL)
    machine.look(replace(FULL, memory=100 * MB), MEMORY_LOOKS)
    machine.look(TIGHT, CALM_LOOKS)
    texts = [held["text"] for held in machine.told("held")]
    assert texts == ["disk 0.4 GB free", "disk 0.4 GB free, memory 100 MB free", "memory 100 MB free"]


def test_a_person_s_pause_stays_one(machine: Machine):
    control = machine.control
    control.pause()
    machine.look(FULL)
    machine.look(ROOMY, CALM_LOOKS)
    assert control.paused and control.held is None
    machine.look(FULL)
    control.resume()
    assert control.paused, "the disk is still full"
    machine.look(ROOMY, CALM_LOOKS)
    assert not control.paused


async def test_a_stop_ends_the_wait_and_the_watcher_holds_no_more(machine: Machine):
    machine.look(FULL)
    machine.control.stop()
    assert not machine.look(FULL, 3)
    with pytest.raises(StopRun):
        await machine.control.checkpoint()


def test_a_sleep_is_told_and_the_deadline_looked_at_again(registry: Registry):
    soon = datetime.fromtimestamp(ROOMY.wall + 30 * 60, UTC)
    machine = Machine(registry, Control(), deadline=soon)
    machine.look(ROOMY)
    machine.look(replace(ROOMY, wall=ROOMY.wall + 3601, monotonic=101.0, boot=100.0 + 3601))
    assert machine.told("slept") == [{"seconds": 3600.0}]
    assert "slept for 1h" in machine.told("note")[0]["text"]
    assert machine.told("deadline")[0]["hours"] == 0


def test_a_clock_that_was_set_is_no_sleep(machine: Machine):
    machine.look(ROOMY)
    machine.look(replace(ROOMY, wall=ROOMY.wall - 7200, monotonic=101.0, boot=101.0))
    assert machine.told("slept") == [] and "set back by 2h" in machine.told("note")[0]["text"]


def test_without_a_clock_that_runs_on_the_wall_clock_tells_of_a_sleep(machine: Machine):
    machine.look(replace(ROOMY, boot=None))
    machine.look(replace(ROOMY, boot=None, wall=ROOMY.wall + 601, monotonic=101.0))
    assert machine.told("slept") == [{"seconds": 600.0}]


def test_a_sleep_counts_against_neither_the_run_nor_what_runs():
    state = State(
        now=Now(run="r", mode="running", since=0.0, running={2: 50.0}, phase=PhaseNow("code", "b", "m", 1, 60.0))
    )
    slept = {"id": 1, "at": 4000.0, "run": "r", "round": 1, "kind": "slept", "data": {"seconds": 3600.0}}
    now = reduce(state, slept).now
    assert now.elapsed(4000.0) == 400.0 and now.running == {2: 3650.0}
    assert now.phase is not None and now.phase.since == 3660.0
    paused = replace(state, now=replace(state.now, mode="paused", paused_since=100.0))
    assert reduce(paused, slept).now.elapsed(4000.0) == 100.0, "a pause leaves the sleep out already"


def test_this_machine_can_be_measured(tmp_path: Path):
    found = measure(tmp_path, tmp_path)
    assert found.memory and found.disks[DISK] > 0 and list(found.disks) == [DISK]
    assert found.boot is None or found.boot >= found.monotonic - 60, "a moment lies between reading the two"
    assert measure(tmp_path / "gone", tmp_path / "gone").disks == {}


def test_a_full_disk_pauses_a_run_which_says_why_and_goes_on(workspace: Workspace):
    """A real engine: held before its first phase, asked to resume, then given room."""
    figures = [FULL]
    events: list[Row] = []
    states: list[State] = []
    words: list[str] = []

    def read() -> State:
        connection = open_viewer(workspace.facts)
        try:
            return load_state(connection)
        finally:
            connection.close()

    def listen(row: Row) -> None:
        events.append(row)
        if row["kind"] in ("held", "released", "command"):
            states.append(read())
        if row["kind"] == "held":
            words.append(str(load_status(workspace)["engine"]["held"]))

    async def run() -> int:
        async with open_bench(workspace, listen, figures=lambda: figures[0]) as bench:
            bench.desk.staff.open = lambda name: Scripted({})
            registry = bench.campaign.registry
            running = asyncio.create_task(Session(bench, RunOptions(rounds=1)).run())
            while not kinds(events, "held"):
                await asyncio.sleep(0)
            assert not kinds(events, "phase_started")
            for uuid, verb in enumerate(("resume", "pause", "resume")):
                registry.insert("commands", uuid=str(uuid), run=registry.run, verb=verb, args={}, at=time.time())
            while len(kinds(events, "command")) < 3:
                await asyncio.sleep(0.01)
            figures[0] = ROOMY
            return await running

    assert asyncio.run(run()) == 0
    assert words == ["disk 0.4 GB free"]
    refused, paused, resumed = kinds(events, "command")
    assert refused["state"] == "refused" and refused["result"].startswith(
        "disk 0.4 GB free; the loop goes on by itself"
    )
    assert (paused["state"], resumed["state"]) == ("done", "done") and "1.2 GB are free" in resumed["result"]
    reduced = State()
    for event in events:
        reduced = reduce(reduced, event)
        for state in states:
            assert state.last_id != event["id"] or state.now == reduced.now, event["kind"]
    assert [state.now.held != "" for state in states] == [True, True, True, True, False]
    assert kinds(events, "run_ended")[0]["status"] == "finished"


@pytest.mark.parametrize(
    ("text", "amount"), [("20g", 20 * GB), ("1.5 GB", 3 * GB // 2), ("512MiB", 512 * MB), ("0", 0), (1024, 1024)]
)
def test_sizes_are_read_as_people_write_them(text: str | int, amount: int):
    assert parse_size(text) == amount and parse_size(format_size(amount)) == amount


@pytest.mark.parametrize("text", ["", "lots", "-1g", "1p", True, float("nan"), 10**400, None])
def test_what_is_no_size_is_refused(text: object):
    with pytest.raises(UsageError, match="storage"):
        parse_size(text)  # type: ignore[arg-type]


def test_sizes_are_shown_at_a_glance():
    shown = [size_text(amount) for amount in (66 * GB, int(0.4 * GB), 12 * MB, 3200, 0)]
    assert shown == ["66 GB", "0.4 GB", "12 MB", "3.1 kB", "0 kB"]


def test_the_config_keeps_sizes_as_they_were_written(tmp_path: Path):
    settings = {"competition": "c", "task_type": "binary", "metric": "roc_auc", "target_column": "y"}
    config = Config.parse(settings | {"resources": {"min_disk": "2g", "keep_predictions": "20g"}}, tmp_path)
    told = config.model_dump(mode="json")["resources"]
    assert told == {"min_memory": "256m", "min_disk": "2g", "keep_predictions": "20g"}
