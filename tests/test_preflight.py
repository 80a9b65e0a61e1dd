"""Preflight: what is wrong with a model is a clear message before round 0."""

import os
from typing import Any

import pytest

from backends.models.lite.keys import HOSTED
from backends.models.lite.line import forget_manners
from backends.models.preflight import preflight
from backends.models.settings import ModelSettings
from tests.emulators.answers import Answer, Break, Fail, Say
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import closed_port

KEY = "sk-proj-canary-a1b2c3d4e5f6a7b8"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_manners()
    for name in [name for names in HOSTED.values() for name in names] + [n for n in os.environ if "API_BASE" in n]:
        monkeypatch.delenv(name, raising=False)


def local(server: OpenAIServer, **changes: Any) -> ModelSettings:
    return ModelSettings(**{"model": "hosted_vllm/emulated", "api_base": server.url, **changes})


@pytest.mark.parametrize("name", ["playbook", "replay:run.jsonl"])
async def test_what_needs_no_provider_is_fine(name: str):
    found = await preflight(ModelSettings(model=name), call=True)
    assert (found.problem, found.priced, found.key_present, found.tools) == ("", True, None, "native")


async def test_a_known_model_is_described_without_a_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    found = await preflight(ModelSettings(model="anthropic/claude-opus-4-5"), call=False)
    assert (found.key_env, found.key_present, found.endpoint, found.reached) == ("ANTHROPIC_API_KEY", True, "", None)
    assert (found.tools, found.json_schema, found.priced, found.context) == ("native", True, True, 200_000)
    assert found.problem == ""


async def test_a_missing_key_is_named_and_nothing_is_asked():
    found = await preflight(ModelSettings(model="groq/llama-3.3-70b-versatile"), call=True)
    assert (found.key_env, found.key_present, found.reached) == ("GROQ_API_KEY", False, None)
    assert "GROQ_API_KEY is not set" in found.problem and found.hint


async def test_a_server_of_ones_own_is_reached_without_a_call_and_tested_by_one():
    async with OpenAIServer([Say("DONE")]) as server:
        seen = await preflight(local(server), call=False)
        assert (seen.reached, seen.tools, seen.priced, seen.problem) == (True, "unknown", False, "")
        assert server.received == []
        called = await preflight(local(server, context=8192, input_price=0.0, output_price=0.0), call=True)
        assert (called.reached, called.tools, called.priced, called.context) == (True, "native", True, 8192)
        [received] = server.received
        assert received.body["max_tokens"] <= 1024


async def test_a_model_without_tools_plays_by_json():
    def script(body: dict[str, Any]) -> Answer:
        refused = Fail(400, "this model does not support tools")
        return refused if "tools" in body else Say('{"action": {"answer": "DONE", "reason": ""}}')

    async with OpenAIServer(script) as server:
        found = await preflight(local(server), call=True)
    assert (found.reached, found.tools, found.json_schema, found.problem) == (True, "json", True, "")


async def test_a_name_that_the_server_does_not_have():
    async with OpenAIServer([], models=("llama-3", "qwen-2")) as server:
        found = await preflight(local(server), call=True)
        assert server.received == []
    assert "has no model 'emulated'" in found.problem
    assert "llama-3, qwen-2" in found.hint


async def test_a_server_that_is_not_there():
    address = f"http://127.0.0.1:{closed_port()}/v1"
    for name in ("hosted_vllm/x", "anthropic/claude-opus-4-5"):
        found = await preflight(ModelSettings(model=name, api_base=address), call=True)
        assert found.reached is False
        assert address in found.problem and "api_base" in found.hint


async def test_an_address_that_is_missing():
    found = await preflight(ModelSettings(model="lm_studio/x"), call=True)
    assert "LM_STUDIO_API_BASE" in found.hint and found.problem


@pytest.mark.parametrize(
    ("answer", "reached", "said"),
    [
        (Fail(401, f"wrong key {KEY}"), True, "key is not accepted"),
        (Fail(404, "unheard of"), True, "no such model"),
        (Fail(503, "down"), False, "down"),
        (Break("html"), False, "no answer of a model"),
    ],
    ids=["key", "name", "down", "html"],
)
async def test_a_call_that_fails_is_explained(
    answer: Answer, reached: bool, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", KEY)
    async with OpenAIServer([answer]) as server:
        found = await preflight(local(server, api_key_env="MY_KEY"), call=True)
        assert server.listed[0].headers["authorization"] == f"Bearer {KEY}"
    assert found.reached is reached
    assert said in found.problem and "canary" not in repr(found)


async def test_ollama_needs_to_be_told_its_context():
    async with OpenAIServer([]) as server:
        settings = ModelSettings(model="ollama_chat/llama3", api_base=server.url.removesuffix("/v1"))
        assert "context" in (await preflight(settings, call=False)).hint
        assert server.listed[0].path == "/api/tags"
