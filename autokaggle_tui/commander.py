"""The engine's side of the commands table: each row is obeyed once, effect and state in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.config import save_config
from autokaggle_tui.control import Control
from autokaggle_tui.loop.desk import ROLES
from autokaggle_tui.loop.orchestrator import RETRO_WANTED
from experiments.errors import ModelError
from experiments.registry import Registry
from experiments.schema import Row
from experiments.text import clean

OF_THIS_RUN = frozenset({"pause", "resume", "stop", "kill"})


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The command cannot be obeyed; the text is told to whoever gave it."""


@dataclass
class Commander:
    """Obeys what viewers ask for while the loop runs."""

    campaign: Campaign
    control: Control

    def obey(self) -> None:
        """Obey every waiting command, oldest first."""
        registry = self.campaign.registry
        for row in registry.rows("SELECT * FROM commands WHERE state = 'queued' ORDER BY id"):
            with registry.transaction():
                try:
                    if row["verb"] in OF_THIS_RUN and row["run"] not in (None, registry.run):
                        raise Refused("it was meant for a run that is over")
                    result = self._do(row)
                except Refused as refusal:
                    settle(registry, row, "refused", str(refusal))
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
        return obey_anywhere(self.campaign.registry, row)

    def _model(self, role: str, model: str) -> str:
        if role not in ROLES:
            raise Refused(f"no role {role!r}; roles are {', '.join(ROLES)}")
        try:
            changed = self.campaign.config.with_model(role, model)
        except ModelError as error:
            raise Refused(str(error)) from None
        save_config(self.campaign.workspace.root, changed)
        self.campaign.config = changed
        return f"{role} uses {model} from the next phase on"


def obey_anywhere(registry: Registry, row: Row) -> str:
    """Commands that need no running loop: ``hint`` and ``retro``.

    Raises:
        Refused: The verb is unknown, or needs an engine.
    """
    if row["verb"] == "hint":
        text = clean(str(row["args"].get("text", ""))).strip()
        if not text:
            raise Refused("the hint is empty")
        return "the agents read it at the next phase"
    if row["verb"] == "retro":
        registry.set_fact(RETRO_WANTED, "1")
        return "the next round opens with a retrospective"
    if row["verb"] in OF_THIS_RUN or row["verb"] == "model":
        raise Refused("no engine is running")
    raise Refused(f"unknown command {row['verb']!r}")


def settle(registry: Registry, row: Row, state: str, result: str) -> None:
    """Write how a command ended."""
    registry.update("commands", row["id"], state=state, result=result, settled_at=registry.clock())
    registry.event("command", verb=row["verb"], state=state, result=result, args=row["args"])
