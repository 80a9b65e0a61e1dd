"""A round by models in an engine of its own: a model swapped from another terminal, and keys that stay keys."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from autokaggle_tui.launching import Start, start_engine
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.models.lite.keys import HOSTED
from experiments.registry import Registry
from experiments.schema import Row
from tests.emulators.answers import Answer, Call, Fail, Say
from tests.emulators.anthropic import AnthropicServer
from tests.emulators.openai import OpenAIServer
from tests.emulators.player import SOUND, Player, Seen, experiment, see, write
from tests.emulators.server import hosted

from .conftest import change_config

OPENAI = "sk-proj-canary-a1b2c3d4e5f6a7b8"
CLAUDE = "sk-ant-canary-7Zq/8+x9=w0"
LOOK = f"import os\nprint('{OPENAI}', dict(os.environ))"
CODE = experiment(0.5).replace("def fit", f"import os\nprint('mine', '{CLAUDE}', dict(os.environ))\n\n\ndef fit", 1)


@dataclass
class Round:
    """One round, played while another terminal gave the Builder another model."""

    workspace: Workspace
    tape: Path
    builder: Player
    others: Player
    code: int | None
    said: list[str]

    def rows(self, sql: str) -> list[Row]:
        registry = Registry(self.workspace.facts)
        try:
            return registry.rows(sql)
        finally:
            registry.close()


class Teller(Player):
    """A provider whose errors quote the key that it was given, once in some phases, and for good in one."""

    def __init__(self, key: str, once: set[str], always: str | None, lines: dict[str, list[Any]]) -> None:
        super().__init__(lines)
        self.key, self.once, self.always = key, once, always

    def __call__(self, body: dict[str, Any]) -> Answer:
        answer = super().__call__(body)
        phase = see(body).phase
        if phase == self.always:
            return Fail(401, f"Incorrect API key provided: {self.key}. Bearer {self.key}")
        if phase in self.once:
            self.once.remove(phase)
            return Fail(500, f"worker for {self.key} died")
        return answer


def cli(*arguments: str) -> str:
    command = [sys.executable, "-m", "autokaggle_tui", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Round]:
    place = tmp_path_factory.mktemp("keys")
    asked, swapped = threading.Event(), threading.Event()

    def held_back(seen: Seen) -> Coroutine[Any, Any, Answer]:
        async def wait() -> Answer:
            asked.set()
            assert await asyncio.to_thread(swapped.wait, 60)
            return SOUND["plan"][0](seen)

        return wait()

    builder = Teller(
        OPENAI,
        {"R00 eda"},
        None,
        {
            "R00 eda": [
                Say(f"My key is {OPENAI}.", calls=(Call("run_python", {"code": LOOK}),)),
                write(f"The key {OPENAI} opens it.\n"),
                Say("DONE"),
            ],
            "R01 plan": [held_back, Say(f"DONE: as {OPENAI} wished")],
            "R01 code": [write(CODE), Say("CODED")],
        },
    )
    others = Teller(
        CLAUDE,
        {"R01 review"},
        "R01 research",
        {
            "R01 review": [
                Say("", reasoning=f"I am {CLAUDE}", calls=(Call(CLAUDE, '{"cut'),)),
                write(f"APPROVED\n{CLAUDE}\n"),
                Say(f"APPROVED: by {CLAUDE}"),
            ]
        },
    )
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name in (name for names in HOSTED.values() for name in names):
            patch.delenv(name, raising=False)
        patch.setenv("OPENAI_API_KEY", OPENAI)
        patch.setenv("ANTHROPIC_API_KEY", CLAUDE)
        patch.setenv("AUTOKAGGLE_DATA_HOME", str(place / "home"))
        workspace, tape = Workspace(demo_workspace(place / "demo")), place / "tape"
        anthropic = stack.enter_context(hosted(AnthropicServer(others)))
        openai = stack.enter_context(hosted(OpenAIServer(builder)))
        claude = {"model": "anthropic/claude-opus-4-5", "api_base": anthropic.url}
        models = {
            "researcher": claude,
            "builder": {"model": "openai/emulated", "api_base": openai.url, "context": 100_000},
            # Not left alone when the Researcher's is.
            "reviewer": {**claude, "max_tokens": 5000},
        }
        change_config(workspace, models=models, compute={"slots": 1}, cv_folds=3)
        launch = start_engine(workspace, Start(rounds=1, record=tape))
        try:
            assert asked.wait(60), launch.said
            said = [cli("model", "builder", "openai/other", "-w", str(workspace.root))]
            swapped.set()
            code = launch.wait(120)
        finally:
            if launch.exit_code is None:
                os.kill(launch.pid, signal.SIGKILL)
                launch.wait(60)
        said += [cli(*command, "-w", str(workspace.root)) for command in (["status"], ["show", "R01", "--json"])]
        yield Round(workspace, tape, builder, others, code, said)


def test_the_round_is_played(played: Round):
    assert played.code == 0
    fallbacks = played.rows("SELECT phase, reason FROM verdicts WHERE verdict = 'fallback'")
    assert [row["phase"] for row in fallbacks] == ["research"], "the key was refused there"
    assert played.rows("SELECT * FROM predictions WHERE experiment = 'R01'")


# --- another model from another terminal


def test_a_swapped_model_plays_from_the_next_phase_on(played: Round):
    assert "builder uses openai/other from the next phase on" in played.said[0]
    models = {
        seen.phase: {other.body["model"] for other in played.builder.of(seen.phase)} for seen in played.builder.seen
    }
    assert models == {
        "R00 eda": {"emulated"},
        "R01 plan": {"emulated"},
        "R01 code": {"other"},
        "R01 findings": {"other"},
    }
    earlier = [turn.text for turn in played.builder.of("R01 code")[0].turns if turn.who == "user"]
    assert earlier[0].startswith("R00 eda."), "it goes on with the conversation"


def test_the_swap_is_recorded(played: Round):
    config = json.loads(played.workspace.config.read_text())["models"]["builder"]
    assert config["model"] == "openai/other" and "127.0.0.1" in config["api_base"] and "context" not in config
    [told] = [row["data"] for row in played.rows("SELECT data FROM events WHERE kind = 'command'")]
    assert (told["verb"], told["state"]) == ("model", "done")
    calls = played.rows("SELECT DISTINCT phase, model FROM calls WHERE role = 'builder' ORDER BY id")
    by_phase = {row["phase"]: row["model"] for row in calls}
    assert by_phase == {
        "eda": "openai/emulated",
        "plan": "openai/emulated",
        "code": "openai/other",
        "findings": "openai/other",
    }


# --- keys


def test_the_keys_were_used_and_quoted(played: Round):
    """Else the next tests would show nothing."""
    reasons = [row["data"]["reason"] for row in played.rows("SELECT data FROM events WHERE kind = 'unfit'")]
    assert any("worker for [OPENAI_API_KEY hidden] died" in reason for reason in reasons)
    assert "[OPENAI_API_KEY hidden]" in played.workspace.file(0, "eda.md").read_text()
    assert "[ANTHROPIC_API_KEY hidden]" in played.workspace.file(1, "review.md").read_text()
    assert "[OPENAI_API_KEY hidden]" in played.tape.read_text()


def test_no_key_is_in_anything_that_was_written_or_shown(played: Round):
    files = [path for path in played.workspace.root.parent.rglob("*") if path.is_file()]
    assert played.tape in files and played.workspace.live in files and len(files) > 30
    for key in (OPENAI.encode(), CLAUDE.encode()):
        for path in files:
            assert key not in path.read_bytes(), path
        assert not any(key in text.encode() for text in played.said)


def test_no_key_goes_back_to_a_provider_but_as_the_key(played: Round):
    for seen in (*played.builder.seen, *played.others.seen):
        wire = json.dumps(unsigned(seen.body))
        assert OPENAI not in wire and CLAUDE not in wire, seen.phase


def unsigned(value: Any) -> Any:
    """A request without signed thinking, which goes back to who signed it, letter by letter, and nowhere else."""
    if isinstance(value, dict):
        return {name: unsigned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unsigned(item) for item in value if not (isinstance(item, dict) and "signature" in item)]
    return value


def test_no_key_is_where_code_of_a_model_runs(played: Round):
    printed = [played.builder.of("R00 eda")[2].told, (played.workspace.rounds / "R01_run.log").read_text()]
    for text in printed:
        assert "PATH" in text and "_API_KEY'" not in text, text
