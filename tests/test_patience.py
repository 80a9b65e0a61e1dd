"""Another program holds the registry: the engine waits, says for whom, and goes on."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autokaggle_tui.patience import LOCKS, Patience, holders
from experiments.registry import Registry
from experiments.schema import Row, journal_mode, open_facts, open_viewer

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT * FROM events").fetchall()
print("reading", flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(journal_mode() == "WAL", reason="in WAL readers hold up nobody")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program in the middle of a long look at the registry."""
    registry = Registry(tmp_path / "autokaggle.db")
    registry.event("note", text="first")
    registry.close()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(registry.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "reading\n"
    yield process
    process.kill()
    process.communicate()


def test_a_long_look_is_a_warning_that_names_who_looks_and_no_end_of_the_run(holder: subprocess.Popen[str], tmp_path):
    told: list[Row] = []
    registry = Registry(tmp_path / "autokaggle.db")

    def listen(row: Row) -> None:
        told.append(row)
        holder.communicate()

    patience = Patience(registry, listen, after=0.0)
    registry.on_wait = patience.wait
    registry.event("note", text="second")
    patience.beat()
    patience.beat()
    texts = [row["data"]["text"] for row in registry.rows("SELECT data FROM events ORDER BY id")]
    registry.close()
    assert texts[:2] == ["first", "second"] and len(texts) == 3, "the wait is told once"
    (row,) = told
    assert row["id"] is None and row["kind"] == "warning"
    who = f"pid {holder.pid} (" if LOCKS.exists() else "another program"
    assert who in row["data"]["text"] and who in texts[2]


@pytest.mark.skipif(not LOCKS.exists(), reason="only Linux tells who holds a lock")
def test_who_holds_a_file_is_found_without_oneself(holder: subprocess.Popen[str], tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    registry = Registry(path)
    with registry.transaction():
        assert [name.split()[1] for name in holders(path)] == [str(holder.pid)]
        holder.communicate()
    assert holders(path) == [] and holders(tmp_path / "nowhere") == []
    registry.close()


def test_warnings_of_one_wait_come_once_a_minute(tmp_path: Path):
    told: list[float] = []
    registry = Registry(tmp_path / "autokaggle.db")
    patience = Patience(registry, lambda row: told.append(now))
    for now in [1.0, 9.0, 11.0, 30.0, 70.0, 72.0, 1.0, 9.0, 10.0]:
        patience.wait(now)
    assert told == [11.0, 72.0, 10.0]
    registry.close()


def test_a_wal_file_that_another_program_has_open_stays_readable_and_waits_for_the_engine(tmp_path: Path):
    """A newer SQLite left it in WAL; this one leaves WAL as soon as nobody else has the file open."""
    path = tmp_path / "autokaggle.db"
    registry = Registry(path)
    registry.event("note", text="first")
    registry.close()
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode = WAL')\n"
        "connection.execute('DELETE FROM facts')\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    newer = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert newer.stdout is not None and newer.stdout.readline() == "open\n"
    viewer = open_viewer(path)
    assert viewer.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
    assert viewer.execute("SELECT count(*) FROM events").fetchone()[0] == 1
    viewer.close()
    newer.communicate()
    facts = open_facts(path)
    assert facts.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    assert facts.execute("SELECT count(*) FROM events").fetchone()[0] == 1
    facts.close()
