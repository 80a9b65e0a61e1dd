"""Models through the real LiteLLM, against emulated providers: streams, tools, faults, fallbacks, keys, costs."""

import asyncio
import json
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backends.backoff import Backoff
from backends.models.base import (
    Done,
    FellBack,
    Message,
    Reasoning,
    Request,
    Retrying,
    TextDelta,
    ToolCall,
    ToolSpec,
    Usage,
)
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.lite import reply
from backends.models.lite.faults import fault_of, retry_after
from backends.models.lite.keys import HOSTED, key_of
from backends.models.lite.library import ready
from backends.models.lite.line import forget_manners
from backends.models.lite.model import LiteLLMModel
from backends.models.names import PROVIDERS
from backends.models.registry import open_model
from backends.models.settings import ModelSettings
from backends.models.tasks import Task
from experiments.errors import ModelError
from tests.emulators.answers import TOO_LONG, TOO_LONG_ANTHROPIC, Answer, Break, Call, Fail, Say, Script, Tokens, tool
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import Emulator, closed_port, hosted

CANARY = "sk-proj-canary-a1b2c3d4e5f6a7b8"
READ = ToolSpec(
    "read_file",
    "Read a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
CLAUDE = "anthropic/claude-opus-4-5"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_manners()
    for names in HOSTED.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)


class Waits:
    """Pauses that pass at once and are kept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def backoff(self, **changes: Any) -> Backoff:
        return Backoff(sleep=self.sleep, draw=lambda low, high: high, **changes)


def request(*messages: Message, tools: tuple[ToolSpec, ...] = (READ,), **settings: Any) -> Request:
    task = Task("review", "reviewer", 1, (), (), ("APPROVED", "REVISE"), None)  # type: ignore[arg-type]
    asked = messages or (Message("user", "R01 review."),)
    return Request("reviewer", (Message("system", "You review."), *asked), tools, task, settings)


def settings_for(server: Emulator, **changes: Any) -> ModelSettings:
    name = CLAUDE if isinstance(server, AnthropicServer) else "openai/emulated"
    return ModelSettings(**{"model": name, "api_base": server.url, "timeout": 5.0, **changes})


async def listen(model: LiteLLMModel, asked: Request | None = None) -> list[Any]:
    return [chunk async for chunk in model.stream(asked or request())]


async def answer(server: Emulator, asked: Request | None = None, *, waits: Waits | None = None, **changes: Any) -> list:
    model = LiteLLMModel(settings_for(server, **changes), backoff=(waits or Waits()).backoff())
    return await listen(model, asked)


async def refusal(server: Emulator, **changes: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await answer(server, **changes)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))


def only(kind: type, chunks: list[Any]) -> list[Any]:
    return [chunk for chunk in chunks if isinstance(chunk, kind)]


SERVERS = pytest.mark.parametrize("kind", [OpenAIServer, AnthropicServer])


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


PASSING = [
    Fail(429),
    Fail(500),
    Fail(502),
    Fail(503),
    Fail(529),
    Break("drop"),
    Break("html"),
    Say(""),
    Break("mid drop"),
    Break("mid garbage"),
    Break("mid end"),
]


def _name(fault: Answer) -> str:
    return str(fault.status if isinstance(fault, Fail) else fault.how if isinstance(fault, Break) else "empty")


@SERVERS
@pytest.mark.parametrize("fault", PASSING, ids=_name)
async def test_what_may_pass_is_tried_again(kind: type[Emulator], fault: Answer):
    waits = Waits()
    async with kind([fault, fault, Say("APPROVED")]) as server:
        chunks = await answer(server, waits=waits)
    retries = only(Retrying, chunks)
    assert [retry.attempt for retry in retries] == [1, 2]
    assert [retry.wait for retry in retries] == waits.seconds == [2.0, 4.0]
    after = chunks[chunks.index(retries[-1]) :]
    assert text_of(after) == "APPROVED"
    assert chunks[-1] == Done("stop")
    # What was generated before the break is paid for.
    said_before = isinstance(fault, Break) and fault.how.startswith("mid")
    assert [usage.estimated for usage in only(Usage, chunks)] == [True, True, False] if said_before else [False]


@SERVERS
@pytest.mark.parametrize("fault", [Break("hang"), Break("mid hang")], ids=_name)
async def test_silence_counts_as_a_fault(kind: type[Emulator], fault: Answer):
    async with kind([fault, Say("APPROVED")]) as server:
        chunks = await answer(server, timeout=0.3)
    assert len(only(Retrying, chunks)) == 1
    assert chunks[-1] == Done("stop")


async def test_an_answer_without_end_is_ended():
    async with OpenAIServer([Break("mid flood"), Say("APPROVED")]) as server:
        error = await refusal(server, timeout=0.1)
        assert len(server.received) == 1, "it took ten times as long as silence may"
    assert isinstance(error, UnavailableError)
    assert "no end" in error.message


async def test_an_answer_that_grows_without_end_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reply, "MOST_CHARS", 50)
    said = Say(calls=(Call("read_file", {"path": "x" * 100}),))
    async with OpenAIServer([said, Say("APPROVED")]) as server:
        error = await refusal(server)
    assert "no end of the answer after 50 characters" in error.message


@SERVERS
async def test_a_provider_that_stays_silent_is_given_up_after_the_second_time(kind: type[Emulator]):
    async with kind(lambda body: Break("hang")) as server:
        error = await refusal(server, timeout=0.3)
        assert len(server.received) == 2
    assert isinstance(error, UnavailableError)


async def test_the_longest_answer_fits_beside_a_conversation_that_is_about_to_be_handed_over():
    async with AnthropicServer([Say("APPROVED")]) as server:
        await answer(server)
        assert server.received[0].body["max_tokens"] == 60_000


@SERVERS
async def test_a_provider_that_stays_down_is_given_up(kind: type[Emulator]):
    waits = Waits()
    async with kind(lambda body: Fail(503, "no capacity")) as server:
        error = await refusal(server, waits=waits)
        assert len(server.received) == 4
    assert isinstance(error, UnavailableError)
    assert "no capacity" in error.message
    assert len(waits.seconds) == 3


async def test_nobody_listens():
    model = LiteLLMModel(
        ModelSettings(model="openai/x", api_base=f"http://127.0.0.1:{closed_port()}/v1"), backoff=Waits().backoff()
    )
    with pytest.raises(UnavailableError, match=r"openai/x: .*127\.0\.0\.1"):
        await listen(model)


@SERVERS
async def test_the_wait_that_a_provider_asks_for_is_kept(kind: type[Emulator]):
    waits = Waits()
    async with kind([Fail(429, headers={"Retry-After": "7"}), Say("APPROVED")]) as server:
        await answer(server, waits=waits)
    assert waits.seconds == [7.0]


GEMINI_LIMIT = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details. * Quota exceeded for "
        "metric: generate_content_free_tier_requests, limit: 10\nPlease retry in 34.07s.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
    }
}


async def test_a_limit_of_a_minute_is_no_lack_of_money():
    waits = Waits()
    async with OpenAIServer([Fail(429, body=json.dumps(GEMINI_LIMIT)), Say("APPROVED")]) as server:
        await answer(server, waits=waits)
    assert waits.seconds == [34.07]


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2024 99999999999999999999:00:00 GMT", "soon"]
)
def test_a_date_that_is_none_asks_for_nothing(date: str):
    assert retry_after({"retry-after": date}) is None


@pytest.mark.parametrize("text", ["{" * 200_000, '{"error": ' + "[" * 100_000 + "}"], ids=["braces", "depth"])
def test_an_error_of_any_size_and_depth_is_a_fault(text: str):
    settings = ModelSettings(model="openai/x")
    assert len(fault_of(ValueError(text), settings, key_of(settings)).message) < 1_000


async def test_nobody_waits_for_an_hour():
    waits = Waits()
    async with OpenAIServer([Fail(429, headers={"Retry-After": "3600"})]) as server:
        error = await refusal(server, waits=waits)
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 3600.0
    assert waits.seconds == []


@SERVERS
@pytest.mark.parametrize(
    ("fault", "said", "hint"),
    [
        (Fail(401, f"Incorrect API key provided: {CANARY}"), "key is not accepted", "_API_KEY"),
        (Fail(402, "Insufficient balance"), "no credit", "credit"),
        (Fail(403, "not for you"), "may not use", "Allow"),
        (Fail(404, "no model emulated"), "no such model", "name of the model"),
        (Fail(400, "temperature must be 1"), "temperature must be 1", "config.json"),
        (Fail(429, "You exceeded your current quota (insufficient_quota)"), "quota", "credit"),
    ],
    ids=["401", "402", "403", "404", "400", "quota"],
)
async def test_what_only_a_person_can_change_is_not_tried_again(
    kind: type[Emulator], fault: Fail, said: str, hint: str
):
    async with kind([fault]) as server:
        error = await refusal(server)
        assert len(server.received) == 1
        assert CANARY in str(server.received[0].headers)
    assert isinstance(error, RefusedError)
    assert said in error.message and hint in error.hint
    assert error.message.startswith(CLAUDE if kind is AnthropicServer else "openai/emulated")


@pytest.mark.parametrize("provider", TOO_LONG)
async def test_a_conversation_that_is_too_long_is_told_by_its_words(provider: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", CANARY)
    monkeypatch.setenv("XAI_API_KEY", CANARY)
    async with OpenAIServer([TOO_LONG[provider]]) as server:
        error = await refusal(server, model=f"{provider}/emulated")
    assert isinstance(error, ContextOverflowError)


@pytest.mark.parametrize("fault", TOO_LONG_ANTHROPIC)
async def test_a_conversation_that_is_too_long_for_anthropic(fault: Fail):
    async with AnthropicServer([fault]) as server:
        assert isinstance(await refusal(server), ContextOverflowError)


@SERVERS
async def test_a_stop_ends_a_call_at_once_and_the_provider_sees_it(kind: type[Emulator]):
    async with kind([Break("mid hang")]) as server:
        model = LiteLLMModel(settings_for(server, timeout=60.0))
        begun = asyncio.Event()

        async def talk() -> None:
            async for _ in model.stream(request()):
                begun.set()

        talking = asyncio.create_task(talk())
        await begun.wait()
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking
        await server.abandoned.wait()


async def test_a_stop_ends_a_pause_at_once():
    pausing = asyncio.Event()

    async def forever(seconds: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    async with OpenAIServer([Fail(503)]) as server:
        model = LiteLLMModel(settings_for(server), backoff=Backoff(sleep=forever))
        talking = asyncio.create_task(listen(model))
        await pausing.wait()
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking


async def test_a_listener_that_leaves_hangs_up():
    async with OpenAIServer([Break("mid hang")]) as server:
        stream = LiteLLMModel(settings_for(server, timeout=60.0)).stream(request())
        assert isinstance(stream, AsyncIterator)
        await anext(stream)
        await stream.aclose()
        await server.abandoned.wait()


async def test_the_next_model_is_asked_and_stays_for_the_phase():
    def by_name(body: dict[str, Any]) -> Answer:
        return Fail(503, "down") if body["model"] == "first" else Say("APPROVED")

    async with OpenAIServer(by_name) as server:
        model = LiteLLMModel(
            settings_for(server, model="openai/first", fallbacks=("openai/second",)), backoff=Waits().backoff()
        )
        chunks = await listen(model)
        [fell] = only(FellBack, chunks)
        assert fell.model == "openai/second" and "down" in fell.reason
        assert text_of(chunks[chunks.index(fell) :]) == "APPROVED"
        await listen(model)
    assert [received.body["model"] for received in server.received] == ["first"] * 4 + ["second"] * 2
    assert model.name == "openai/first"


async def test_when_all_models_fail_the_error_says_how_each_did():
    def by_name(body: dict[str, Any]) -> Answer:
        return Fail(503, "down") if body["model"] == "first" else Fail(404, "unheard of")

    async with OpenAIServer(by_name) as server:
        error = await refusal(server, model="openai/first", fallbacks=("openai/second", "playbook", "openai/third"))
    assert isinstance(error, UnavailableError)
    assert "down" in error.message and "unheard of" in error.message
    assert {received.body["model"] for received in server.received} == {"first", "second"}


async def test_when_all_models_refuse_a_person_is_asked():
    async with OpenAIServer(lambda body: Fail(401, "wrong key")) as server:
        error = await refusal(server, fallbacks=("openai/second",))
    assert isinstance(error, RefusedError)
    assert "OPENAI_API_KEY" in error.hint


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
