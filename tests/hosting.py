"""What the tests of the round and correlation screens see and do, besides what every screen's host offers."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.content import Content
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from autokaggle_tui.ui.widgets.card import Card
from autokaggle_tui.workspace import Workspace

from .campaign_book import PID
from .screen_host import Host, settled, showing

WIDE, SMALL = (120, 40), (80, 24)


@asynccontextmanager
async def opened(
    workspace: Workspace, screen: Screen[Any], size: tuple[int, int] = WIDE, pid: int | None = PID
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    """The screen with all that it reads at first."""
    async with showing(workspace, screen, pid=pid, size=size) as pilot:
        assert isinstance(pilot.app, Host)
        yield pilot.app, pilot


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys and wait for what follows."""
    await pilot.press(*keys)
    await settled(pilot)


def seen(widget: Widget) -> str:
    """What a widget paints, line by line."""
    strips = widget.render_lines(Region(0, 0, *widget.outer_size))
    return "\n".join(strip.text.rstrip() for strip in strips)


def read(page: Widget) -> str:
    """What all parts of a page show."""
    return "\n".join(seen(widget) for widget in page.walk_children(Widget) if not widget.is_container)


def said(app: App[Any], selector: str) -> str:
    """All text of a card or label."""
    widget = app.screen.query_one(selector)
    return str(widget.render()) if isinstance(widget, Card | Static) else seen(widget)


def plain(lines: Iterable[Content]) -> str:
    """Lines as text."""
    return "\n".join(line.plain for line in lines)


def of_width(card: Card, width: int = 70) -> str:
    """What a card says at a width."""
    return plain(card.lines(width))


def change(workspace: Workspace, sql: str, *parameters: Any) -> None:
    """Change the registry behind everybody's back."""
    connection = sqlite3.connect(workspace.facts)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()
