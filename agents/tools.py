"""The tools an agent may call: an allow-list per role, paths jailed to the workspace, output capped."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents.reading_room import READING_ROOM
from agents.services import Services
from agents.tool import Arguments, Tool, ToolError, services_of
from backends.models.base import ToolSpec
from experiments.errors import AutokaggleError
from experiments.jail import open_beneath
from experiments.schema import open_viewer
from experiments.text import clean, one_line

READ_CAP = 60_000
WRITE_CAP = 200_000
ROWS_CAP = 200
COLUMNS_CAP = 200
SQL_STEPS = 2_000_000
SQL_TICK = 20
SQL_SECONDS = 10.0
SQL_VALUE_BYTES = 250_000
"""One function may take the square of it, and nothing ends it halfway."""


class ReadFile(Arguments):
    """Arguments of read_file."""

    path: str


class ListFiles(Arguments):
    """Arguments of list_files."""

    folder: str = "rounds"


class WriteFile(Arguments):
    """Arguments of write_file."""

    path: str
    content: str


class QueryRegistry(Arguments):
    """Arguments of query_registry."""

    sql: str


class Correlations(Arguments):
    """Arguments of correlations."""

    experiment: str


class CheckRules(Arguments):
    """Arguments of check_rules."""

    plan: str


class PreviewBlend(Arguments):
    """Arguments of preview_blend."""

    members: tuple[str, ...] = ()


class RunPython(Arguments):
    """Arguments of run_python."""

    code: str


@dataclass
class Toolbox:
    """The tools of one role during one phase.

    Attributes:
        root: The workspace; nothing outside it can be read.
        outputs: Paths write_file accepts, relative to the workspace.
        staged: What write_file has taken so far, by file name; the engine validates and publishes it.
        services: What the loop does for tools; without them such a tool is refused.
        round: The round the phase belongs to.
        most: Characters that one result may take.
    """

    root: Path
    database: Path
    allowed: tuple[str, ...]
    outputs: tuple[str, ...] = ()
    staged: dict[str, str] = field(default_factory=dict)
    services: Services | None = None
    round: int = 0
    most: int = READ_CAP

    def specs(self) -> tuple[ToolSpec, ...]:
        """The allowed tools, as a model is told of them."""
        return tuple(
            ToolSpec(name, TOOLS[name].description, TOOLS[name].arguments.model_json_schema()) for name in self.allowed
        )

    async def call(self, name: str, arguments: str) -> str:
        """Run a tool.

        Args:
            name: The tool.
            arguments: JSON text, as the model gave it.

        Returns:
            The result for the model.

        Raises:
            ToolError: Unknown or forbidden tool, malformed arguments, or a refusal.
        """
        if name not in self.allowed:
            raise ToolError(f"no tool {name!r} for this role; there are: {', '.join(self.allowed)}")
        tool = TOOLS[name]
        try:
            parsed = tool.arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors()
            )
            raise ToolError(f"{name}: {problems}") from None
        try:
            if inspect.iscoroutinefunction(tool.run):
                result = str(await tool.run(self, parsed))
            else:
                # Beside the loop: a query may take a second.
                result = str(await asyncio.to_thread(tool.run, self, parsed))
            return self._fit(clean(result))
        except (OSError, ValueError) as error:
            # Paths too long, not permitted, or with characters that no file name has.
            said = error.strerror if isinstance(error, OSError) else None
            raise ToolError(f"{name}: {said or one_line(str(error))}") from None
        except AutokaggleError as error:
            raise ToolError(f"{name}: {error.message}") from None

    def _fit(self, text: str) -> str:
        # A file says itself where it was cut.
        if len(text) <= self.most + 100:
            return text
        return f"{text[: self.most]}\n… cut after {self.most} of {len(text)} characters"

    def resolve(self, path: str) -> Path:
        """A path inside the workspace, links followed.

        Raises:
            ToolError: It leads outside, or is no path. Everything inside may be read: hidden labels are kept
                outside the workspace.
        """
        if "\0" in path:
            raise ToolError("a path cannot hold a NUL character")
        root = self.root.resolve()
        try:
            target = (root / path).resolve()
        except (OSError, RuntimeError) as error:
            raise ToolError(f"{path}: {error}") from None
        if not target.is_relative_to(root):
            raise ToolError(f"{path} is outside the workspace")
        return target


def _read_file(box: Toolbox, arguments: Any) -> str:
    target = box.resolve(arguments.path)
    name = target.name
    if name in box.staged and target.parent == (box.root / "rounds").resolve():
        return box.staged[name]
    if not target.is_file():
        raise ToolError(f"{arguments.path} is not a file; list_files shows what there is")
    # Looked up once and opened without a link: what is swapped in between leads nowhere.
    root = box.root.resolve()
    with open_beneath(root, target.relative_to(root)) as file:
        raw = file.read(READ_CAP + 1)
    text = clean(raw[:READ_CAP].decode("utf-8", errors="replace"))
    return text if len(raw) <= READ_CAP else f"{text}\n… cut after {READ_CAP} bytes"


def _list_files(box: Toolbox, arguments: Any) -> str:
    folder = box.resolve(arguments.folder)
    if not folder.is_dir():
        raise ToolError(f"{arguments.folder} is not a folder")
    with os.scandir(folder) as entries:
        names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
    return clean("\n".join(names[:1000])) or "(empty)"


def _write_file(box: Toolbox, arguments: Any) -> str:
    if arguments.path not in box.outputs:
        raise ToolError(f"this phase writes {', '.join(box.outputs) or 'no file'}, not {arguments.path}")
    if len(arguments.content.encode("utf-8", errors="replace")) > WRITE_CAP:
        raise ToolError(f"{arguments.path} is longer than {WRITE_CAP} bytes")
    box.staged[Path(arguments.path).name] = clean(arguments.content)
    return f"staged {arguments.path} ({len(arguments.content.splitlines())} lines)"


def _query_registry(box: Toolbox, arguments: Any) -> str:
    connection = open_viewer(box.database)
    try:
        connection.set_authorizer(_only_reads)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SQL_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, COLUMNS_CAP)
        steps = 0
        deadline = time.monotonic() + SQL_SECONDS

        def tick() -> int:
            nonlocal steps
            steps += SQL_TICK
            return int(steps > SQL_STEPS or time.monotonic() > deadline)

        connection.set_progress_handler(tick, SQL_TICK)
        cursor = connection.execute(arguments.sql)
        rows: list[list[Any]] = []
        size = 0
        while size < READ_CAP and len(rows) < ROWS_CAP and (row := cursor.fetchone()) is not None:
            rows.append([_short(value) for value in row])
            size += sum(len(str(value)) for value in rows[-1])
        header = [column[0] for column in cursor.description or ()]
    except sqlite3.Error as error:
        raise ToolError(f"SQL: {error}") from None
    finally:
        connection.close()
    text = json.dumps({"columns": header, "rows": rows}, ensure_ascii=False, default=str)
    return clean(text[:READ_CAP])


def _short(value: Any) -> Any:
    return value[:READ_CAP] if isinstance(value, str | bytes) else value


def _only_reads(action: int, *_: object) -> int:
    reading = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
    return sqlite3.SQLITE_OK if action in reading else sqlite3.SQLITE_DENY


def _correlations(box: Toolbox, arguments: Any) -> str:
    connection = open_viewer(box.database)
    try:
        rows = connection.execute(
            "SELECT CASE a WHEN :x THEN b ELSE a END AS other, pearson, spearman, error FROM correlations "
            "WHERE a = :x OR b = :x ORDER BY pearson DESC",
            {"x": arguments.experiment},
        ).fetchall()
    except sqlite3.Error as error:
        raise ToolError(f"correlations: {error}") from None
    finally:
        connection.close()
    return "\n".join("\t".join([row[0], *map(_figure, tuple(row)[1:])]) for row in rows) or "no correlations stored"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.5f}"


async def _check_rules(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).check_rules(box.round, arguments.plan)


async def _preview_blend(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).preview_blend(arguments.members)


async def _run_python(box: Toolbox, arguments: Any) -> str:
    return await services_of(box).run_python(arguments.code)


TOOLS: Mapping[str, Tool] = {
    "read_file": Tool("Read a text file of the workspace.", ReadFile, _read_file),
    "list_files": Tool("List a folder of the workspace.", ListFiles, _list_files),
    "write_file": Tool("Stage one of this phase's files for publication.", WriteFile, _write_file),
    "query_registry": Tool(
        "Run one read-only SQL SELECT on the registry (tables: experiments, folds, verdicts, submissions, "
        "correlations, rounds, phases; view: results).",
        QueryRegistry,
        _query_registry,
    ),
    "correlations": Tool(
        "How alike an experiment's out-of-fold prediction is to every other: a line for each, the most alike first, "
        "with its id, the Pearson correlation of the predictions, Spearman's of their ranks, and the correlation of "
        "their errors (what each misses the target by). A blend feeds on errors that differ: of equally good "
        "partners the one with the lowest error correlation gains most.",
        Correlations,
        _correlations,
    ),
    "check_rules": Tool(
        "What the rules of LEARNINGS.md say of a plan. `plan` is the text of a plan file, front matter included.",
        CheckRules,
        _check_rules,
    ),
    "preview_blend": Tool(
        "Cross-fitted score of a blend of these experiments, or of the whole pool, under the rules. Nothing is kept.",
        PreviewBlend,
        _preview_blend,
    ),
    "run_python": Tool(
        "Run a Python script to look at the data: the data files lie in its working folder under their own names "
        "(train.csv, test.csv ...), numpy, pandas and scikit-learn are there, the network is not. "
        "Returns what it prints, capped.",
        RunPython,
        _run_python,
    ),
    **READING_ROOM,
}


def describe_call(name: str, arguments: str) -> str:
    """A tool call in one line for a person: what it is about, never the text it writes."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return one_line(f"{name} {arguments}")
    if not isinstance(given, dict):
        return one_line(f"{name} {arguments}")
    text = given.pop("content", None)
    lines = f" +{len(str(text).splitlines())}" if text is not None else ""
    return one_line(f"{name} {' '.join(str(value) for value in given.values())}") + lines
