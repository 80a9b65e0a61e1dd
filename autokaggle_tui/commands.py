"""The viewer's side of the commands table: ask, and wait for the answer. Standard library and schema only."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.failures import explain
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, RegistryError, WorkspaceError
from experiments.schema import open_viewer
from experiments.text import one_line

ANSWER_SECONDS = 10.0
POLL_SECONDS = 0.05
ANYWHERE = frozenset({"hint", "retro", "model"})


@dataclass(frozen=True)
class Answer:
    """How a command ended: ``done``, ``refused``, or still ``queued`` when the engine did not answer in time."""

    state: str
    result: str


def ask(workspace: Workspace, verb: str, args: Mapping[str, Any] | None = None) -> Answer:
    """Put a command into the table and wait for the engine's answer.

    With no engine running, verbs that need none take the lock, do their work and let go.

    Raises:
        RegistryError: Nothing has run in this workspace yet (``model`` does not mind).
        ConfigError: ``model`` in a folder that is no workspace.
        WorkspaceError: The verb needs a running engine and there is none.
    """
    if verb == "model" and not workspace.facts.exists():
        return _model_now(workspace, args or {})
    open_viewer(workspace.facts).close()
    connection = sqlite3.connect(workspace.facts, timeout=30, isolation_level=None)
    connection.row_factory = sqlite3.Row
    name = uuid.uuid4().hex
    try:
        running = workspace.engine_pid() is not None
        if not running and verb not in ANYWHERE:
            raise WorkspaceError(
                f"no engine is running in {workspace.root}: nothing to {verb}.",
                hint="Start one with `autokaggle-tui --no-ui`.",
            )
        run = connection.execute(
            "SELECT id FROM runs WHERE status = 'running' ORDER BY started_at DESC, rowid DESC LIMIT 1"
        ).fetchone()
        connection.execute(
            "INSERT INTO commands (uuid, run, verb, args, at) VALUES (?, ?, ?, ?, ?)",
            [name, run["id"] if run else None, verb, json.dumps(dict(args or {}), ensure_ascii=False), time.time()],
        )
        return _await(workspace, connection, name)
    except sqlite3.DatabaseError as error:
        raise explain(error, workspace.root) or RegistryError(f"{workspace.facts}: {error}") from error
    finally:
        connection.close()


def _await(workspace: Workspace, connection: sqlite3.Connection, name: str) -> Answer:
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        row = connection.execute("SELECT state, result FROM commands WHERE uuid = ?", [name]).fetchone()
        if row["state"] in ("done", "refused") or time.monotonic() > deadline:
            return Answer(row["state"], row["result"])
        if workspace.engine_pid() is None:
            # Somebody else may take the lock first; then they answer, or it is our turn again.
            with contextlib.suppress(WorkspaceError):
                _obey_now(workspace)
                continue
        time.sleep(POLL_SECONDS)


def _obey_now(workspace: Workspace) -> None:
    """Be the engine for a moment."""
    from autokaggle_tui.commander import Refused, obey_anywhere, settle
    from experiments.registry import Registry

    with workspace.locked():
        registry = Registry(workspace.facts)
        try:
            for row in registry.rows("SELECT * FROM commands WHERE state = 'queued' ORDER BY id"):
                with registry.transaction():
                    try:
                        settle(registry, row, "done", obey_anywhere(registry, row, workspace.root))
                    except (Refused, AutokaggleError) as refusal:
                        settle(registry, row, "refused", one_line(str(refusal)))
        finally:
            registry.close()


def _model_now(workspace: Workspace, args: Mapping[str, Any]) -> Answer:
    """Change a model where nothing has run yet: there is no table to put the command in."""
    from autokaggle_tui.commander import Refused, change_model
    from autokaggle_tui.config import load_config

    load_config(workspace.root)
    with workspace.locked():
        try:
            return Answer("done", change_model(workspace.root, str(args.get("role", "")), str(args.get("model", ""))))
        except (Refused, AutokaggleError) as refusal:
            return Answer("refused", one_line(str(refusal)))
