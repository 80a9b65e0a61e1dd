"""Whatever a provider does, the round comes to its end, and a person reads what happened."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.backoff import Backoff
from backends.models.lite.keys import HOSTED
from backends.models.lite.line import forget_manners
from backends.models.lite.model import LiteLLMModel
from experiments.registry import Registry
from experiments.schema import Row
from tests.emulators.answers import TOO_LONG, Answer, Break, Call, Fail, Say
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.player import SOUND, Player, see
from tests.emulators.server import hosted

from .conftest import change_config, kinds, play

KEY = "sk-canary-0f1e2d3c4b5a"
CUT = Say(calls=(Call("write_file", '{"path": "rounds/R01_exper'),))

PASSING: dict[str, list[tuple[Answer, str]]] = {
    "R00 eda": [
        (Fail(429, "slow down", headers={"Retry-After": "7"}), "again in 7 s: openai/emulated: slow down"),
        (Fail(500, "a hiccup"), "openai/emulated: a hiccup"),
        (Fail(502, "bad gateway"), "openai/emulated: bad gateway"),
    ],
    "R01 retro": [
        (Fail(529, "overloaded"), "anthropic/claude-opus-4-5: overloaded"),
        (Break("mid drop"), "anthropic/claude-opus-4-5: no connection, or it broke off"),
        (Break("html"), "what came at {anthropic} is no answer of a model"),
    ],
    "R01 research": [
        (Fail(503, "no capacity"), "anthropic/claude-opus-4-5: no capacity"),
        (Break("mid end"), "the answer was cut off"),
        (Say(""), "the answer was empty"),
    ],
    "R01 plan": [
        (Break("drop"), "openai/emulated: no connection, or it broke off"),
        (Break("mid garbage"), "openai/emulated: the answer came garbled"),
        (Break("mid end"), "openai/emulated: the answer was cut off"),
    ],
    "R01 review": [(Break("mid garbage"), "anthropic/claude-opus-4-5: the answer was cut off")],
    "R01 code": [
        (Break("hang"), "openai/emulated: no word for 2 s"),
        (Break("mid hang"), "openai/emulated: no word for 2 s"),
        (Break("html"), "openai/emulated: what came at {openai} is no answer of a model"),
    ],
}
"""What comes before the first answer of a phase, and what is said of it."""

LASTING: dict[str, tuple[Answer, str]] = {
    "R01 verify": (Say("I cannot tell."), "anthropic/claude-opus-4-5 gave no answer that fits"),
    "R02 retro": (Break("drop"), "anthropic/claude-opus-4-5: no connection, or it broke off"),
    "R02 research": (
        Fail(401, f"invalid x-api-key {KEY}"),
        "the key is not accepted: invalid x-api-key REDACTED "
        "Check the key of anthropic in the environment variable ANTHROPIC_API_KEY.",
    ),
    "R02 plan": (Fail(402, "Insufficient balance"), "the account has no credit"),
    "R02 review": (Fail(403, "not for you"), "the account may not use this model: not for you"),
    "R02 code": (
        Fail(404, "no model emulated"),
        "there is no such model: no model emulated Check the name of the model",
    ),
    "R02 findings": (Fail(503, f"no capacity for {KEY}"), "no capacity for [OPENAI_API_KEY hidden]"),
    "R02 verify": (Fail(429, "come back", headers={"Retry-After": "3600"}), "(asked again in 1800 s at the earliest)"),
}
"""What never passes in a phase, and why the playbook does it."""


class Faulty(Player):
    """Plays soundly, after or but for its faults."""

    def __init__(self) -> None:
        super().__init__({"R01 code": [CUT, *SOUND["code"]]})
        self.waiting = {phase: [fault for fault, _ in faults] for phase, faults in PASSING.items()}
        self.waiting["R01 findings"] = [TOO_LONG["openai"]]

    def __call__(self, body: dict[str, Any]) -> Answer:
        phase = see(body).phase
        if phase in LASTING:
            self.seen.append(see(body))
            return LASTING[phase][0]
        if self.waiting.get(phase):
            self.seen.append(see(body))
            return self.waiting[phase].pop(0)
        return super().__call__(body)


@dataclass
class Campaign:
    """Two rounds full of faults."""

    workspace: Workspace
    player: Faulty
    code: int
    events: list[Row]
    urls: dict[str, str]

    def rows(self, sql: str) -> list[Row]:
        registry = Registry(self.workspace.facts)
        try:
            return registry.rows(sql)
        finally:
            registry.close()


async def no_pause(seconds: float) -> None:
    """Every pause is over at once."""


def impatient(bench) -> None:
    """Tries follow each other at once, and nobody is left alone for long."""
    bench.desk.staff.open = lambda settings: LiteLLMModel(settings, backoff=Backoff(sleep=no_pause))
    bench.desk.staff.outages.clock = itertools.count(0.0, 10_000.0).__next__


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    place = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        forget_manners()
        for name in (name for names in HOSTED.values() for name in names):
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_API_KEY", KEY)
        patch.setenv("ANTHROPIC_API_KEY", KEY)
        patch.setenv("AUTOKAGGLE_DATA_HOME", str(place / "home"))
        workspace, player = Workspace(demo_workspace(place / "demo")), Faulty()
        anthropic = stack.enter_context(hosted(AnthropicServer(player)))
        openai = stack.enter_context(hosted(OpenAIServer(player)))
        claude = {"model": "anthropic/claude-opus-4-5", "api_base": anthropic.url}
        models = dict.fromkeys(("researcher", "reviewer"), claude)
        models["builder"] = {"model": "openai/emulated", "api_base": openai.url, "timeout": 2}
        change_config(workspace, models=models, compute={"slots": 1}, cv_folds=3, retro_every=1)
        code, events = play(workspace, 2, prepare=impatient)
        yield Campaign(workspace, player, code, events, {"anthropic": anthropic.url, "openai": openai.url})


def test_the_rounds_come_to_their_end(campaign: Campaign):
    assert campaign.code == 0
    rounds = campaign.rows("SELECT status FROM rounds")
    assert [row["status"] for row in rounds] == ["done"] * 3
    assert campaign.rows("SELECT * FROM experiments WHERE id = 'R02'")[0]["score"] is not None
    assert not any(campaign.player.waiting.values()), "every fault was met"


@pytest.mark.parametrize("phase", PASSING)
def test_what_passes_is_tried_again_and_told(campaign: Campaign, phase: str):
    told = [
        row["data"]["reason"]
        for row in campaign.events
        if row["kind"] == "unfit" and f"R{row['round']:02d} {row['data']['phase']}" == phase
    ]
    wanted = [said.format(**campaign.urls) for _, said in PASSING[phase]]
    assert len(told) == len(wanted)
    for said, reason in zip(wanted, told, strict=True):
        assert said in reason and reason.startswith("again in ")


@pytest.mark.parametrize("phase", LASTING)
def test_what_lasts_is_done_by_the_playbook_and_the_verdict_says_why(campaign: Campaign, phase: str):
    number, name = int(phase[1:3]), phase[4:]
    said = campaign.rows(
        f"SELECT reason FROM verdicts WHERE verdict = 'fallback' AND round = {number} AND phase = '{name}'"
    )
    assert [LASTING[phase][1] in row["reason"] for row in said] == [True], said
    assert said[0]["reason"].endswith("; the playbook does this phase")
    done = campaign.rows(f"SELECT model FROM phases WHERE round = {number} AND phase = '{name}'")
    assert [row["model"] for row in done] == ["playbook"]


def test_nobody_stands_in_without_need(campaign: Campaign):
    said = campaign.rows("SELECT round, phase FROM verdicts WHERE verdict = 'fallback' ORDER BY id")
    assert [f"R{row['round']:02d} {row['phase']}" for row in said] == list(LASTING)


def test_cut_arguments_go_back_to_the_model(campaign: Campaign):
    answered = campaign.player.of("R01 code")[4]
    assert answered.told.startswith("error: write_file: ")


def test_a_conversation_that_is_too_long_goes_on_in_a_shorter_one(campaign: Campaign):
    [told] = kinds(campaign.events, "respawned")
    assert (told["role"], told["generation"]) == ("builder", 2)
    [refused, *again] = campaign.player.of("R01 findings")
    assert len(again[0].turns) < len(refused.turns)
    assert again[0].turns[0].text.startswith("You take over as builder.")


def test_no_key_and_no_jargon_is_in_what_is_told(campaign: Campaign):
    for path in campaign.workspace.root.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
    texts = [str(row["data"]) for row in campaign.events if row["kind"] in ("unfit", "warning", "verdict", "call")]
    for text in texts:
        for word in ("litellm", "Traceback", "Exception", "object at 0x", "{'error", "https://docs"):
            assert word not in text, text
