"""The pool, opened for a person's look: in an engine's place, or beside one without a trace."""

import resource
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from autokaggle_tui.loop.scoring import load_pool
from autokaggle_tui.poolview import opened_pool
from autokaggle_tui.workspace import Workspace
from experiments.errors import ConfigError, RegistryError, WorkspaceError
from experiments.registry import Registry
from experiments.schema import Row

from .conftest import change_config

ROWS, TEST_ROWS = 427, 142


@pytest.fixture
def planted(workspace: Workspace) -> Workspace:
    """A workspace in which nothing ever ran, with three predictions made elsewhere."""
    random = np.random.default_rng(0)
    folder = workspace.root / "mine"
    folder.mkdir()
    for name in ("good", "twin", "other"):
        np.save(folder / f"{name}_oof.npy", random.random(ROWS).astype(np.float32))
        np.save(folder / f"{name}_test.npy", random.random(TEST_ROWS).astype(np.float32))
    change_config(workspace, existing_oof_dir="mine")
    return workspace


def test_where_nothing_ran_the_predictions_made_elsewhere_are_there(planted: Workspace):
    told: list[Row] = []
    with opened_pool(planted, told.append) as campaign:
        assert planted.engine_pid() is not None
        assert list(load_pool(campaign)) == ["good", "other", "twin"]
        assert campaign.registry.value("SELECT count(*) FROM correlations") == 3
    assert planted.engine_pid() is None
    assert [row["data"]["experiment"] for row in told if row["kind"] == "imported"] == ["good", "other", "twin"]
    assert '"other"' in (planted.root / "experiments.json").read_text()
    with opened_pool(planted) as campaign:
        assert len(load_pool(campaign)) == 3


def test_beside_an_engine_nothing_is_awaited_and_nothing_written(planted: Workspace):
    with opened_pool(planted):
        pass
    (planted.rounds / "twin_oof.npy").write_bytes(b"damaged")
    change_config(planted, existing_oof_dir="gone")
    told: list[Row] = []
    with planted.locked():
        engine = Registry(planted.facts)
        before = contents(planted)
        with opened_pool(planted, told.append) as campaign:
            assert list(load_pool(campaign)) == ["good", "other"]
            assert contents(planted) == before
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                campaign.registry.set_fact("mark", "made")
            # The engine is not held up, and what it does is seen.
            engine.update("experiments", "other", in_pool=0)
            assert list(load_pool(campaign)) == ["good"]
        assert engine.experiment("twin")["in_pool"] == 1
        engine.close()
    warnings = [row["data"]["text"] for row in told if row["kind"] == "warning"]
    assert warnings[0].startswith("twin is left out: ")


def contents(workspace: Workspace) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}


def test_beside_an_engine_that_only_starts_it_says_so(planted: Workspace):
    with planted.locked():
        with pytest.raises(RegistryError, match="nothing has run"), opened_pool(planted):
            pass
        Registry(planted.facts).close()
        with pytest.raises(WorkspaceError, match="only starting"), opened_pool(planted):
            pass


def test_a_pool_may_have_more_files_than_a_process_is_given(planted: Workspace):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        with opened_pool(planted):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(8192, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_that_is_not_there_is_named(planted: Workspace):
    change_config(planted, existing_oof_dir="nowhere")
    with pytest.raises(ConfigError, match="nowhere is no folder"), opened_pool(planted):
        pass
