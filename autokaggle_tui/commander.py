"""The engine's side of the commands table: each row is obeyed once, effect and state in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.config import load_config, save_config
from autokaggle_tui.control import Control
from autokaggle_tui.loop.desk import ROLES
from autokaggle_tui.loop.orchestrator import RETRO_WANTED
from backends.models.tasks import Role
from experiments.errors import AutokaggleError
from experiments.registry import Registry
from experiments.schema import Row
from experiments.text import clean, one_line

OF_THIS_RUN = frozenset({"pause", "resume", "stop", "kill"})
TICK_SECONDS = 0.2
BEAT_EVERY = 25


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The command cannot be obeyed; the text is told to whoever gave it."""


@dataclass
class Commander:
    """Obeys what viewers ask for while the loop, or a ``try``, runs.

    Attributes:
        overrides: The desk's models by role that last this run only; ``model`` takes its role out.
    """

    campaign: Campaign
    control: Control
    overrides: dict[Role, str]

    async def serve(self, beat: Callable[[], None]) -> None:
        """Obey commands five times a second, for ever; ``beat`` is called every five seconds."""
        count = 0
        while True:
            self.obey()
            self.campaign.live.flush()
            count += 1
            if count % BEAT_EVERY == 0:
                beat()
            await asyncio.sleep(TICK_SECONDS)

    def refuse_stale(self) -> None:
        """Refuse what was asked of an earlier run, or of none: it expired; asked at the begin of a run or ``try``."""
        registry = self.campaign.registry
        for row in registry.rows("SELECT * FROM commands WHERE state = 'queued' ORDER BY id"):
            if row["verb"] in OF_THIS_RUN and (row["run"] is None or row["run"] != registry.run):
                settle(registry, row, "refused", "it was given before this run began")

    def obey(self) -> None:
        """Obey every waiting command, oldest first."""
        registry = self.campaign.registry
        for row in registry.rows("SELECT * FROM commands WHERE state = 'queued' ORDER BY id"):
            with registry.transaction():
                try:
                    if row["verb"] in OF_THIS_RUN and registry.run and row["run"] not in (None, registry.run):
                        raise Refused("it was meant for a run that is over")
                    result = self._do(row)
                except (Refused, AutokaggleError) as refusal:
                    settle(registry, row, "refused", one_line(str(refusal)))
                else:
                    settle(registry, row, "done", result)

    def _do(self, row: Row) -> str:
        verb, args = row["verb"], row["args"]
        if verb == "pause":
            self.control.pause()
            return "pausing after the folds that run now"
        if verb == "resume":
            self.control.resume()
            return "going on"
        if verb == "stop":
            self.control.stop()
            return "stopping after the current step"
        if verb == "kill":
            if not self.control.kill():
                raise Refused("no experiment is running")
            return "killing the running experiment"
        if verb == "model":
            return self._model(str(args.get("role", "")), str(args.get("model", "")))
        return obey_anywhere(self.campaign.registry, row, self.campaign.workspace.root)

    def _model(self, role: str, model: str) -> str:
        said = change_model(self.campaign.workspace.root, role, model)
        # Other edits of the file wait for the next run: it was begun with these settings.
        self.campaign.config = self.campaign.config.with_model(known_role(role), model)
        dropped = self.overrides.pop(known_role(role), None)
        return said if dropped is None else f"{said}; --model {role}={dropped} no longer counts"


def known_role(name: str) -> Role:
    """The role of this name.

    Raises:
        Refused: There is none.
    """
    for role in ROLES:
        if role == name:
            return role
    raise Refused(f"no role {name!r}; roles are {', '.join(ROLES)}")


def change_model(root: Path, role: str, model: str) -> str:
    """Change one key of config.json as it is on disk now, so that a person's own edits stay.

    Raises:
        Refused: There is no such role.
        AutokaggleError: There is no such model, or config.json cannot be read or written.
    """
    save_config(root, load_config(root).with_model(known_role(role), model))
    return f"{role} uses {model} from the next phase on"


def obey_anywhere(registry: Registry, row: Row, root: Path) -> str:
    """Commands that need no running loop: ``hint``, ``retro`` and ``model``.

    Raises:
        Refused: The verb is unknown, or needs an engine.
        AutokaggleError: It cannot be done.
    """
    if row["verb"] == "model":
        return change_model(root, str(row["args"].get("role", "")), str(row["args"].get("model", "")))
    if row["verb"] == "hint":
        text = clean(str(row["args"].get("text", ""))).strip()
        if not text:
            raise Refused("the hint is empty")
        return "the agents read it at the next phase"
    if row["verb"] == "retro":
        registry.set_fact(RETRO_WANTED, "1")
        return "the next round opens with a retrospective"
    if row["verb"] in OF_THIS_RUN:
        raise Refused("no engine is running")
    raise Refused(f"unknown command {row['verb']!r}")


def settle(registry: Registry, row: Row, state: str, result: str) -> None:
    """Write how a command ended."""
    registry.update("commands", row["id"], state=state, result=result, settled_at=registry.clock())
    registry.event("command", verb=row["verb"], state=state, result=result, args=row["args"])
