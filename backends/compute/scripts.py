"""One script in the sandbox of the slots: a fresh process, output capped, everything ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backends.compute.cgroup import remove_group
from backends.compute.memory import sealed_bytes
from backends.compute.sandbox import Sandbox
from backends.compute.watchdog import Watchdog
from experiments.errors import ComputeError
from experiments.files import remove_tree
from experiments.logtext import LineReader
from experiments.processes import end_tree

_WATCH_SECONDS = 0.25
_END_SECONDS = 10.0
_DRAIN_SECONDS = 5.0
_MOST_CHARS = 1_000_000
_MODULE = "experiments.script"


@dataclass(frozen=True)
class ScriptResult:
    """What became of a script.

    Attributes:
        status: ``ok`` (exit code 0), ``failed``, ``timeout``, or ``limit`` (it used more than it may).
        output: What it printed, cleaned and capped.
        seconds: Wall seconds.
        error: One line for a person unless ok.
    """

    status: Literal["ok", "failed", "timeout", "limit"]
    output: str
    seconds: float
    error: str = ""


async def run_script(
    sandbox: Sandbox,
    code: str | Path,
    files: Mapping[str, Path] | None = None,
    *,
    place: Path,
    seconds: float,
    output_chars: int = 8_000,
    threads: int = 1,
    network: bool = False,
) -> ScriptResult:
    """Run Python code, or a program (an executable, else a Python file), to its end; never longer than told.

    It starts in an empty folder with a clean environment. Cancelling kills it with all it started.

    Args:
        files: What it may read, by the name it finds it under in its folder.
        place: Where its folder is made.
        output_chars: Characters of output that are kept, from its beginning and its end.
        network: Internet sockets; never for code that a model wrote.

    Raises:
        ComputeError: It cannot be started.
    """
    with contextlib.ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="script-", dir=place))
        stack.callback(remove_tree, root)
        root.chmod(0o711)
        try:
            files = {name: await _readable(path.resolve(), root) for name, path in (files or {}).items()}
            program = await _readable(code.resolve(), root) if isinstance(code, Path) else None
        except OSError as error:
            raise ComputeError(f"A script's files cannot be read: {error}") from None
        job = {
            "code": "" if program else code,
            "program": str(program) if program else "",
            "files": {name: str(path) for name, path in files.items()},
        }
        descriptor = sealed_bytes(json.dumps(job).encode())
        stack.callback(os.close, descriptor)
        lifeline, ours = os.pipe()
        stack.callback(os.close, lifeline)
        # Its name marks the processes: another engine's script must have another.
        running = _Running(sandbox, root / root.name, ours)
        stack.callback(running.hang_up)
        output = _Output(output_chars)
        stack.callback(output.close)
        launch = sandbox.launch(
            _MODULE,
            running.folder,
            threads=threads,
            arguments=[str(descriptor), str(lifeline)],
            network=network,
            read_only=[*files.values(), *([program] if program else [])],
        )
        running.group = launch.group
        if launch.group is not None:
            stack.callback(remove_group, launch.group)
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.theirs,
                stderr=output.theirs,
                cwd="/",
                env=launch.environment,
                pass_fds=[descriptor, lifeline],
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The start itself is not cancelled: it would wait for a process that waits for its lifeline.
            running.hang_up()
            await running.end(await starting)
            raise
        except OSError as error:
            raise ComputeError(f"A script cannot be started: {error}") from None
        output.give()
        return await running.see_through(process, output, seconds)


async def _readable(path: Path, root: Path) -> Path:
    """The file, or a copy where root started the engine and nobody else may read it: the script is another user."""
    mode = path.stat().st_mode
    if os.geteuid() != 0 or mode & 0o004:
        return path
    copy = root / path.name
    await asyncio.to_thread(shutil.copyfile, path, copy)
    copy.chmod(mode & 0o111 | 0o444)
    return copy


class _Running:
    """A script's process until it has ended with all below it."""

    def __init__(self, sandbox: Sandbox, folder: Path, lifeline: int) -> None:
        self.folder = folder
        self.group: Path | None = None
        self._sandbox = sandbox
        self._lifeline = lifeline

    def hang_up(self) -> None:
        """Close the lifeline, which ends everything."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    async def see_through(self, process: asyncio.subprocess.Process, output: _Output, seconds: float) -> ScriptResult:
        """Read what it prints until it ends, or has to."""
        started = time.monotonic()
        reading = asyncio.create_task(output.read())
        watching = asyncio.create_task(self._watch(process.pid))
        ended = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({ended, watching}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            exceeded = watching.result() if watching.done() and not ended.done() else ""
            late = not ended.done() and not exceeded
        finally:
            watching.cancel()
            self.hang_up()
            await self.end(process)
            ended.cancel()
            # Nobody is left to write; what stands in the pipe is read at once.
            await asyncio.wait({reading}, timeout=_DRAIN_SECONDS)
            reading.cancel()
        spent = time.monotonic() - started
        if exceeded:
            return ScriptResult("limit", output.text(), spent, f"the script was killed: {exceeded}")
        if late:
            return ScriptResult("timeout", output.text(), spent, f"the script was still running after {seconds:g} s")
        if process.returncode:
            said = f"the script ended with code {process.returncode}"
            return ScriptResult("failed", output.text(), spent, said)
        return ScriptResult("ok", output.text(), spent)

    async def _watch(self, pid: int) -> str:
        watchdog = Watchdog(pid, self._sandbox.limits, self._sandbox.scratch(self.folder), group=self.group)
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            exceeded = await asyncio.to_thread(watchdog.check)
            if exceeded:
                return exceeded

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """Wait until it has ended by itself, since the lifeline is closed; if not, kill it."""
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait({ending}, timeout=_END_SECONDS)
        finally:
            if process.returncode is None:
                end_tree(process.pid, self.folder.name)
            await ending


class _Output:
    """What a script prints, from a pipe of our own.

    One of asyncio's would not do: with it a process counts as running until the pipe has ended.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._lines = LineReader(max_chars=_MOST_CHARS)
        self._kept: list[str] = []
        self._ours, self.theirs = os.pipe()
        self._transport: asyncio.BaseTransport | None = None

    async def read(self) -> None:
        """Take what comes until its writers are gone."""
        reader = asyncio.StreamReader()
        pipe = os.fdopen(self._ours, "rb", buffering=0)
        self._ours = -1
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        while data := await reader.read(1 << 16):
            self._kept += self._lines.feed(data)

    def text(self) -> str:
        """All of it, or its beginning and its end: there an error tells what it is."""
        said = "\n".join([*self._kept, *self._lines.close()])
        if len(said) <= self._keep:
            return said
        last = self._keep // 3
        left_out = len(said) - self._keep
        return f"{said[: self._keep - last]}\n[{left_out:,} characters left out]\n{said[-last:]}"

    def give(self) -> None:
        """Close our copy of the end that the script writes to."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def close(self) -> None:
        """Let go of the pipe."""
        self.give()
        if self._transport is not None:
            self._transport.close()
        if self._ours >= 0:
            os.close(self._ours)
