"""What deserves to be known at once: the screen's toasts, and the command that makes a phone ring."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autokaggle_tui.fitting import MALFORMED
from autokaggle_tui.wording import gain_text, score_text
from experiments.errors import AutokaggleError
from experiments.redaction import without_credentials
from experiments.schema import Row
from experiments.text import one_line

if TYPE_CHECKING:
    from experiments.registry import Registry

Severity = Literal["information", "warning", "error"]
Kind = Literal["paused", "held", "released", "champion", "ended", "failed", "budget", "deadline", "submission"]

PATIENCE = 30.0
PATIENCE_AT_THE_END = 10.0
WAITING = 8
LONGEST_TEXT = 300
DEADLINE_TOLD = "deadline_told"
DEADLINE_HOURS = (24, 1, 0)
"""A deadline is told when so many hours are left."""

_BUDGET = re.compile(r"\d+ rounds? played|the time limit|the budget", re.IGNORECASE)


@dataclass(frozen=True)
class Alert:
    """A notification.

    Attributes:
        kind: ``paused``, ``held``, ``released``, ``champion``, ``ended``, ``failed``, ``budget``, ``deadline`` or
            ``submission``: one waits for the person.
        title: Two or three words.
        text: One sentence.
    """

    kind: Kind
    title: str
    text: str
    severity: Severity = "information"


def notice(event: Mapping[str, Any]) -> Alert | None:
    """How an event deserves to be told; None for nearly all of them, and for malformed ones.

    Args:
        event: A row of the events table, its data decoded.
    """
    make = _ALERTS.get(event["kind"])
    try:
        return None if make is None else make(event["data"])
    except MALFORMED:
        return None


def _command(data: Mapping[str, Any]) -> Alert | None:
    if (data["verb"], data["state"]) != ("pause", "done"):
        return None
    return Alert("paused", "Paused", "The loop pauses after the folds that run now.")


def _held(data: Mapping[str, Any]) -> Alert:
    said = f"The loop pauses: {data['text']}. It goes on once {data['until']}."
    return Alert("held", "Paused", _text(said), "warning")


def _released(data: Mapping[str, Any]) -> Alert:
    return Alert("released", "Going on", _text(f"The loop goes on: {data['text']}."))


def _champion(data: Mapping[str, Any]) -> Alert:
    gain = f" ({gain_text(data['gain'])})" if data.get("gain") is not None else ""
    said = f"{data['experiment']} leads with {score_text(data['score'])}{gain}."
    return Alert("champion", "New champion", _text(said))


def _run_ended(data: Mapping[str, Any]) -> Alert | None:
    reason = str(data["reason"]).rstrip(".")
    if data["status"] == "stopped":
        return None
    if data["status"] == "failed":
        return Alert("failed", "Run failed", _text(f"The run failed: {reason}."), "error")
    best = data.get("champion")
    leads = f" {best['id']} leads with {score_text(best['score'])}." if best else " Nothing was scored."
    if _BUDGET.match(reason):
        return Alert("budget", "Budget reached", _text(f"The run is over: {reason}.{leads}"), "warning")
    return Alert("ended", "Run over", _text(f"The run is over: {reason}.{leads}"), "warning")


def _submission(data: Mapping[str, Any]) -> Alert | None:
    if data["state"] != "unknown":
        return None
    name = data["experiment"]
    said = f"Nobody knows whether {name} arrived: look, then say `approve {name} --arrived` or `--send-again`."
    return Alert("submission", "Submission unknown", _text(said), "warning")


def _queue(data: Mapping[str, Any]) -> Alert | None:
    if data["state"] != "asking":
        return None
    name = data["experiment"]
    return Alert("submission", "May it be submitted?", _text(f"{name} waits for your word: `approve {name}`."))


def _deadline(data: Mapping[str, Any]) -> Alert:
    at = datetime.fromtimestamp(data["at"], UTC)
    said = f"The deadline ({at:%Y-%m-%d %H:%M} UTC)"
    if data["hours"] == 0:
        return Alert("deadline", "Deadline passed", f"{said} has passed.", "error")
    left = f"{data['hours']} hour{'' if data['hours'] == 1 else 's'}"
    return Alert("deadline", "Deadline near", f"{said} is less than {left} away.", "warning")


_ALERTS: Mapping[str, Callable[[Mapping[str, Any]], Alert | None]] = {
    "command": _command,
    "held": _held,
    "released": _released,
    "champion": _champion,
    "run_ended": _run_ended,
    "deadline": _deadline,
    "submission": _submission,
    "queue": _queue,
}


def _text(text: str) -> str:
    return one_line(text, LONGEST_TEXT)


def watch_deadline(registry: Registry, deadline: datetime | None, now: datetime) -> None:
    """Tell once when a day, when an hour, and when nothing is left; to be called every few seconds."""
    if deadline is None:
        return
    left = (deadline - now).total_seconds()
    hours = min((hours for hours in DEADLINE_HOURS if left <= hours * 3600), default=None)
    known = f"{deadline.timestamp():.0f} {hours}"
    if hours is None or registry.fact(DEADLINE_TOLD) == known:
        return
    with registry.transaction():
        registry.set_fact(DEADLINE_TOLD, known)
        registry.event("deadline", at=deadline.timestamp(), hours=hours)


class Notifier:
    """Runs the command of config.json for every alert: one at a time, in the background, never waited for.

    It gets the environment without Kaggle's and the models' keys.
    """

    def __init__(self, command: str, folder: Path, warn: Callable[[str], None], *, patience: float = PATIENCE) -> None:
        """Prepare; nothing runs yet.

        Args:
            command: Split into words as a shell would, and run without one.
            folder: The workspace, where it runs.
            warn: Called once, when the command fails for the first time.
            patience: Seconds it may take; then it is killed with all it started.
        """
        program, *arguments = shlex.split(command)
        self._words = (os.path.expanduser(program), *arguments)  # noqa: PTH111 - "./ring" is not to become "ring"
        self._folder = folder
        self._warn = warn
        self._patience = patience
        self._warned = False
        # The oldest gives way: what is true now matters more.
        self._waiting: deque[Alert] = deque(maxlen=WAITING)
        self._running: asyncio.Task[None] | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Hear of an event; the event loop must be running."""
        told = notice(event)
        if told is not None:
            self.tell(told)

    def tell(self, told: Alert) -> None:
        """Run the command for an alert when its turn comes."""
        self._waiting.append(told)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())

    async def close(self, patience: float = PATIENCE_AT_THE_END) -> None:
        """Let what waits be told, within ``patience`` seconds."""
        if self._running is None:
            return
        await asyncio.wait({self._running}, timeout=patience)
        self._waiting.clear()
        self._running.cancel()
        await asyncio.wait({self._running})

    async def _run(self) -> None:
        while self._waiting:
            problem = await self._tell(self._waiting.popleft())
            if problem and not self._warned:
                self._warned = True
                self._warn(one_line(f"notify: {self._words[0]} {problem}"))

    async def _tell(self, told: Alert) -> str:
        """Run the command for one alert; returns what went wrong."""
        environment = {
            **without_credentials(os.environ),
            "AUTOKAGGLE_EVENT": told.kind,
            "AUTOKAGGLE_TEXT": told.text,
            "AUTOKAGGLE_WORKSPACE": str(self._folder),
        }
        nowhere = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                told.text,
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return f"cannot be started: {error.strerror}"
        try:
            async with asyncio.timeout(self._patience):
                code = await process.wait()
        except TimeoutError:
            return f"took longer than {self._patience:g} s and was killed"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return f"ended with exit code {code}" if code else ""


@asynccontextmanager
async def notifications(registry: Registry, command: str | None, folder: Path) -> AsyncIterator[None]:
    """While it lasts, what the registry tells also reaches the command of config.json."""
    if command is None:
        yield
        return
    heard = registry.on_event
    notifier = Notifier(command, folder, lambda text: registry.event("warning", text=text))

    def hear(event: Row) -> None:
        heard(event)
        notifier(event)

    registry.on_event = hear
    try:
        yield
    except AutokaggleError:
        # The end of the run has told it.
        raise
    except Exception as error:
        notifier.tell(Alert("failed", "Run failed", _text(f"The run failed: {type(error).__name__}: {error}"), "error"))
        raise
    finally:
        registry.on_event = heard
        await notifier.close()
