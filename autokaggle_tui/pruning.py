"""Pruning: the predictions that can never matter again, and how they go. Standard library and schema only.

What may matter stays: every member of the pool, the champion, the best blends, what any blend is made of, what was
submitted, may have been or waits for it, what is imported, and whatever still runs. That leaves blends that a better
one has overtaken, predictions that left the pool, and files that no row knows.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autokaggle_tui.fitting import intact
from experiments.schema import Row

if TYPE_CHECKING:
    from experiments.registry import Registry

Read = Callable[[str], Iterable[Row]]
"""Runs a query: ``Registry.rows``, or the same of a viewer's connection."""

TOO_MUCH = "predictions_told"
_EXPERIMENTS = """
    SELECT e.id, e.kind, e.source, e.status, e.in_pool, e.score, e.members, e.started_at,
           p.experiment IS NOT NULL AS known, p.pruned_at,
           e.round IN (SELECT round FROM rounds WHERE status = 'open') AS open,
           EXISTS (SELECT 1 FROM submissions s WHERE s.experiment = e.id)
           OR EXISTS (SELECT 1 FROM queue q WHERE q.experiment = e.id AND q.state IN ('waiting', 'asking')) AS sent
    FROM experiments e LEFT JOIN predictions p ON p.experiment = e.id ORDER BY e.started_at, e.id
"""


@dataclass(frozen=True)
class Prunable:
    """Files of one experiment that may go.

    Attributes:
        why: In a few words.
        settled: The registry needs no word of it: it says so already, or never knew these files.
    """

    experiment: str
    files: tuple[str, ...]
    bytes: int
    why: str
    settled: bool


def prunable(read: Read, rounds: Path) -> list[Prunable]:
    """What may be pruned now, oldest first.

    Args:
        rounds: The folder with the predictions.

    Raises:
        RegistryError: A row is not what it should be: nothing may go on its word.
    """
    with intact():
        return _prunable(list(read(_EXPERIMENTS)), read, rounds)


def _prunable(rows: Sequence[Row], read: Read, rounds: Path) -> list[Prunable]:
    champion = next((row["experiment"] for row in read("SELECT experiment FROM champion")), None)
    needed = {name for row in rows for name, _ in row["members"]} | {champion} | _best_blends(rows)
    found = []
    for row in rows:
        why = "" if row["id"] in needed or row["sent"] or row["open"] else _why(row, champion)
        sizes = _sizes(rounds, row["id"]) if why else {}
        if sizes:
            settled = row["pruned_at"] is not None or not row["known"]
            found.append(Prunable(row["id"], tuple(sizes), sum(sizes.values()), why, settled))
    return found


def oldest(found: Sequence[Prunable], excess: int) -> list[Prunable]:
    """The first of them that together make up for ``excess`` bytes, or all."""
    chosen: list[Prunable] = []
    for item in found:
        if excess <= 0:
            break
        chosen.append(item)
        excess -= item.bytes
    return chosen


def mark(registry: Registry, chosen: Sequence[Prunable], by: str) -> None:
    """Say in the registry that these files are gone. They go afterwards: a crash in between only leaves a file.

    Args:
        by: ``command`` or ``rule``.
    """
    if not chosen:
        return
    with registry.transaction():
        for item in chosen:
            if not item.settled:
                registry.update("predictions", item.experiment, pruned_at=registry.clock())
                registry.update("experiments", item.experiment, in_pool=0)
        registry.event(
            "pruned",
            experiments=[item.experiment for item in chosen],
            files=sum(len(item.files) for item in chosen),
            bytes=sum(item.bytes for item in chosen),
            by=by,
        )


def remove(chosen: Iterable[Prunable], rounds: Path) -> None:
    """Remove the files, once the registry says so."""
    for item in chosen:
        for name in item.files:
            (rounds / name).unlink(missing_ok=True)


def prune_above(registry: Registry, rounds: Path, most: int) -> None:
    """The rule of ``keep_predictions``: when predictions take more than ``most`` bytes, the oldest prunable ones go.

    What may not go and still takes more is told once.
    """
    names = [row["id"] for row in registry.rows("SELECT id FROM experiments")]
    taken = sum(sum(_sizes(rounds, name).values()) for name in names)
    if taken <= most:
        return
    chosen = oldest(prunable(registry.rows, rounds), taken - most)
    mark(registry, chosen, "rule")
    remove(chosen, rounds)
    left = taken - sum(item.bytes for item in chosen)
    if left > most and registry.fact(TOO_MUCH) != str(most):
        with registry.transaction():
            registry.set_fact(TOO_MUCH, str(most))
            registry.event("warning", text="Predictions take more than keep_predictions; all of them may be needed.")


def _best_blends(rows: Iterable[Row]) -> set[str]:
    """Blends that the end of a run may submit: the highest and the lowest score, whichever the metric wants."""
    blends = [row for row in rows if row["kind"] == "blend" and row["in_pool"] and row["score"] is not None]
    ends = {choose(row["score"] for row in blends) for choose in (min, max)} if blends else set()
    return {row["id"] for row in blends if row["score"] in ends}


def _why(row: Row, champion: str | None) -> str:
    """Why an experiment's predictions may go; empty when they may not."""
    if row["status"] == "running" or row["source"] == "imported":
        return ""
    if row["pruned_at"] is not None:
        return "pruned before"
    if not row["known"]:
        return "of no finished experiment"
    if row["kind"] == "blend":
        return "a blend that another has overtaken"
    if row["in_pool"]:
        return ""
    if row["status"] == "timeout":
        # As long as nothing is complete, what is there of it may be submitted.
        return "a part of an experiment" if champion is not None else ""
    return "not in the pool"


def _sizes(rounds: Path, experiment: str) -> dict[str, int]:
    """Bytes by name of an experiment's prediction files; a link or a folder of this name is none."""
    found = {}
    for name in (f"{experiment}_oof.npy", f"{experiment}_test.npy"):
        try:
            status = (rounds / name).lstat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[name] = status.st_size
    return found
