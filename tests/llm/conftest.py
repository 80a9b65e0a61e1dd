"""Tests that need a real model run when they are asked for: ``make test-llm``."""

import os
from collections.abc import Iterator

import pytest

from backends.models.settings import ModelSettings
from tests.llm.llama import CONTEXT, serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("AUTOKAGGLE_LLM") != "1":
        for item in items:
            if item.get_closest_marker("llm"):
                item.add_marker(pytest.mark.skip(reason="`make test-llm` runs it"))


@pytest.fixture(scope="session")
def local_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelSettings]:
    """A small model on this machine, too weak for tool calls of its own: settings for any role."""
    log = tmp_path_factory.mktemp("llama") / "server.log"
    with log.open("wb") as out, serving(out) as address:
        yield ModelSettings(
            model="hosted_vllm/smollm2",
            api_base=address,
            tools="json",
            context=CONTEXT,
            max_tokens=512,
            temperature=0.0,
            input_price=0.0,
            output_price=0.0,
        )
