"""Which models exist, by name: the one place where a backend is added."""

from __future__ import annotations

from backends.models.base import Model
from experiments.errors import ModelError

PLAYBOOK = "playbook"


def check_model(name: str) -> None:
    """See whether a model of this name can be opened.

    Raises:
        ModelError: It cannot, with what exists.
    """
    if name != PLAYBOOK:
        raise ModelError(
            f"no model {name!r}: this version has the offline {PLAYBOOK!r} only.",
            hint=f"Set the role's model to {PLAYBOOK!r}.",
        )


def open_model(name: str) -> Model:
    """The model of this name.

    Raises:
        ModelError: There is none.
    """
    check_model(name)
    from backends.models.playbook.model import Playbook

    return Playbook()
