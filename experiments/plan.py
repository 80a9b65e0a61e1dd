"""A plan: front matter that the program reads, a specification that people and agents read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from experiments.errors import AutokaggleError
from experiments.text import one_line

PlanKind = Literal["model", "tune", "blend", "stop"]
Words = Annotated[str, AfterValidator(lambda text: one_line(text, 1000))]
"""One line of text; what YAML's escapes smuggle in (terminal sequences, control characters) is removed."""


class PlanError(AutokaggleError):
    """A plan file cannot be read."""

    title = "Plan"


class PlanHeader(BaseModel):
    """The front matter of RNN_plan.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: PlanKind
    """model: a new experiment; tune: a known family with other parameters; blend: the pool; stop: nothing left."""
    family: Words
    """The model family, e.g. lightgbm; `blend` for blends."""
    hypothesis: Words
    """What should become true, and why."""
    parent: str | None = None
    """The experiment this one starts from."""
    idea: Words = ""
    """A few words for the results table."""
    expected_gain: float | None = None
    """In units of the metric; positive is better."""
    members: tuple[str, ...] = ()
    """Of a blend: the experiments to choose from; empty means the whole pool."""
    minutes: float | None = Field(default=None, gt=0)
    """How long the run may take."""
    exhausted: tuple[str, ...] = ()
    """Families that this plan gives up for good."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the recipe, or whatever the plan wants recorded."""


@dataclass(frozen=True)
class Plan:
    """A plan file, read."""

    header: PlanHeader
    body: str = field(default="", repr=False)

    def dump(self) -> str:
        """The file's text."""
        fields = self.header.model_dump(mode="json", exclude_defaults=True)
        matter = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=100)
        return f"---\n{matter}---\n\n{self.body.strip()}\n"


class _PlainLoader(yaml.SafeLoader):
    """YAML without references: a few lines of them stand for more values than a machine can hold."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references (*name) are not allowed; write the value out")
        return super().compose_node(parent, index)


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Split ``---`` front matter from the body.

    Raises:
        PlanError: There is none, or it is not a YAML mapping.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        raise PlanError("the file does not start with front matter.", hint="Begin it with a line `---`.")
    try:
        end = next(number for number, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    except StopIteration:
        raise PlanError("the front matter is not closed.", hint="End it with a line `---`.") from None
    try:
        matter = read_yaml("\n".join(lines[1:end]))
    except ValueError as error:
        raise PlanError(f"the front matter is not YAML: {error}") from None
    if not isinstance(matter, dict) or not all(isinstance(key, str) for key in matter):
        raise PlanError("the front matter is not a mapping of names to values.")
    return matter, "\n".join(lines[end + 1 :]).strip()


def read_yaml(text: str) -> Any:
    """Plain YAML that an agent wrote.

    Raises:
        ValueError: It is none, in one line.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def parse_plan(text: str) -> Plan:
    """Read a plan file.

    Raises:
        PlanError: What is wrong with it, in one line that an agent can act on.
    """
    matter, body = split_front_matter(text)
    try:
        header = PlanHeader.model_validate(matter)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'front matter'}: {item['msg']}" for item in error.errors()
        )
        raise PlanError(f"front matter: {problems}.") from None
    return Plan(header, body)
