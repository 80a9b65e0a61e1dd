"""A competition's pages as knowledge files: Markdown, with their address and the day they were read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from backends.platforms.base import CompetitionInfo
from experiments.files import write_atomic
from experiments.text import clean, without_hidden

FOLDER = "knowledge"
MOST_CHARS = 400_000
_HTML = re.compile(r"</(?:p|div|ul|ol|table|h[1-6])\s*>", re.IGNORECASE)
_NAME = re.compile(r"[^a-z0-9]+")


def write_pages(workspace: Path, info: CompetitionInfo, now: datetime) -> list[str]:
    """Save the pages below ``knowledge/``; a file that is there stays, for a person may have edited it.

    Args:
        now: When they were read.

    Returns:
        Their paths relative to the workspace, the description first.
    """
    written = []
    for name, text in _ordered(info.pages).items():
        said = as_markdown(text).strip()
        path = f"{FOLDER}/{_NAME.sub('-', name.casefold()).strip('-') or 'page'}.md"
        if not said or path in written:
            continue
        if not (workspace / path).exists():
            source = f"{info.title}: {name}. From {info.url}, read on {now:%Y-%m-%d %H:%M} UTC."
            write_atomic(workspace / path, f"{clean(source)}\n\n{said}\n".encode())
        written.append(path)
    return written


def as_markdown(page: str) -> str:
    """A page as Markdown, without what a person would not see in it; HTML is converted."""
    text = without_hidden(page[:MOST_CHARS])
    if _HTML.search(text):
        # Half a second to import, for pages of older competitions alone.
        from markdownify import markdownify

        text = markdownify(text, heading_style="ATX", strip=["script", "style"])
    return re.sub(r"\n{3,}", "\n\n", clean(text.replace("\r\n", "\n")))


def page_named(info: CompetitionInfo, name: str) -> str:
    """The text of a page whose name says so, whatever its case; empty when there is none."""
    return next((text for key, text in info.pages.items() if name in key.casefold()), "")


def _ordered(pages: Mapping[str, str]) -> dict[str, str]:
    first = ("description", "evaluation", "data", "rules")
    rank = {name: place for place, name in enumerate(first)}
    return dict(sorted(pages.items(), key=lambda item: (rank.get(item[0].casefold(), len(first)), item[0])))
