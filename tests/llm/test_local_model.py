"""A real model behind a real server: what emulators cannot show."""

from pathlib import Path

import pytest

from agents.agent import Agent, Answered, Said, ToolResult, fits
from agents.prompts import RolePrompt
from backends.models.base import Done, Message, Request, TextDelta, Usage
from backends.models.errors import ContextOverflowError
from backends.models.lite.model import LiteLLMModel
from backends.models.preflight import preflight
from backends.models.settings import ModelSettings
from backends.models.tasks import Task
from experiments.registry import Registry

pytestmark = [pytest.mark.llm, pytest.mark.slow]


def review(*, outputs: tuple[str, ...] = ()) -> Task:
    return Task("review", "reviewer", 1, outputs, ("rounds/R01_plan.md",), ("APPROVED", "REVISE"), None)  # type: ignore[arg-type]


def ask(text: str) -> Request:
    return Request("reviewer", (Message("system", "You review plans."), Message("user", text)), (), review())


async def test_preflight_reaches_it(local_model: ModelSettings):
    found = await preflight(local_model, call=True)
    assert (found.problem, found.reached, found.tools, found.json_schema) == ("", True, "json", True)
    assert found.priced and found.context == local_model.context


async def test_text_streams(local_model: ModelSettings):
    settings = local_model.model_copy(update={"tools": "native"})
    chunks = [chunk async for chunk in LiteLLMModel(settings).stream(ask("Name three kinds of trees."))]
    assert sum(isinstance(chunk, TextDelta) for chunk in chunks) > 5
    [usage] = [chunk for chunk in chunks if isinstance(chunk, Usage)]
    assert usage.output_tokens > 5 and not usage.estimated and usage.cost == 0.0
    assert isinstance(chunks[-1], Done)


@pytest.mark.parametrize(
    "plan", ["Target encoding of city.", "Nothing new, the same model again.", "Blend R01 and R03."]
)
async def test_a_verdict_always_fits_by_schema(local_model: ModelSettings, plan: str):
    request = ask(f"R01 review. The plan: {plan} Answer with APPROVED, or REVISE and a reason.")
    said = "".join([c.text async for c in LiteLLMModel(local_model).stream(request) if isinstance(c, TextDelta)])
    word, problem = fits(review(), said)
    assert word in ("APPROVED", "REVISE"), problem


async def test_a_phase_with_tools_comes_to_an_end(local_model: ModelSettings, tmp_path: Path):
    (tmp_path / "rounds").mkdir()
    (tmp_path / "rounds" / "R01_plan.md").write_text("Target encoding of city, five folds.")
    Registry(tmp_path / "autokaggle.db").close()
    text = "You review plans. Read the plan with read_file, then answer."
    prompt = RolePrompt("reviewer", "reviews", ("read_file",), {}, text)
    agent = Agent(prompt, LiteLLMModel(local_model), tmp_path, tmp_path / "autokaggle.db")
    kinds: list[type] = []
    last = None
    turns = 0
    async for record in agent.perform(review(), lambda task, word, files: ""):
        kinds.append(type(record))
        turns += isinstance(record, Said)
        last = record
        if turns > 20:
            break
    assert isinstance(last, Answered) and last.word, kinds
    assert ToolResult in kinds


async def test_a_conversation_that_is_too_long_is_told(local_model: ModelSettings):
    with pytest.raises(ContextOverflowError):
        async for _ in LiteLLMModel(local_model).stream(ask("trees and more trees " * 4000)):
            pass
