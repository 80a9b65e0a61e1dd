"""Targets: what models answer, write and ask of their tools."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st

from agents.agent import fits, trigger
from agents.prompts import load_prompt
from agents.tools import TOOLS, Toolbox, describe_call
from autokaggle_tui.loop.phasebook import PHASES, code_problem, opening_word, problem
from backends.models.tasks import CampaignView, DataView, Phase, Task
from experiments.code import normalised_code_sha
from experiments.plan import parse_plan
from experiments.registry import Registry
from experiments.spec import Spec

from .target import Target, of_bytes, refused, scratch, shown

SECRET = "the secret outside"
RULING = {"verdict": "warn", "rule": "noise-floor"}
VIEW = CampaignView(
    spec=Spec("fuzz", "binary", "roc_auc", "maximize", "y"),
    data=DataView(100, 10, 2, 3, 0, 0, 0, 0, 0.0),
    round=1,
    rounds_left=None,
    seconds_left=None,
    slots=1,
    threads=1,
    experiments=(),
    champion=None,
    best_single=None,
    correlations={},
    rules={},
)
TEXTS = st.text(max_size=60) | st.text(alphabet="*_`# APROVEDRJCT:\n-", max_size=40)


def _plan(data: bytes) -> None:
    folder = scratch() / "prompts"
    (folder / "agents").mkdir(parents=True, exist_ok=True)
    (folder / "agents" / "builder.md").write_bytes(data)
    refused(load_prompt, "builder", folder)
    plan = refused(parse_plan, data.decode("utf-8", "replace"))
    if plan is None:
        return
    shown(plan.header.family + plan.header.hypothesis + plan.header.idea)
    kept = json.dumps(plan.header.model_dump(mode="json"))
    assert json.dumps(parse_plan(plan.dump()).header.model_dump(mode="json")) == kept


def _code(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    shown(code_problem(text, "R01_experiment.py").replace("\r", ""), 5_000_000)
    assert len(normalised_code_sha(text)) == 64


def _answer(drawn: tuple[Phase, str, str]) -> None:
    phase, line, text = drawn
    spec = PHASES[phase]
    outputs = tuple(f"R01_{suffix}" for suffix in spec.outputs)
    facts = {"reason": line, "traceback": text, "result": {line: text}, "rulings": [{**RULING, "reason": text}]}
    task = Task(phase, spec.role, 1, outputs, (), spec.answers, replace(VIEW, hints=(line, text)), facts)
    word, wrong = fits(task, line)
    assert bool(word) != bool(wrong)
    shown(wrong)
    assert opening_word(text, spec.answers) in ("", *spec.answers)
    shown(problem(task, word, dict.fromkeys(outputs, text)))
    shown(trigger(task), 40_000)


def _box() -> Toolbox:
    """A workspace with every trap: links, hard links and pipes that lead out, a loop, a file of a gigabyte."""
    root = scratch() / "tools" / "workspace"
    if not root.exists():
        (root / "rounds").mkdir(parents=True)
        (root / "rounds" / "R01_plan.md").write_text("the plan\n")
        outside = root.parent / "outside"
        outside.mkdir()
        (outside / "secret.txt").write_text(SECRET)
        (root / "link").symlink_to(outside / "secret.txt")
        (root / "folder").symlink_to(outside)
        (root / "hard").hardlink_to(outside / "secret.txt")
        (root / "loop").symlink_to(root / "loop")
        (root / "zero").symlink_to("/dev/zero")
        os.mkfifo(root / "pipe")
        with (root / "huge").open("wb") as file:
            file.truncate(1 << 30)
        Registry(root / "autokaggle.db").close()
    return Toolbox(root, root / "autokaggle.db", tuple(TOOLS), ("rounds/R02_plan.md",))


def _tool(drawn: tuple[str, str]) -> None:
    box = _box()
    name, arguments = drawn[0], drawn[1].replace("OUTSIDE", str(box.root.parent / "outside"))
    before = _listing(box.root.parent)
    said = refused(lambda: asyncio.run(box.call(name, arguments)))
    if said is not None:
        shown(said, 300_000)
        assert SECRET not in said
    shown(describe_call(name, arguments), 10_000)
    assert set(box.staged) <= {"R02_plan.md"}
    assert _listing(box.root.parent) == before


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*") if "autokaggle.db-" not in path.name)


PARTS = st.sampled_from(
    [
        *("..", ".", "", "rounds", "folder", "link", "hard", "loop", "zero", "pipe", "huge", "outside", "secret.txt"),
        *("R01_plan.md", "R02_plan.md", "autokaggle.db", "~", "\0", "\x1b[2J", "x" * 300, "\ud800", "%2e%2e", "..\\"),
    ]
)
PATHS = st.builds(
    lambda start, parts: start + "/".join(parts),
    st.sampled_from(["", "/", "./", "//", "../", "rounds/../", "OUTSIDE/"]),
    st.lists(PARTS | st.text(max_size=4), max_size=6),
)
SQL_WORDS = (
    *("SELECT", "*", "1", "FROM", "events", "c", ",", "(", ")", ";", "--", "\0", "WHERE", "GLOB", "UNION", "ALL", "x"),
    *("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)", "group_concat(x)", "'a\x1b[2J'", "9e999"),
    *("zeroblob(1000000000)", "randomblob(500000000)", "printf('%900000000d', 1)", "load_extension('x')", "json('[['"),
    *("replace(hex(zeroblob(99999)),", "'0',hex(zeroblob(9999)))", "char(0,27,55296)", "CAST(x'ff' AS TEXT)", "x'00'"),
    *("PRAGMA", "ATTACH", "'/tmp/x'", "AS", "LIMIT", "-1", "INSERT INTO facts VALUES (1, 2)", "sqlite_master"),
)
SQL = st.lists(st.sampled_from(SQL_WORDS), min_size=1, max_size=12).map(" ".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
CALLS = st.one_of(
    st.tuples(st.sampled_from(["read_file"]), PATHS.map(lambda path: json.dumps({"path": path}))),
    st.tuples(st.just("list_files"), PATHS.map(lambda path: json.dumps({"folder": path}))),
    st.tuples(
        st.just("write_file"), st.builds(lambda path, text: json.dumps({"path": path, "content": text}), PATHS, TEXTS)
    ),
    st.tuples(st.just("query_registry"), SQL.map(lambda sql: json.dumps({"sql": sql}))),
    st.tuples(st.just("query_registry"), SQL.map(lambda sql: json.dumps({"sql": f"SELECT {sql}"}))),
    st.tuples(st.just("correlations"), TEXTS.map(lambda text: json.dumps({"experiment": text}))),
    st.tuples(st.sampled_from([*TOOLS, "run_python"]), JSON.map(json.dumps) | st.text(max_size=20)),
    st.tuples(st.sampled_from([*TOOLS]), st.sampled_from(["[" * 100_000, '{"a":' * 50_000, '{"path": ' + "9" * 5000])),
)

PLANS = (
    b"---\nkind: model\nfamily: lightgbm\nhypothesis: more signal\nparams: {depth: 3, when: 2024-01-01}\n---\n\nDo.\n",
    b'---\nkind: blend\nfamily: "\\e[2Jblend"\nhypothesis: h\nmembers: [R01, R02]\nexpected_gain: .nan\n---\n',
    b"---\nkind: model\nfamily: x\nhypothesis: h\nparams:\n  a: &a [x, x]\n  b: &b [*a, *a]\n  c: [*b, *b]\n---\n",
)
CODE = (
    b"import numpy as np\n\n\ndef fit_predict(train, valid, test, ctx):\n    '''doc'''\n    return 1, 2\n",
    b"def fit_predict(*a): return f'{a!r:>{10}}'\n",
)
PROMPTS = (b"---\ndescription: d\ntools: [read_file]\nsettings: {temperature: 0.2}\n---\nYou build.\n",)
YAML = (
    *(b"---\n", b": ", b"- ", b"&a ", b"*a", b"!!python/object:os.system ", b"<<: ", b"0x", b"1_000", b"? "),
    *(b"2024-99-99", b"kind: tune\n", b"minutes: .inf\n", b"params:\n", b"!!set {a}", b"!!binary "),
)

TARGETS = (
    of_bytes("plan", _plan, (*PLANS, *PROMPTS), YAML),
    of_bytes(
        "code", _code, CODE, [b"def fit_predict(", b"(" * 60, b"\\N{", b"\0", b"async ", b"lambda: " * 30, b"1e999j"]
    ),
    Target("answer", _answer, st.tuples(st.sampled_from([p for p in get_args(Phase) if p in PHASES]), TEXTS, TEXTS)),
    Target("tool", _tool, CALLS, examples=150),
)
