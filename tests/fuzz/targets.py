"""All targets by name."""

from __future__ import annotations

from collections.abc import Mapping

from . import agents_say, files, printed, rows
from .target import Target

TARGETS: Mapping[str, Target] = {
    target.name: target for module in (files, agents_say, printed, rows) for target in module.TARGETS
}
