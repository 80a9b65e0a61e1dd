"""A model that plays a role by a script: it knows the phase from the trigger and its place from what came since."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .answers import Answer, Call, Fail, Say, Tokens

_TRIGGER = re.compile(r"^R(\d+) (\w+)\.")
_WRITE = re.compile(r"^Write: (.*)\.$", re.MULTILINE)


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation, as either provider spells it.

    Attributes:
        who: ``user``, ``assistant`` or ``tool``.
    """

    who: str
    text: str


@dataclass(frozen=True)
class Seen:
    """What a request shows.

    Attributes:
        turns: The conversation, system prompt left out.
        at: Where the phase begins in it; None for a test of the connection.
    """

    body: Mapping[str, Any]
    system: str
    turns: tuple[Turn, ...]
    at: int | None

    @property
    def phase(self) -> str:
        """Round and phase: ``R01 plan``."""
        found = _TRIGGER.match(self.trigger)
        return f"R{found[1]} {found[2]}" if found else ""

    @property
    def round(self) -> int:
        """The round's number."""
        return int(self.phase[1:].split()[0])

    @property
    def trigger(self) -> str:
        """The message that began the phase."""
        return "" if self.at is None else self.turns[self.at].text

    @property
    def outputs(self) -> tuple[str, ...]:
        """Paths that the phase writes."""
        found = _WRITE.search(self.trigger)
        return tuple(found[1].split(", ")) if found else ()

    @property
    def since(self) -> tuple[Turn, ...]:
        """The turns since the trigger."""
        return () if self.at is None else self.turns[self.at + 1 :]

    @property
    def step(self) -> int:
        """How often the model has spoken in this phase."""
        return sum(turn.who == "assistant" for turn in self.since)

    @property
    def told(self) -> str:
        """What was said last: a tool's result, or what is wrong with an answer."""
        return self.turns[-1].text


Step = Answer | Callable[[Seen], Answer]
Lines = Mapping[str, Sequence[Step]]


def see(body: Mapping[str, Any]) -> Seen:
    """Read a request of either provider."""
    system, turns = [_text(body.get("system"))], []
    for message in body["messages"]:
        if message["role"] == "system":
            system.append(_text(message["content"]))
        else:
            turns += _turns(message)
    places = [place for place, turn in enumerate(turns) if turn.who == "user" and _TRIGGER.match(turn.text)]
    return Seen(body, "".join(system), tuple(turns), places[-1] if places else None)


class Player:
    """Answers for ``Emulator``: by its lines, else soundly.

    Args:
        lines: By round and phase (``R01 plan``), what the model says, call by call; a callable is asked for it.
        tokens: What every answer counts.

    Attributes:
        seen: Every request of a phase, oldest first.
    """

    def __init__(self, lines: Lines | None = None, tokens: Tokens | None = None) -> None:
        self.lines = dict(lines or {})
        self.tokens = tokens or Tokens()
        self.seen: list[Seen] = []

    def __call__(self, body: dict[str, Any]) -> Answer:
        seen = see(body)
        if seen.at is None:
            return Say("DONE")
        self.seen.append(seen)
        lines = self.lines.get(seen.phase, SOUND.get(seen.phase[4:], ()))
        if seen.step >= len(lines):
            return Fail(400, f"nothing is left to say in {seen.phase} after {seen.told!r}")
        line = lines[seen.step]
        answer = line(seen) if callable(line) else line
        return replace(answer, tokens=self.tokens) if isinstance(answer, Say) else answer

    def of(self, phase: str) -> list[Seen]:
        """The requests of one phase."""
        return [seen for seen in self.seen if seen.phase == phase]


def write(*texts: str) -> Callable[[Seen], Answer]:
    """A step that writes the files of the phase, in their order."""

    def step(seen: Seen) -> Answer:
        pairs = zip(seen.outputs, texts, strict=True)
        return Say(calls=tuple(Call("write_file", {"path": path, "content": text}) for path, text in pairs))

    return step


def plan(family: str, idea: str, **params: Any) -> str:
    """A plan file."""
    given = ", ".join(f"{name}: {value}" for name, value in params.items())
    return (
        f"---\nkind: model\nfamily: {family}\nhypothesis: {idea} helps.\nidea: {idea}\nexpected_gain: 0.001\n"
        f"minutes: 2\nparams: {{{given}}}\n---\nDisproved if the gain is below 0.0001.\n"
    )


EXPERIMENT = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def fit_predict(train, valid, test, ctx):
    names = list(ctx.columns.numeric)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=500, random_state=ctx.seed))
    model.fit(train[names], train[ctx.columns.target])
    return model.predict_proba(valid[names])[:, 1], model.predict_proba(test[names])[:, 1]
"""


def experiment(strength: float) -> str:
    """An experiment file that runs in a moment."""
    return EXPERIMENT.replace("STRENGTH", str(strength))


def _plan(seen: Seen) -> Answer:
    family = ("linear", "kernel", "forest")[seen.round % 3]
    return write(plan(family, f"idea {seen.round}", strength=seen.round))(seen)


def _code(seen: Seen) -> Answer:
    return write(experiment(seen.round / 2))(seen)


SOUND: Lines = {
    "eda": [write("30 measurements of cells, none missing.\n"), Say("DONE")],
    "retro": [write("Nothing was overlooked.\n"), Say("DONE")],
    "research": [write("All that was found.\n", "One idea.\n"), Say("DONE")],
    "plan": [_plan, Say("DONE")],
    "review": [write("APPROVED\n1. Diversity: pass.\n"), Say("APPROVED")],
    "revise": [_plan, Say("REVISED")],
    "code": [_code, Say("CODED")],
    "fix": [_code, Say("CODED")],
    "findings": [write("It went as expected.\n"), Say("DONE")],
    "handover": [write("Tried: what the registry says.\n"), Say("DONE")],
    "verify": [write("APPROVED\nThe folds agree.\n"), Say("APPROVED")],
}
"""What a model says that does its work and nothing else."""


def _turns(message: Mapping[str, Any]) -> list[Turn]:
    if message["role"] == "tool":
        return [Turn("tool", _text(message["content"]))]
    content = message.get("content")
    blocks = content if isinstance(content, list) else [content]
    results = [Turn("tool", _text(block["content"])) for block in blocks if _kind(block) == "tool_result"]
    rest = [block for block in blocks if _kind(block) != "tool_result"]
    said = [Turn(message["role"], _text(rest))] if rest or not results else []
    return [*results, *said]


def _kind(block: Any) -> str:
    return str(block.get("type")) if isinstance(block, dict) else ""


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_text(block.get("text") if isinstance(block, dict) else block) for block in content)
    return content or ""
