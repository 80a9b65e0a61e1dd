"""Gains with all their noise: rows drawn again, other seeds, and what a champion and a submission must show."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autokaggle_tui.loading import load_round
from autokaggle_tui.loop.gains import measured_rerun_noise
from autokaggle_tui.workspace import Workspace
from experiments.metrics import get_metric
from experiments.registry import Registry
from experiments.rowgain import is_decomposable, row_gain, row_losses
from experiments.rules import Rules, check_champion
from experiments.significance import Gain, rerun_noise

from .conftest import change_config, kinds, play

MEANS = ["rmse", "mse", "mae", "rmsle", "mape", "smape", "log_loss", "brier", "accuracy", "f1_micro"]
HEAD = "import numpy as np\n\n\ndef fit_predict(train, valid, test, ctx):\n"
SEEDED = HEAD + (
    "    rng = np.random.default_rng(ctx.seed)\n"
    "    first = ctx.columns.numeric[0]\n"
    "    def guess(frame):\n"
    "        return np.clip(1 / (1 + np.exp(14 - frame[first])) + rng.normal(0, 0.05, len(frame)), 0, 1)\n"
    "    return guess(valid), guess(test)\n"
)
PLAN = "---\nkind: model\nfamily: own\nhypothesis: it is worth a try\n---\n\n# Plan\n"


def data(name: str, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    if name in ("log_loss", "brier", "accuracy", "f1_micro"):
        y = random.permutation(np.arange(n) % 3).astype(np.int32)
        proba = random.dirichlet(np.ones(3), (2, n)).astype(np.float32)
        return y, proba[0], proba[1]
    y = np.abs(random.standard_normal(n)) + 0.1
    return y, (y + random.random(n)).astype(np.float32), (y + random.random(n)).astype(np.float32)


@settings(deadline=None)
@given(st.sampled_from(MEANS), st.integers(0, 10_000), st.integers(3, 60))
def test_the_mean_of_the_rows_is_the_metric(name: str, seed: int, n: int) -> None:
    metric = get_metric(name)
    y, new, old = data(name, n, seed)
    mean = float(row_losses(metric, y, new).mean())
    score = math.sqrt(mean) if name in ("rmse", "rmsle") else mean
    assert score == pytest.approx(metric.score(y, new), rel=1e-6)
    gain = row_gain(metric, y, new, old)
    assert gain.mean == pytest.approx(metric.gain(metric.score(y, new), metric.score(y, old)), rel=1e-5, abs=1e-9)
    assert gain.low <= gain.high and gain.se >= 0
    assert row_gain(metric, y, new, new).se == pytest.approx(0, abs=1e-12)


def test_what_ranks_all_rows_together_is_no_mean_over_rows() -> None:
    assert not any(is_decomposable(get_metric(name)) for name in ("roc_auc", "f1", "mcc", "qwk", "r2", "spearman"))


def test_drawing_rows_again_gives_the_textbook_standard_error() -> None:
    y, new, old = data("mae", 20_000, 1)
    differences = np.abs(new - y) - np.abs(old - y)
    expected = differences.std(ddof=1) / math.sqrt(len(y))
    assert row_gain(get_metric("mae"), y, new, old).se == pytest.approx(expected, rel=0.1)


def test_rows_that_belong_together_are_drawn_together() -> None:
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 100)
    y = random.standard_normal(4000)
    shared = np.repeat(random.standard_normal(40), 100)
    new, old = y + shared, y + np.repeat(random.standard_normal(40), 100)
    metric = get_metric("mae")
    alone = row_gain(metric, y, new, old).se
    assert row_gain(metric, y, new, old, groups=groups).se > 5 * alone
    assert row_gain(metric, y, new, old, times=np.arange(4000)).se > 5 * alone


def test_folds_that_agree_by_chance_do_not_outvote_the_rows() -> None:
    gain = Gain(0.001, 1e-6, 1000.0, 5)
    sober = gain.at_least(row_se=0.002, rerun_se=0.0005)
    assert (sober.se, sober.t) == (0.002, pytest.approx(0.5))
    assert sober.row_se == 0.002 and not sober.significant(1.0)
    assert gain.at_least(row_se=1e-9).t == 1000.0
    assert Gain(0.0, 0.0, 0.0, 5).at_least(rerun_se=0.1).t == 0.0


def test_rerun_noise_is_pooled_over_what_was_repeated() -> None:
    assert rerun_noise([]) is None and rerun_noise([[0.5]]) is None
    assert rerun_noise([[0.5, 0.5], [0.7, 0.7, 0.7]]) == pytest.approx(0, abs=1e-12)
    repeats = [[0.1, 0.3], [0.5, 0.6, 0.7]]
    expected = math.sqrt((0.02 + 0.02) / 3)
    assert rerun_noise(repeats) == pytest.approx(expected)


def test_what_is_no_worse_and_simpler_becomes_champion() -> None:
    rules = Rules.built_in()
    level = Gain(0.0001, 0.001, 0.1, 5)
    assert check_champion(rules, level)[0].verdict == "block"
    assert check_champion(rules, level, simpler=True)[0].verdict == "pass"
    assert check_champion(rules, Gain(-0.0001, 0.001, -0.1, 5), simpler=True)[0].verdict == "block"


def test_a_familys_first_success_is_run_again_with_other_seeds_once(workspace: Workspace) -> None:
    change_config(workspace, seed_repeats=2)
    script = {(number, "plan"): PLAN for number in (1, 2)} | {
        (1, "code"): SEEDED,
        (2, "code"): SEEDED.replace("0.05", "0.02"),
    }
    code, events = play(workspace, 2, script)
    assert code == 0
    notes = [data["text"] for data in kinds(events, "note") if "with other seeds" in data["text"]]
    assert len(notes) == 1 and notes[0].startswith("R01: fold 1 scores")
    registry = Registry(workspace.facts)
    assert registry.value("SELECT count(*) FROM reruns WHERE experiment = 'R01' AND fold = 0") == 2
    noise = measured_rerun_noise(registry, "own")
    registry.close()
    assert noise is not None and 0 < noise < 0.05
    assert len(kinds(events, "fold_done")) >= 10, "what is run again is no fold of the experiment"


def test_a_rule_that_is_edited_after_the_fit_still_binds_the_submission(workspace: Workspace) -> None:
    """Small blends of three are asked for once the blend of two is there: it is not sent, the best single model is."""

    def edit(row: dict) -> None:
        if row["kind"] == "experiment_done" and row["data"]["family"] == "blend":
            text = workspace.learnings.read_text()
            block = text.index('id = "small-blends"')
            changed = (
                text[block:].replace("min_members = 2", "min_members = 5").replace("max_members = 4", "max_members = 9")
            )
            workspace.learnings.write_text(text[:block] + changed)

    plans = {(1, "plan"): PLAN, (1, "code"): SEEDED}
    other = SEEDED.replace("numeric[0]", "numeric[1]").replace("14 - frame[first]", "(20 - frame[first]) / 5")
    plans |= {(2, "plan"): PLAN.replace("own", "other"), (2, "code"): other}
    blend = "---\nkind: blend\nfamily: blend\nhypothesis: they differ\n---\n"
    code, events = play(workspace, 3, plans | {(3, "plan"): blend}, on_event=edit)
    assert code == 0
    done = {data["experiment"]: data for data in kinds(events, "experiment_done")}
    assert done["R03"]["in_pool"], {name: (data["score"], data["reason"]) for name, data in done.items()}
    sent = {data["experiment"] for data in kinds(events, "submission")}
    assert "R03" not in sent and sent
    fired = load_round(workspace, "R03")["verdicts"]
    assert any(
        row["phase"] == "submit" and row["rule"] == "small-blends" and row["verdict"] == "block" for row in fired
    )
