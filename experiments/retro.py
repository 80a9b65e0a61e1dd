"""A retrospective as the program reads it: the next experiments that it names, in a fenced ``yaml`` block.

    ```yaml
    next:
      - {family: xgboost, parent: R04, idea: pairs of columns, params: {pairs: 6}, expected_gain: 0.0004, minutes: 3}
    ```

All else is prose for people and agents; its learnings are read by ``learned``.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.errors import AutokaggleError
from experiments.plan import Words, read_yaml

MOST_IDEAS = 5

_BLOCK = re.compile(r"^ {0,3}```[ \t]*ya?ml[ \t]*\n(.*?)^ {0,3}```[ \t]*$", re.MULTILINE | re.DOTALL)


class RetroError(AutokaggleError):
    """A retrospective's block cannot be read."""

    title = "Retrospective"


class NextExperiment(BaseModel):
    """One entry of ``next``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    family: Words = Field(min_length=1)
    """The model family, e.g. xgboost."""
    kind: Literal["model", "tune", "blend"] = "model"
    """As in a plan."""
    idea: Words = ""
    """A few words."""
    parent: Words | None = None
    """The experiment it starts from."""
    params: dict[str, Any] = Field(default_factory=dict)
    """What tells it from its parent; none to name the family alone."""
    expected_gain: float | None = Field(default=None, allow_inf_nan=False)
    """In units of the metric; positive is better."""
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """What it would take."""


def next_experiments(text: str) -> tuple[NextExperiment, ...]:
    """What a retrospective names, best first, at most five; nothing when it has no such block.

    Raises:
        RetroError: What is wrong with the block, in one line that an agent can act on.
    """
    for block in _BLOCK.finditer(text.replace("\r\n", "\n")):
        try:
            read = read_yaml(block[1])
        except ValueError as error:
            # A block that is about something else is no business of ours, however it is written.
            if not block[1].lstrip().startswith("next:"):
                continue
            raise RetroError(f"the yaml block with next: cannot be read: {error}") from None
        if not isinstance(read, dict) or "next" not in read:
            continue
        listed = read["next"]
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise RetroError("next: is not a list of experiments, each {family: ..., idea: ..., ...}.")
        try:
            return tuple(NextExperiment.model_validate(item) for item in listed[:MOST_IDEAS])
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise RetroError(f"next: {problems}.") from None
    return ()
