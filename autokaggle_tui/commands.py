"""The viewer's side of the commands table: ask, and wait for the answer. Light: it shares the screen's process."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autokaggle_tui.failures import explain
from autokaggle_tui.launching import MODULE
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, RegistryError, UsageError, WorkspaceError
from experiments.redaction import looks_like_key
from experiments.schema import connect_existing, open_viewer
from experiments.text import clean, one_line

ANSWER_SECONDS = 10.0
SLOW_SECONDS = 60.0
POLL_SECONDS = 0.05
ANYWHERE = frozenset({"hint", "retro", "model", "prune", "submit", "approve", "refresh"})
WITH_PLATFORM = frozenset({"submit", "approve", "refresh"})
CARRIED_OUT = WITH_PLATFORM | {"probe-model"}


@dataclass(frozen=True)
class Answer:
    """How a command ended: ``done`` or ``refused``.

    Or how it stands when there was no end in time: ``queued`` when the engine did not look yet, ``accepted`` when
    it is being carried out.
    """

    state: str
    result: str


def ask(workspace: Workspace, verb: str, args: Mapping[str, Any] | None = None) -> Answer:
    """Put a command into the table and wait for the engine's answer; a minute for one that was accepted.

    With no engine running, a process of its own obeys verbs that need none.

    Raises:
        RegistryError: Nothing has run in this workspace yet (``model`` does not mind).
        ConfigError: ``model`` in a folder that is no workspace.
        WorkspaceError: The verb needs a running engine and there is none.
        UsageError: A hint holds what looks like a key.
    """
    if verb == "hint" and looks_like_key(str((args or {}).get("text", ""))):
        raise UsageError(
            "the hint holds what looks like a key: it would be kept, and told to the models.",
            hint="Give it without; credentials belong into the environment of the engine.",
        )
    if verb == "model" and not workspace.facts.exists():
        return _model_now(workspace, args or {})
    _await_registry(workspace)
    connection = connect_existing(workspace.facts)
    name = uuid.uuid4().hex
    told = {key: clean(value) if isinstance(value, str) else value for key, value in (args or {}).items()}
    try:
        if workspace.engine_pid() is None and verb not in ANYWHERE:
            why = f"`{verb}` needs one" if verb in CARRIED_OUT else f"nothing to {verb}"
            raise WorkspaceError(
                f"no engine is running in {workspace.root}: {why}.",
                hint="Start one with `autokaggle-tui`, or with `autokaggle-tui --no-ui`.",
            )
        run = connection.execute("SELECT id FROM runs WHERE status = 'running' ORDER BY rowid DESC LIMIT 1").fetchone()
        connection.execute(
            "INSERT INTO commands (uuid, run, verb, args, at) VALUES (?, ?, ?, ?, ?)",
            [name, run["id"] if run else None, verb, json.dumps(told, ensure_ascii=False), time.time()],
        )
        return _await(workspace, connection, name)
    except sqlite3.DatabaseError as error:
        raise explain(error, workspace.root) or RegistryError(f"{workspace.facts}: {error}") from error
    finally:
        connection.close()


def _await_registry(workspace: Workspace) -> None:
    """Be sure that there is a registry; an engine that comes up makes it in its first seconds."""
    asked = time.monotonic()
    while True:
        try:
            open_viewer(workspace.facts).close()
        except RegistryError:
            if workspace.engine_pid() is None or time.monotonic() - asked > ANSWER_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def _await(workspace: Workspace, connection: sqlite3.Connection, name: str) -> Answer:
    asked = time.monotonic()
    while True:
        row = connection.execute("SELECT state, result FROM commands WHERE uuid = ?", [name]).fetchone()
        patience = SLOW_SECONDS if row["state"] == "accepted" else ANSWER_SECONDS
        if row["state"] in ("done", "refused") or time.monotonic() - asked > patience:
            return Answer(row["state"], row["result"])
        if workspace.engine_pid() is None:
            _obey_now(workspace, name)
            continue
        time.sleep(POLL_SECONDS)


def _obey_now(workspace: Workspace, name: str) -> None:
    """Have a process obey in the engine's place; what it imports would weigh on the screen."""
    command = [*MODULE, "obey", "--asked", name, "-w", str(workspace.root)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise WorkspaceError(one_line(clean(done.stderr.decode(errors="replace"))) or "the command was not obeyed.")


def _model_now(workspace: Workspace, args: Mapping[str, Any]) -> Answer:
    """Change a model where nothing has run yet: there is no table to put the command in."""
    from autokaggle_tui.config import change_model, load_config

    load_config(workspace.root)
    role, model = str(args.get("role", "")), str(args.get("model", ""))
    with workspace.locked():
        try:
            change_model(workspace.root, role, model)
        except AutokaggleError as refusal:
            return Answer("refused", in_one_line(refusal))
    return Answer("done", f"{role} uses {model} from the next phase on")


def in_one_line(refusal: Exception) -> str:
    """Why something was refused: message and hint."""
    if isinstance(refusal, AutokaggleError) and refusal.hint:
        return one_line(f"{refusal.message}; {refusal.hint}")
    return one_line(str(refusal))
