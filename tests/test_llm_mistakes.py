"""Mistakes with models that a person makes: told by the command line before round 0, with what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from autokaggle_tui.cli import app
from autokaggle_tui.workspace import Workspace
from backends.backoff import Backoff
from backends.models.lite.keys import HOSTED
from backends.models.lite.line import forget_manners
from experiments import redaction
from experiments.registry import Registry
from tests.emulators.answers import Fail, Say
from tests.emulators.openai import OpenAIServer
from tests.emulators.server import closed_port, hosted

from .conftest import change_config

KEY = "sk-proj-canary-a1b2c3d4e5f6a7b8"


@pytest.fixture(autouse=True)
def alone(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key but one, and nothing hidden afterwards."""
    forget_manners()
    for name in (name for names in HOSTED.values() for name in names):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    change_config(workspace, compute={"slots": 1}, cv_folds=3)
    yield
    redaction.disarm()


def start(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """`autokaggle-tui --no-ui --rounds 1`: its exit code and what it said."""
    with pytest.raises(SystemExit) as end:
        app(["--no-ui", "--rounds", "1", "-w", str(workspace.root)], prog_name="autokaggle-tui")
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out + err


def rounds(workspace: Workspace) -> int:
    registry = Registry(workspace.facts)
    try:
        return int(registry.value("SELECT count(*) FROM rounds"))
    finally:
        registry.close()


@dataclass(frozen=True)
class Mistake:
    """What a person wrote, what the provider says to it, and what the person reads."""

    model: dict[str, Any]
    says: Callable[[dict[str, Any]], Fail | Say]
    words: tuple[str, ...]
    budget: dict[str, float] | None = None


def refused(body: dict[str, Any]) -> Fail:
    return Fail(401, f"Incorrect API key provided: {KEY}")


def sound(body: dict[str, Any]) -> Say:
    return Say("DONE")


MISTAKES = {
    "a model that the server does not have": Mistake(
        {"model": "openai/emulatd"}, sound, ("openai/emulatd", "has no model 'emulatd'", "It has: emulated.")
    ),
    "a variable that is not set": Mistake(
        {"model": "openai/emulated", "api_key_env": "MY_KEY"},
        sound,
        ("the environment variable MY_KEY is not set", "Put the key of openai into MY_KEY and start again"),
    ),
    "a key that is wrong": Mistake(
        {"model": "openai/emulated"},
        refused,
        ("the key is not accepted", "Check the key of openai in the environment variable OPENAI_API_KEY."),
    ),
    "dollars for a model without a price": Mistake(
        {"model": "openai/emulated"},
        sound,
        ("openai/emulated has no known price, so budget.usd cannot be kept", "input_price and output_price"),
        {"usd": 5.0},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_told_before_round_0(mistake: Mistake, workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    with hosted(OpenAIServer(mistake.says)) as server:
        models = {"builder": {**mistake.model, "api_base": server.url}}
        change_config(workspace, models=models, **({"budget": mistake.budget} if mistake.budget else {}))
        code, said = start(workspace, capsys)
    assert code == 1
    assert said.startswith("Model: builder: "), said
    for words in mistake.words:
        assert words in said
    assert KEY not in said and "Traceback" not in said and "litellm" not in said
    assert len(said.strip().splitlines()) <= 3
    assert rounds(workspace) == 0


def test_a_server_that_is_not_there_is_a_warning_and_the_playbook_plays(
    workspace: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    address = f"http://127.0.0.1:{closed_port()}/v1"
    change_config(workspace, models={"builder": {"model": "hosted_vllm/qwen3", "api_base": address}})
    monkeypatch.setattr("backends.models.lite.model.Backoff", partial(Backoff, attempts=1))
    code, said = start(workspace, capsys)
    assert code == 0, said
    warning = next(line for line in said.splitlines() if "warning" in line)
    assert f"builder: hosted_vllm/qwen3: {address} is not reached" in warning
    assert "the playbook stands in until it answers" in warning
    assert rounds(workspace) == 2
