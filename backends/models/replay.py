"""Record and replay: every call of a campaign's models in a file, and a model that plays such a file.

A recording is JSON lines: one that says what it is for every process that wrote to it, then one for each call, written
when the call is over. It holds what models said and what became of it, never what they were asked: of the conversation
there is a digest. Credentials are hidden on the way in.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backends.models.base import (
    Chunk,
    Done,
    FellBack,
    Message,
    Model,
    Reasoning,
    Request,
    Retrying,
    TextDelta,
    ToolCall,
    Usage,
)
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.names import REPLAY
from backends.models.tasks import Phase, Role
from experiments.errors import ModelError, WorkspaceError
from experiments.files import make_folder, sync_folder
from experiments.jail import open_regular
from experiments.redaction import armed

VERSION = 1
_BEGINNING = b'{"recording"'
_KINDS: Mapping[str, type[Chunk]] = {
    "text": TextDelta,
    "reasoning": Reasoning,
    "tool_call": ToolCall,
    "usage": Usage,
    "retrying": Retrying,
    "fell_back": FellBack,
    "done": Done,
}
_NAMES = {made: name for name, made in _KINDS.items()}
_ERRORS: Mapping[str, type[ModelError]] = {
    "unavailable": UnavailableError,
    "refused": RefusedError,
    "context": ContextOverflowError,
    "model": ModelError,
}
_CHUNKS: Mapping[str, TypeAdapter[Any]] = {name: TypeAdapter(made) for name, made in _KINDS.items()}


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Header(_Line):
    """What a process writes first: a version, and a name of its own."""

    recording: Literal[1]
    session: str


class _Failure(_Line):
    """An error that ended a call."""

    kind: Literal["unavailable", "refused", "context", "model"]
    message: str
    hint: str = ""
    retry_after: float | None = None

    def error(self) -> ModelError:
        """The error that the model raised."""
        if self.kind == "unavailable":
            return UnavailableError(self.message, hint=self.hint, retry_after=self.retry_after)
        return _ERRORS[self.kind](self.message, hint=self.hint)


class Exchange(_Line):
    """One call of a model.

    Attributes:
        call: Which call of this role in this phase and round it is, from 1.
        digest: Of the conversation that it answers, the system prompt left out.
        chunks: What it said, each with its kind; texts that followed each other are one.
        error: What it raised in the end.
    """

    role: Role
    phase: Phase
    round: Annotated[int, Field(ge=0)]
    call: Annotated[int, Field(ge=1)]
    model: str
    context: int | None
    digest: str
    chunks: list[dict[str, Any]]
    error: _Failure | None = None

    def played(self) -> list[Chunk]:
        """The chunks as the model gave them.

        Raises:
            ValueError: One of them is none.
        """
        made: list[Chunk] = []
        for chunk in self.chunks:
            kind = str(chunk.get("kind"))
            if kind not in _CHUNKS:
                raise ValueError(f"there is no chunk {kind!r}")
            made.append(_CHUNKS[kind].validate_python({key: value for key, value in chunk.items() if key != "kind"}))
        return made


class Recording:
    """A file that grows by a line with every call.

    Args:
        path: A new file, or a recording that goes on.
        warn: Told once, in a sentence, when nothing can be written any more; the campaign goes on without.

    Raises:
        WorkspaceError: The file is something else, or cannot be written.
    """

    def __init__(self, path: Path, warn: Callable[[str], object]) -> None:
        self.path = path
        self.session = secrets.token_hex(4)
        self._warn = warn
        self._broken = False
        self._calls: dict[tuple[Role, Phase, int], int] = {}
        try:
            _mend(path)
            self._append({"recording": VERSION, "session": self.session})
            sync_folder(path.parent)
        except OSError as error:
            raise WorkspaceError(
                f"{path} cannot be recorded to: {error.strerror or error}.", hint="Name another file after --record."
            ) from None

    def add(self, request: Request, model: Model, chunks: Sequence[Chunk], error: ModelError | None) -> None:
        """Write down a call that is over."""
        if self._broken:
            return
        task = request.task
        key = (request.role, task.phase, task.round)
        self._calls[key] = self._calls.get(key, 0) + 1
        exchange = Exchange(
            role=request.role,
            phase=task.phase,
            round=task.round,
            call=self._calls[key],
            model=model.name,
            context=model.context,
            digest=digest(request.messages),
            chunks=[{"kind": _NAMES[type(chunk)], **asdict(chunk)} for chunk in _merged(chunks)],
            error=None if error is None else _failure(error),
        )
        try:
            self._append(exchange.model_dump(mode="json", exclude_defaults=True))
        except OSError as problem:
            self._broken = True
            self._warn(f"The recording ends here: {self.path}: {problem.strerror or problem}.")

    def _append(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(armed().hide_all(dict(line)), ensure_ascii=False)
        with self.path.open("ab") as file:
            file.write(text.encode("utf-8", "replace") + b"\n")
            file.flush()
            os.fsync(file.fileno())


class Recorder:
    """A model whose calls are written down."""

    def __init__(self, model: Model, recording: Recording) -> None:
        self.model = model
        self.recording = recording
        self.name = model.name
        self.context = model.context

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer as the model does. A call that is given up is not written down: it will be made again."""
        said: list[Chunk] = []
        try:
            async with aclosing(self.model.stream(request)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    said.append(chunk)
                    # What plays a recording learns it with the call.
                    self.context = self.model.context
                    yield chunk
        except ModelError as error:
            self.recording.add(request, self.model, said, error)
            raise
        self.recording.add(request, self.model, said, None)


@dataclass
class Replay:
    """A model that says what a recording holds: the calls of a role in a phase and round in their order.

    A conversation that is not the recorded one is noted, and played all the same.

    Attributes:
        calls: By (role, phase, round).
        name: As in config.json.
        context: Tokens that the model of the last call could hold.
    """

    path: Path
    calls: Mapping[tuple[Role, Phase, int], Sequence[Exchange]]
    name: str = REPLAY
    context: int | None = None
    _places: dict[tuple[Role, Phase, int], int] = field(default_factory=dict)
    _diverged: set[Role] = field(default_factory=set)

    @classmethod
    def open(cls, path: Path) -> Replay:
        """Read a recording; a last line that a crash tore is left out.

        Raises:
            ModelError: There is none, or a line of it is no call.
        """
        return cls(path, _load(path), f"{REPLAY}{path}")

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Play the next call.

        Raises:
            ModelError: There is none for this role, phase and round; or the one that was recorded.
        """
        task = request.task
        key = (request.role, task.phase, task.round)
        recorded, place = self.calls.get(key, ()), self._places.get(key, 0)
        asked = digest(request.messages)
        # A second attempt after a restart begins in the middle.
        place = next((n for n in range(place, len(recorded)) if recorded[n].digest == asked), place)
        if place >= len(recorded):
            raise ModelError(
                f"{self.path} holds no call {place + 1} of the {request.role} in round {task.round}, {task.phase}.",
                hint=f"Give the role another model from here on: `autokaggle-tui model {request.role} MODEL`.",
            )
        exchange = recorded[place]
        self._places[key] = place + 1
        self.context = exchange.context
        if exchange.digest != asked and request.role not in self._diverged:
            self._diverged.add(request.role)
            yield Reasoning("This conversation is not the recorded one; what was recorded is played all the same.\n")
        for chunk in exchange.played():
            yield chunk
        if exchange.error is not None:
            raise exchange.error.error()


def digest(messages: Sequence[Message]) -> str:
    """What tells two conversations apart; the system prompt may change between versions and does not count."""
    told = json.dumps([message.to_json() for message in messages if message.role != "system"], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _merged(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Texts that follow each other in one: a secret cannot hide between two of them."""
    merged: list[Chunk] = []
    for chunk in chunks:
        last = merged[-1] if merged else None
        if isinstance(chunk, TextDelta | Reasoning) and type(last) is type(chunk):
            merged[-1] = replace(chunk, text=last.text + chunk.text)
        else:
            merged.append(chunk)
    return merged


def _failure(error: ModelError) -> _Failure:
    kind = next(name for name, made in _ERRORS.items() if isinstance(error, made))
    after = error.retry_after if isinstance(error, UnavailableError) else None
    return _Failure(kind=kind, message=error.message, hint=error.hint, retry_after=after)  # type: ignore[arg-type]


def _mend(path: Path) -> None:
    """Make a file ready for another line: what a crash left of the last one goes.

    Raises:
        WorkspaceError: It is no recording.
    """
    if not path.exists():
        make_folder(path.parent)
        return
    with open_regular(path, links=True) as file:
        first, size, end = file.readline(), 0, 0
        for line in (first, *file):
            size += len(line)
            end = size if line.endswith(b"\n") else end
    torn = not end and _BEGINNING.startswith(first[: len(_BEGINNING)])
    if not torn and _header(first) is None:
        raise WorkspaceError(f"{path} is no recording; nothing was written to it.", hint="Name another file.")
    if end < size:
        os.truncate(path, end)


def _header(line: bytes) -> _Header | None:
    try:
        return _Header.model_validate_json(line)
    except ValidationError:
        return None


def _load(path: Path) -> dict[tuple[Role, Phase, int], list[Exchange]]:
    try:
        with open_regular(path, links=True) as file:
            lines = file.read().split(b"\n")
    except OSError as error:
        raise ModelError(
            f"{path} cannot be played: {error.strerror or error}.",
            hint="Name a file that --record made, as replay:FILE; a relative one is looked for in the current folder.",
        ) from None
    if _header(lines[0]) is None:
        raise ModelError(f"{path}, line 1: this is no recording.", hint="Name a file that --record made.")
    calls: dict[tuple[Role, Phase, int], list[Exchange]] = {}
    session: dict[tuple[Role, Phase, int], int] = {}
    sessions = 0
    # The last part is empty, or torn.
    for number, line in enumerate(lines[:-1], start=1):
        if _header(line) is not None:
            sessions += 1
            continue
        try:
            exchange = Exchange.model_validate_json(line)
            exchange.played()
        except ValueError as error:
            said = error.errors()[0] if isinstance(error, ValidationError) else {"msg": str(error), "loc": ()}
            where = ".".join(map(str, said["loc"]))
            raise ModelError(
                f"{path}, line {number}: {f'{where}: ' if where else ''}{said['msg']}.",
                hint="Mend or remove that line, or record again.",
            ) from None
        key = (exchange.role, exchange.phase, exchange.round)
        known = calls.setdefault(key, [])
        if known and session[key] != sessions:
            # The process before was ended in this phase, and this one asked again.
            again = next((n for n, other in enumerate(known) if other.digest == exchange.digest), len(known))
            del known[again:]
        session[key] = sessions
        known.append(exchange)
    return calls
