"""The parent's hold on one warm process: start it, talk to it, end it for certain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from backends.compute.cgroup import memory_kills, remove_group
from backends.compute.sandbox import Sandbox
from backends.compute.watchdog import tree
from experiments.errors import ComputeError
from experiments.files import remove_tree
from experiments.logtext import tail
from experiments.processes import describe_exit, end_tree

PREFIX = "worker-"
START_SECONDS = 180.0
CLOSE_SECONDS = 5.0
END_SECONDS = 2.0


class WarmProcess:
    """A started ``experiments.worker``; made by ``spawn``.

    Attributes:
        pid: Its process id.
        libraries: Version by preloaded library.
        group: Its control group, None without.
        own: Process ids of the sandbox and the warm process in it, without any fold's.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        control: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        folder: Path,
        output: IO[bytes],
        group: Path | None,
    ) -> None:
        self._process = process
        self._control = control
        self._reader = reader
        self._writer = writer
        self._folder = folder
        self._output = output
        self.group = group
        self.pid = process.pid
        self.libraries: Mapping[str, str] = {}
        self.own: frozenset[int] = frozenset()

    @classmethod
    async def spawn(cls, threads: int, place: Path, sandbox: Sandbox) -> WarmProcess:
        """Start one, shut in, and wait until it has imported its libraries.

        Raises:
            ComputeError: It did not come up.
        """
        folder = place / f"{PREFIX}{uuid.uuid4().hex[:16]}"
        ours, theirs = socket.socketpair()
        # Not a pipe: nobody has to read it, and it is looked at only when the start fails.
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            launch = sandbox.launch(
                "experiments.worker",
                folder,
                marker=place.name,
                threads=threads,
                arguments=[str(theirs.fileno())],
            )
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=launch.environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            output.close()
            remove_tree(folder)
            raise ComputeError(f"A worker slot could not be started: {error}") from None
        finally:
            theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours.dup())
        warm = cls(process, ours, reader, writer, folder, output, launch.group)
        try:
            async with asyncio.timeout(START_SECONDS):
                message = await warm.receive()
        except TimeoutError:
            message = None
        except BaseException:
            await warm.destroy()
            raise
        if message is None or "ready" not in message:
            said = await warm.destroy()
            raise ComputeError(
                "A worker slot did not come up." + (f" It said: {said}" if said else ""),
                hint="Run `autokaggle-tui doctor`; it starts the same process and shows what fails.",
            )
        warm.libraries = message["ready"]["libraries"]
        warm.own = await asyncio.to_thread(tree, process.pid)
        return warm

    @property
    def folder(self) -> Path:
        """Its own folder, as the supervisor sees it."""
        return self._folder

    @property
    def alive(self) -> bool:
        """Whether it still answers, as far as can be seen without asking."""
        return self._process.returncode is None and not self._reader.at_eof()

    @property
    def memory_kills(self) -> int:
        """How many of its processes the kernel has killed because its control group was full."""
        return 0 if self.group is None else memory_kills(self.group)

    def send(self, command: bytes, descriptors: Sequence[int] = ()) -> bool:
        """Send a command byte, with file descriptors; False when the process is gone."""
        try:
            socket.send_fds(self._control, [command], list(descriptors))
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):
            return False
        return True

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None once the process is gone. Safe to cancel."""
        try:
            line = await self._reader.readline()
        except (ConnectionResetError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    async def close(self) -> None:
        """Let it end by itself (it kills what is below it and removes its folder), or end it."""
        self._hang_up()
        await self._wait(CLOSE_SECONDS)
        await self.destroy()

    async def destroy(self) -> str:
        """Kill it with everything below it and remove its folder; returns what it printed last."""
        if self._reader.at_eof():
            # It is ending by itself: let it, for its exit status tells why.
            await self._wait(END_SECONDS)
        self._hang_up()
        code = self._process.returncode
        if code != 0:
            await asyncio.to_thread(end_tree, self.pid if code is None else None, self._folder.parent.name)
        await self._process.wait()
        await asyncio.to_thread(remove_tree, self._folder)
        if self.group is not None:
            remove_group(self.group)
        said = ""
        if not self._output.closed:
            said = tail(self._output)
            self._output.close()
        return said

    def describe_end(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is None:
            return "closed its connection"
        return describe_exit(-code if code < 0 else code << 8)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()

    def _hang_up(self) -> None:
        self._writer.close()
        self._control.close()
