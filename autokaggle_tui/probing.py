"""Probing: a model shows that it answers, before it plays a role."""

from __future__ import annotations

import asyncio
import time

from autokaggle_tui.preflighting import facts_of
from backends.models.base import Done, Message, Model, Request, TextDelta, Usage
from backends.models.names import PLAYBOOK
from backends.models.registry import open_model
from backends.models.replay import Replay
from backends.models.settings import ModelSettings
from backends.models.tasks import CampaignView, DataView, Task
from experiments.errors import ModelError
from experiments.spec import Spec
from experiments.text import one_line

PROBE_SECONDS = 20.0
PROMPT = "This is a test of the connection. Answer with the one word DONE."

_NO_DATA = DataView(
    rows=0,
    test_rows=0,
    n_classes=0,
    n_numeric=0,
    n_categorical=0,
    n_text=0,
    n_datetime=0,
    max_cardinality=0,
    missing_share=0.0,
)


async def probe_model(settings: ModelSettings, spec: Spec) -> str:
    """Open a model and let it answer, within ``PROBE_SECONDS``; returns a line for a person, with what is known of it.

    Raises:
        ModelError: There is no such model, it does not answer, or not in time.
    """
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            # Opening imports the backend, which may take seconds.
            model = await asyncio.to_thread(open_model, settings)
            said = await probe(model, spec)
    except TimeoutError:
        raise ModelError(f"{settings.model} gave no answer within {PROBE_SECONDS:.0f} s") from None
    return "; ".join(part for part in (said, await facts_of(settings)) if part)


async def probe(model: Model, spec: Spec) -> str:
    """Let a model answer the smallest request there is; returns a line for a person.

    Raises:
        ModelError: It cannot answer, or says nothing.
    """
    if isinstance(model, Replay):
        count = sum(map(len, model.calls.values()))
        return f"{one_line(model.name)} holds {count} recorded call{'' if count == 1 else 's'}, no key needed"
    began = time.monotonic()
    said, usage, ended = "", None, False
    async for chunk in model.stream(_request(spec)):
        if isinstance(chunk, TextDelta):
            said += chunk.text
        elif isinstance(chunk, Usage):
            usage = chunk
        elif isinstance(chunk, Done):
            ended = True
    if not ended or not said.strip():
        raise ModelError(f"{model.name} was reached, and said nothing")
    if model.name == PLAYBOOK:
        return f"{model.name} answers offline, no key needed"
    cost = "" if usage is None or not usage.cost else f" for ${usage.cost:.4f}"
    return f"{one_line(model.name)} answers in {time.monotonic() - began:.1f} s{cost}"


def _request(spec: Spec) -> Request:
    """A campaign without data or history, and one line to say: no model has less to do."""
    view = CampaignView(
        spec=spec,
        data=_NO_DATA,
        round=0,
        rounds_left=None,
        seconds_left=None,
        slots=1,
        threads=1,
        experiments=(),
        champion=None,
        best_single=None,
        correlations={},
        rules={},
    )
    task = Task("handover", "reviewer", 0, (), (), ("DONE",), view)
    return Request("reviewer", (Message("user", PROMPT),), (), task)
