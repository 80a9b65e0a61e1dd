"""A persistent agent: one-line answers, tools in between, a second and a third try."""

import json
from pathlib import Path

import pytest

from agents.agent import CALLS, Agent, Answered, Said, ToolResult, Unfit, fits
from agents.prompts import load_prompt
from agents.trigger import FACT_CHARS, trigger
from backends.models.base import Done, Message, Request, TextDelta, ToolCall, Usage
from backends.models.tasks import CampaignView, DataView, ExperimentView, Task
from experiments.errors import ConfigError, ModelError
from experiments.registry import Registry
from experiments.spec import Spec


class Scripted:
    """A model that says its lines in order and keeps what it was asked."""

    name = "scripted"
    context: int | None = None

    def __init__(self, *lines):
        self.lines = list(lines)
        self.requests: list[Request] = []

    async def stream(self, request):
        self.requests.append(request)
        line = self.lines.pop(0)
        if isinstance(line, str):
            yield TextDelta(line)
            yield Done("stop")
            return
        yield ToolCall("1", line[0], json.dumps(line[1]))
        yield Usage(10, 5, 0.01)
        yield Done("tool_calls")


VIEW = CampaignView(
    spec=Spec("churn", "binary", "roc_auc", "maximize", "Exited"),
    data=DataView(100, 10, 2, 3, 0, 0, 0, 0, 0.0),
    round=1,
    rounds_left=4,
    seconds_left=None,
    slots=1,
    threads=1,
    experiments=(ExperimentView("R01", 1, "model", "lightgbm", None, "keep", 0.91, {}, 1.0),),
    champion="R01",
    best_single="R01",
    correlations={},
    rules={},
    hints=("try\x1b[31m ratios", "no neural nets"),
)


def task(**changes) -> Task:
    values = {
        "phase": "plan",
        "role": "builder",
        "round": 1,
        "outputs": ("R01_plan.md",),
        "inputs": (),
        "answers": ("DONE",),
        "view": VIEW,
    }
    return Task(**(values | changes))


async def perform(tmp_path: Path, model: Scripted, asked: Task, check=lambda task, word, files: ""):
    Registry(tmp_path / "autokaggle.db").close()
    agent = Agent(load_prompt("builder", tmp_path), model, tmp_path, tmp_path / "autokaggle.db")
    records = [record async for record in agent.perform(asked, check)]
    assert isinstance(records[-1], Answered)
    return agent, records, records[-1]


WRITE = ("write_file", {"path": "rounds/R01_plan.md", "content": "text"})


async def test_an_agent_writes_its_file_and_answers_in_one_line(tmp_path: Path):
    agent, records, answer = await perform(tmp_path, Scripted(WRITE, "DONE"), task())
    assert (answer.word, answer.files) == ("DONE", {"R01_plan.md": "text"})
    assert any(isinstance(record, ToolResult) and not record.failed for record in records)
    assert [message.role for message in agent.messages] == ["user", "assistant", "tool", "assistant"]
    assert [record.message for record in records if isinstance(record, Said)] == agent.messages


async def test_the_conversation_is_kept_and_starts_with_the_prompt(tmp_path: Path):
    model = Scripted(WRITE, "DONE")
    await perform(tmp_path, model, task())
    assert model.requests[0].messages[0].role == "system"
    assert "sealed folds" in model.requests[0].messages[0].content
    assert model.requests[1].messages[-1] == Message("tool", "staged rounds/R01_plan.md (1 lines)", (), "1")


async def test_an_answer_that_does_not_fit_is_asked_for_twice_again(tmp_path: Path):
    _, records, answer = await perform(tmp_path, Scripted("Sure, here is my plan", WRITE, "DONE"), task())
    assert [record.attempt for record in records if isinstance(record, Unfit)] == [1]
    assert answer.word == "DONE"
    _, records, answer = await perform(tmp_path, Scripted("hm", "hm", "hm"), task())
    assert [record.attempt for record in records if isinstance(record, Unfit)] == [1, 2, 3]
    assert (answer.word, answer.files) == ("", {})


async def test_what_the_check_says_goes_back_to_the_model(tmp_path: Path):
    model = Scripted(WRITE, "DONE", "DONE", "DONE")
    _, _, answer = await perform(tmp_path, model, task(), lambda task, word, files: "the kind is missing.")
    assert answer.word == ""
    assert "the kind is missing" in model.requests[2].messages[-1].content


async def test_a_failed_tool_call_is_answered_with_its_error(tmp_path: Path):
    _, records, _ = await perform(tmp_path, Scripted(("read_file", {"path": "/etc/passwd"}), "DONE"), task(outputs=()))
    results = [record for record in records if isinstance(record, ToolResult)]
    assert results[0].failed and "outside" in results[0].text


async def test_a_model_that_only_calls_tools_is_given_up(tmp_path: Path):
    with pytest.raises(ModelError, match="without an answer"):
        await perform(tmp_path, Scripted(*[WRITE] * 50), task())


@pytest.mark.parametrize(
    ("line", "word", "said"),
    [
        ("APPROVED", "APPROVED", ""),
        ("**approved**, go on", "APPROVED", ""),
        ("REVISE: too narrow", "REVISE", ""),
        ("REVISE", "", "needs a reason"),
        ("I approve", "", "must begin with"),
        ("", "", "must begin with"),
    ],
)
def test_which_lines_fit(line: str, word: str, said: str):
    found, problem = fits(task(answers=("APPROVED", "REVISE")), line)
    assert found == word
    assert said in problem


def test_a_workspace_may_bring_its_own_prompt_but_no_unknown_tool(tmp_path: Path):
    (tmp_path / "agents").mkdir()
    own = tmp_path / "agents" / "reviewer.md"
    own.write_text("---\ndescription: mine\ntools: [read_file]\n---\nBe kind.\n")
    assert load_prompt("reviewer", tmp_path).text == "Be kind."
    own.write_text("---\ndescription: mine\ntools: [shell]\n---\nBe kind.\n")
    with pytest.raises(ConfigError, match="unknown tool shell"):
        load_prompt("reviewer", tmp_path)


def test_a_trigger_names_paths_and_tells_what_the_engine_found():
    ruling = {"verdict": "block", "rule": "tunnel-vision", "reason": "lightgbm three times", "figures": {}}
    text = trigger(task(inputs=("LEARNINGS.md",), facts={"rulings": [ruling], "reason": "REVISE: too narrow"}))
    assert text.splitlines() == [
        "R01 plan.",
        "churn: binary, roc_auc (maximize), target Exited; champion R01 0.91000; 4 rounds left.",
        "Read: LEARNINGS.md.",
        "Write: rounds/R01_plan.md.",
        "The owner says, newest last:",
        "- try ratios",
        "- no neural nets",
        "The Reviewer said: REVISE: too narrow",
        "Rules of LEARNINGS.md that fired:",
        "- block tunnel-vision: lightgbm three times",
        "Answer in one line, beginning with DONE.",
    ]


def test_a_trigger_stays_short_whatever_the_engine_found():
    facts = {"traceback": "x\n" * 50_000 + "ValueError: why", "error": "y" * 50_000, "profile": ["z"] * 50_000}
    text = trigger(task(phase="fix", facts=facts))
    assert len(text) < 3 * FACT_CHARS and "ValueError: why" in text and "The owner says" not in text


async def test_a_turn_has_only_so_many_calls_and_each_is_answered(tmp_path: Path):
    class Eager(Scripted):
        async def stream(self, request):
            if request.messages[-1].role == "tool":
                yield TextDelta("DONE")
                yield Done("stop")
                return
            for number in range(CALLS + 3):
                yield ToolCall(f"c{number}", "list_files", "{}")
            yield Done("tool_calls")

    (tmp_path / "rounds").mkdir()
    agent, records, answer = await perform(tmp_path, Eager(), task(outputs=()))
    results = [record for record in records if isinstance(record, ToolResult)]
    assert answer.word == "DONE" and len(results) == CALLS + 3
    assert [result.failed for result in results] == [False] * CALLS + [True] * 3
    answered = [message.tool_call_id for message in agent.messages if message.role == "tool"]
    assert answered == [f"c{number}" for number in range(CALLS + 3)]
