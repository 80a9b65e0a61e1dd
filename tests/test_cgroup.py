"""Control groups: found where the kernel lets us make them, entered without a gap, swept when nobody is in them."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from backends.compute.cgroup import (
    entering,
    group_parent,
    make_group,
    memory_kills,
    remove_group,
    sweep_groups,
)

HOG = "import time\nkept = []\nwhile True: kept.append(bytearray(b'x') * (8 << 20))"


def hierarchy(root: Path, *folders: str, memory: bool) -> None:
    """Folders as version 2 shows them, with the memory controller for what is below."""
    for name in folders:
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("")
        (folder / "cgroup.subtree_control").write_text("cpu memory pids\n" if memory else "\n")


def test_a_desktop_session_has_a_place_beside_the_program(tmp_path: Path):
    hierarchy(tmp_path, "user.slice/user@1000.service/app.slice", memory=True)
    hierarchy(tmp_path, "user.slice/user@1000.service/app.slice/terminal.scope", memory=False)
    table = "0::/user.slice/user@1000.service/app.slice/terminal.scope\n"
    assert group_parent(table, tmp_path) == tmp_path / "user.slice/user@1000.service/app.slice"


@pytest.mark.parametrize("table", ["0::/session.scope\n", "0::/gone\n", "4:cpu:/x\n", "nonsense\n", ""])
def test_elsewhere_there_is_none(tmp_path: Path, table: str):
    hierarchy(tmp_path, "session.scope", memory=False)
    assert group_parent(table or "\n", tmp_path) is None


def test_the_memory_hierarchy_of_version_1_is_taken(tmp_path: Path):
    hierarchy(tmp_path / "memory", "box", memory=False)
    (tmp_path / "memory/box/memory.limit_in_bytes").write_text("0")
    assert group_parent("4:memory:/box\n0::/\n", tmp_path) == tmp_path / "memory/box"


@pytest.fixture
def parent() -> Path:
    found = group_parent()
    if found is None:
        pytest.skip("no control group can be made here")
    return found


def test_the_kernel_ends_what_holds_more_than_its_group_may(parent: Path):
    group = make_group(parent, 128 << 20)
    try:
        ended = subprocess.run([*entering(group), "python3", "-c", HOG], timeout=120, check=False)
        assert ended.returncode == -9 and memory_kills(group) >= 1
    finally:
        remove_group(group)
    assert not group.exists()


def test_all_of_a_program_is_inside_from_its_beginning(parent: Path):
    group = make_group(parent, 64 << 20)
    said = subprocess.run(
        [*entering(group), "/bin/cat", "/proc/self/cgroup"], capture_output=True, text=True, check=True
    )
    assert f"/{group.name}\n" in said.stdout
    remove_group(group)


def test_only_old_groups_without_processes_are_swept(parent: Path):
    old, busy, new = (make_group(parent, 64 << 20) for _ in range(3))
    sleeper = subprocess.Popen([*entering(busy), "/bin/sleep", "60"])
    try:
        while not (busy / "cgroup.procs").read_text():
            time.sleep(0.01)
        for group in (old, busy):
            os.utime(group, (0, 0))
        sweep_groups(parent)
        assert not old.exists() and busy.exists() and new.exists()
    finally:
        sleeper.kill()
        sleeper.wait()
        remove_group(busy)
        remove_group(new)
