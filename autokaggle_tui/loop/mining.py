"""Before a round's research: the best public notebooks are read, and what their code names is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from typing import get_args

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop.library import Library, LibraryError
from autokaggle_tui.publicwork import keep_public_kernels, public_kernels
from backends.models.tasks import PublicKernel
from backends.platforms.base import KernelInfo, KernelSort, KernelSource
from experiments.kernelcode import names_in
from experiments.text import one_line

EACH = 20
"""Of each order that are looked at."""
NEW = 8
"""Notebooks that one round reads at most."""
MOST = 100
"""Notebooks that are remembered, those read last."""


async def mine(campaign: Campaign, library: Library, round: int) -> None:
    """Read what is new among the best; that the platform cannot be asked is told and stops nothing."""
    registry = campaign.registry
    if library.research is None or registry.done_phase(round, "research") is not None:
        return
    known = {kernel.ref: kernel for kernel in public_kernels(registry)}
    # A round that begins again after a crash reads no more than it would have.
    fresh = sum(kernel.round == round for kernel in known.values())
    try:
        listed = {sort: await _listed(library, sort, round) for sort in get_args(KernelSort)}
        places = {info.ref: place for place, info in enumerate(listed["score"], start=1)}
        known = {ref: replace(kernel, place=places.get(ref)) for ref, kernel in known.items()}
        for info in _best(list(listed.values())):
            if fresh >= NEW:
                break
            if info.ref in known and library.read_in(info) is not None:
                known[info.ref] = replace(known[info.ref], votes=info.votes)
                continue
            reading = await library.kernel(info.ref, round)
            known.pop(info.ref, None)
            known[info.ref] = _named(info, reading.cutting.content, places.get(info.ref), reading.cutting.round)
            fresh += 1
    except LibraryError as error:
        registry.event("warning", round=round, text=f"research: {error.message}")
    if not known:
        return
    with registry.transaction():
        keep_public_kernels(registry, list(known.values())[-MOST:])
        registry.event("mined", round=round, kernels=len(known), new=fresh)


async def _listed(library: Library, sort: KernelSort, round: int) -> list[KernelInfo]:
    found: Sequence[KernelInfo] = (await library.kernels(sort, round)).cutting.content[:EACH]
    return [info for info in found if info.language.casefold() in ("", "python")]


def _best(lists: Sequence[Sequence[KernelInfo]]) -> Iterator[KernelInfo]:
    """The first of each list, then the second of each, every notebook once."""
    seen: set[str] = set()
    for info in chain.from_iterable(zip_longest(*lists)):
        if info is not None and info.ref not in seen:
            seen.add(info.ref)
            yield info


def _named(info: KernelInfo, source: KernelSource, place: int | None, round: int) -> PublicKernel:
    names = names_in([text for kind, text in source.cells if kind == "code"])
    return PublicKernel(
        ref=info.ref,
        title=one_line(info.title, 120),
        url=info.url,
        votes=info.votes,
        place=place,
        families=names.families,
        features=names.features,
        parameters=tuple((one.family, one.name, one.value) for one in names.parameters),
        round=round,
    )
