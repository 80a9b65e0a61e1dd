"""The whole program on a workspace, headless, and the engine that it looks at, played by the test."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

from textual.pilot import Pilot

from autokaggle_tui.launching import Start
from autokaggle_tui.ui.app import AutokaggleApp
from autokaggle_tui.ui.widgets.stream_log import StreamLog
from autokaggle_tui.workspace import Workspace, round_name
from experiments.schema import open_live

from .campaign_book import PID, RUN
from .screen_host import toasts

SMALL, SIX_PANES = (80, 24), (100, 32)
"""What is painted is most of what a test costs: these are the smallest that show what they are named after."""
PATIENCE = 30.0
LOOK = 0.05


class Engine:
    """What an engine does to a workspace, as far as a viewer can tell: the lock, events, tokens, answers."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def tell(self, kind: str, round: int | None = None, **data: Any) -> None:
        """An event."""
        with self._facts() as connection:
            self._tell(connection, kind, round, data)

    def say(self, role: str, *pieces: tuple[str, str], round: int = 31) -> None:
        """(kind, text) of what a role says."""
        connection = open_live(self.workspace.live)
        connection.execute("BEGIN IMMEDIATE")
        rows = [(moment(self.workspace), round, role, *piece) for piece in pieces]
        connection.executemany("INSERT INTO stream (at, round, role, kind, text) VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        connection.close()

    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        """(verb, arguments) of the commands that wait."""
        with self._facts() as connection:
            rows = connection.execute("SELECT verb, args FROM commands WHERE state = 'queued' ORDER BY at")
            return [(verb, json.loads(args)) for verb, args in rows]

    def answer(self, result: str = "so be it", state: str = "done") -> None:
        """Settle the commands that wait, each with its event, in one transaction."""
        with self._facts() as connection:
            waiting = connection.execute("SELECT uuid, verb, args FROM commands WHERE state = 'queued'").fetchall()
            for name, verb, args in waiting:
                connection.execute("UPDATE commands SET state = ?, result = ? WHERE uuid = ?", (state, result, name))
                told = {"verb": verb, "state": state, "result": result, "args": json.loads(args)}
                self._tell(connection, "command", None, told)

    @contextmanager
    def _facts(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.workspace.facts, timeout=30, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
        connection.close()

    def _tell(self, connection: sqlite3.Connection, kind: str, round: int | None, data: dict[str, Any]) -> None:
        row = (moment(self.workspace), RUN, round, kind, json.dumps(data, ensure_ascii=False))
        connection.execute("INSERT INTO events (at, run, round, kind, data) VALUES (?, ?, ?, ?, ?)", row)


def moment(workspace: Workspace) -> float:
    """A while after the last thing that happened in a made campaign; the same on every machine."""
    if not workspace.facts.is_file():
        return 0.0
    try:
        connection = sqlite3.connect(workspace.facts, timeout=30)
        row = connection.execute("SELECT max(at) FROM events WHERE kind != 'command'").fetchone()
        connection.close()
    except sqlite3.DatabaseError:
        return 0.0
    return float(row[0] or 0.0) + 12.0


@contextmanager
def holding(workspace: Workspace, pid: int = PID) -> Iterator[None]:
    """Hold the engine's lock, as the process that a made campaign says it is."""
    with workspace.locked():
        (workspace.root / "engine.pid").write_text(f"{pid}\n")
        yield


@asynccontextmanager
async def looking(
    workspace: Workspace,
    *,
    size: tuple[int, int] = SMALL,
    start: Start | None = None,
    engine: bool = True,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[Pilot[None]]:
    """The app, once it shows what is there.

    Args:
        engine: Whether the test plays the engine: its lock is held.
        clock: A fixed one, when it is not given.
    """
    now = moment(workspace)
    held: AbstractContextManager[None] = holding(workspace) if engine else nullcontext()
    with held:
        app = AutokaggleApp(workspace, start, clock=clock or (lambda: now))
        app.animation_level = "none"
        async with app.run_test(size=size, notifications=True) as pilot:
            await ready(pilot)
            yield pilot


async def ready(pilot: Pilot[Any]) -> None:
    """Wait until the app shows what there is: the facts, who holds the lock, and what the agents said last."""
    app = pilot.app
    assert isinstance(app, AutokaggleApp)
    workspace, pid = app.workspace, app.workspace.engine_pid()
    if workspace.facts.is_file() and pid != 0:
        await until(pilot, lambda: app.problem or (app.state.last_id and app.pid == pid))
    if workspace.live.is_file() and app.state.now.round:
        last = f"{round_name(app.state.now.round)}_verify.md · 8.4s"
        await until(pilot, lambda: last in stream(pilot, "reviewer"))
    await pilot.pause()


async def until(pilot: Pilot[Any], holds: Callable[[], object]) -> None:
    """Let the app go on until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s\n{shown(pilot)}"
        await pilot.pause(LOOK)
    await pilot.pause()


async def sees(pilot: Pilot[Any], *texts: str) -> None:
    """Wait until the screen shows each of these texts."""
    await until(pilot, lambda: all(text in shown(pilot) for text in texts))


async def told(pilot: Pilot[Any], *texts: str) -> None:
    """Wait until toasts hold each of these texts: on the screen they are wrapped, and gone after a while."""
    await until(pilot, lambda: all(text in toasts(pilot) for text in texts))


def shown(pilot: Pilot[Any]) -> str:
    """The screen as a person sees it, line by line."""
    return "\n".join(
        "".join(segment.text for segment in strip).rstrip() for strip in pilot.app.screen._compositor.render_strips()
    )


def stream(pilot: Pilot[Any], role: str) -> str:
    """All that an agent's pane holds."""
    return pilot.app.screen_stack[0].query_one(f"#{role}").query_one(StreamLog).text()
