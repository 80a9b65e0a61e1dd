"""A LiteLLM model in a role: asked again when it fails, replaced by its fallbacks, explained when all fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from backends.backoff import Backoff
from backends.models.base import Chunk, FellBack, Request, Retrying
from backends.models.errors import ContextOverflowError, RefusedError, UnavailableError
from backends.models.lite.faults import Cure, Fault, FaultError
from backends.models.lite.library import loaded, ready
from backends.models.lite.line import Line, Mode
from backends.models.lite.wire import Question
from backends.models.names import provider_of
from backends.models.settings import ModelSettings
from experiments.errors import ModelError


class LiteLLMModel:
    """One of the models that LiteLLM reaches, with its fallbacks.

    Attributes:
        context: Tokens that it can hold, from the settings, or from LiteLLM once that is loaded.
    """

    def __init__(self, settings: ModelSettings, *, backoff: Backoff | None = None) -> None:
        self.settings = settings
        self.name: str = settings.model
        self.context: int | None = settings.context
        self._backoff = backoff or Backoff()
        self._lines: dict[str, Line] = {}
        self._first = 0
        if loaded() is not None:
            self._line(self.name)

    @property
    def price_known(self) -> bool | None:
        """Whether the cost of a call can be told; None before LiteLLM is loaded."""
        return self._line(self.name).facts.price_known if loaded() is not None else None

    @property
    def mode(self) -> Mode | None:
        """How it is told of tools, as far as known; None before LiteLLM is loaded."""
        return self._line(self.name).mode if loaded() is not None else None

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer a role's request; see ``Model``."""
        async with aclosing(self.ask(Question.of(request))) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    async def ask(self, question: Question) -> AsyncIterator[Chunk]:
        """Answer a question; raises what ``Model.stream`` raises."""
        await ready()
        names = [self.name, *self.settings.fallbacks]
        failed: list[Fault] = []
        # A model that was replaced in this phase stays replaced: it would fail at every turn.
        for at in range(self._first, len(names)):
            if not provider_of(names[at]):
                break
            if failed:
                self._first = at
                yield FellBack(names[at], failed[-1].message)
            try:
                async with aclosing(self._answer(self._line(names[at]), question)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield chunk
                return
            except FaultError as error:
                failed.append(error.fault)
        raise _explain(failed)

    async def _answer(self, line: Line, question: Question) -> AsyncIterator[Chunk]:
        """Ask one model until it answers or it makes no sense to ask again.

        Raises:
            FaultError: It does not answer.
            ContextOverflowError: The conversation is too long for it.
        """
        attempt = 1
        while True:
            try:
                async with aclosing(line.attempt(question)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield chunk
                return
            except FaultError as error:
                fault = error.fault
            except RefusedError as error:
                fault = Fault(Cure.PERSON, error.message, error.hint)
            if fault.cure is Cure.SHORTER:
                raise ContextOverflowError(fault.message, hint="A shorter conversation, or a model that holds more.")
            if line.adapt(fault):
                yield Retrying(f"{fault.message}: asked by JSON in the text from now on", 0.0, attempt)
                continue
            again = Cure.AGAIN in (fault.cure, fault.otherwise) and attempt < (fault.tries or attempt + 1)
            pause = self._backoff.pause(attempt, fault.retry_after) if again else None
            if pause is None:
                raise FaultError(fault)
            yield Retrying(fault.message, pause, attempt)
            await self._backoff.sleep(pause)
            attempt += 1

    def _line(self, name: str) -> Line:
        if name not in self._lines:
            line = Line.to(self.settings.renamed(name), loaded())
            self._lines[name] = line
            if name == self.name:
                self.context = line.facts.context
        return self._lines[name]


def _explain(failed: list[Fault]) -> ModelError:
    """The error behind the failures of a model and its fallbacks: only if all refuse, waiting is of no use."""
    first = failed[0]
    others = "".join(f"; {fault.message}" for fault in failed[1:])
    if all(Cure.AGAIN not in (fault.cure, fault.otherwise) for fault in failed):
        return RefusedError(first.message + others, hint=first.hint)
    waits = [fault.retry_after for fault in failed if fault.retry_after is not None]
    hint = next((fault.hint for fault in failed if fault.hint), "It is asked again later.")
    return UnavailableError(first.message + others, hint=hint, retry_after=min(waits, default=None))
