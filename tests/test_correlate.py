"""``correlate``: a planted pool, what is stored of it, and what a person and a program are told."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from autokaggle_tui.correlating import correlations
from autokaggle_tui.loop.closeness import measure_missing
from autokaggle_tui.loop.scoring import load_pool
from autokaggle_tui.poolview import opened_pool
from autokaggle_tui.printing import SHOWN_MEMBERS, print_correlations
from autokaggle_tui.workspace import Workspace
from experiments.competition import load_competition
from experiments.errors import UsageError
from experiments.registry import Registry
from experiments.schema import Row

from .conftest import change_config

PAIRS = [("good", "other"), ("good", "twin"), ("good", "weak"), ("other", "twin"), ("other", "weak"), ("twin", "weak")]


def quiet(_row: Row) -> None:
    """Hears nothing."""


@pytest.fixture
def planted(workspace: Workspace) -> tuple[Workspace, dict[str, np.ndarray], np.ndarray]:
    """A good model and its twin, another as good whose errors are its own, and one that knows little."""
    from autokaggle_tui.config import load_config

    config = load_config(workspace.root)
    y = load_competition(config.spec(), config.data_path(workspace.root), metric=config.metric(workspace.root)).y
    random = np.random.default_rng(0)

    def prediction(spread: float, shared: np.ndarray) -> np.ndarray:
        logits = 3.0 * y - 1.5 + shared + spread * random.standard_normal(len(y))
        return (1 / (1 + np.exp(-logits))).astype(np.float32)

    mine, theirs = random.standard_normal((2, len(y)))
    oofs = {
        "good": prediction(0.05, mine),
        "twin": prediction(0.1, mine),
        "other": prediction(0.05, theirs),
        "weak": prediction(6.0, 0 * mine),
    }
    folder = workspace.root / "mine"
    folder.mkdir()
    for name, oof in oofs.items():
        np.save(folder / f"{name}_oof.npy", oof)
        np.save(folder / f"{name}_test.npy", random.random(142).astype(np.float32))
    change_config(workspace, existing_oof_dir="mine")
    return workspace, oofs, y


def stored(workspace: Workspace) -> dict[tuple[str, str], tuple[float, float, float]]:
    registry = Registry(workspace.facts)
    found = {
        (row["a"], row["b"]): (row["pearson"], row["spearman"], row["error"])
        for row in registry.rows("SELECT * FROM correlations ORDER BY a, b")
    }
    registry.close()
    return found


def test_what_joins_the_pool_is_measured_in_three_ways(planted) -> None:
    workspace, oofs, y = planted
    with opened_pool(workspace):
        pass
    found = stored(workspace)
    assert list(found) == PAIRS
    for (a, b), figures in found.items():
        one, other = oofs[a].astype(float), oofs[b].astype(float)
        expected = (
            np.corrcoef(one, other)[0, 1],
            stats.spearmanr(one, other).statistic,
            np.corrcoef(one - y, other - y)[0, 1],
        )
        assert figures == pytest.approx(expected, abs=1e-6)
    # The ranks are kept, one file a prediction, and are not needed.
    ranks = list((workspace.cache / "ranks").iterdir())
    assert len(ranks) == 4
    ranks[0].unlink()
    ranks[1].write_bytes(b"damaged")
    change(workspace, "DELETE FROM correlations WHERE a = 'good'")
    with opened_pool(workspace) as campaign:
        assert set(measure_missing(campaign, load_pool(campaign))) == set(PAIRS[:3])
    again = stored(workspace)
    assert list(again) == PAIRS
    assert [again[pair] for pair in PAIRS] == [pytest.approx(found[pair], abs=1e-9) for pair in PAIRS]


def change(workspace: Workspace, sql: str) -> None:
    registry = Registry(workspace.facts)
    registry.execute(sql)
    registry.close()


def test_what_an_older_version_left_open_is_measured_and_pearson_stays(planted) -> None:
    workspace, *_ = planted
    with opened_pool(workspace):
        pass
    before = stored(workspace)
    change(workspace, "UPDATE correlations SET spearman = NULL, error = NULL, pearson = pearson + 1e-5")
    correlations(workspace, (), quiet)
    for pair, (pearson, spearman, error) in stored(workspace).items():
        assert (pearson - 1e-5, spearman, error) == pytest.approx(before[pair], abs=1e-9)
    # Beside an engine it is told and not kept, and a prediction whose file is gone keeps what is known of it.
    change(workspace, "UPDATE correlations SET spearman = NULL, error = NULL")
    (workspace.rounds / "weak_oof.npy").unlink()
    told: list[Row] = []
    with workspace.locked():
        found = correlations(workspace, (), told.append)
    assert [row["data"]["text"].split(":")[0] for row in told] == ["weak is left out"]
    by_pair = {(pair["a"], pair["b"]): pair for pair in found["pairs"]}
    for pair in PAIRS:
        known = by_pair.get(pair) or by_pair[pair[::-1]]
        assert (known["error"] is None) == ("weak" in pair)
    assert all(error is None for _, _, error in stored(workspace).values())


def test_the_command_tells_a_program_all(planted) -> None:
    workspace, *_ = planted
    (workspace.root / "mine" / "short_oof.npy").write_bytes(b"damaged")
    said = command(workspace, "--json")
    assert said.returncode == 0
    assert said.stderr.startswith("warning: short_oof.npy is not imported")
    found = json.loads(said.stdout)
    assert list(found) == [
        "competition", "metric", "direction", "limit", "named", "order", "members", "pairs", "clusters",
    ]  # fmt: skip
    assert sorted(found["order"]) == sorted(member["id"] for member in found["members"])
    (cluster,) = found["clusters"]
    assert sorted(cluster["members"]) == ["good", "twin"]
    assert (
        cluster["keep"]
        == cluster["members"][0]
        == max(
            (member for member in found["members"] if member["id"] in ("good", "twin")),
            key=lambda member: member["score"],
        )["id"]
    )
    assert abs(found["order"].index("good") - found["order"].index("twin")) == 1
    assert [pair["pearson"] for pair in found["pairs"]] == sorted(
        (pair["pearson"] for pair in found["pairs"]), reverse=True
    )
    assert found["members"][0]["closest"]["id"] in ("good", "twin", "other", "weak")


def command(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autokaggle_tui", "correlate", "-w", str(workspace.root), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        timeout=60,
        check=False,
    )


def test_only_those_that_are_named(planted, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, *_ = planted
    found = correlations(workspace, ["weak"], quiet)
    assert found["named"] == ["weak"]
    assert len(found["members"]) == 4
    assert {(pair["a"], pair["b"]) for pair in found["pairs"]} == {
        ("good", "weak"),
        ("other", "weak"),
        ("twin", "weak"),
    }
    assert found["clusters"] == []
    print_correlations(found)
    assert len([line for line in capsys.readouterr().out.splitlines() if line.startswith(("good", "twin"))]) == 2
    with pytest.raises(UsageError, match=r"goood is not in the pool \(nearest: good\)"):
        correlations(workspace, ["goood"], quiet)
    with pytest.raises(UsageError, match="7 is not in the pool"):
        correlations(workspace, ["7"], quiet)


def test_a_person_reads_clusters_and_the_pairs_that_can_gain(planted, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, *_ = planted
    text = workspace.learnings.read_text()
    workspace.learnings.write_text(text.replace("max_gap = 0.003", "max_gap = 0.05"))
    print_correlations(correlations(workspace, (), quiet))
    lines = capsys.readouterr().out.splitlines()
    assert "4 predictions" in lines[0]
    assert any(line.strip().startswith(("good and 1 like it: twin", "twin and 1 like it: good")) for line in lines)
    apart = lines[next(number for number, line in enumerate(lines) if line.startswith("least alike")) + 2]
    # The weak one errs in its own way as well, and is too weak to gain from.
    assert "other" in apart and "weak" not in apart
    workspace.learnings.write_text(text.replace("max_gap = 0.003", "max_gap = 0.0001"))
    print_correlations(correlations(workspace, (), quiet))
    assert "no two predictions are near enough to the best for a blend" in capsys.readouterr().out
    workspace.learnings.write_text(text.replace('correlation"\nenforce = "block"', 'correlation"\nenforce = "off"'))
    print_correlations(correlations(workspace, (), quiet))
    assert "stacking-correlation is off" in capsys.readouterr().out


def test_a_large_pool_stays_readable(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"R{number}" for number in range(100, 300)]
    figures = {"pearson": 0.999, "spearman": 0.99, "error": 0.9}
    closest = {"id": "R100", **figures}
    rest = {"family": "mlp", "source": "round", "status": "keep", "score": 0.9, "behind": 0.0, "standing": "pass"}
    cluster = {"limit": 0.995, "keep": "R100", "members": names, "lowest": 0.996, "highest": 0.9999}
    found = {
        "competition": "c", "metric": "roc_auc", "direction": "maximize", "limit": 0.995, "named": [], "order": names,
        "members": [{"id": name, "closest": closest, **rest} for name in names],
        "pairs": [{"a": a, "b": b, **figures} for a in names for b in names if a < b],
        "clusters": [cluster],
    }  # fmt: skip
    print_correlations(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < SHOWN_MEMBERS + 25
    assert max(map(len, lines)) < 120
    assert f"  and {200 - SHOWN_MEMBERS} more, with --json" in lines


@pytest.mark.parametrize(("kept", "words"), [(0, "two are needed"), (1, "two are needed")])
def test_a_pool_without_pairs(planted, kept: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    workspace, oofs, _ = planted
    for name in list(oofs)[kept:]:
        (workspace.root / "mine" / f"{name}_oof.npy").unlink()
    found = correlations(workspace, (), quiet)
    assert len(found["members"]) == kept
    assert found["pairs"] == found["clusters"] == []
    print_correlations(found)
    assert words in capsys.readouterr().out
