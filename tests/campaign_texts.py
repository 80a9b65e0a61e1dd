"""What the agents of a made-up campaign wrote: round files, and the stream of the last rounds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from autokaggle_tui.workspace import Workspace, round_name
from experiments.schema import open_live

IDEAS = {
    "lightgbm": ("fold-safe text hashing", "target means of job × month", "pdays × previous", "monotone in balance"),
    "catboost": ("ordered target statistics", "CatBoost, deeper trees", "pairwise crosses of categories"),
    "xgboost": ("standardised ratios", "XGBoost, histogram of 1,024 bins", "dart with little dropout"),
    "mlp": ("embeddings for 9 categories", "wide network on quantile features", "ensemble of 5 seeds"),
    "extra_trees": ("extra trees on target-encoded columns", "2,000 extra trees, leaves of 8"),
    "linear": ("logistic regression on splines", "pairwise interactions, elastic net"),
    "kernel": ("Nyström features, 2,000 landmarks", "Gaussian process on 5 columns"),
    "blend": ("weighted blend of the pool", "rank mean of the three least alike"),
    "tune": ("fewer leaves, more rounds", "smaller steps, twice the rounds", "stronger ridge"),
}
NASTY = (
    "\x1b[31mred\x1b[0m \x1b]0;a title\x07 and \x9b2J a bell \x07",
    "[bold red]not markup[/bold red] [/foo] [link=https://example.com]no link[/link]",
    "目标编码 🚀 é́\ttab\tafter tab",
    "x" * 400,
)
"""Text that must be shown as it is, or cleaned, and never obeyed."""

CODE = '''"""{idea}."""

import lightgbm
import numpy as np

PARAMS = {{"num_leaves": {leaves}, "learning_rate": 0.05, "n_estimators": {trees}}}


def features(frame, ctx):
{features}    return frame


def fit_predict(train, valid, test, ctx):
    x, y = features(train[ctx.columns.features], ctx), train[ctx.columns.target]
    model = lightgbm.LGBMClassifier(**PARAMS, n_jobs=ctx.threads, random_state=ctx.seed)
    model.fit(x, y)
    ctx.report(rounds=PARAMS["n_estimators"])
    return model.predict_proba(features(valid, ctx))[:, 1], model.predict_proba(features(test, ctx))[:, 1]
'''


def write_round(workspace: Workspace, connection: sqlite3.Connection, number: int) -> None:
    """Publish the files of a round that its phases name, and the code of its parent for a diff."""
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT * FROM rounds WHERE round = ?", [number]).fetchone()
    experiment = connection.execute("SELECT * FROM experiments WHERE round = ?", [number]).fetchone()
    folds = connection.execute(
        "SELECT f.* FROM folds f JOIN experiments e ON e.id = f.experiment WHERE e.round = ?", [number]
    ).fetchall()
    plan = json.loads(row["plan"])
    for phase in connection.execute("SELECT * FROM phases WHERE round = ? ORDER BY at", [number]):
        for file in phase["files"].split():
            text = _text(file.split("_", 1)[1], number, plan, phase, experiment, folds)
            (workspace.rounds / file).write_text(text, encoding="utf-8")
    if plan.get("parent"):
        parent = workspace.rounds / f"{plan['parent']}_experiment.py"
        if not parent.is_file():
            parent.write_text(_code(0, "the parent"), encoding="utf-8")


def _text(
    suffix: str,
    number: int,
    plan: dict[str, object],
    phase: sqlite3.Row,
    experiment: sqlite3.Row | None,
    folds: list[sqlite3.Row],
) -> str:
    name = round_name(number)
    line = json.loads(phase["detail"]).get("line", "")
    status = experiment["status"] if experiment else "open"
    scores = "\n".join(f"| {row['fold'] + 1} | {row['score']} |" for row in folds)
    if suffix == "plan.md":
        matter = "\n".join(f"{key}: {json.dumps(value)}" for key, value in plan.items()) or "kind: model"
        return f"---\n{matter}\n---\n\n# {plan.get('idea')}\n\nWhy this, now: nothing like it was tried.\n"
    if suffix == "review.md":
        return f"{line}\n\n## Six checks\n\n1. ✓ Diversity: 3 earlier experiments.\n2. ✗ Untried family: mlp.\n"
    if suffix == "experiment.py":
        return _code(number, str(plan.get("idea")))
    if suffix == "run.log":
        logs = "\n".join(f"--- fold {row['fold'] + 1}, score {row['score']}\nrounds 400" for row in folds)
        return f"{name}, log written 2026-01-01 00:00:00 UTC\n{logs}\n{NASTY[0]}\n{NASTY[1]}\n"
    if suffix == "findings.md":
        table = f"| fold | score |\n| --- | --- |\n{scores}"
        return f"# Findings of {name}\n\nHappened: {status}.\n\n{table}\n\n[/foo] is no markup.\n"
    if suffix == "verify.md":
        return f"{line}\n\n{name}: {status}.\n\n- No rule fired.\n"
    return f"# {name} {suffix}\n\n- Families nobody has tried: kernel.\n- {NASTY[1]}\n"


def _code(number: int, idea: str) -> str:
    made = "".join(f'    frame["made_{k}"] = frame["balance"] * {k}\n' for k in range(number % 4 + 1))
    return CODE.format(idea=idea, leaves=31 + number % 7, trees=400 + 10 * (number % 5), features=made)


def write_live(workspace: Workspace, rounds: Iterable[int], now: float) -> None:
    """live.db as the engine left it after these rounds."""
    spoken = [row for number in rounds for row in speech(number)]
    connection = open_live(workspace.live)
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO stream (at, round, role, kind, text) VALUES (?, ?, ?, ?, ?)",
        [(now - (len(spoken) - place) * 0.1, *row) for place, row in enumerate(spoken)],
    )
    last = max((row[0] for row in spoken), default=1)
    connection.executemany(
        "INSERT INTO logs (at, experiment, fold, text) VALUES (?, ?, ?, ?)",
        [
            (now, round_name(last), fold, text)
            for fold in range(3)
            for text in (f"[{fold * 100}] valid auc: 0.9{fold}", *NASTY)
        ],
    )
    connection.execute("COMMIT")
    connection.close()


def speech(number: int) -> Iterator[tuple[int, str, str, str]]:
    """(round, role, kind, text) of what is said in a round, in the order of live.db."""
    name = round_name(number)
    for role, phase, file, answer in (
        ("researcher", "research", "research_brief.md", "DONE"),
        ("builder", "plan", "plan.md", "DONE"),
        ("reviewer", "review", "review.md", "APPROVED" if number % 3 else "REVISE"),
        ("builder", "code", "experiment.py", "CODED"),
        ("builder", "findings", "findings.md", "DONE"),
        ("reviewer", "verify", "verify.md", "REJECT" if number % 2 else "APPROVED"),
    ):
        yield number, role, "phase", f"{name} {phase}"
        yield number, role, "reasoning", f"The last rounds of {name} were all trees; what differs from them "
        yield number, role, "reasoning", "most is a network.\nSo the pool gains more from"
        yield number, role, "reasoning", " an mlp than from another booster."
        yield number, role, "call", "query_registry SELECT family, max(score) FROM experiments GROUP BY family"
        yield number, role, "result", "7 rows: lightgbm 0.9712, catboost 0.9709, …"
        yield number, role, "text", f"I look at {name} with care. "
        yield number, role, "text", f"{NASTY[number % len(NASTY)]}\nThen the rest."
        yield number, role, "call", f"write_file rounds/{name}_{file} +{40 + number}"
        yield number, role, "result", f"staged rounds/{name}_{file} ({40 + number} lines)"
        if role == "builder" and phase == "plan" and number % 4 == 0:
            yield number, role, "unfit", f"rounds/{name}_plan.md: the front matter has no `family`."
        yield number, role, "answer", f"{answer} · {name}_{file} · 8.4s"
