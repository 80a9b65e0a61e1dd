"""Agents' tools: what is allowed, where they may look, how they refuse."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from agents import tools
from agents.tool import ToolError
from agents.tools import READ_CAP, TOOLS, Toolbox, describe_call
from experiments.registry import Registry


@pytest.fixture
def box(tmp_path: Path) -> Toolbox:
    root = tmp_path / "workspace"
    (root / "rounds").mkdir(parents=True)
    (root / "rounds" / "R01_plan.md").write_text("the plan\n")
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret.txt")
    Registry(root / "autokaggle.db").close()
    return Toolbox(root, root / "autokaggle.db", tuple(TOOLS), ("rounds/R02_plan.md",))


def call(box: Toolbox, name: str, **arguments) -> str:
    return asyncio.run(box.call(name, json.dumps(arguments)))


def test_files_of_the_workspace_can_be_read_and_listed(box: Toolbox):
    assert call(box, "read_file", path="rounds/R01_plan.md") == "the plan\n"
    assert call(box, "list_files") == "R01_plan.md"


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "link", "rounds/../../secret.txt", "a\0b"])
def test_nothing_outside_the_workspace_can_be_read(box: Toolbox, path: str):
    with pytest.raises(ToolError):
        call(box, "read_file", path=path)


def test_only_the_files_of_the_phase_can_be_written_and_writing_only_stages(box: Toolbox):
    call(box, "write_file", path="rounds/R02_plan.md", content="new\x1b[31m")
    assert box.staged == {"R02_plan.md": "new"}
    assert not (box.root / "rounds" / "R02_plan.md").exists()
    assert call(box, "read_file", path="rounds/R02_plan.md") == box.staged["R02_plan.md"]
    for path in ("rounds/R01_plan.md", "config.json", "../x", "rounds/./R02_plan.md"):
        with pytest.raises(ToolError, match="this phase writes"):
            call(box, "write_file", path=path, content="x")


def test_a_tool_outside_the_allow_list_does_not_exist(box: Toolbox):
    box.allowed = ("read_file",)
    with pytest.raises(ToolError, match="no tool"):
        call(box, "query_registry", sql="SELECT 1")
    assert [spec.name for spec in box.specs()] == ["read_file"]


@pytest.mark.parametrize("arguments", ["", "{", "[]", '{"path": 3}', '{"path": "x", "more": 1}', "null"])
def test_malformed_arguments_are_told_to_the_model(box: Toolbox, arguments: str):
    with pytest.raises(ToolError, match="read_file"):
        asyncio.run(box.call("read_file", arguments))


def test_sql_reads(box: Toolbox):
    assert json.loads(call(box, "query_registry", sql="SELECT 1 AS one")) == {"columns": ["one"], "rows": [[1]]}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM events",
        "PRAGMA query_only = OFF",
        "ATTACH DATABASE '/tmp/x.db' AS x",
        "INSERT INTO facts VALUES ('a', 'b')",
        "SELECT 1; SELECT 2",
        "not sql",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
    ],
)
def test_sql_that_writes_or_never_ends_is_refused(box: Toolbox, sql: str):
    with pytest.raises(ToolError, match="SQL"):
        call(box, "query_registry", sql=sql)


@pytest.mark.parametrize("path", ["x" * 5000, "a/" * 2500, "loop/x", "rounds/R01_plan.md/x", "\u0085\uffff"])
def test_paths_the_system_refuses_are_told_to_the_model(box: Toolbox, path: str):
    (box.root / "loop").symlink_to(box.root / "loop")
    for tool, argument in (("read_file", "path"), ("list_files", "folder")):
        with pytest.raises(ToolError):
            call(box, tool, **{argument: path})


def test_how_alike_predictions_are_is_told_in_three_figures(box: Toolbox):
    assert call(box, "correlations", experiment="R02") == "no correlations stored"
    registry = Registry(box.database)
    registry.insert("correlations", a="R01", b="R02", pearson=0.97, spearman=0.965, error=0.8)
    registry.insert("correlations", a="R02", b="R03", pearson=0.99)
    registry.close()
    assert call(box, "correlations", experiment="R02").splitlines() == [
        "R03\t0.99000\tnot measured\tnot measured",
        "R01\t0.97000\t0.96500\t0.80000",
    ]
    assert "errors" in TOOLS["correlations"].description


def test_characters_that_are_no_text_are_told_to_the_model(box: Toolbox):
    with pytest.raises(ToolError):
        asyncio.run(box.call("read_file", r'{"path": "\ud800"}'))
    with pytest.raises(ToolError, match=r"SQL|query_registry"):
        call(box, "query_registry", sql="SELECT 1 \0")


def test_a_registry_that_is_gone_or_damaged_is_told_to_the_model(box: Toolbox):
    box.database.write_bytes(b"rubbish" * 1000)
    for tool, arguments in (("query_registry", {"sql": "SELECT 1"}), ("correlations", {"experiment": "R01"})):
        with pytest.raises(ToolError, match="cannot be read"):
            call(box, tool, **arguments)
    box.database.unlink()
    with pytest.raises(ToolError, match="does not exist"):
        call(box, "correlations", experiment="R01")


@pytest.mark.parametrize("name", ["hard", "pipe", "swapped"])
def test_what_leads_out_without_looking_like_it_is_not_read(box: Toolbox, name: str, monkeypatch: pytest.MonkeyPatch):
    secret = box.root.parent / "secret.txt"
    (box.root / "hard").hardlink_to(secret)
    os.mkfifo(box.root / "pipe")
    (box.root / "swapped").write_text("innocent")
    resolve = box.resolve

    def swap(path: str) -> Path:
        found = resolve(path)
        (box.root / "swapped").unlink()
        (box.root / "swapped").symlink_to(secret)
        return found

    monkeypatch.setattr(box, "resolve", swap)
    with pytest.raises(ToolError):
        call(box, "read_file", path=name)


def test_sql_whose_steps_are_few_and_slow_is_ended(box: Toolbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tools, "SQL_SECONDS", 0.2)
    sql = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10000) "
        "SELECT sum(instr(zeroblob(200000 + x), zeroblob(100000) || x'01')) FROM c"
    )
    with pytest.raises(ToolError, match="SQL: interrupted"):
        call(box, "query_registry", sql=sql)
    with pytest.raises(ToolError, match="too big"):
        call(box, "query_registry", sql="SELECT zeroblob(1000000)")


def test_sql_cannot_fill_the_memory(box: Toolbox):
    with pytest.raises(ToolError, match="SQL"):
        call(box, "query_registry", sql="SELECT zeroblob(1000000000)")
    assert len(call(box, "query_registry", sql="SELECT printf('%900000000d', 1)")) <= READ_CAP
    many = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200) SELECT hex(zeroblob(90000)) FROM c"
    )
    assert len(call(box, "query_registry", sql=many)) <= READ_CAP


def test_refusals_and_descriptions_can_be_shown(box: Toolbox):
    with pytest.raises(ToolError) as refusal:
        call(box, "read_file", path="\x1b[2J" + "x" * 100_000)
    assert "\x1b" not in str(refusal.value) and len(str(refusal.value)) < 3_000
    assert describe_call("read_file", "[" * 100_000).startswith("read_file [[")
