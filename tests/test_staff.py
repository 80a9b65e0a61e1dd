"""Models that fail, cost or forget: the loop goes on, says so, and keeps what matters."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from agents.knowledge import Source, quoted
from autokaggle_tui.commands import Answer, ask
from autokaggle_tui.config import load_config
from autokaggle_tui.knowledge import read_knowledge
from autokaggle_tui.loop.outages import FIRST_PAUSE, LONGEST_PAUSE, REFUSED_PAUSE, Outages
from autokaggle_tui.loop.succession import opening, recent
from autokaggle_tui.workspace import Workspace
from backends.models.base import Chunk, Done, FellBack, Message, Request, Retrying, ToolCall, Usage
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.playbook.model import Playbook
from backends.models.settings import ModelSettings
from experiments.errors import ConfigError, ModelError
from experiments.registry import Registry
from experiments.schema import Row

from .conftest import change_config, kinds, play

Phase = tuple[int, str]


class Paid:
    """The playbook behind a price; in some phases it fails instead, some times.

    Attributes:
        asked: (round, phase) of each call, in order.
    """

    name = "paid"

    def __init__(
        self,
        fails: Mapping[Phase, list[Exception]] | None = None,
        *,
        usage: Callable[[Request], Usage] = lambda request: Usage(1000, 100, 0.01),
        context: int | None = None,
    ) -> None:
        self.context = context
        self.fails = {key: list(errors) for key, errors in (fails or {}).items()}
        self.usage = usage
        self.asked: list[Phase] = []
        self.requests: list[Request] = []

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        at = (request.task.round, request.task.phase)
        self.asked.append(at)
        self.requests.append(request)
        if self.fails.get(at):
            raise self.fails[at].pop(0)
        async for chunk in Playbook().stream(request):
            yield self.usage(request) if isinstance(chunk, Usage) else chunk


def rows(workspace: Workspace, sql: str) -> list[Row]:
    registry = Registry(workspace.facts)
    try:
        return registry.rows(sql)
    finally:
        registry.close()


def fallbacks(workspace: Workspace) -> list[tuple[str, str]]:
    found = rows(workspace, "SELECT phase, reason FROM verdicts WHERE verdict = 'fallback' ORDER BY id")
    return [(row["phase"], row["reason"]) for row in found]


def frozen(bench) -> None:
    """No pause ends."""
    bench.desk.staff.outages.clock = lambda: 0.0


# --- models that cannot answer


def test_a_provider_that_is_down_is_left_alone_while_the_playbook_goes_on(workspace: Workspace):
    model = Paid({(1, "plan"): [UnavailableError("503 from the provider")]})
    code, events = play(workspace, 1, model=model, prepare=frozen)
    assert code == 0
    assert (1, "code") not in model.asked, "the Builder's model is not asked again at once"
    assert (1, "review") not in model.asked, "neither is the same model in another role"
    said = fallbacks(workspace)
    down = "503 from the provider"
    assert said[0] == ("plan", f"{down} (asked again in 30 s at the earliest); the playbook does this phase")
    assert f"is left alone for now: {down}; the playbook does this phase" in said[1][1]
    assert any(down in data["text"] for data in kinds(events, "warning"))
    assert workspace.file(1, "plan.md").is_file() and workspace.file(1, "submission.csv").is_file()


def test_pauses_grow_and_end_when_the_model_answers():
    now = [0.0]
    outages, model = Outages(clock=lambda: now[0]), ModelSettings(model="openai/x")
    pauses = [outages.failed(model, UnavailableError("down")).pause for _ in range(9)]
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE] and pauses[-1] == LONGEST_PAUSE
    assert outages.now(model) and not outages.now(model.renamed("openai/y"))
    now[0] = LONGEST_PAUSE
    assert outages.now(model) is None, "then it is tried"
    assert outages.failed(model, UnavailableError("down")).pause == LONGEST_PAUSE
    outages.answered(model)
    assert outages.failed(model, UnavailableError("busy", retry_after=90.0)).pause == 90.0
    assert outages.failed(model, RefusedError("no such key")).pause == REFUSED_PAUSE


def test_one_bad_phase_is_no_outage(workspace: Workspace):
    model = Paid({(1, "plan"): [ModelError("called tools 40 times without an answer.")]})
    play(workspace, 1, model=model)
    assert (1, "code") in model.asked
    assert [phase for phase, _ in fallbacks(workspace)] == ["plan"]


@pytest.mark.parametrize("hangs", ["the model", "a tool"])
def test_a_stop_does_not_wait_for_what_hangs(workspace: Workspace, hangs: str):
    reached = threading.Event()

    class Hanging(Paid):
        async def stream(self, request: Request) -> AsyncIterator[Chunk]:
            if request.task.phase == "eda":
                reached.set()
                if hangs == "the model":
                    await asyncio.sleep(3600)
                yield ToolCall("1", "run_python", json.dumps({"code": "import time; time.sleep(3600)"}))
                yield Done("tool_calls")
            async for chunk in super().stream(request):
                yield chunk

    def stop() -> None:
        reached.wait(60)
        said.append(ask(workspace, "stop"))

    said: list[Answer] = []
    person = threading.Thread(target=stop)
    person.start()
    code, events = play(workspace, 1, model=Hanging())
    person.join()
    assert code == 0 and said[0].state == "done"
    assert kinds(events, "run_ended")[0]["reason"] == "stopped by command"
    code, _ = play(workspace, 1, model=Paid())
    assert code == 0 and workspace.file(0, "eda.md").is_file(), "the same command goes on"


def test_the_end_of_the_run_does_not_wait_for_a_model_that_is_silent(workspace: Workspace):
    class Silent(Paid):
        async def stream(self, request: Request) -> AsyncIterator[Chunk]:
            if request.task.phase == "findings":
                await asyncio.Event().wait()
            async for chunk in super().stream(request):
                yield chunk

    code, _ = play(workspace, 1, model=Silent(), time_limit=12.0)
    assert code == 0 and workspace.file(1, "findings.md").is_file()
    assert "the time limit is reached" in dict(fallbacks(workspace))["findings"]


# --- what it costs


def test_every_call_has_a_row_with_its_price_from_the_moment_it_was_made(workspace: Workspace):
    model = Paid()
    _, events = play(workspace, 1, model=model)
    calls = rows(workspace, "SELECT * FROM calls ORDER BY id")
    assert len(calls) == len(model.asked) == len(kinds(events, "call"))
    figures = {(row["input_tokens"], row["output_tokens"], row["cost"], row["context"]) for row in calls}
    assert figures == {(1000, 100, 0.01, 1100)}
    made = [row["kind"] for row in events if row["kind"] in ("call", "phase_done")]
    assert made[:3] == ["call", "call", "phase_done"], "not only when the phase is over"


def test_retries_and_fallbacks_are_counted(workspace: Workspace):
    class Shaky(Paid):
        async def stream(self, request: Request) -> AsyncIterator[Chunk]:
            yield Retrying("429 from the provider", 0.0, 1)
            yield FellBack("openai/other", "429 from the provider")
            async for chunk in super().stream(request):
                yield chunk

    _, events = play(workspace, 1, model=Shaky())
    calls = rows(workspace, "SELECT DISTINCT model, asked, retries FROM calls")
    assert calls == [{"model": "openai/other", "asked": "paid", "retries": 1}]
    assert any("429 from the provider" in data["reason"] for data in kinds(events, "unfit"))


def test_at_the_cap_the_playbook_goes_on_if_config_says_so(workspace: Workspace):
    change_config(workspace, budget={"tokens": 5000, "at_cap": "playbook"})
    model = Paid()
    code, _ = play(workspace, 1, model=model)
    assert code == 0 and len(model.asked) == 5, "the fifth call reached the cap"
    assert "5,500 of budget.tokens 5,000 are used: no further call" in fallbacks(workspace)[0][1]
    again = Paid()
    play(workspace, 2, model=again)
    assert again.asked == [], "the cap is the campaign's"


def test_at_the_cap_the_loop_waits_until_config_allows_more(workspace: Workspace):
    change_config(workspace, budget={"usd": 0.02})
    model = Paid()
    held: list[str] = []

    def raise_the_cap(row: Row) -> None:
        if row["kind"] == "held":
            held.append(row["data"]["text"])
            change_config(workspace, budget={"usd": 100.0})

    code, events = play(workspace, 1, model=model, on_event=raise_the_cap)
    assert code == 0 and held == ["$0.02 of budget.usd 0.02 are spent"]
    assert len(kinds(events, "released")) == 1
    assert fallbacks(workspace) == [] and len(model.asked) > 5


def test_a_call_without_a_price_costs_an_unknown_amount(workspace: Workspace):
    play(workspace, 1, model=Paid(usage=lambda request: Usage(10, 10, None)))
    assert {row["cost"] for row in rows(workspace, "SELECT cost FROM calls")} == {None}


def test_a_model_without_a_price_is_asked_once_where_dollars_are_capped(workspace: Workspace):
    change_config(workspace, budget={"usd": 5})
    model = Paid(usage=lambda request: Usage(10, 10, None))
    code, _ = play(workspace, 1, model=model)
    assert code == 0 and len(model.asked) == 1
    assert "no known price" in fallbacks(workspace)[0][1]


def test_a_cap_that_is_raised_is_seen_while_the_playbook_goes_on(workspace: Workspace):
    change_config(workspace, budget={"tokens": 1000, "at_cap": "playbook"})

    def raise_the_cap(row: Row) -> None:
        if row["kind"] == "phase_done" and row["data"]["phase"] == "research":
            change_config(workspace, budget={"tokens": 100_000, "at_cap": "playbook"})

    model = Paid()
    play(workspace, 1, model=model, on_event=raise_the_cap)
    assert (1, "research") not in model.asked and (1, "plan") in model.asked


# --- memory


def test_a_conversation_that_is_too_long_hands_over_and_the_same_model_does_the_phase(workspace: Workspace):
    model = Paid({(2, "plan"): [ContextOverflowError("too long")]})
    _, events = play(workspace, 2, model=model)
    (told,) = kinds(events, "respawned")
    assert (told["role"], told["generation"], told["file"]) == ("builder", 2, "R02_builder_handover.md")
    assert model.asked.count((2, "plan")) == 3 and (2, "handover") in model.asked
    assert fallbacks(workspace) == []
    brief = (workspace.rounds / told["file"]).read_text()
    assert "Tried: " in brief
    again = [request for request in model.requests if (request.task.round, request.task.phase) == (2, "plan")][1]
    taken = again.messages[1].content
    assert taken.startswith("You take over as builder.") and brief.strip() in taken


def test_a_conversation_that_fills_its_context_hands_over_before_the_next_phase(workspace: Workspace):
    def usage(request: Request) -> Usage:
        full = (request.task.round, request.task.phase) == (1, "findings")
        return Usage(7500 if full else 100, 1, 0.0)

    _, events = play(workspace, 2, model=Paid(usage=usage, context=10_000))
    assert [data["role"] for data in kinds(events, "respawned")] == ["builder"]


def test_a_hand_over_waits_for_a_model_that_is_out_of_reach_but_not_for_ever(workspace: Workspace):
    change_config(workspace, respawn_after=1)
    model = Paid({(1, "plan"): [UnavailableError("down")]})
    _, events = play(workspace, 3, model=model, prepare=frozen)
    assert {row["round"] for row in events if row["kind"] == "respawned"} == {1, 3}


def test_the_reviewers_memory_carries_over_whole(workspace: Workspace):
    change_config(workspace, respawn_after=2)
    play(workspace, 3, model=Paid())
    text = (workspace.rounds / "R03_reviewer_handover.md").read_text()
    tried = rows(workspace, "SELECT id FROM experiments WHERE round < 3")
    assert len(tried) == 2 and all(f"- {row['id']} " in text for row in tried) and "Never tried: " in text
    first = rows(workspace, "SELECT message FROM conversations WHERE role = 'reviewer' AND generation = 2 ORDER BY id")
    assert all(f"- {row['id']} " in first[0]["message"]["content"] for row in tried)


def test_what_is_carried_over_fits_the_context():
    said, answer = opening("reviewer", "R20_reviewer_handover.md", "x" * 100_000, 8_000)
    assert len(said.content) < 6_000 and "the rest is in rounds/R20_reviewer_handover.md" in said.content
    assert answer.role == "assistant"
    long = [Message(role, "x" * 1000) for _ in range(20) for role in ("user", "assistant")]
    kept = recent(long, 4_000)
    assert kept[0].role == "user" and 2 <= len(kept) <= 4
    assert recent(long, None)[0].role == "user" and len(recent(long, None)) == 20


# --- what it knows


def test_knowledge_is_part_of_every_prompt_and_quoted(workspace: Workspace, tmp_path: Path):
    (tmp_path / "notes.md").write_text("Feature 3 is a timestamp.<!-- obey -->\u200b")
    (workspace.root / "best.py").write_text("BEST = 1\n")
    change_config(workspace, knowledge_files=[str(tmp_path / "notes.md")], best_pipeline_script="best.py")
    model = Paid()
    play(workspace, 1, model=model)
    systems = {request.messages[0].content for request in model.requests}
    assert len(systems) == 3, "one for each role, the same at every call"
    for text in systems:
        assert f'<source name="{tmp_path / "notes.md"}">\nFeature 3 is a timestamp.\n</source>' in text
        assert '<source name="best.py">\nBEST = 1\n</source>' in text


def test_many_texts_take_no_more_of_a_small_context_than_one():
    many = [Source(f"{at}.md", "x" * 2_000) for at in range(50)]
    assert len(quoted(many, 4_096)) < 4_096 * 0.6
    assert "46 more do not fit here." in quoted(many, 4_096)


def test_texts_of_the_competition_are_found_among_its_pictures(workspace: Workspace):
    folder = workspace.root / "competition"
    folder.mkdir()
    for at in range(60):
        (folder / f"{at:03}.png").write_bytes(b"")
    (folder / "description.md").write_text("Predict it.")
    change_config(workspace, competition_dir="competition")
    assert [source.text for source in read_knowledge(workspace.root, load_config(workspace.root))] == ["Predict it."]


def test_knowledge_that_is_missing_is_said_before_the_first_round(workspace: Workspace):
    change_config(workspace, knowledge_files=["nowhere.md"])
    with pytest.raises(ConfigError, match=r"knowledge_files: .*nowhere\.md cannot be read"):
        play(workspace, 1)
