"""Why a model gave no answer, by what can be done about it."""

from __future__ import annotations

from experiments.errors import ModelError


class UnavailableError(ModelError):
    """The provider is down, overloaded or out of reach, and was tried often enough: later it may answer.

    Attributes:
        retry_after: Seconds that the provider asked to wait, if it did.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RefusedError(ModelError):
    """The key, the name of the model, the account or the request is not accepted: only a person can change that."""


class ContextOverflowError(ModelError):
    """The conversation is longer than the model can hold."""
