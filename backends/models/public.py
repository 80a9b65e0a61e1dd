"""Public notebooks, counted: which families, features and parameters they name, how often and with how many votes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from backends.models.tasks import PublicKernel

MOST_VALUES = 4


@dataclass(frozen=True)
class Mentions:
    """How often something is named.

    Attributes:
        kernels: Notebooks that name it.
        votes: Of all of them.
        place: Of the best of them by score; None when none is among those that were listed.
    """

    name: str
    kernels: int
    votes: int
    place: int | None


def families(kernels: Sequence[PublicKernel]) -> list[Mentions]:
    """Model families, the most frequent first."""
    return _counted(kernels, lambda kernel: kernel.families)


def features(kernels: Sequence[PublicKernel]) -> list[Mentions]:
    """Ways to make features, the most frequent first."""
    return _counted(kernels, lambda kernel: kernel.features)


def parameters(kernels: Sequence[PublicKernel]) -> Mapping[tuple[str, str], list[float]]:
    """The values of each (family, parameter), one of each notebook (the median of several), ascending.

    The most frequent parameter comes first; those whose family cannot be told are left out.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for kernel in kernels:
        own: dict[tuple[str, str], list[float]] = {}
        for family, name, value in kernel.parameters:
            own.setdefault((family, name), []).append(value)
        for key, values in own.items():
            if key[0]:
                found.setdefault(key, []).append(statistics.median(values))
    return {key: sorted(found[key]) for key in sorted(found, key=lambda key: (-len(found[key]), key))}


def summary(kernels: Sequence[PublicKernel], most: int = 6) -> list[str]:
    """What they name, in a few sentences made of this program's own words."""
    if not kernels:
        return []
    of = f"of {len(kernels)}" if len(kernels) > 1 else "of one"
    lines = []
    for what, mentions in (("families", families(kernels)), ("features", features(kernels))):
        if mentions:
            named = ", ".join(f"{one.name} {one.kernels}" for one in mentions[:most])
            lines.append(f"Model {what} by notebooks ({of}): {named}." if what == "families" else f"Features: {named}.")
    values = list(parameters(kernels).items())[:most]
    if values:
        named = "; ".join(f"{family} {name} {spread(found)}" for (family, name), found in values)
        lines.append(f"Parameters: {named}.")
    return lines


def spread(values: Sequence[float]) -> str:
    """Values as a person would say them: a few as they are, many by their range and median."""
    different = sorted(set(values))
    if len(different) <= MOST_VALUES:
        return ", ".join(f"{value:g}" for value in different)
    return f"{different[0]:g} to {different[-1]:g}, median {statistics.median(values):g}"


def _counted(kernels: Sequence[PublicKernel], named: Callable[[PublicKernel], Iterable[str]]) -> list[Mentions]:
    found: dict[str, list[PublicKernel]] = {}
    for kernel in kernels:
        for name in named(kernel):
            found.setdefault(name, []).append(kernel)
    mentions = [
        Mentions(
            name,
            len(by),
            sum(kernel.votes for kernel in by),
            min((kernel.place for kernel in by if kernel.place is not None), default=None),
        )
        for name, by in found.items()
    ]
    return sorted(mentions, key=lambda one: (-one.kernels, -one.votes, one.name))
