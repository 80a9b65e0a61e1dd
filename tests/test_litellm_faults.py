"""What providers do wrong, through the real LiteLLM: tries, waits, limits, silence, stops, fallbacks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backends.backoff import Backoff
from backends.models.base import (
    Done,
    FellBack,
    Retrying,
    Usage,
)
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.lite import reply
from backends.models.lite.faults import fault_of, retry_after
from backends.models.lite.keys import key_of
from backends.models.lite.model import LiteLLMModel
from backends.models.settings import ModelSettings
from tests.emulators.answers import TOO_LONG, TOO_LONG_ANTHROPIC, Answer, Break, Call, Fail, Say
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import Emulator, closed_port

from .lite import CANARY, CLAUDE, SERVERS, Waits, answer, listen, only, refusal, request, settings_for, text_of

pytestmark = pytest.mark.usefixtures("own_keys")


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
