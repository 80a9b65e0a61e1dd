"""What several tests need: small workspaces whose hidden labels stay in the test's own folder."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from autokaggle_tui.bench import Bench, open_bench
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.models.base import Done, Model, Request, TextDelta, ToolCall
from backends.models.playbook.model import Playbook
from experiments.schema import Row

# A machine that is busy with something else is no defect of what is tested.
hypothesis_settings.register_profile("unhurried", deadline=None)
hypothesis_settings.load_profile("unhurried")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The demo competition: 427 training rows, a held-back test with hidden labels; no fold is run again."""
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    made = Workspace(demo_workspace(tmp_path / "demo"))
    change_config(made, seed_repeats=0)
    return made


class Scripted:
    """A model that answers some phases from a script and leaves the others to the playbook.

    ``script`` maps (round, phase) to the text of the phase's file, or to a list of plain answers without a
    file, used one by one.
    """

    name = "scripted"
    context: int | None = None

    def __init__(self, script: Mapping[tuple[int, str], str | list[str]]):
        self.script = {key: list(value) if isinstance(value, list) else value for key, value in script.items()}

    async def stream(self, request: Request):
        task = request.task
        said = self.script.get((task.round, task.phase))
        if isinstance(said, list) and said:
            yield TextDelta(said.pop(0))
            yield Done("stop")
        elif not isinstance(said, str):
            async for chunk in Playbook().stream(request):
                yield chunk
        elif request.messages[-1].role == "tool":
            word = said.split()[0].rstrip(":") if len(task.answers) > 1 else task.answers[0]
            yield TextDelta(said.splitlines()[0] if len(task.answers) > 1 else word)
            yield Done("stop")
        else:
            arguments = json.dumps({"path": f"rounds/{task.outputs[0]}", "content": said})
            yield ToolCall("1", "write_file", arguments)
            yield Done("tool_calls")


def play(
    workspace: Workspace,
    rounds: int,
    script: Mapping[tuple[int, str], str | list[str]] | None = None,
    on_event: Callable[[Row], None] = lambda row: None,
    time_limit: float | None = None,
    clock: Callable[[], float] = time.time,
    model: Model | None = None,
    prepare: Callable[[Bench], None] = lambda bench: None,
) -> tuple[int, list[Row]]:
    """Run the engine in this process; returns its exit code and the events it told."""
    events: list[Row] = []

    def listen(row: Row) -> None:
        events.append(row)
        on_event(row)

    async def run() -> int:
        async with open_bench(workspace, listen, clock=clock) as bench:
            playing = model or Scripted(script or {})
            bench.desk.staff.open = lambda settings: playing
            prepare(bench)
            return await Session(bench, RunOptions(rounds=rounds, time_limit=time_limit)).run()

    return asyncio.run(run()), events


def kinds(events: list[Row], kind: str) -> list[dict]:
    """The data of the events of one kind."""
    return [row["data"] for row in events if row["kind"] == kind]


def change_config(workspace: Workspace, **changes) -> None:
    """Edit config.json as a person would."""
    settings = json.loads(workspace.config.read_text())
    workspace.config.write_text(json.dumps(settings | changes))


@pytest.fixture
def own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of our own for the providers, and none of the machine's."""
    from backends.models.lite.keys import HOSTED
    from backends.models.lite.line import forget_manners

    from .lite import CANARY

    forget_manners()
    for names in HOSTED.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
