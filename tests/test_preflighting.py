"""What doctor says of the model of each role, and what a test call ends in."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from autokaggle_tui.doctor_machine import Check
from autokaggle_tui.preflighting import check_models, check_of, facts_line, try_model
from backends.models.preflight import Preflight
from backends.models.settings import ModelSettings
from experiments.errors import ModelError

SOUND = Preflight(
    "anthropic/claude-opus-4-5",
    key_env="ANTHROPIC_API_KEY",
    key_present=True,
    reached=True,
    tools="native",
    json_schema=True,
    priced=True,
    context=200_000,
)
LOCAL = Preflight(
    "openai/qwen3", "", None, "http://127.0.0.1:8080/v1", True, "json", json_schema=None, priced=False, context=None
)
SETTINGS = ModelSettings(model=SOUND.model)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            SOUND,
            "ANTHROPIC_API_KEY is set, provider answers, calls tools, answers by schema, price known, 200k context",
        ),
        (LOCAL, "http://127.0.0.1:8080/v1 answers, tools by JSON, price unknown, context unknown"),
        (
            replace(SOUND, key_present=False, reached=None, tools="unknown", json_schema=False),
            "ANTHROPIC_API_KEY is not set, tools untried, price known, 200k context",
        ),
        (
            replace(LOCAL, reached=False),
            "http://127.0.0.1:8080/v1 does not answer, tools by JSON, price unknown, context unknown",
        ),
    ],
)
def test_the_facts_fit_in_a_line(found: Preflight, said: str):
    assert facts_line(found) == said


def test_a_sound_model_is_fine_and_names_its_fallbacks():
    settings = ModelSettings(model=SOUND.model, fallbacks=("openai/gpt-5",))
    check = check_of("builder", settings, SOUND, budget=5.0)
    assert (check.name, check.state) == ("builder", "ok")
    assert check.text.startswith("anthropic/claude-opus-4-5: ANTHROPIC_API_KEY is set")
    assert check.text.endswith("; then openai/gpt-5")


def test_a_problem_fails_with_its_cure():
    found = replace(SOUND, key_present=False, problem="no key is set", hint="Set ANTHROPIC_API_KEY.")
    check = check_of("builder", SETTINGS, found, budget=None)
    assert (check.state, check.cure) == ("fail", "Set ANTHROPIC_API_KEY.")
    assert "no key is set" in check.text


def test_an_unknown_price_is_refused_beside_a_dollar_budget_only():
    found = replace(SOUND, priced=False)
    refused = check_of("builder", SETTINGS, found, budget=5.0)
    assert refused.state == "fail" and "input_price" in refused.cure
    assert check_of("builder", SETTINGS, found, budget=None).state == "ok"


def test_an_unknown_context_is_worth_a_word():
    check = check_of("builder", SETTINGS, replace(SOUND, context=None), budget=None)
    assert check.state == "warn" and "context" in check.cure


def test_roles_that_share_a_model_ask_it_once():
    asked: list[str] = []

    async def examine(settings: ModelSettings) -> Preflight:
        asked.append(settings.model)
        if settings.model == "openai/down":
            raise ModelError("openai/down: LiteLLM cannot be used", hint="Install it.")
        return SOUND

    models = {"researcher": SETTINGS, "builder": SETTINGS, "reviewer": ModelSettings(model="openai/down")}
    checks = asyncio.run(check_models(models, budget=None, examine=examine))
    assert sorted(asked) == ["anthropic/claude-opus-4-5", "openai/down"]
    assert [(check.name, check.state) for check in checks] == [
        ("researcher", "ok"),
        ("builder", "ok"),
        ("reviewer", "fail"),
    ]
    assert checks[2] == Check("reviewer", "fail", "openai/down: LiteLLM cannot be used", "Install it.")


def test_the_playbook_and_recordings_are_not_asked(tmp_path: Path):
    async def never(_settings: ModelSettings) -> Preflight:
        raise AssertionError("it was asked")

    tape = tmp_path / "tape"
    tape.write_text('{"recording": 1, "session": "a"}\n')
    models = {
        "researcher": ModelSettings(),
        "builder": ModelSettings(model=f"replay:{tape}"),
        "reviewer": ModelSettings(model=f"replay:{tmp_path / 'none'}"),
    }
    checks = asyncio.run(check_models(models, budget=5.0, examine=never))
    assert [check.state for check in checks] == ["ok", "ok", "fail"]
    assert checks[0].text == "playbook: offline, needs no key"
    assert "--record" in checks[2].cure
    assert asyncio.run(try_model(ModelSettings())) == "playbook answers offline, no key needed"


def test_what_is_shown_of_a_key_is_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary0key1value2")
    check = check_of("builder", SETTINGS, SOUND, budget=None)
    assert os.environ["ANTHROPIC_API_KEY"] not in repr(check)
