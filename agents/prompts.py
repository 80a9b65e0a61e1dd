"""The roles as Markdown: front matter for the program, the prompt for the model."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agents.tools import TOOLS
from backends.models.tasks import Role
from experiments.errors import ConfigError
from experiments.jail import read_regular
from experiments.plan import PlanError, split_front_matter


class _Header(BaseModel):
    """Front matter of a role's prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    tools: tuple[str, ...]
    settings: dict[str, Any] = {}


@dataclass(frozen=True)
class RolePrompt:
    """A role: what it is for, which tools it may call, and its prompt."""

    role: Role
    description: str
    tools: tuple[str, ...]
    settings: dict[str, Any]
    text: str


def load_prompt(role: Role, workspace: Path) -> RolePrompt:
    """The role's prompt: the workspace's own ``agents/ROLE.md`` where there is one, else the shipped one.

    Raises:
        ConfigError: The file cannot be read, or names a tool that does not exist.
    """
    own = workspace / "agents" / f"{role}.md"
    shipped = resources.files("agents") / f"{role}.md"
    source = own if own.exists() else shipped
    try:
        content = read_regular(own, links=True) if source is own else shipped.read_bytes()
        matter, text = split_front_matter(content.decode("utf-8"))
        header = _Header.model_validate(matter)
    except (PlanError, ValidationError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{source}: {error}", hint="Compare with the shipped prompt of this role.") from None
    unknown = [name for name in header.tools if name not in TOOLS]
    if unknown:
        raise ConfigError(
            f"{source}: unknown tool {', '.join(unknown)}.", hint=f"Tools are: {', '.join(sorted(TOOLS))}."
        )
    return RolePrompt(role, header.description, header.tools, header.settings, text)
