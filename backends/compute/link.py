"""The engine's hold on one supervisor: start it or find it again, talk to it, end it for certain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.compute.channel import Channel
from backends.compute.control import ControlFolder
from backends.compute.environment import clean_environment
from backends.compute.messages import CLOSE, Message, Ticket
from backends.compute.sandbox import Sandbox
from backends.compute.warm import START_SECONDS
from experiments.errors import ComputeError
from experiments.processes import MARKER, describe_exit, end_tree

CLOSE_SECONDS = 10.0
END_SECONDS = 2.0
GREETING_SECONDS = 10.0
POLL_SECONDS = 0.01


class Link:
    """A connection to a supervisor; made by ``spawn`` or ``attach``.

    Attributes:
        ticket: The last fold it ran or runs, None when there was none.
        result: Descriptor of that fold's predictions.
        pid: Of the supervisor.
        worker: Process id of the warm process.
        libraries: Version by library that the warm process has loaded.
    """

    def __init__(self, control: ControlFolder, channel: Channel, process: asyncio.subprocess.Process | None) -> None:
        self.control = control
        self._channel = channel
        self._process = process
        self.ticket: Ticket | None = None
        self.result = -1
        self.pid = process.pid if process else 0
        self.worker: int | None = None
        self.libraries: Mapping[str, str] = {}

    @classmethod
    async def spawn(cls, threads: int, root: Path, sandbox: Sandbox) -> Link:
        """Start a supervisor and wait until its worker is warm.

        Raises:
            ComputeError: It did not come up.
        """
        try:
            control = ControlFolder.create(root)
        except OSError as error:
            raise ComputeError(f"A worker slot could not be started: {error}") from None
        link = None
        try:
            link = await cls._start(control, threads, sandbox)
            async with asyncio.timeout(START_SECONDS):
                failure = await link._greeted()
        except TimeoutError:
            failure = "it did not answer"
        except OSError as error:
            failure = str(error)
        except BaseException:
            if link is not None:
                await link.destroy()
            control.remove()
            raise
        if failure:
            said = control.words()
            if link is not None:
                await link.destroy()
            control.remove()
            raise ComputeError(
                f"A worker slot did not come up: {failure}" + (f" It said: {said}" if said else ""),
                hint="Run `autokaggle-tui doctor`; it starts the same process and shows what fails.",
            )
        assert link is not None
        return link

    @classmethod
    async def _start(cls, control: ControlFolder, threads: int, sandbox: Sandbox) -> Link:
        lock, door = control.lock(), control.listen()
        # Before there is a supervisor: one whose engine dies from here on finds a connection that has ended.
        connection = control.connect()
        assert lock is not None and connection is not None
        settings = {
            "folder": str(control.path),
            "threads": threads,
            "sandbox": sandbox.to_json(),
            "lock": lock,
            "door": door.fileno(),
        }
        try:
            with control.said.open("wb") as said:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-s",
                    "-P",
                    "-m",
                    "backends.compute.supervisor",
                    json.dumps(settings),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    cwd="/",
                    env=_environment(control, threads),
                    pass_fds=[lock, door.fileno()],
                    start_new_session=True,
                )
        except BaseException:
            connection.close()
            raise
        finally:
            # The supervisor holds both from here on.
            os.close(lock)
            door.close()
        return cls(control, Channel(connection), process)

    @classmethod
    async def attach(cls, control: ControlFolder) -> Link | None:
        """Find the supervisor that an engine left; None when it does not answer (it is then ended)."""
        connection = control.connect()
        if connection is None:
            return None
        link = cls(control, Channel(connection), None)
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                failure = await link._greeted()
        except TimeoutError:
            failure = "it did not answer"
        if failure:
            link.hang_up()
            return None
        return link

    @property
    def alive(self) -> bool:
        """Whether it still answers, as far as can be seen without asking."""
        return not self._channel.ended

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; False when the supervisor is gone."""
        return self._channel.send(message, descriptors)

    async def receive(self) -> Message | None:
        """The next message; None once the supervisor is gone."""
        received = await self._channel.receive()
        if received is None:
            return None
        message, descriptors = received
        for descriptor in descriptors:
            os.close(descriptor)
        return message

    async def close(self) -> None:
        """Have it end by itself and leave nothing, or end it."""
        self.send(CLOSE)
        await self._channel.drain()
        await self.gone(CLOSE_SECONDS)
        await self.destroy()

    async def destroy(self) -> None:
        """Kill it with everything below it and remove its folder."""
        if not self.alive:
            # It is ending by itself: let it, for its exit status tells why.
            await self.gone(END_SECONDS)
        self.hang_up()
        if await asyncio.to_thread(self.control.held):
            await asyncio.to_thread(end_tree, self.pid or None, self.control.marker)
            await self.gone(END_SECONDS)
        else:
            await asyncio.to_thread(end_tree, None, self.control.marker)
        await asyncio.to_thread(self.control.remove)

    def describe_end(self) -> str:
        """How it ended, in words."""
        return _describe(None if self._process is None else self._process.returncode)

    async def gone(self, seconds: float) -> bool:
        """Wait until its process has ended, at most so long; False when it has not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._process is not None:
                    await self._process.wait()
                return await released(self.control, seconds)
        return False

    def hang_up(self) -> None:
        """Close the connection."""
        self._channel.close()
        if self.result >= 0:
            os.close(self.result)
            self.result = -1

    async def _greeted(self) -> str:
        """Wait for the supervisor's greeting; returns what is wrong, or nothing."""
        received = await self._channel.receive()
        if received is None:
            if self._process is not None:
                await self._process.wait()
            return f"its supervisor {self.describe_end()}"
        message, descriptors = received
        if "hello" not in message:
            return str(message.get("failed", "it spoke another language"))
        hello: Mapping[str, Any] = message["hello"]
        self.pid, self.worker, self.libraries = hello["pid"], hello["worker"], hello["libraries"]
        self.ticket = Ticket(**hello["ticket"]) if hello["ticket"] else None
        self.result = descriptors[0] if descriptors else -1
        return ""


async def released(control: ControlFolder, seconds: float) -> bool:
    """Wait until no supervisor holds a folder, at most so long; False when one still does."""
    end = asyncio.get_running_loop().time() + seconds
    while await asyncio.to_thread(control.held):
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _environment(control: ControlFolder, threads: int) -> dict[str, str]:
    """A worker's, but for the marker: whatever carries that ends whenever a worker is ended."""
    environment = clean_environment(str(control.path), control.marker, threads)
    del environment[MARKER]
    return environment


def _describe(code: int | None) -> str:
    if code is None:
        return "is gone"
    return describe_exit(-code if code < 0 else code << 8)
