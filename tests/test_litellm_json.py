"""Models that act by JSON, where they or their server have no tools."""

import json
from typing import Any

import pytest

from backends.models.base import (
    Done,
    Message,
    Request,
    Retrying,
    TextDelta,
    ToolCall,
    ToolSpec,
)
from backends.models.errors import RefusedError
from backends.models.tasks import Task
from tests.emulators.answers import Answer, Fail, Say, tool
from tests.emulators.openai import OpenAIServer

from .lite import READ, answer, only, refusal, request, text_of

pytestmark = pytest.mark.usefixtures("own_keys")


def act(**action: Any) -> Say:
    return Say(json.dumps({"action": action}))


async def test_without_tool_calls_of_its_own_a_model_acts_by_json():
    script: list[Any] = [act(tool="read_file", arguments={"path": "a"}), act(answer="REVISE", reason="too  narrow")]
    async with OpenAIServer(script) as server:
        [call, _, done] = await answer(server, tools="json")
        assert (call.name, json.loads(call.arguments), done) == ("read_file", {"path": "a"}, Done("tool_calls"))
        told = (Message("assistant", "", (call,)), Message("tool", "aaa", (), call.id))
        chunks = await answer(server, request(Message("user", "R01 review."), *told), tools="json")
    assert only(TextDelta, chunks) == [TextDelta("REVISE: too narrow")]
    assert chunks[-1] == Done("stop")
    body = server.received[1].body
    assert "tools" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]
    assert "read_file" in body["messages"][0]["content"] and "aaa" in body["messages"][3]["content"]
    schema = json.dumps(body["response_format"])
    assert '"enum": ["APPROVED", "REVISE"]' in schema and '"const": "read_file"' in schema


async def test_a_model_that_repeats_itself_may_only_answer():
    turns: list[Message] = [Message("user", "R01 review.")]
    for name in ("j1", "j2"):
        call = ToolCall(name, "read_file", '{"path": "none"}')
        turns += [Message("assistant", "", (call,)), Message("tool", "error: no such file", (), name)]
    async with OpenAIServer(lambda body: act(answer="APPROVED", reason="x")) as server:
        await answer(server, request(*turns[:3]), tools="json")
        await answer(server, request(*turns), tools="json")
        await answer(server, request(*turns, Message("user", "That does not fit.")), tools="json")
    schemas = [json.dumps(received.body["response_format"]) for received in server.received]
    assert ["read_file" in text for text in schemas] == [True, False, True]


async def test_the_answer_is_open_once_the_files_are_written():
    write = ToolSpec("write_file", "Stage.", {"properties": {"path": {"type": "string"}}, "required": ["path"]})
    task = Task("research", "researcher", 1, ("a.md", "b.md"), (), ("DONE",), None)  # type: ignore[arg-type]
    turns: list[Message] = [Message("user", "R01 research.")]
    asked: list[int] = [1]
    for name, path, told in (
        ("j1", "rounds/a.md", "staged rounds/a.md (1 lines)"),
        ("j2", "rounds/c.md", "error: this phase writes"),
        ("j3", "rounds/c.md", "error: this phase writes"),
        ("j4", "rounds/b.md", "staged rounds/b.md (1 lines)"),
    ):
        call = ToolCall(name, "write_file", json.dumps({"path": path}))
        turns += [Message("assistant", "", (call,)), Message("tool", told, (), name)]
        asked.append(len(turns))
    turns += [Message("assistant", "DONE"), Message("user", "That does not fit.")]
    asked.append(len(turns))
    async with OpenAIServer(lambda body: act(answer="DONE", reason="x")) as server:
        for many in asked:
            await answer(server, Request("researcher", tuple(turns[:many]), (READ, write), task), tools="json")
    schemas = [json.dumps(received.body["response_format"]) for received in server.received]
    both, second = '"enum": ["rounds/a.md", "rounds/b.md"]', '"enum": ["rounds/b.md"]'
    assert [both in text for text in schemas] == [True, False, False, False, False, True]
    assert [second in text for text in schemas] == [False, True, True, True, False, False]
    assert ['"answer"' in text for text in schemas] == [False, False, False, False, True, False]
    assert ["read_file" in text for text in schemas] == [True, True, True, False, True, True], (
        "stuck: it may only write"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('```json\n{"action": {"answer": "APPROVED", "reason": ""}}\n```', "APPROVED"),
        ('{"action": {"answer": "REVISE", "reason": "no gain and no gain and no', "REVISE: no gain and no gain and no"),
        ('Sure! {"answer": "REVISE", "reason": "no {braces} help"} Good luck', "REVISE: no {braces} help"),
        ('{"name": "read_file", "parameters": {"path": "b"}}', ("read_file", {"path": "b"})),
        ('{"action": {"tool": "read_file", "arguments": "{\\"path\\": \\"c\\"}"}}', ("read_file", {"path": "c"})),
        ("APPROVED: plain words fit too", "APPROVED: plain words fit too"),
        ('{"action": {"tool": "read_file", "argu', '{"action": {"tool": "read_file", "argu'),
        ('{"a":' * 3000, '{"a":' * 3000),
    ],
    ids=["fenced", "cut reason", "surrounded", "llama", "text", "plain", "cut", "deep"],
)
async def test_actions_are_read_leniently(text: str, expected: Any):
    async with OpenAIServer([Say(text)]) as server:
        chunks = await answer(server, tools="json")
    if isinstance(expected, str):
        assert only(TextDelta, chunks) == [TextDelta(expected)]
    else:
        [call] = only(ToolCall, chunks)
        assert (call.name, json.loads(call.arguments)) == expected


@pytest.mark.parametrize(
    "fault",
    [
        Fail(400, "registry.ollama.ai/library/gemma:2b does not support tools"),
        Fail(400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        Fail(500, "tools param requires --jinja flag"),
        Fail(404, "No endpoints found that support tool use."),
    ],
    ids=["ollama", "vllm", "llama.cpp", "openrouter"],
)
async def test_a_server_without_tools_is_found_out_once(fault: Fail):
    def server_says(body: dict[str, Any]) -> Answer:
        return fault if "tools" in body else act(answer="APPROVED", reason="")

    async with OpenAIServer(server_says) as server:
        chunks = await answer(server, model="hosted_vllm/emulated")
        assert text_of(chunks) == "APPROVED"
        assert len(only(Retrying, chunks)) == 1
        await answer(server, model="hosted_vllm/emulated")
    assert ["tools" in received.body for received in server.received] == [True, False, False]


async def test_a_server_without_schemas_gets_the_rules_alone():
    def server_says(body: dict[str, Any]) -> Answer:
        refused = "response_format" in body
        return Fail(400, "response_format is not supported") if refused else act(answer="APPROVED", reason="")

    async with OpenAIServer(server_says) as server:
        assert text_of(await answer(server, tools="json")) == "APPROVED"


async def test_a_model_that_called_tools_before_is_not_doubted():
    async with OpenAIServer([tool("read_file", path="a"), Fail(400, "tool_call_id of no tool call")]) as server:
        await answer(server)
        assert isinstance(await refusal(server), RefusedError)


async def test_own_settings_decide_about_tools():
    async with OpenAIServer([Fail(400, "no tools here")]) as server:
        assert isinstance(await refusal(server, tools="native"), RefusedError)
