"""The registry: transactions, events, and what it refuses."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from experiments.errors import RegistryError
from experiments.registry import Registry
from experiments.schema import MIGRATIONS, open_facts, open_live, open_viewer


@pytest.fixture
def registry(tmp_path: Path):
    opened = Registry(tmp_path / "autokaggle.db", clock=lambda: 100.0)
    yield opened
    opened.close()


def add_experiment(registry: Registry, name: str, score: float, **changes) -> None:
    row = {
        "id": name,
        "source": "round",
        "kind": "model",
        "family": "lightgbm",
        "seed": 1,
        "status": "keep",
        "score": score,
        "in_pool": 1,
        "started_at": float(registry.value("SELECT count(*) FROM experiments")),
    }
    registry.insert("experiments", **(row | changes))


def test_an_event_is_told_only_once_its_transaction_is_committed(registry: Registry):
    told = []
    registry.on_event = told.append
    with registry.transaction():
        registry.event("first", round=3, score=0.5)
        assert told == []
    assert [(row["kind"], row["round"], row["data"]) for row in told] == [("first", 3, {"score": 0.5})]


def test_a_failed_transaction_leaves_nothing_and_tells_nothing(registry: Registry):
    told = []
    registry.on_event = told.append
    with pytest.raises(RuntimeError), registry.transaction():
        registry.set_fact("data", "abc")
        registry.event("never")
        raise RuntimeError
    registry.event("later")
    assert registry.fact("data") is None
    assert [row["kind"] for row in told] == ["later"]
    assert registry.rows("SELECT kind FROM events") == [{"kind": "later"}]


def test_json_columns_come_back_as_values(registry: Registry):
    add_experiment(registry, "R01", 0.9, params={"depth": 3}, members=[["R00", 0.5]])
    row = registry.experiment("R01")
    assert row is not None
    assert row["params"] == {"depth": 3}
    assert row["members"] == [["R00", 0.5]]


def test_best_single_leaves_blends_and_imported_predictions_out(registry: Registry):
    add_experiment(registry, "R01", 0.90)
    add_experiment(registry, "R02", 0.95, kind="blend")
    add_experiment(registry, "mine", 0.99, source="imported", status="imported")
    add_experiment(registry, "R03", 0.97, in_pool=0)
    best, worst = registry.best_single("maximize"), registry.best_single("minimize")
    assert best is not None and best["id"] == "R01"
    assert worst is not None and worst["id"] == "R01"


def test_one_file_is_submitted_once_unless_it_was_refused(registry: Registry):
    add_experiment(registry, "R01", 0.9)
    row = {"competition": "c", "experiment": "R01", "file": "f", "sha256": "s", "at": 1.0}
    registry.insert("submissions", token="a", state="refused", **row)
    registry.insert("submissions", token="b", state="accepted", **row)
    with pytest.raises(sqlite3.IntegrityError):
        registry.insert("submissions", token="c", state="intent", **row)


def test_a_registry_of_a_newer_version_is_refused(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    connection = open_facts(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    for opening in (open_facts, open_viewer):
        with pytest.raises(RegistryError, match="newer"):
            opening(path)


def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path):
    path = tmp_path / "autokaggle.db"
    path.write_text("this is not a database, it is a long enough text file\n" * 40)
    with pytest.raises(RegistryError, match=r"autokaggle\.db"):
        open_facts(path)


def test_a_viewer_cannot_write(registry: Registry):
    viewer = open_viewer(registry.path)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        viewer.execute("DELETE FROM events")
    viewer.close()


def test_a_damaged_live_db_is_replaced(tmp_path: Path):
    path = tmp_path / "live.db"
    path.write_bytes(b"\0garbage" * 600)
    connection = open_live(path)
    assert connection.execute("SELECT count(*) FROM stream").fetchone()[0] == 0
    connection.close()


def test_a_commit_that_fails_leaves_no_transaction_open(registry: Registry):
    """A deferred constraint fails at COMMIT; the next write must stand on its own."""
    registry.execute("CREATE TABLE child (run TEXT REFERENCES runs (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError):
        registry.execute("INSERT INTO child VALUES ('nobody')")
    registry.set_fact("data", "abc")
    viewer = open_viewer(registry.path)
    assert [row["value"] for row in viewer.execute("SELECT value FROM facts")] == ["abc"]
    viewer.close()


def test_upserts_keep_their_rows_after_a_disk_that_was_full(registry: Registry):
    registry.value(f"PRAGMA max_page_count = {registry.value('PRAGMA page_count')}")
    run = {"status": "running", "first_round": 1, "pid": 1, "started_at": 0.0}
    with contextlib.suppress(sqlite3.OperationalError):
        registry.upsert("runs", id="while it is full", reason="x" * 100_000, **run)
    registry.value("PRAGMA max_page_count = 1000000")
    registry.upsert("runs", id="later", **run)
    assert [row["id"] for row in registry.rows("SELECT id FROM runs")] == ["later"]
