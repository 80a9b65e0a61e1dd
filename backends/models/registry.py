"""Which model backends exist: the one place to add another."""

from __future__ import annotations

from pathlib import Path

from backends.models.base import Model
from backends.models.names import PLAYBOOK, REPLAY, check_model, provider_of
from backends.models.settings import ModelSettings
from experiments.errors import ModelError


def open_model(settings: ModelSettings) -> Model:
    """The model of these settings.

    Raises:
        ModelError: It cannot be opened.
    """
    check_model(settings.model)
    if provider_of(settings.model):
        # LiteLLM itself is imported only when the model is first asked.
        from backends.models.lite.model import LiteLLMModel

        return LiteLLMModel(settings)
    if settings.model.startswith(REPLAY):
        from backends.models.replay import Replay

        return Replay.open(Path(settings.model.removeprefix(REPLAY)))
    if settings.model != PLAYBOOK:
        raise ModelError(f"model {settings.model!r} is not available in this version")
    # Brings the recipe catalogue with it, for which a viewer has no use.
    from backends.models.playbook.model import Playbook

    return Playbook()
