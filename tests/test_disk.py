"""Disks that are full or read-only: a message, nothing lost, and the same command goes on."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autokaggle_tui.keeper import Keeper
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from experiments.backups import back_up, damage, find_backups
from experiments.files import write_atomic
from experiments.registry import Registry

from .conftest import change_config
from .test_recovery import check_invariants, finish, start

MEGABYTE = 1 << 20


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 48 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or not mount("-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)):
        pytest.skip("only root can mount a disk, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes of the disk."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - left, 1))
    return ballast


def engine(workspace: Workspace) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", "--no-ui", "--rounds", "2", "-w", str(workspace.root)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
def test_a_campaign_goes_on_after_its_disk_was_full_and_read_only(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(disk / "home"))
    workspace = Workspace(demo_workspace(disk / "demo"))
    # So small a disk would only make the loop wait for room.
    change_config(workspace, resources={"min_disk": "0"})
    for left in (0, 100_000, 600_000):
        ballast = fill(disk, left)
        done = engine(workspace)
        assert done.returncode == 1 and "Free some space" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and str(disk) in done.stderr
        ballast.unlink()
    assert mount("-o", "remount,ro", str(disk))
    done = engine(workspace)
    assert done.returncode == 1 and "permissions" in done.stderr and "Traceback" not in done.stderr
    looked = subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", "status", "-w", str(workspace.root)], capture_output=True, text=True
    )
    assert looked.returncode == 0, looked.stderr
    assert mount("-o", "remount,rw", str(disk))
    assert finish(start(workspace.root)) == 0
    check_invariants(workspace.root)


async def test_a_backup_that_finds_no_room_leaves_nothing_behind_and_is_told_once(disk: Path):
    registry = Registry(disk / "autokaggle.db")
    for _ in range(200):
        registry.event("note", text="x" * 1000)
    keeper = Keeper(registry, disk / "backups", interval=0.0)
    registry.event("round_done", round=1)
    await keeper.close()
    (good,) = find_backups(keeper.folder)
    ballast = fill(disk, 100_000)
    for number in (2, 3):
        registry.event("round_done", round=number)
        await keeper.close()
    assert find_backups(keeper.folder) == [good] and damage(good.path) == ""
    assert [path.name for path in keeper.folder.iterdir()] == [good.path.name]
    warnings = registry.rows("SELECT data FROM events WHERE kind = 'warning'")
    assert len(warnings) == 1 and "no backup of autokaggle.db" in warnings[0]["data"]["text"]
    ballast.unlink()
    await keeper.close()
    assert len(find_backups(keeper.folder)) == 2
    registry.close()


def test_a_file_that_finds_no_room_leaves_the_old_one(disk: Path):
    path = disk / "state.json"
    write_atomic(path, b"old")
    path.chmod(0o600)
    fill(disk, 8192)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"n" * MEGABYTE)
    assert path.read_bytes() == b"old" and not list(disk.glob(".tmp-*"))
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o600


def test_a_commit_that_finds_no_room_leaves_the_registry_as_it_was(disk: Path):
    registry = Registry(disk / "autokaggle.db")
    registry.event("note", text="kept")
    ballast = fill(disk, 16_384)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        registry.event("note", text="x" * MEGABYTE)
    ballast.unlink()
    registry.event("note", text="after")
    registry.close()
    with closing(sqlite3.connect(disk / "autokaggle.db")) as connection:
        assert connection.execute("SELECT json_extract(data, '$.text') FROM events ORDER BY id").fetchall() == [
            ("kept",),
            ("after",),
        ]
    assert back_up(disk / "autokaggle.db", disk / "backups") is not None
