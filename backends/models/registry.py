"""Which model backends exist: the one place to add another."""

from __future__ import annotations

import difflib

from backends.models.base import Model
from experiments.errors import ModelError

MODELS: tuple[str, ...] = ("playbook",)
"""Names of the models that stand by themselves; a backend with many models adds a prefix to ``PREFIXES``."""

PREFIXES: tuple[str, ...] = ()
"""Beginnings of names that a backend takes, e.g. ``replay:``."""


def open_model(name: str) -> Model:
    """The model of this name.

    Raises:
        ModelError: No backend takes it.
    """
    check_model(name)
    # Config asks check_model only; the playbook brings the recipe catalogue with it.
    from backends.models.playbook.model import Playbook

    return Playbook()


def check_model(name: str) -> None:
    """Accept the name of a model that this version can run.

    Raises:
        ModelError: No backend takes the name; the hint lists what exists.
    """
    if name in MODELS or any(name.startswith(prefix) and name != prefix for prefix in PREFIXES):
        return
    near = difflib.get_close_matches(name, MODELS, n=1)
    exists = ", ".join([*MODELS, *(f"{prefix}..." for prefix in PREFIXES)])
    raise ModelError(
        f"model {name!r} is not available in this version",
        hint=f"did you mean {near[0]!r}?" if near else f"what exists: {exists}",
    )
