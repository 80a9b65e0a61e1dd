"""The engine's side of the commands table: each row is obeyed once, effect and state in one transaction.

What takes its time, a submission or the probe of a model, is accepted first and carried out beside the loop.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.commands import CARRIED_OUT, in_one_line
from autokaggle_tui.config import change_model, known_role
from autokaggle_tui.control import Control
from autokaggle_tui.failures import explain, record_bug
from autokaggle_tui.loop import queueing
from autokaggle_tui.loop.clearance import clear
from autokaggle_tui.loop.clerk import Clerk
from autokaggle_tui.loop.orchestrator import RETRO_WANTED
from autokaggle_tui.loop.settling import resolve, unsettled
from autokaggle_tui.preflighting import try_model
from autokaggle_tui.pruning import mark, prunable, remove
from autokaggle_tui.sizes import size_text
from autokaggle_tui.workspace import Workspace, experiment_name
from backends.models.names import check_model
from backends.models.settings import ModelSettings
from backends.models.tasks import Role
from backends.platforms.base import Receipt
from experiments.errors import AutokaggleError
from experiments.registry import Registry
from experiments.schema import Row, connect_existing
from experiments.text import clean, one_line

OF_THIS_RUN = frozenset({"pause", "resume", "stop", "kill", "submit", "approve"})
TICK_SECONDS = 0.2
BEAT_EVERY = 25
LOOK_EVERY = 5
CUT_SHORT = "the engine ended before it was done"


class Refused(Exception):  # noqa: N818 - an answer, not an error
    """The command cannot be obeyed; the text is told to whoever gave it."""


@dataclass
class Commander:
    """Obeys what viewers ask for while the loop, or a ``try``, runs.

    Attributes:
        overrides: The desk's models by role that last this run only; ``model`` takes its role out.
        since: Id of the last command when this process took the lock: what was asked later is meant for it.
    """

    campaign: Campaign
    control: Control
    overrides: dict[Role, str]
    clerk: Clerk
    since: int
    _working: dict[asyncio.Task[None], Row] = field(default_factory=dict, repr=False)

    async def serve(self, beat: Callable[[], None], look: Callable[[], None]) -> None:
        """Obey commands five times a second, for ever; ``look`` is called every second, ``beat`` every five."""
        count = 0
        while True:
            # First, so that a sleep is told before what was asked after it.
            if count % LOOK_EVERY == 0:
                look()
            self.obey()
            self.campaign.live.flush()
            count += 1
            if count % BEAT_EVERY == 0:
                beat()
            await asyncio.sleep(TICK_SECONDS)

    async def close(self, patience: float = 0.0) -> None:
        """Wait ``patience`` seconds for what is being carried out; what is not done by then is refused."""
        if self._working:
            if patience > 0:
                await asyncio.wait(set(self._working), timeout=patience)
            for task in self._working:
                task.cancel()
            await asyncio.wait(set(self._working))
            self._reap()
        refuse_unfinished(self.campaign.registry)

    def refuse_stale(self) -> None:
        """Refuse what was asked of an earlier run, or of none: it expired; asked at the begin of a run or ``try``."""
        registry = self.campaign.registry
        refuse_unfinished(registry)
        for row in waiting(registry):
            early = row["run"] is None or row["run"] != registry.run
            if row["verb"] in OF_THIS_RUN and early and row["id"] <= self.since:
                settle(registry, row, "refused", "it was given before this run began")

    def obey(self, rows: Sequence[Row] | None = None) -> None:
        """Obey these commands, or every one that waits, oldest first."""
        self._reap()
        registry = self.campaign.registry
        for row in waiting(registry) if rows is None else rows:
            with registry.transaction():
                try:
                    late = row["run"] not in (None, registry.run) and row["id"] <= self.since
                    if row["verb"] in OF_THIS_RUN and registry.run and late:
                        raise Refused("it was meant for a run that is over")
                    result = self._do(row)
                except (Refused, AutokaggleError) as refusal:
                    settle(registry, row, "refused", in_one_line(refusal))
                    continue
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - one command that cannot be is no end of a run
                    bug = record_bug(error, self.campaign.workspace.root)
                    settle(registry, row, "refused", one_line(bug))
                    continue
                settle(registry, row, "accepted" if row["verb"] in CARRIED_OUT else "done", result)
            sweep_after(registry, row, self.campaign.workspace)
            if row["verb"] in CARRIED_OUT:
                self._working[asyncio.create_task(self._carry_out(row))] = row

    def _do(self, row: Row) -> str:
        verb, args = row["verb"], row["args"]
        if verb == "pause":
            self.control.pause()
            return "pausing after the folds that run now"
        if verb == "resume":
            return self._resume()
        if verb == "stop":
            self.control.stop()
            return "stopping after the current step"
        if verb == "kill":
            if not self.control.kill():
                raise Refused("no experiment is running")
            return "killing the running experiment"
        if verb == "model":
            return self._model(str(args.get("role", "")), str(args.get("model", "")))
        if verb == "probe-model":
            return f"asking {self._probed(args).model}"
        if verb == "submit":
            return f"submitting {self._to_submit(_wanted(row))['id']}"
        if verb == "approve":
            return f"looking after {self._to_approve(row)}"
        if verb == "refresh":
            return "asking the platform"
        return obey_anywhere(self.campaign.registry, row, self.campaign.workspace)

    def _resume(self) -> str:
        """Lift the person's pause; that of a machine that is short of something is not theirs to lift."""
        held = self.control.held
        if held is not None and not self.control.asked:
            raise Refused(f"{held.text}; the loop goes on by itself once {held.until}")
        self.control.resume()
        return "going on" if held is None else f"going on once {held.until} ({held.text})"

    def _model(self, role: str, model: str) -> str:
        known = change_model(self.campaign.workspace.root, role, model)
        # Other edits of the file wait for the next run: it was begun with these settings.
        self.campaign.config = self.campaign.config.with_model(known, model)
        dropped = self.overrides.pop(known, None)
        also = "" if dropped is None else f"; --model {role}={dropped} no longer counts"
        return f"{role} uses {model} from the next phase on{also}"

    def _probed(self, args: Mapping[str, Any]) -> ModelSettings:
        """The model that is to be tried, called as it would be in that role."""
        models, name = self.campaign.config.models, str(args.get("model", ""))
        role = str(args.get("role", ""))
        return models.of(known_role(role)).renamed(name) if role else ModelSettings(model=check_model(name))

    async def _carry_out(self, row: Row) -> None:
        """Do what was accepted, and say how it ended."""
        registry = self.campaign.registry
        try:
            if row["verb"] == "submit":
                await self._submit(row, _wanted(row))
            elif row["verb"] == "approve":
                await self._approve(row)
            elif row["verb"] == "refresh":
                await self._refresh(row)
            else:
                settings = self._probed(row["args"])
                said = await try_model(settings)
                settle(registry, row, "done", one_line(said))
        except (Refused, AutokaggleError) as refusal:
            settle(registry, row, "refused", in_one_line(refusal))

    async def _submit(self, row: Row, wanted: str) -> None:
        """Submit an experiment, or the champion; the person may take the last submission of the day."""
        experiment = self._to_submit(wanted)
        name = experiment["id"]
        if self._unknown(name):
            # Whoever names it knows that it may have arrived; the platform is asked once more all the same.
            await self.clerk.look()
            resolve(self.campaign.registry, name, arrived=False)
            experiment = self._to_submit(wanted)
        # Who names an experiment has seen what the Reviewer says of it.
        vetoed = "" if wanted else self._veto(experiment)
        cleared = clear(self.campaign, experiment)

        def told(receipt: Receipt) -> None:
            accepted = receipt.state == "accepted"
            if accepted or receipt.fault != "limit":
                result = f"{name} was accepted: {receipt.message}" if accepted else receipt.message
                settle(self.campaign.registry, row, "done" if accepted else "refused", one_line(result))

        outcome = await self.clerk.offer(experiment, "person", cleared=cleared, vetoed=vetoed, told=told)
        if outcome.word == "queued":
            said = f"{name} waits in the queue: {outcome.reason}; a run submits it when it can"
            settle(self.campaign.registry, row, "done", one_line(said))
        elif outcome.word == "skipped":
            raise Refused(outcome.reason)

    def _to_approve(self, row: Row) -> str:
        """The experiment that waits for a person's word, for its submission or for what became of that.

        Raises:
            Refused: There is nothing to say of it.
        """
        name, said = _wanted(row), str(row["args"].get("said") or "")
        if not name:
            raise Refused("say which: approve R07")
        registry = self.campaign.registry
        state = registry.value(
            "SELECT state FROM submissions WHERE experiment = ? AND state != 'refused' ORDER BY id DESC", [name]
        )
        if state == "unknown":
            if said not in ("arrived", "send-again"):
                raise Refused(f"nobody knows whether {name} arrived: say --arrived or --send-again")
        elif state == "intent":
            raise Refused(f"{name} is still being looked for; `autokaggle-tui submissions` tells when it is unknown")
        elif said:
            raise Refused(f"there is no doubt about a submission of {name}")
        elif not queueing.waits(registry, name):
            raise Refused(f"{name} does not wait for your word")
        return name

    async def _approve(self, row: Row) -> None:
        """Act on a person's word: what became of an unknown submission, or that one may go."""
        name, said = self._to_approve(row), str(row["args"].get("said") or "")
        if said != "arrived":
            await self._submit(row, name)
            return
        await self.clerk.look()
        registry = self.campaign.registry
        result = resolve(registry, name, arrived=True) or f"{name} was settled by the platform's list"
        settle(registry, row, "done", result)

    async def _refresh(self, row: Row) -> None:
        """Ask the platform what became of submissions, and for the leaderboard."""
        await self.clerk.look()
        await self.clerk.look_at_board()
        left = unsettled(self.campaign.registry)
        result = f"{left} submission{'s are' if left > 1 else ' is'} still open" if left else "everything is settled"
        settle(self.campaign.registry, row, "done", result)

    def _to_submit(self, wanted: str) -> Row:
        """The experiment of this name, or the champion; its prediction is complete and was not sent.

        Raises:
            Refused: There is none.
        """
        registry = self.campaign.registry
        experiment = registry.experiment(wanted) if wanted else registry.champion()
        if experiment is None:
            raise Refused(f"there is no experiment {wanted!r}" if wanted else "there is no champion yet")
        name = experiment["id"]
        if registry.value("SELECT pruned_at FROM predictions WHERE experiment = ?", [name]) is not None:
            raise Refused(f"the predictions of {name} were pruned")
        if registry.value("SELECT test FROM predictions WHERE experiment = ?", [name]) is None:
            why = one_line(experiment["reason"]) or experiment["status"]
            raise Refused(f"{name} has no complete prediction ({why})")
        sent = registry.row(
            "SELECT state FROM submissions WHERE experiment = ? AND state != 'refused' ORDER BY id DESC", [name]
        )
        if sent is not None and not (wanted and sent["state"] == "unknown"):
            known = "it was accepted" if sent["state"] == "accepted" else "it may have arrived"
            raise Refused(f"{name} was submitted before: {known}")
        return experiment

    def _unknown(self, name: str) -> bool:
        sql = "SELECT count(*) FROM submissions WHERE experiment = ? AND state = 'unknown'"
        return bool(self.campaign.registry.value(sql, [name]))

    def _veto(self, experiment: Row) -> str:
        """The Reviewer's word against submitting, or an empty string."""
        reason = self.campaign.registry.value(
            "SELECT reason FROM verdicts WHERE round = ? AND phase = 'verify' AND verdict = 'REJECT' ORDER BY id DESC",
            [experiment["round"]],
        )
        return f"{reason} (name {experiment['id']} to submit it all the same)" if reason else ""

    def _reap(self) -> None:
        """Let go of what was carried out; a failure that nobody foresaw is an answer too, and no end of the run."""
        for task in [task for task in self._working if task.done()]:
            row = self._working.pop(task)
            error = None if task.cancelled() else task.exception()
            if error is None:
                continue
            if not isinstance(error, Exception):
                raise error
            root = self.campaign.workspace.root
            said = explain(error, root) or AutokaggleError(record_bug(error, root))
            settle(self.campaign.registry, row, "refused", in_one_line(said))


def last_command(path: Path) -> int:
    """Id of the last command in a registry; 0 where there is none."""
    if not path.exists():
        return 0
    with closing(connect_existing(path)) as connection, suppress(sqlite3.OperationalError):
        return int(connection.execute("SELECT coalesce(max(id), 0) FROM commands").fetchone()[0])
    return 0


def sweep_after(registry: Registry, row: Row, workspace: Workspace) -> None:
    """What a command leaves to do once it is a fact: pruned files go when the registry has said so."""
    if row["verb"] == "prune":
        remove([item for item in prunable(registry.rows, workspace.rounds) if item.settled], workspace.rounds)


def obey_anywhere(registry: Registry, row: Row, workspace: Workspace) -> str:
    """Commands that need no running loop: ``hint``, ``retro``, ``model`` and ``prune``.

    Raises:
        Refused: The verb is unknown, or needs an engine.
        AutokaggleError: It cannot be done.
    """
    if row["verb"] == "model":
        role, model = str(row["args"].get("role", "")), str(row["args"].get("model", ""))
        change_model(workspace.root, role, model)
        return f"{role} uses {model} from the next phase on"
    if row["verb"] == "hint":
        text = clean(str(row["args"].get("text", ""))).strip()
        if not text:
            raise Refused("the hint is empty")
        return "the agents read it at the next phase"
    if row["verb"] == "retro":
        registry.set_fact(RETRO_WANTED, "1")
        return "the next round opens with a retrospective"
    if row["verb"] == "prune":
        found = prunable(registry.rows, workspace.rounds)
        mark(registry, found, "command")
        size = size_text(sum(item.bytes for item in found))
        return f"predictions of {len(found)} experiments pruned, {size}" if found else "nothing may be pruned"
    if row["verb"] in OF_THIS_RUN | CARRIED_OUT:
        raise Refused("no engine is running")
    raise Refused(f"unknown command {row['verb']!r}")


def refuse_unfinished(registry: Registry) -> None:
    """Refuse what an engine that is no more had accepted; an open submission is settled with its intent."""
    for row in registry.rows("SELECT * FROM commands WHERE state = 'accepted' ORDER BY id"):
        sends = row["verb"] in ("submit", "approve")
        after = "; `autokaggle-tui submissions` tells whether it arrived" if sends else ""
        settle(registry, row, "refused", f"{CUT_SHORT}{after}")


def settle(registry: Registry, row: Row, state: str, result: str) -> None:
    """Write how a command stands: ``accepted``, or how it ended."""
    with registry.transaction():
        settled_at = None if state == "accepted" else registry.clock()
        registry.update("commands", row["id"], state=state, result=result, settled_at=settled_at, args=row["args"])
        registry.event("command", verb=row["verb"], state=state, result=result, args=row["args"])


def waiting(registry: Registry) -> list[Row]:
    """Queued commands, oldest first; what no viewer of ours can have written is refused at once."""
    sound = []
    for row in registry.rows("SELECT * FROM commands WHERE state = 'queued' ORDER BY id"):
        times = isinstance(row["at"], int | float) and isinstance(row["run"], str | None)
        if times and isinstance(row["verb"], str) and isinstance(row["args"], dict):
            sound.append(row)
        else:
            settle(registry, {**row, "verb": "?", "args": {}}, "refused", "it is no command")
    return sound


def _wanted(row: Row) -> str:
    """The experiment that is asked for: ``R07`` for ``7``, ``r7`` and ``R07``; empty for the champion."""
    return experiment_name(clean(str(row["args"].get("experiment") or "")))
