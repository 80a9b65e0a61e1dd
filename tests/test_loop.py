"""The loop as its owner sees it: whole rounds with real slots, a real registry and the real playbook."""

import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from autokaggle_tui.commands import Answer, ask
from autokaggle_tui.loading import load_round, load_rounds
from autokaggle_tui.status import load_status
from autokaggle_tui.workspace import Workspace
from backends.platforms.local_platform import LEDGER
from experiments.errors import ConfigError, WorkspaceError
from experiments.registry import Registry
from experiments.schema import Row

from .conftest import change_config, kinds, play
from .invariants import platform_folder

PLAN = "---\nkind: model\nfamily: {family}\nhypothesis: it is worth a try\n---\n\n# Plan\n"
HEAD = "import numpy as np\n\n\ndef fit_predict(train, valid, test, ctx):\n"
MEAN = HEAD + "    rng = np.random.default_rng(1)\n    return rng.random(len(valid)), rng.random(len(test))\n"
LINEAR = (
    HEAD
    + """    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = list(ctx.columns.numeric)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train[names], train[ctx.columns.target])
    return model.predict_proba(valid[names])[:, 1], model.predict_proba(test[names])[:, 1]
"""
)
BROKEN = {
    "crash": HEAD + "    raise ValueError('boom')\n",
    "nan": HEAD + "    return np.full(len(valid), np.nan), np.zeros(len(test))\n",
    "shape": HEAD + "    return np.zeros(3), np.zeros(len(test))\n",
    "hang": HEAD + "    while True:\n        pass\n",
    "exit": HEAD + "    import os\n    os._exit(3)\n",
}
FLOOD = (
    HEAD + "    for _ in range(1000):\n        print('x' * 99_999)\n"
    "    return np.zeros(len(valid)) + 0.5, np.zeros(len(test))\n"
)


def own(number: int, code: str, family: str | None = None) -> dict:
    """A script in which the Builder plans and writes an experiment of its own."""
    return {(number, "plan"): PLAN.format(family=family or f"own{number}"), (number, "code"): code}


def statuses(workspace: Workspace) -> dict[str, str]:
    return {row["id"]: row["status"] for row in load_rounds(workspace)}


def test_three_rounds_with_the_playbook_leave_a_submission_and_every_file(workspace: Workspace):
    code, events = play(workspace, 3)
    assert code == 0
    for name in ("R00_eda.md", *(f"R01_{x}" for x in ("research_raw.md", "research_brief.md", "plan.md", "review.md"))):
        assert (workspace.rounds / name).stat().st_size > 0
    for suffix in ("experiment.py", "run.log", "oof.npy", "test.npy", "findings.md", "verify.md", "submission.csv"):
        assert workspace.file(1, suffix).stat().st_size > 0
    assert workspace.file(1, "review.md").read_text().startswith("APPROVED")
    sent = kinds(events, "submission")
    assert sent and {data["state"] for data in sent} == {"intent", "accepted"}
    assert all(0.5 < data["public_score"] <= 1 for data in sent if data["state"] == "accepted")
    state = json.loads((workspace.root / "state.json").read_text())
    assert state["round"] == 3 and state["run"]["status"] == "finished" and state["champion"]["score"] > 0.9
    status = load_status(workspace)
    assert status["engine"] == {"running": False, "pid": None, "paused": False, "held": None}
    assert status["champion"]["id"] == state["champion"]["id"]


def test_the_same_command_after_a_clean_end_plays_on(workspace: Workspace):
    play(workspace, 1)
    play(workspace, 1)
    assert list(statuses(workspace))[:2] == ["R01", "R02"]


def test_bad_experiments_get_their_status_and_the_loop_goes_on(workspace: Workspace):
    change_config(workspace, compute={"fold_timeout": "4s"})
    script: dict = {}
    for number, name in enumerate(("crash", "nan", "shape", "hang", "exit"), start=1):
        script |= own(number, BROKEN[name])
        script |= {(number, "fix"): BROKEN[name] + f"# another try {name}\n"}
    script |= own(6, FLOOD) | own(7, MEAN)
    code, events = play(workspace, 7, script)
    assert code == 0
    found = statuses(workspace)
    assert [found[f"R0{n}"] for n in range(1, 6)] == ["crash", "invalid", "invalid", "timeout", "crash"]
    assert found["R06"] == "keep"
    assert workspace.file(6, "run.log").stat().st_size < 10_000_000
    assert "boom" in workspace.file(1, "run.log").read_text()
    assert {load_round(workspace, str(n))["round"]["status"] for n in range(1, 8)} == {"done"}
    reasons = {data["experiment"]: data["reason"] for data in kinds(events, "experiment_done")}
    assert "NaN" in reasons["R02"] and "shape" in reasons["R03"]


def test_a_crash_is_fixed_by_the_builder(workspace: Workspace):
    script = own(1, BROKEN["crash"]) | {(1, "fix"): MEAN}
    play(workspace, 1, script)
    assert statuses(workspace)["R01"] == "keep"
    phases = [(phase["phase"], phase["attempt"], phase["outcome"]) for phase in load_round(workspace, "1")["phases"]]
    assert ("run", 1, "crash") in phases and ("fix", 1, "CODED") in phases and ("run", 2, "keep") in phases


def test_a_fix_that_repeats_code_which_ran_before_settles_the_crash(workspace: Workspace):
    script = own(1, MEAN) | own(2, BROKEN["crash"]) | {(2, "fix"): MEAN}
    play(workspace, 2, script)
    assert statuses(workspace)["R02"] == "crash"
    assert "repeats" in load_round(workspace, "2")["experiment"]["reason"]
    assert load_round(workspace, "2")["round"]["status"] == "done"


def test_the_same_predictions_do_not_join_the_pool_twice(workspace: Workspace):
    script = own(1, MEAN) | own(2, MEAN.replace("rng = ", "chance = rng = "))
    play(workspace, 2, script)
    twin = load_round(workspace, "2")["experiment"]
    assert (twin["status"], twin["in_pool"]) == ("discard", 0) and "R01" in twin["reason"]


def test_a_prediction_whose_file_is_gone_leaves_the_pool_with_a_warning(workspace: Workspace):
    play(workspace, 2)
    workspace.file(2, "oof.npy").unlink()
    code, events = play(workspace, 1, own(3, LINEAR))
    assert code == 0
    assert any("R02 leaves the pool" in data["text"] for data in kinds(events, "warning"))


def test_files_older_than_their_round_are_not_adopted(workspace: Workspace):
    Registry(workspace.facts).close()
    workspace.rounds.mkdir()
    for name in ("R00_eda.md", "R01_research_raw.md", "R01_research_brief.md"):
        (workspace.rounds / name).write_text("# from long ago\n")
        os.utime(workspace.rounds / name, (1.0, 1.0))
    _, events = play(workspace, 1, own(1, MEAN))
    assert not kinds(events, "adopted")
    assert "long ago" not in workspace.file(0, "eda.md").read_text()


def test_an_accepted_plan_is_a_fact_that_an_edited_file_cannot_change(workspace: Workspace):
    def edit(row):
        if row["kind"] == "plan_accepted":
            workspace.file(1, "plan.md").write_text(PLAN.format(family="edited"))
            threading.Thread(target=ask, args=(workspace, "stop")).start()

    play(workspace, 1, on_event=edit)
    play(workspace, 1)
    assert (
        load_round(workspace, "1")["experiment"]["family"] == load_round(workspace, "1")["round"]["family"] != "edited"
    )


def test_an_approval_cannot_lift_a_blocking_rule(workspace: Workspace):
    """The third round of one family in a row is blocked whatever the Reviewer says, and replaced."""
    script: dict = {}
    for number in (1, 2, 3):
        script |= own(number, MEAN.replace("(1)", f"({number})"), family="circling")
    script |= {(3, "review"): "APPROVED\nlooks fine to me", (3, "revise"): PLAN.format(family="circling")}
    _, events = play(workspace, 3, script)
    assert [data["rule"] for data in kinds(events, "verdict") if data["author"] == "engine"] == ["tunnel-vision"]
    assert "tunnel-vision" in kinds(events, "plan_replaced")[0]["reason"]
    assert load_round(workspace, "3")["experiment"]["family"] != "circling"
    rules = {verdict["rule"] for verdict in load_round(workspace, "3")["verdicts"]}
    assert "tunnel-vision" in rules


def test_the_same_code_is_not_run_twice(workspace: Workspace):
    script = own(1, MEAN, "one") | own(2, MEAN + "\n# the same, with a comment\n", "two")
    _, events = play(workspace, 2, script)
    assert load_round(workspace, "2")["round"]["status"] == "blocked"
    assert any(data["rule"] == "no-repeats" for data in kinds(events, "verdict"))


def test_three_answers_that_do_not_fit_and_the_playbook_does_the_phase(workspace: Workspace):
    _, events = play(workspace, 1, {(1, "research"): ["hm", "let me think", "no"]})
    assert len(kinds(events, "unfit")) == 3
    assert [data["phase"] for data in kinds(events, "verdict") if data["verdict"] == "fallback"] == ["research"]
    assert any(verdict["verdict"] == "fallback" for verdict in load_round(workspace, "1")["verdicts"])
    assert workspace.file(1, "research_brief.md").stat().st_size > 0


def test_a_valid_file_without_its_row_is_adopted(workspace: Workspace):
    plan = PLAN.format(family="linear")

    def leave_a_plan(row):
        if row["kind"] == "phase_done" and row["data"]["phase"] == "research":
            workspace.file(1, "plan.md").write_text(plan)

    _, events = play(workspace, 1, on_event=leave_a_plan)
    assert [data["phase"] for data in kinds(events, "adopted")] == ["plan"]
    assert load_round(workspace, "1")["experiment"]["family"] == "linear"


def test_a_broken_learnings_file_is_told_and_the_last_good_rules_stay(workspace: Workspace):
    def break_it(row):
        if row["kind"] == "round_started" and row["round"] == 1:
            workspace.learnings.write_text('## Broken\n\n```toml\nid = "noise-floor\n```\n')

    code, events = play(workspace, 1, on_event=break_it)
    assert code == 0
    warnings = [data["text"] for data in kinds(events, "warning")]
    assert len(warnings) == 1 and "LEARNINGS.md" in warnings[0] and "last good rules" in warnings[0]


def test_a_time_limit_still_ends_with_a_submission(workspace: Workspace):
    code, events = play(workspace, 40, time_limit=25.0)
    assert code == 0
    assert kinds(events, "run_ended")[0]["status"] == "finished"
    assert kinds(events, "submission")


def test_when_nothing_was_complete_the_finished_folds_are_submitted(workspace: Workspace):
    change_config(workspace, compute={"slots": 1, "fold_timeout": "5s"})
    slow = MEAN.replace("    rng", "    import time\n    time.sleep(0 if ctx.fold == 0 else 600)\n    rng", 1)
    _, events = play(workspace, 1, own(1, slow))
    assert statuses(workspace)["R01"] == "timeout"
    assert [data["state"] for data in kinds(events, "submission")] == ["intent", "accepted"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cv_folds": 4}, "cross-validation"),
        ({"seed": 7}, "cross-validation"),
        ({"metric": "log_loss", "metric_direction": "minimize"}, "metric"),
    ],
)
def test_changed_folds_or_metric_are_refused_with_the_reason(workspace: Workspace, change: dict, said: str):
    play(workspace, 1)
    change_config(workspace, **change)
    with pytest.raises(WorkspaceError, match=f"the {said} changed"):
        play(workspace, 1)


def test_changed_data_are_refused(workspace: Workspace):
    play(workspace, 1)
    train = workspace.root / "data" / "train.csv"
    lines = train.read_text().splitlines(keepends=True)
    train.write_text("".join(lines[:-1]))
    with pytest.raises(WorkspaceError, match="the data changed"):
        play(workspace, 1)


def test_a_start_without_data_leaves_no_registry_behind(workspace: Workspace):
    (workspace.root / "data" / "train.csv").unlink()
    with pytest.raises(Exception, match=r"train\.csv"):
        play(workspace, 1)
    assert not workspace.facts.exists()


def test_commands_from_outside_are_obeyed_once_and_answered(workspace: Workspace):
    """A viewer pauses, hints, asks for a retro and resumes while the loop runs."""
    answers: dict[str, Answer] = {}
    done = threading.Event()

    def viewer() -> None:
        for verb, args in (
            ("pause", {}),
            ("hint", {"text": "watch\x1b[31m the worst radius"}),
            ("retro", {}),
            ("retro", {}),
            ("resume", {}),
        ):
            answers[verb] = ask(workspace, verb, args)
        done.set()

    def start_viewer(row):
        if row["kind"] == "phase_done" and row["data"]["phase"] == "research" and row["round"] == 1:
            threading.Thread(target=viewer).start()

    code, events = play(workspace, 2, on_event=start_viewer)
    assert code == 0 and done.wait(10)
    assert {verb: answer.state for verb, answer in answers.items()} == dict.fromkeys(answers, "done")
    assert workspace.file(2, "retro.md").is_file() and not workspace.file(1, "retro.md").exists()
    assert "watch" in workspace.file(2, "research_brief.md").read_text()
    assert "\x1b" not in workspace.file(2, "research_brief.md").read_text()
    assert len(kinds(events, "command")) == 5


def test_stop_ends_the_run_and_the_same_command_goes_on(workspace: Workspace):
    def stop(row):
        if row["kind"] == "phase_done" and row["data"]["phase"] == "plan" and row["round"] == 1:
            threading.Thread(target=ask, args=(workspace, "stop")).start()

    code, events = play(workspace, 2, {}, stop)
    assert code == 0
    assert kinds(events, "run_ended")[0]["status"] == "stopped"
    code, events = play(workspace, 2)
    assert kinds(events, "run_started")[0]["continued"]
    assert {"R01", "R02"} <= statuses(workspace).keys()


def test_commands_that_need_an_engine_say_so_when_there_is_none(workspace: Workspace):
    play(workspace, 1)
    with pytest.raises(WorkspaceError, match="nothing to pause"):
        ask(workspace, "pause")
    assert ask(workspace, "hint", {"text": "later"}).state == "done"
    assert ask(workspace, "hint", {"text": "  "}).state == "refused"


def test_a_command_for_an_earlier_run_is_refused(workspace: Workspace):
    play(workspace, 1)
    registry = Registry(workspace.facts)
    registry.insert("commands", uuid="u", run="long ago", verb="stop", args={}, at=0.0)
    registry.close()
    code, events = play(workspace, 1)
    assert code == 0
    assert kinds(events, "command")[0]["state"] == "refused"


def test_imported_predictions_join_the_pool(workspace: Workspace):
    folder = workspace.root / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    data = workspace.root / "data"
    rows, test_rows = (len((data / name).read_text().splitlines()) - 1 for name in ("train.csv", "test.csv"))
    np.save(folder / "nn_oof.npy", rng.random(rows))
    np.save(folder / "nn_test.npy", rng.random(test_rows))
    np.save(folder / "short_oof.npy", rng.random(5))
    np.save(folder / "short_test.npy", rng.random(test_rows))
    change_config(workspace, existing_oof_dir="mine")
    _, events = play(workspace, 1)
    assert [data["experiment"] for data in kinds(events, "imported")] == ["nn"]
    assert any("short_oof.npy" in data["text"] for data in kinds(events, "warning"))
    assert statuses(workspace)["nn"] == "imported"
    registry = Registry(workspace.facts)
    (pair,) = registry.rows("SELECT * FROM correlations")
    registry.close()
    assert (pair["a"], pair["b"]) == ("R01", "nn")
    assert all(-1 <= pair[figure] <= 1 for figure in ("pearson", "spearman", "error"))


def test_an_unknown_model_is_a_config_error(workspace: Workspace):
    change_config(workspace, models={"builder": "gpt-9"})
    with pytest.raises(ConfigError, match="no model"):
        play(workspace, 1)


def test_a_submission_of_which_nobody_knows_is_settled_before_the_run_ends(workspace: Workspace, tmp_path: Path):
    ledger = platform_folder(workspace.root, tmp_path / "home") / LEDGER
    aside = ledger.with_suffix(".aside")

    def listen(row: Row) -> None:
        if row["kind"] == "submission" and not aside.exists() and row["data"]["state"] == "intent" and not found:
            found.append(row)
            ledger.rename(aside)
            ledger.mkdir()
        elif row["kind"] == "phase_done" and row["data"]["phase"] == "submit":
            ledger.rmdir()
            aside.rename(ledger)

    found: list[Row] = []
    code, events = play(workspace, 1, on_event=listen)
    assert code == 0
    told = [(data["state"], data["note"].split(":")[0].split(";")[0]) for data in kinds(events, "submission")]
    assert told[:4] == [
        ("intent", ""),
        ("intent", "nobody knows whether it arrived"),
        ("refused", "never arrived"),
        ("intent", ""),
    ]
    assert [state for state, _ in told[4:]] == ["accepted"]


def test_a_platform_that_fails_at_the_very_end_is_asked_again(workspace: Workspace, tmp_path: Path):
    ledger = platform_folder(workspace.root, tmp_path / "home") / LEDGER
    aside = ledger.with_suffix(".aside")
    failures = 0

    def listen(row: Row) -> None:
        nonlocal failures
        sent = row["kind"] == "submission" and (row["data"]["state"], row["data"]["note"]) == ("intent", "")
        if sent and failures < 2:
            failures += 1
            ledger.rename(aside)
            ledger.mkdir()
        elif row["kind"] == "warning" and row["data"]["text"].startswith("submission of ") and aside.exists():
            ledger.rmdir()
            aside.rename(ledger)

    code, events = play(workspace, 1, on_event=listen)
    assert code == 0 and failures == 2
    told = [data["state"] for data in kinds(events, "submission")]
    assert told == [*["intent", "intent", "refused"] * 2, "intent", "accepted"]


def test_what_crashed_code_did_finish_leaves_no_files(workspace: Workspace):
    broken = MEAN.replace("    rng", "    if ctx.fold == 4:\n        raise ValueError('boom')\n    rng", 1)
    change_config(workspace, compute={"slots": 1})
    code, events = play(workspace, 1, own(1, broken) | {(1, "fix"): MEAN})
    assert code == 0 and statuses(workspace) == {"R01": "keep"}
    assert [data["status"] for data in kinds(events, "fold_done")] == ["ok"] * 4 + ["crash"] + ["ok"] * 5
    assert not list((workspace.cache / "folds").glob("*.npz"))


def test_a_fix_that_is_the_code_of_another_plan_does_not_run_again(workspace: Workspace):
    planned = PLAN.replace("---\n\n", "params: {{depth: 3}}\n---\n\n")
    script = own(1, MEAN) | own(2, BROKEN["crash"]) | {(1, "plan"): planned.format(family="own1"), (2, "fix"): MEAN}
    code, events = play(workspace, 2, script)
    assert code == 0 and statuses(workspace) == {"R01": "keep", "R02": "crash"}
    assert "the fix repeats code that ran before" in load_round(workspace, "R02")["experiment"]["reason"]
    ran = [data["experiment"] for data in kinds(events, "fold_done") if data["status"] == "ok"]
    assert set(ran) == {"R01"}
