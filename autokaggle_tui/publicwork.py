"""What public notebooks name, as the registry keeps it: it is part of what a strategist decides on."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from backends.models.tasks import PublicKernel
from experiments.registry import Registry

FACT = "public_kernels"
_KERNELS: TypeAdapter[tuple[PublicKernel, ...]] = TypeAdapter(tuple[PublicKernel, ...])


def public_kernels(registry: Registry) -> tuple[PublicKernel, ...]:
    """All that was read so far; none from a registry of another version."""
    kept = registry.fact(FACT)
    try:
        return () if kept is None else _KERNELS.validate_json(kept)
    except ValidationError:
        return ()


def keep_public_kernels(registry: Registry, kernels: Sequence[PublicKernel]) -> None:
    """Put what was read on file."""
    registry.set_fact(FACT, _KERNELS.dump_json(tuple(kernels)).decode())
