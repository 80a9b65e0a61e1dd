"""What others left is opened only when it is a plain file of a bearable size, and read without trust."""

import io
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePath

import numpy as np
import psutil
import pytest

from autokaggle_tui.config import load_config
from autokaggle_tui.roundfiles import read_text as published_text
from autokaggle_tui.workspace import Workspace
from experiments.arrays import map_array, read_archive
from experiments.errors import ConfigError, DataError, PredictionError, RuleError
from experiments.folds import Folds
from experiments.jail import open_beneath, open_regular, read_regular, read_text
from experiments.learnings import Rules
from experiments.predictions import load_array

from .conftest import change_config, kinds, play

GIGABYTE = 1 << 30


def soft_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def hard_link(path: Path, target: Path) -> None:
    path.hardlink_to(target)


def pipe(path: Path, _target: Path) -> None:
    os.mkfifo(path)


def device(path: Path, _target: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path, _target: Path) -> None:
    path.mkdir()


def huge(path: Path, _target: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1000 * GIGABYTE)


TRAPS = (soft_link, hard_link, pipe, device, folder, huge)
Trap = Callable[[Path, Path], None]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = outside / "secret.txt"
    file.write_text("secret")
    return file


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_refused_with_the_reason(trap: Trap, tmp_path: Path, target: Path):
    path = tmp_path / "found"
    trap(path, target)
    with pytest.raises(OSError) as refusal:
        read_regular(path)
    assert refusal.value.strerror
    with pytest.raises(OSError):
        open_beneath(tmp_path, PurePath("found"), most=1000)


def test_a_socket_is_refused(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="a socket"):
            open_regular(tmp_path / "s")


@pytest.mark.parametrize("trap", [soft_link, hard_link])
def test_a_persons_own_file_may_have_further_names(trap: Trap, tmp_path: Path, target: Path):
    trap(tmp_path / "mine", target)
    assert read_text(tmp_path / "mine", links=True) == "secret"


@pytest.mark.parametrize("trap", [pipe, device, folder, huge])
def test_but_it_is_a_file_of_a_bearable_size(trap: Trap, tmp_path: Path, target: Path):
    trap(tmp_path / "mine", target)
    with pytest.raises(OSError):
        read_text(tmp_path / "mine", links=True)


def test_no_link_is_followed_on_the_way(tmp_path: Path, target: Path):
    root = tmp_path / "root"
    (root / "rounds").mkdir(parents=True)
    (root / "rounds" / "a.md").write_text("a")
    (root / "out").symlink_to(target.parent)
    with open_beneath(root, PurePath("rounds/a.md")) as file:
        assert file.read() == b"a"
    for path in ("out/secret.txt", "../outside/secret.txt", str(target), "rounds/../../outside/secret.txt", "", "x/y"):
        with pytest.raises(OSError):
            open_beneath(root, PurePath(path))


def test_every_refusal_closes_what_it_opened(tmp_path: Path, target: Path):
    for number, trap in enumerate(TRAPS):
        trap(tmp_path / f"t{number}", target)
    before = psutil.Process().num_fds()
    for number in range(len(TRAPS)):
        with pytest.raises(OSError):
            open_regular(tmp_path / f"t{number}", most=1000)
        with pytest.raises(OSError):
            open_beneath(tmp_path, PurePath(f"t{number}/x"))
    assert psutil.Process().num_fds() == before


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


PROMISES = npy(np.zeros(3)).replace(b"(3,), }" + b" " * 12, b"(999999999999,), }"[:19].ljust(19))
NEGATIVE = npy(np.zeros(3)).replace(b"(3,), }  ", b"(-3,), } ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x09\x09",
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.array(["a"])),
        npy(np.zeros(3, dtype=[("a", "f8")])),
        npy(np.zeros(1000))[:-1],
        PROMISES,
        NEGATIVE,
    ],
    ids=["empty", "version", "pickled", "text", "record", "cut", "promises", "negative"],
)
def test_what_is_no_plain_array_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        map_array(path)
    with pytest.raises(PredictionError):
        load_array(path)


def test_a_pickle_is_never_run(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "x.npy").write_bytes(npy(np.array([Trap()], dtype=object)))
    np.savez(tmp_path / "x.npz", valid=np.array([Trap()], dtype=object))
    with pytest.raises(PredictionError):
        load_array(tmp_path / "x.npy")
    with pytest.raises(ValueError):
        read_archive(tmp_path / "x.npz", most=GIGABYTE)
    assert not (tmp_path / "ran").exists()


def test_an_archive_holds_no_more_than_it_may(tmp_path: Path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="larger than they can be"):
        read_archive(path, most=1_000_000)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy(np.zeros(8))[:-1])
    with pytest.raises(ValueError, match="cut short"):
        read_archive(path, most=1_000_000)
    np.savez(path, a=np.arange(3), b=np.array("kfold"))
    assert {name: values.tolist() for name, values in read_archive(path, most=10_000).items()} == {
        "a": [0, 1, 2],
        "b": "kfold",
    }


@pytest.mark.parametrize("values", [[2**31 - 1], [-2, 0], [0.5, 1.0], [[0, 1]], []])
def test_folds_that_cannot_be_are_refused_at_once(values: list, tmp_path: Path):
    np.savez(tmp_path / "folds.npz", strategy="kfold", digest="0", assignment=np.array(values))
    with pytest.raises(DataError, match="cannot be read"):
        Folds.load(tmp_path / "folds.npz")


def test_pipes_in_the_place_of_a_persons_files_hang_nobody(tmp_path: Path):
    for name in ("config.json", "LEARNINGS.md", "R01_plan.md", "folds.npz"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="is a pipe"):
        load_config(tmp_path)
    with pytest.raises(RuleError, match="is a pipe"):
        Rules.load(tmp_path / "LEARNINGS.md")
    with pytest.raises(DataError, match="is a pipe"):
        Folds.load(tmp_path / "folds.npz")
    assert "is a pipe" in published_text(tmp_path / "R01_plan.md").problem


def test_a_link_is_not_adopted_as_what_a_phase_left(workspace: Workspace, tmp_path: Path):
    """A killed process may leave a file without its row; a link in its place is somebody else's doing."""
    (tmp_path / "elsewhere.md").write_text("EDA: the secret of another folder\n")

    def leave(row: dict) -> None:
        if row["kind"] == "round_started" and row["round"] == 0:
            (workspace.rounds / "R00_eda.md").symlink_to(tmp_path / "elsewhere.md")

    _, events = play(workspace, 0, on_event=leave)
    assert not kinds(events, "adopted")
    assert "secret" not in (workspace.rounds / "R00_eda.md").read_text()
    assert (tmp_path / "elsewhere.md").read_text().startswith("EDA: the secret"), "and it is not written through"


def test_imports_with_traps_in_them_are_told_and_the_rest_is_taken(workspace: Workspace, tmp_path: Path):
    made = workspace.root / "made"
    made.mkdir()
    random = np.random.default_rng(1)
    rows = {
        name: len((workspace.root / "data" / f"{name}.csv").read_text().splitlines()) - 1 for name in ("train", "test")
    }
    oof, test = random.random(rows["train"]), random.random(rows["test"])
    for name in ("good", "nan", "pickled", "piped"):
        np.save(made / f"{name}_oof.npy", oof)
        np.save(made / f"{name}_test.npy", test)
    np.save(made / "nan_oof.npy", np.full_like(oof, np.nan))
    np.save(made / "pickled_test.npy", test.astype(object), allow_pickle=True)
    (made / "piped_oof.npy").unlink()
    os.mkfifo(made / "piped_oof.npy")
    change_config(workspace, existing_oof_dir="made")
    _, events = play(workspace, 0)
    assert [data["experiment"] for data in kinds(events, "imported")] == ["good"]
    told = " ".join(data["text"] for data in kinds(events, "warning"))
    assert all(f"{name}_oof.npy is not imported" in told for name in ("nan", "pickled", "piped"))
