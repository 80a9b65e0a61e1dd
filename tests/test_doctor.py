"""``doctor``: each check on a machine that is fine and on one that is not."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from autokaggle_tui.config import load_config
from autokaggle_tui.doctor import check_data, check_registry, check_rules, failed, nearest, sandbox_line
from autokaggle_tui.doctor_machine import (
    OURS,
    Check,
    broken_imports,
    check_cores,
    check_disk,
    check_files,
    check_memory,
    check_names,
    check_packages,
    check_python,
    check_sqlite,
    check_terminal,
    requirements,
)
from autokaggle_tui.workspace import Workspace
from experiments.registry import Registry
from experiments.schema import MIGRATIONS

from .conftest import change_config
from .test_cli import cli

ROOT = Path(__file__).resolve().parent.parent


def package(folder: Path, name: str) -> str:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    return str(folder)


def test_a_python_of_another_version_fails():
    assert check_python((3, 12)).state == "ok"
    for version in ((3, 10), (3, 14)):
        found = check_python(version)
        assert found.state == "fail" and "3.11" in found.cure


def test_what_is_missing_too_old_or_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    wanted = [Requirement(text) for text in ("pydantic>=999", "no-such-thing", "psutil>=6")]
    found = check_packages(wanted)
    assert found.state == "fail" and "no-such-thing is missing" in found.text and "needed is >=999" in found.text
    assert "psutil" not in found.text
    (tmp_path / "raising.py").write_text("raise OSError('libgomp.so.1: cannot open shared object file')")
    (tmp_path / "ending.py").write_text("import os; os._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    raising, ending = broken_imports(["json", "raising", "ending", "never_reached"])
    assert (
        "raising cannot be imported (OSError: libgomp" in raising
        and "importing ending ends" in ending
        and "7" in ending
    )


def test_every_requirement_of_this_machine_is_asked_for():
    names = {requirement.name for requirement in requirements()}
    assert {"textual", "lightgbm", "packaging"} <= names and "pytest" not in names


def test_a_distribution_with_one_of_our_names_is_found(tmp_path: Path):
    own = tmp_path / "own"
    for name in OURS:
        package(own, name)
    other = package(tmp_path / "other", "agents")
    (tmp_path / "bare" / "backends").mkdir(parents=True)
    alone = check_names([str(tmp_path / "bare"), str(own)], own)
    assert alone.state == "ok", "a folder without code hides nothing"
    behind, before = check_names([str(own), other], own), check_names([other, str(own)], own)
    assert (behind.state, before.state) == ("warn", "fail")
    assert "`agents`" in before.text and other in before.text and "environment of its own" in before.cure
    assert check_names(sys.path, ROOT).state == "ok"


def test_a_folder_of_this_machine_takes_files_and_databases(tmp_path: Path):
    assert check_files("files", tmp_path).state == "ok" and check_sqlite(tmp_path).state == "ok"
    assert list(tmp_path.iterdir()) == [], "nothing stays behind"
    gone = check_files("files", tmp_path / "gone")
    assert gone.state == "fail" and "No such file" in gone.text


def test_room_is_measured_against_the_floors_that_pause_the_loop(tmp_path: Path):
    for check in (lambda floor: check_disk("disk", tmp_path, floor), check_memory):
        assert [check(floor).state for floor in (0, 2**59)] == ["ok", "fail"]
        assert "pauses below" in check(2**59).text and "lower resources.min_" in check(2**59).cure
    assert check_cores(1, 1).state == "ok" and check_cores(512, 4).state == "warn"


def test_without_a_terminal_there_is_still_no_ui():
    assert "--no-ui" in check_terminal({"TERM": "xterm"}, terminal=False).text
    for kind in ({}, {"TERM": "dumb"}):
        found = check_terminal(kind, terminal=True)
        assert found.state == "warn" and "no screen" in found.text


def test_a_sandbox_that_is_off_is_a_warning():
    assert sandbox_line("off", "config.json says so").state == "warn"
    assert sandbox_line("bwrap", "", grouped=True).text == "bwrap; memory capped by a control group"
    assert "memory watched" in sandbox_line("bwrap", "").text and sandbox_line("landlock", "no userns").state == "ok"


def test_a_workspace_s_own_files_are_read(workspace: Workspace):
    config = load_config(workspace.root)
    assert check_data(workspace, config).text.startswith("427 rows") and check_rules(workspace).state == "ok"
    workspace.learnings.write_text("## x\n\n```toml\nid = \n```\n")
    (workspace.root / "data" / "train.csv").unlink(missing_ok=True)
    for path in config.data_path(workspace.root).glob("train*"):
        path.unlink()
    for found in (check_data(workspace, config), check_rules(workspace)):
        assert found.state == "fail" and found.text, found


def test_a_registry_that_is_damaged_or_from_the_future_fails(workspace: Workspace):
    assert check_registry(workspace).state == "ok"
    Registry(workspace.facts).close()
    assert f"schema {len(MIGRATIONS)}" in check_registry(workspace).text
    for version, state in ((1, "ok"), (len(MIGRATIONS) + 1, "fail")):
        with closing(sqlite3.connect(workspace.facts)) as connection:
            connection.execute(f"PRAGMA user_version = {version}")
        assert check_registry(workspace).state == state
    workspace.facts.write_bytes(b"no database at all" * 100)
    assert check_registry(workspace).state == "fail" and "backup" in check_registry(workspace).cure


def test_the_place_of_a_workspace_that_is_not_there_yet(tmp_path: Path):
    assert nearest(tmp_path / "a" / "b") == tmp_path == nearest(tmp_path)


def test_one_failure_is_enough():
    fine, odd, bad = (Check("x", state, "") for state in ("ok", "warn", "fail"))
    assert not failed([fine, odd]) and failed([fine, bad, odd])


def test_the_whole_examination_of_a_workspace_that_lacks_room(workspace: Workspace):
    """A real worker slot comes up; the floor that no disk reaches is the one thing that fails."""
    change_config(workspace, resources={"min_disk": "1000000t", "min_memory": "0"})
    before = sorted(workspace.root.rglob("*"))
    done = cli("doctor", "--json", "-w", str(workspace.root))
    found = json.loads(done.stdout)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert (done.returncode, found["ok"]) == (1, False)
    assert {name for name, state in states.items() if state == "fail"} <= {"disk", "temporary disk"}
    assert states["disk"] == "fail" and states["worker slot"] == states["packages"] == states["data"] == "ok"
    assert set(found["checks"][0]) == {"name", "state", "text", "cure"}
    assert sorted(workspace.root.rglob("*")) == before, "looking changes nothing"
