"""Models through the real LiteLLM, against emulated providers: streams, tools, keys, costs, caching."""

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from backends.models.base import (
    Done,
    Message,
    Reasoning,
    TextDelta,
    ToolCall,
    Usage,
)
from backends.models.errors import RefusedError
from backends.models.lite.keys import HOSTED, key_of
from backends.models.lite.library import ready
from backends.models.lite.model import LiteLLMModel
from backends.models.names import PROVIDERS
from backends.models.registry import open_model
from backends.models.settings import ModelSettings
from tests.emulators.answers import Answer, Break, Call, Fail, Say, Script, Tokens
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import Emulator, hosted

from .lite import CANARY, CLAUDE, SERVERS, answer, listen, only, refusal, request, settings_for, text_of

pytestmark = pytest.mark.usefixtures("own_keys")


@SERVERS
async def test_text_and_reasoning_come_piece_by_piece_and_tokens_at_the_end(kind: type[Emulator]):
    said = Say("APPROVED: all folds agree", reasoning="the folds differ little", tokens=Tokens(1000, 50, cached=800))
    async with kind([said]) as server:
        chunks = await answer(server)
    assert len(only(TextDelta, chunks)) > 1
    assert text_of(chunks) == "APPROVED: all folds agree"
    assert "".join(chunk.text for chunk in only(Reasoning, chunks)) == "the folds differ little"
    [usage] = only(Usage, chunks)
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.estimated) == (1000, 50, 800, False)
    assert chunks[-1] == Done("stop")


@SERVERS
async def test_tool_calls_come_complete_with_their_arguments_as_text(kind: type[Emulator]):
    calls = (Call("read_file", {"path": "rounds/R01_plan.md"}, "a"), Call("read_file", '{"path": "cut', "b"))
    async with kind([Say("I look.", calls=calls)]) as server:
        chunks = await answer(server)
        [received] = server.received
    assert only(ToolCall, chunks) == [ToolCall(call.id, call.name, call.raw) for call in calls]
    assert chunks[-1] == Done("tool_calls")
    assert "read_file" in json.dumps(received.body["tools"])


async def test_calls_that_a_server_does_not_number_are_told_apart():
    calls = (Call("read_file", {"path": "first"}, "a"), Call("read_file", {"path": "second"}, "b"))
    async with OpenAIServer([Say(calls=calls)]) as server:
        server.one_index = True
        assert [call.arguments for call in only(ToolCall, await answer(server))] == [call.raw for call in calls]


@SERVERS
async def test_results_go_back_and_malformed_arguments_stay_readable_for_the_server(kind: type[Emulator]):
    async with kind([Say("APPROVED")]) as server:
        history = (
            Message("user", "R01 review."),
            Message("assistant", "", (ToolCall("t1", "read_file", '{"path": "cut'),)),
            Message("tool", "error: no JSON", (), "t1"),
            Message("assistant", ""),
            Message("user", "again"),
        )
        assert text_of(await answer(server, request(*history))) == "APPROVED"
        [received] = server.received
    wire = json.dumps(received.body["messages"])
    name = "call00000" if kind is AnthropicServer else "t1"
    assert wire.count(f'"{name}"') == 2 and "malformed" in wire and "error: no JSON" in wire and "sanitised" not in wire


@pytest.mark.parametrize(("kind", "model"), [(AnthropicServer, CLAUDE), (OpenAIServer, "mistral/emulated")])
async def test_calls_that_another_model_named_are_numbered_for_who_is_particular(
    kind: type[Emulator], model: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MISTRAL_API_KEY", CANARY)
    turns: list[Message] = []
    for names in (("call_0", "functions.read_file:1"), ("call_0",)):
        calls = tuple(ToolCall(name, "read_file", "{}") for name in names)
        results = [Message("tool", "the plan", (), name) for name in names]
        turns += [Message("user", "Go."), Message("assistant", "", calls), *results, Message("assistant", "DONE")]
    async with kind([Say("APPROVED")]) as server:
        await answer(server, request(*turns, Message("user", "R02 review.")), model=model)
        sent = json.dumps(server.received[0].body["messages"])
    names = [f"call0000{number}" for number in range(3)]
    assert [sent.count(f'"{name}"') for name in names] == [2, 2, 2], "each call and its result"
    assert "call_0" not in sent and "functions" not in sent


@SERVERS
async def test_an_answer_at_its_longest_is_said_to_be_cut(kind: type[Emulator]):
    async with kind([Say("APPROVED: becau", finish="length")]) as server:
        chunks = await answer(server, max_tokens=16)
        assert server.received[0].body["max_tokens"] == 16
    assert text_of(chunks) == "APPROVED: becau"
    assert chunks[-1] == Done("length")


async def test_counts_that_the_server_did_not_send_are_estimates():
    async with OpenAIServer([Say("APPROVED: fine", tokens=None)]) as server:
        [usage] = only(Usage, await answer(server))
    assert usage.estimated
    assert usage.input_tokens > 10 and usage.output_tokens > 1


async def test_counts_that_anthropic_did_not_send_are_estimates():
    async with AnthropicServer([Say("APPROVED: fine", tokens=None)]) as server:
        [usage] = only(Usage, await answer(server))
    assert usage.estimated
    assert usage.input_tokens > 10 and usage.output_tokens > 1


async def test_a_missing_key_is_found_before_the_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(RefusedError, match="OPENAI_API_KEY is not set") as caught:
        await listen(LiteLLMModel(ModelSettings(model="openai/gpt-4o-mini")))
    assert "api_key_env" in caught.value.hint
    async with OpenAIServer([]) as server:
        error = await refusal(server, api_key_env="MY_KEY")
        assert server.received == []
    assert isinstance(error, RefusedError) and "MY_KEY" in error.message


async def test_a_key_of_ones_own_variable_is_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", "canary-of-my-own-77")
    async with OpenAIServer([Say("APPROVED"), Fail(401, "bad key canary-of-my-own-77")]) as server:
        await answer(server, api_key_env="MY_KEY")
        assert server.received[0].headers["authorization"] == "Bearer canary-of-my-own-77"
        error = await refusal(server, api_key_env="MY_KEY")
    assert "canary" not in str(error) and "MY_KEY" in error.hint


@SERVERS
async def test_logs_and_warnings_hold_no_key(kind: type[Emulator], caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    async with kind([Fail(500, CANARY), Break("mid drop", CANARY), Fail(401, CANARY)]) as server:
        error = await refusal(server)
    assert CANARY not in f"{caplog.text}{error!r}{error}"


def test_a_providers_key_does_not_travel_in_clear_text_to_another_machine():
    environment = {"OPENAI_API_KEY": CANARY}

    def sent(address: str) -> str | None:
        return key_of(ModelSettings(model="openai/x", api_base=address), environment).argument

    assert sent("http://10.0.0.7:8080/v1") == "none"
    assert sent("https://gateway.example/v1") is None  # LiteLLM takes it from the environment
    assert sent("http://127.0.0.1:8080/v1") is None


async def test_prices_are_litellms_or_ones_own_or_unknown():
    tokens = Tokens(1000, 100)
    async with OpenAIServer(lambda body: Say("APPROVED", tokens=tokens)) as server:
        [unknown] = only(Usage, await answer(server))
        [mapped] = only(Usage, await answer(server, model="openai/gpt-4o-mini"))
        [own] = only(Usage, await answer(server, input_price=3.0, output_price=15.0))
    assert unknown.cost is None
    assert mapped.cost == pytest.approx(1000 * 0.15e-6 + 100 * 0.6e-6)
    assert own.cost == pytest.approx(1000 * 3e-6 + 100 * 15e-6)


async def test_what_the_cache_gave_costs_less():
    script = [Say("APPROVED", tokens=Tokens(100_000, 10)), Say("APPROVED", tokens=Tokens(100_000, 10, cached=90_000))]
    async with AnthropicServer(script) as server:
        [full] = only(Usage, await answer(server))
        [cached] = only(Usage, await answer(server))
    assert cached.cost < 0.5 * full.cost


async def test_context_and_price_are_known_once_litellm_is_loaded():
    await ready()
    claude, own = LiteLLMModel(ModelSettings(model=CLAUDE)), LiteLLMModel(ModelSettings(model="hosted_vllm/x"))
    assert (claude.context, claude.price_known) == (200_000, True)
    assert (own.context, own.price_known) == (None, False)
    assert LiteLLMModel(ModelSettings(model="hosted_vllm/x", context=4096)).context == 4096


async def test_anthropic_is_told_what_to_keep_in_its_cache():
    history = (
        Message("user", "first"),
        Message("assistant", "", (ToolCall("t1", "read_file", '{"path": "a"}'),)),
        Message("tool", "result", (), "t1"),
    )
    async with AnthropicServer(lambda body: Say("APPROVED")) as server:
        await answer(server, request(*history))
        await answer(server)
    first, second = (received.body for received in server.received)
    assert first["system"][0]["cache_control"] == {"type": "ephemeral"}
    assert [("cache_control" in json.dumps(message)) for message in first["messages"]] == [False, False, True]
    assert "cache_control" in json.dumps(second["messages"][-1])


async def test_other_providers_get_no_marks():
    async with OpenAIServer([Say("APPROVED")]) as server:
        await answer(server)
    assert "cache_control" not in json.dumps(server.received[0].body)


async def test_signed_thinking_goes_back_with_the_results_of_its_tools():
    def first(body: dict[str, Any]) -> Answer:
        return Say(reasoning="read it first", calls=(Call("read_file", {"path": "a"}, "t1"),), signature="sealed")

    async with AnthropicServer([first, Say("APPROVED")]) as server:
        model = LiteLLMModel(settings_for(server, reasoning_effort="low", temperature=0.2))
        calls = tuple(only(ToolCall, await listen(model)))
        history = (Message("user", "R01 review."), Message("assistant", "", calls), Message("tool", "text", (), "t1"))
        await listen(model, request(*history))
        asked, told = (received.body for received in server.received)
        # Another model's calls, or those of before a restart, come without: then Anthropic takes no thinking.
        server.script = [Say("APPROVED")]
        await listen(LiteLLMModel(model.settings), request(*history))
    assert asked["thinking"]["type"] == "enabled" and "temperature" not in asked and asked["max_tokens"] > 30_000
    assert told["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "read it first",
        "signature": "sealed",
    }
    assert "thinking" in told
    assert "thinking" not in json.dumps(server.received[-1].body)


async def test_settings_of_the_model_come_before_those_of_the_role():
    async with OpenAIServer(lambda body: Say("APPROVED")) as server:
        asked = request(temperature=0.9, max_tokens=100, colour="red")
        await answer(server, asked)
        await answer(server, asked, temperature=0.0)
    first, second = (received.body for received in server.received)
    assert (first["temperature"], first["max_tokens"]) == (0.9, 100) and "colour" not in first
    assert (second["temperature"], second["max_tokens"]) == (0.0, 100)


async def test_ollama_is_told_how_much_to_hold():
    asked: list[dict[str, Any]] = []

    def keep(body: dict[str, Any]) -> Answer:
        asked.append(body)
        return Fail(404, "model not found")

    async with OpenAIServer(keep) as server:
        await refusal(server, model="ollama_chat/llama3", context=16_384, api_base=server.url.removesuffix("/v1"))
    assert asked[0]["options"]["num_ctx"] == 16_384


async def test_every_provider_is_one_of_litellms():
    litellm = await ready()
    known = {getattr(provider, "value", provider) for provider in litellm.provider_list}
    assert set(PROVIDERS) <= known
    assert set(HOSTED) <= set(PROVIDERS)


BEARERS = ["cerebras", "deepinfra", "deepseek", "fireworks_ai", "github", "groq", "mistral", "moonshot", "nvidia_nim"]
BEARERS += ["openai", "openrouter", "perplexity", "sambanova", "together_ai", "xai"]


@pytest.mark.parametrize("provider", BEARERS)
async def test_litellm_reads_the_key_from_each_variable_that_we_name(provider: str, monkeypatch: pytest.MonkeyPatch):
    for name in HOSTED[provider]:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        with monkeypatch.context() as patch:
            patch.setenv(name, CANARY)
            async with OpenAIServer([Say("APPROVED")]) as server:
                await answer(server, request(tools=()), model=f"{provider}/emulated")
                assert server.received[0].headers["authorization"] == f"Bearer {CANARY}", name


async def test_tools_still_need_the_option_that_keeps_litellm_from_its_optional_package():
    litellm = await ready()
    asked = {"model": "openai/x", "messages": [{"role": "user", "content": "x"}], "mock_response": "y"}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    reply = await litellm.acompletion(**asked, tools=tools, _skip_mcp_handler=True)
    assert reply.choices[0].message.content == "y"


def test_litellm_is_not_imported_before_a_model_is_asked():
    code = (
        "import sys; from backends.models.registry import open_model; from backends.models.settings import "
        "ModelSettings; model = open_model(ModelSettings(model='openai/x')); "
        "assert (model.context, model.price_known, model.mode) == (None, None, None); "
        "assert 'litellm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_of_providers_open_this_backend():
    assert isinstance(open_model(ModelSettings(model="groq/llama")), LiteLLMModel)


def test_an_emulator_serves_code_that_runs_a_loop_of_its_own():
    script: Script = [Say("APPROVED")]
    with hosted(OpenAIServer(script)) as server:
        assert text_of(asyncio.run(answer(server))) == "APPROVED"
