"""What one phase of the playbook comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """Files to write (name in rounds/ -> text) and the one line to say."""

    line: str
    files: Mapping[str, str] = field(default_factory=dict)


def number(value: float | None, *, digits: int = 5) -> str:
    """A score for a table; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}" if abs(value) < 100 else f"{value:,.2f}"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [header, tuple("---" for _ in header), *map(tuple, clean)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
