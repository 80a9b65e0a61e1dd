"""Opening the models of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from backends.models.base import Model
from backends.models.registry import open_model
from backends.models.replay import Recorder, Recording, Replay
from backends.models.settings import ModelSettings


@dataclass
class Opener:
    """Opens the model of a role whenever it is asked.

    Attributes:
        open: How a model is opened.
        recording: Where the calls are written down, if anywhere.
    """

    open: Callable[[ModelSettings], Model] = open_model
    recording: Recording | None = None
    _replays: dict[str, Replay] = field(default_factory=dict)

    def __call__(self, settings: ModelSettings) -> Model:
        """The model of these settings; one that plays a recording goes on where it was.

        Raises:
            ModelError: It cannot be opened.
        """
        model: Model = self._replays.get(settings.model) or self.open(settings)
        if isinstance(model, Replay):
            self._replays[settings.model] = model
        return model if self.recording is None else Recorder(model, self.recording)
