"""What a tool is: what the model is told, how its arguments are checked, what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from experiments.logtext import shorten
from experiments.text import clean

if TYPE_CHECKING:
    from agents.services import Services
    from agents.tools import Toolbox

REFUSAL_CAP = 2_000


class ToolError(Exception):
    """A tool call that cannot be served; the text goes back to the model."""

    def __init__(self, text: str) -> None:
        super().__init__(shorten(clean(text), REFUSAL_CAP))


class Arguments(BaseModel):
    """Arguments of a tool, as the model gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Tool:
    """A tool: what the model is told, how its arguments are checked, what it does."""

    description: str
    arguments: type[Arguments]
    run: Callable[[Toolbox, Any], str] | Callable[[Toolbox, Any], Awaitable[str]]


def services_of(box: Toolbox) -> Services:
    """What the loop does for tools.

    Raises:
        ToolError: There is no loop.
    """
    if box.services is None:
        raise ToolError("this tool needs the loop, which is not there")
    return box.services
