"""Headless: the engine's events as lines for a person, as JSON for a program, with a bar on a terminal."""

from __future__ import annotations

import io
import json
import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from autokaggle_tui.sizes import size_text
from autokaggle_tui.wording import MARKS, arrow, gain_text, score_text, sending_word
from autokaggle_tui.workspace import round_name
from experiments.redaction import armed
from experiments.schema import Row


class Outlet(io.FileIO):
    """A standard stream that may go away, as terminals and pipes do: once a write fails, all goes to /dev/null.

    It sits below the text layer, so that whatever prints, in whatever thread, never hears of it.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: Any) -> int:
        """Write, or drop, all or some of the bytes; returns how many. The values of known secrets stay out."""
        given = bytes(data)
        shown = armed().hide_bytes(given)
        try:
            if shown != given:
                self._write_all(shown)
                return len(given)
            while (written := super().write(data)) is None:
                select.select([], [self], [])
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(given)
        return written

    def _write_all(self, data: bytes) -> None:
        while data:
            if (written := super().write(data)) is None:
                select.select([], [self], [])
            else:
                data = data[written:]


def outlive_terminal() -> None:
    """From now on a lost stdout or stderr silences the program, and does not end it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor, terminal = stream.fileno(), stream.isatty()
            stream.flush()
        except (AttributeError, ValueError, OSError):
            # Closed, or captured in memory: nothing to lose.
            continue
        buffer = io.BufferedWriter(Outlet(descriptor))
        text = io.TextIOWrapper(buffer, stream.encoding, "replace", line_buffering=terminal or name == "stderr")
        setattr(sys, name, text)


def print_json(row: Row) -> None:
    """One event, one line of JSON."""
    print(json.dumps(row, ensure_ascii=False), flush=True)


class Printer:
    """Prints events as they are committed."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False)
        self._progress: Progress | None = None
        self._started = time.monotonic()

    def __call__(self, row: Row) -> None:
        """Show one event; kinds that say nothing to a person are left out."""
        show = _SHOWN.get(row["kind"])
        if row["kind"] == "experiment_started":
            self._bar_begin(row["data"])
        if row["kind"] == "fold_done":
            self._bar_step(row["data"])
        if row["kind"] in ("experiment_done", "phase_done", "run_ended"):
            self.close()
        if show is None:
            return
        line = show(row)
        if line:
            start = f"{time.monotonic() - self._started:7.1f}s  "
            text = Text(f"{start}{line}", style=_STYLES.get(row["kind"], ""))
            if self.console.is_terminal:
                where = f"{_where(row)} "
                text = hanging(text, self.console, len(start) + (len(where) if line.startswith(where) else 0))
            self.console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Take the progress bar down."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _bar_begin(self, data: Mapping[str, Any]) -> None:
        if not self.console.is_terminal:
            return
        self.close()
        self._progress = Progress(
            TextColumn("          {task.description}"),
            BarColumn(bar_width=30),
            TextColumn("fold {task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._progress.add_task(data["experiment"], total=data["folds"], completed=data["done"])
        self._progress.start()

    def _bar_step(self, data: Mapping[str, Any]) -> None:
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=data["done"])


def hanging(text: Text, console: Console, indent: int) -> Text:
    """Text wrapped between words at the console's width, its further lines moved in by ``indent`` cells."""
    width = console.width
    if width < 2 * indent:
        return text
    lines: list[Text] = []
    for paragraph in text.split("\n"):
        head, body = paragraph.divide([indent]) if not lines and len(paragraph) > indent else (Text(), paragraph)
        wrapped = body.wrap(console, width - indent)
        lines.append(head + wrapped[0] if head.plain else Text(" " * indent) + wrapped[0])
        lines += [Text(" " * indent) + line for line in wrapped[1:]]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _where(row: Row) -> str:
    return "    " if row["round"] is None else f"{round_name(row['round']):<4}"


def _run_started(row: Row) -> str:
    data = row["data"]
    count = data["rounds"]
    limits = ["no round limit" if count is None else f"{count} round{'' if count == 1 else 's'}"]
    limits.append(f"{data['time_limit']:.0f} s" if data["time_limit"] is not None else "no time limit")
    verb = "continues" if data["continued"] else "begins"
    return (
        f"{data['competition']} · {data['metric']} {arrow(data['direction'])} · {data['rows']:,} rows · "
        f"{data['folds']} folds · {data['slots']} slots × {data['threads']} threads · sandbox {data['sandbox']} · "
        f"run {verb} ({', '.join(limits)})"
    )


def _phase_done(row: Row) -> str:
    data = row["data"]
    if data["phase"] in ("review", "verify"):
        return f"{_where(row)} {data['phase']:<9} {data['line']}"
    if data["phase"] == "submit":
        quiet = data["outcome"] != "skipped" or data["line"].startswith("no gain")
        return "" if quiet else f"{_where(row)} submit    skipped: {data['line']}"
    if data["phase"] == "run":
        return f"{_where(row)} run       {data['outcome']}: {data['line']}" if data["outcome"] == "crash" else ""
    return f"{_where(row)} {data['phase']:<9} {', '.join(data.get('files', ()))}"


def _fold_done(row: Row) -> str:
    data = row["data"]
    said = score_text(data["score"]) if data["status"] == "ok" else f"{data['status']}: {data['error']}"
    return f"{_where(row)} fold {data['fold'] + 1}/{data['folds']}  {said}  {data['seconds']:.1f}s"


def _experiment_done(row: Row) -> str:
    data = row["data"]
    gain = f"  {gain_text(data['gain'])}" if data["gain"] is not None else ""
    noise = f" (t = {data['t']:.2f})" if data["t"] is not None else ""
    reason = f"  {data['reason']}" if data["reason"] and not data["ruled"] else ""
    mark = MARKS.get(data["status"], "")
    return (
        f"{_where(row)} {data['experiment']} {data['family']}  cv {score_text(data['score'])}{gain}{noise}  "
        f"{mark} {data['status']}{reason}  {data['seconds']:.1f}s"
    )


def _verdict(row: Row) -> str:
    """What the rules and the engine say, and a retrospective; the Reviewer's own line comes with its phase."""
    data = row["data"]
    if data["phase"] == "retro" and data["author"] == "reviewer":
        return f"{_where(row)} {data['phase']:<9} {data['reason']}"
    if data["author"] == "reviewer":
        return ""
    rule = f"{data['rule']} " if data["rule"] else ""
    return f"{_where(row)} {data['phase']:<9} {rule}({data['verdict']}): {data['reason']}"


def _submission(row: Row) -> str:
    data = row["data"]
    if data["state"] == "intent":
        return ""
    word = sending_word(data["state"], data.get("scoring", "complete"))
    board = f", public score {score_text(data['public_score'])}" if data["public_score"] is not None else ""
    message = f" ({data['note']})" if data["note"] else ""
    return f"{_where(row)} submission of {data['experiment']}: {word}{board}{message}"


def _queue(row: Row) -> str:
    data = row["data"]
    said = {"waiting": "waits", "asking": "waits for your word (`approve`)", "left": "is not submitted"}
    word = said.get(data["state"])
    return "" if word is None else f"     {data['experiment']} {word}: {data['reason']}"


def _deadline(data: Mapping[str, Any]) -> str:
    at = f"{datetime.fromtimestamp(data['at'], UTC):%Y-%m-%d %H:%M} UTC"
    hours = data["hours"]
    return f"     deadline  {at}{' has passed' if not hours else f', {hours} h or less are left'}"


def _text(row: Row) -> str:
    return f"{_where(row)} {row['kind']}: {row['data'].get('text') or row['data'].get('reason') or ''}"


def _best(row: Row) -> str:
    best, file = row["data"]["champion"], row["data"]["submission"]
    said = f"\nchampion {best['id']} {best['family']}  cv {score_text(best['score'])}" if best else ""
    return f"{said}{f', last submission rounds/{file}' if file else ''}"


_SHOWN: Mapping[str, Callable[[Row], str]] = {
    "run_started": _run_started,
    "round_started": lambda row: f"{_where(row)} ──────────",
    "round_resumed": lambda row: f"{_where(row)} ────────── goes on after a restart",
    "phase_done": _phase_done,
    "plan_accepted": lambda row: (
        f"{_where(row)} accepted  {row['data']['plan_kind']} {row['data']['family']}: {row['data']['idea']}"
    ),
    "fold_done": _fold_done,
    "experiment_done": _experiment_done,
    "champion": lambda row: f"{_where(row)} ★ champion {row['data']['experiment']}  {score_text(row['data']['score'])}",
    "verdict": _verdict,
    "submission": _submission,
    "queue": _queue,
    "submission_skipped": lambda row: (
        f"     submission of {row['data']['experiment']} skipped: {row['data']['reason']}"
    ),
    "mined": lambda row: (
        f"{_where(row)} read      {row['data']['new']} public notebooks anew, {row['data']['kernels']} in all"
        if row["data"]["new"]
        else ""
    ),
    "imported": lambda row: f"     imported {row['data']['experiment']}  cv {score_text(row['data']['score'])}",
    "adopted": lambda row: f"{_where(row)} {row['data']['phase']}: taken over from before the restart",
    "command": lambda row: f"     {row['data']['verb']}: {row['data']['result']}",
    "deadline": lambda row: _deadline(row["data"]),
    "pruned": lambda row: f"     pruned {row['data']['files']} files of predictions, {size_text(row['data']['bytes'])}",
    "held": lambda row: f"     paused: {row['data']['text']}; goes on by itself once {row['data']['until']}",
    "released": lambda row: f"     goes on: {row['data']['text']}",
    "plan_replaced": _text,
    "unfit": _text,
    "warning": _text,
    "note": _text,
    "learned": _text,
    "stopping": _text,
    "run_ended": lambda row: (
        f"run {row['data']['status']}: {row['data']['reason'].rstrip('.')} ({row['data']['elapsed']:.1f} s){_best(row)}"
    ),
}

_STYLES = {
    "champion": "bold green",
    "warning": "yellow",
    "held": "yellow",
    "verdict": "yellow",
    "run_started": "bold",
    "run_ended": "bold",
}


def listener(log_format: str) -> Callable[[Row], None]:
    """The listener that ``--log-format`` asks for, ``text`` or ``json``; it outlives the terminal."""
    outlive_terminal()
    return print_json if log_format == "json" else Printer()
