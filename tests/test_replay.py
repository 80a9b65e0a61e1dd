"""Record and replay: a campaign that plays back without a provider, and a file that says what is wrong with it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from autokaggle_tui.bench import open_bench
from autokaggle_tui.cli import app
from autokaggle_tui.engine import RunOptions, Session
from autokaggle_tui.launching import Start
from autokaggle_tui.preflighting import try_model
from autokaggle_tui.setup import demo_workspace
from autokaggle_tui.workspace import Workspace
from backends.models.base import (
    Chunk,
    Done,
    FellBack,
    Message,
    Reasoning,
    Request,
    Retrying,
    TextDelta,
    ToolCall,
    Usage,
)
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.opening import Opener
from backends.models.registry import open_model
from backends.models.replay import Recorder, Recording, Replay
from backends.models.settings import ModelSettings
from backends.models.tasks import Phase, Role, Task
from experiments import redaction
from experiments.errors import ModelError, WorkspaceError
from experiments.schema import Row, open_viewer

SAID: tuple[Chunk, ...] = (
    Reasoning("hm"),
    Retrying("overloaded", 2.0, 1),
    FellBack("openai/other", "down"),
    TextDelta("I write "),
    TextDelta("the plan."),
    ToolCall("1", "write_file", '{"path": "x"}'),
    Usage(100, 20, 0.01, estimated=True, cached_tokens=50),
    Done("tool_calls"),
)
MERGED = (*SAID[:3], TextDelta("I write the plan."), *SAID[5:])


class Speaker:
    """A model that says what it is given, call by call; an error ends a call."""

    name = "speaker"
    context: int | None = 8_000

    def __init__(self, *calls: Sequence[Chunk | ModelError]) -> None:
        self.calls = list(calls)

    async def stream(self, request: Request):
        for chunk in self.calls.pop(0):
            if isinstance(chunk, ModelError):
                raise chunk
            yield chunk


def ask(*said: str, role: Role = "builder", phase: Phase = "plan", round: int = 1) -> Request:
    messages = (Message("system", "You are."), *(Message("user", text) for text in said))
    return Request(role, messages, (), Task(phase, role, round, (), (), ("DONE",), None))  # type: ignore[arg-type]


async def hear(model, request: Request) -> list[Chunk]:
    return [chunk async for chunk in model.stream(request)]


def recording(path: Path) -> Recording:
    return Recording(path, pytest.fail)


async def record(path: Path, *calls: tuple[Request, Sequence[Chunk | ModelError]]) -> None:
    """Record calls as one process does."""
    model = Recorder(Speaker(*(said for _, said in calls)), recording(path))
    for request, said in calls:
        if any(isinstance(chunk, ModelError) for chunk in said):
            with pytest.raises(ModelError):
                await hear(model, request)
        else:
            assert await hear(model, request) == list(said)


def text(said: str) -> tuple[Chunk, ...]:
    return (TextDelta(said), Done("stop"))


async def test_a_call_is_played_as_it_was_but_that_texts_are_joined(tmp_path: Path):
    await record(tmp_path / "tape", (ask("R01 plan."), SAID))
    model = Replay.open(tmp_path / "tape")
    assert await hear(model, ask("R01 plan.")) == list(MERGED)
    assert model.context == 8_000


async def test_calls_of_a_role_phase_and_round_come_in_their_order(tmp_path: Path):
    calls = [
        (ask("a"), text("one")),
        (ask("b", role="reviewer", phase="review"), text("APPROVED")),
        (ask("a", "b"), text("two")),
        (ask("a", round=2), text("three")),
    ]
    await record(tmp_path / "tape", *calls)
    model = Replay.open(tmp_path / "tape")
    for place in (1, 3, 0, 2):
        assert await hear(model, calls[place][0]) == list(calls[place][1])


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("down", hint="wait", retry_after=30.0),
        RefusedError("no such key"),
        ContextOverflowError("too long"),
        ModelError("odd"),
    ],
)
async def test_an_error_is_raised_again(error: ModelError, tmp_path: Path):
    await record(tmp_path / "tape", (ask("a"), (TextDelta("I"), error)))
    with pytest.raises(type(error)) as raised:
        await hear(Replay.open(tmp_path / "tape"), ask("a"))
    assert str(raised.value) == str(error)
    assert vars(raised.value) == vars(error)


async def test_what_is_not_recorded_is_an_error_that_says_what_to_do(tmp_path: Path):
    await record(tmp_path / "tape", (ask("a"), text("one")))
    model = Replay.open(tmp_path / "tape")
    await hear(model, ask("a"))
    with pytest.raises(ModelError, match="no call 2 of the builder in round 1, plan") as raised:
        await hear(model, ask("a", "b"))
    assert "autokaggle-tui model builder" in raised.value.hint


async def test_another_conversation_is_noted_once_and_played(tmp_path: Path):
    await record(tmp_path / "tape", (ask("a"), text("one")), (ask("a", "b"), text("two")))
    model = Replay.open(tmp_path / "tape")
    noted, *said = await hear(model, ask("other"))
    assert isinstance(noted, Reasoning)
    assert "not the recorded one" in noted.text
    assert said == list(text("one"))
    assert await hear(model, ask("other", "still")) == list(text("two"))


async def test_the_system_prompt_may_change(tmp_path: Path):
    await record(tmp_path / "tape", (ask("a"), text("one")))
    request = Request("builder", (Message("system", "new"), Message("user", "a")), (), ask().task)
    assert await hear(Replay.open(tmp_path / "tape"), request) == list(text("one"))


async def test_a_process_that_asks_again_after_a_crash_replaces_what_it_asks_again(tmp_path: Path):
    tape = tmp_path / "tape"
    await record(tape, (ask("a"), text("one")), (ask("a", "b"), text("two")))
    # The second attempt of the phase was cut off; the next process makes it anew.
    await record(tape, (ask("a", "b"), text("two, again")), (ask("a", "b", "c"), text("three")))
    model = Replay.open(tape)
    assert await hear(model, ask("a")) == list(text("one"))
    assert await hear(model, ask("a", "b")) == list(text("two, again"))
    # Played by a process that begins in the middle, too.
    assert await hear(Replay.open(tape), ask("a", "b", "c")) == list(text("three"))


async def test_a_torn_last_line_is_left_out_and_mended(tmp_path: Path):
    tape = tmp_path / "tape"
    await record(tape, (ask("a"), text("one")), (ask("a", "b"), text("two")))
    tape.write_bytes(tape.read_bytes()[:-20])
    model = Replay.open(tape)
    assert await hear(model, ask("a")) == list(text("one"))
    with pytest.raises(ModelError, match="no call 2"):
        await hear(model, ask("a", "b"))
    await record(tape, (ask("a", "b"), text("two")))
    assert await hear(Replay.open(tape), ask("a", "b")) == list(text("two"))


async def test_a_call_that_is_given_up_is_not_recorded(tmp_path: Path):
    model = Recorder(Speaker(SAID, text("one")), recording(tmp_path / "tape"))
    given_up = model.stream(ask("a"))
    await anext(given_up)
    await given_up.aclose()
    await hear(model, ask("a"))
    assert await hear(Replay.open(tmp_path / "tape"), ask("a")) == list(text("one"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda line: "{", "line 2: Invalid JSON"),
        (lambda line: line.replace('"kind": "done"', '"kind": "dance"'), "line 2: there is no chunk 'dance'"),
        (lambda line: line.replace('"round": 1', '"round": "1"'), "line 2: round: Input should be a valid integer"),
        (lambda line: line.replace('"reason": "stop"', '"reason": 7'), "line 2: reason: Input should be"),
    ],
)
async def test_a_malformed_line_is_named(change, said: str, tmp_path: Path):
    tape = tmp_path / "tape"
    await record(tape, (ask("a"), text("one")))
    head, line, end = tape.read_text().split("\n")
    tape.write_text("\n".join([head, change(line), end]))
    with pytest.raises(ModelError) as raised:
        open_model(ModelSettings(model=f"replay:{tape}"))
    assert f"{tape}, {said}" in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize("content", [None, b"", b"name,score\n1,2\n", b"\xff\x00"])
def test_what_is_no_recording_is_neither_played_nor_written_to(content: bytes | None, tmp_path: Path):
    tape = tmp_path / "tape"
    if content is not None:
        tape.write_bytes(content)
    with pytest.raises(ModelError, match="tape") as raised:
        open_model(ModelSettings(model=f"replay:{tape}"))
    assert raised.value.hint
    if content:
        with pytest.raises(WorkspaceError, match="no recording"):
            recording(tape)
        assert tape.read_bytes() == content


def test_a_place_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path):
    with pytest.raises(WorkspaceError, match="cannot be recorded to"):
        recording(tmp_path)


async def test_a_full_disk_ends_the_recording_and_not_the_campaign(tmp_path: Path):
    warnings: list[str] = []
    tape = Recording(tmp_path / "tape", warnings.append)
    model = Recorder(Speaker(text("one"), text("two")), tape)
    tape.path = Path("/dev/full")
    assert await hear(model, ask("a")) == list(text("one"))
    assert await hear(model, ask("a", "b")) == list(text("two"))
    assert len(warnings) == 1
    assert "No space left" in warnings[0]


async def test_no_key_enters_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    key = 'sk-canary-"7Zq8+x9=w0'
    redaction.arm({"OPENAI_API_KEY": key}, tmp_path)
    try:
        said = (
            TextDelta(f"the key is {key[:7]}"),
            TextDelta(key[7:]),
            ToolCall("1", "write_file", json.dumps({"content": key})),
            RefusedError(f"wrong key {key}", hint=f"not {key}?"),
        )
        await record(tmp_path / "tape", (ask(f"never {key}"), said))
    finally:
        redaction.disarm()
    kept = (tmp_path / "tape").read_text()
    assert "canary" not in kept
    assert kept.count("OPENAI_API_KEY hidden") == 4
    assert "never" not in kept


def test_an_opener_lets_a_recording_go_on_where_it_was(tmp_path: Path):
    asyncio.run(record(tmp_path / "tape", (ask("a"), text("one")), (ask("a"), text("two"))))
    opener, settings = Opener(), ModelSettings(model=f"replay:{tmp_path / 'tape'}")
    said = [asyncio.run(hear(opener(settings), ask("a")))[0] for _ in range(2)]
    assert said == [TextDelta("one"), TextDelta("two")]


def test_a_recording_passes_the_test_of_a_model_by_being_one(tmp_path: Path):
    asyncio.run(record(tmp_path / "tape", (ask("a"), text("one"))))
    said = asyncio.run(try_model(ModelSettings(model=f"replay:{tmp_path / 'tape'}")))
    assert said == f"replay:{tmp_path / 'tape'} holds 1 recorded call, no key needed"


def test_the_option_reaches_the_engine(tmp_path: Path):
    assert Start(record=tmp_path / "tape").arguments() == ["--record", str(tmp_path / "tape")]
    for command in (app, app.commands["demo"]):
        assert "--record" in [name for option in command.params for name in option.opts]


def play(place: Path, **options) -> tuple[Workspace, list[Row]]:
    """Two rounds of the demo, by the engine itself."""
    workspace = Workspace(demo_workspace(place))
    events: list[Row] = []

    async def run() -> int:
        async with open_bench(workspace, events.append) as bench:
            return await Session(bench, RunOptions(rounds=2, **options)).run()

    assert asyncio.run(run()) == 0
    return workspace, events


def outcome(workspace: Workspace) -> tuple[dict[str, str], list[tuple]]:
    """The text files of all rounds, and what came of the experiments."""
    files = {path.name: path.read_text() for path in workspace.rounds.iterdir() if path.suffix in (".md", ".py")}
    connection = open_viewer(workspace.facts)
    rows = connection.execute("SELECT id, kind, family, parent, params, status, score, members FROM experiments")
    found = [tuple(row) for row in rows]
    connection.close()
    return files, found


def test_a_campaign_plays_back_without_those_who_played_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    tape = tmp_path / "campaign.jsonl"
    recorded, _ = play(tmp_path / "recorded", record=tape)
    models = dict.fromkeys(("researcher", "builder", "reviewer"), f"replay:{tape}")
    played, events = play(tmp_path / "played", models=models)
    assert not [row for row in events if row["kind"] in ("warning", "unfit")]
    assert {row["data"]["model"] for row in events if row["kind"] == "call"} == {f"replay:{tape}"}
    assert outcome(played) == outcome(recorded)
    assert {line["phase"] for line in map(json.loads, tape.read_text().splitlines()[1:])} >= {"eda", "plan", "verify"}


def test_a_run_with_a_recording_that_is_not_there_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AUTOKAGGLE_DATA_HOME", str(tmp_path / "home"))
    with pytest.raises(ModelError, match="cannot be played"):
        play(tmp_path / "demo", models={"builder": f"replay:{tmp_path / 'none'}"})
    connection = open_viewer(Workspace(tmp_path / "demo").facts)
    assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 0
    connection.close()
