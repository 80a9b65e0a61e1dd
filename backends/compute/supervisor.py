"""The process that owns a slot: it outlives the engine, so a fold that runs is not lost with it.

Started by an engine as ``python -s -P -m backends.compute.supervisor SETTINGS`` in a clean environment and a session
of its own, holding the lock of its control folder from the first moment. One engine at a time is connected; it gets a
``hello`` with all that is known of the last fold, then each record as it comes. When the engine dies, the fold goes
on; its end is written down for the next engine, and the supervisor leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backends.compute.base import FoldOutcome, Record
from backends.compute.channel import Channel
from backends.compute.control import ControlFolder
from backends.compute.host import WorkerHost
from backends.compute.messages import Message, Ticket, to_message
from backends.compute.sandbox import Sandbox
from experiments.errors import ComputeError


@dataclass
class Held:
    """The last fold: what an engine that comes later has to hear of it."""

    ticket: Ticket
    given: list[int]
    messages: list[Message] = field(default_factory=list)
    over: bool = False

    @property
    def result(self) -> int:
        """Descriptor of the predictions."""
        return self.given[-1]

    def close(self) -> None:
        """Close what it was given."""
        while self.given:
            os.close(self.given.pop())


class Supervisor:
    """One slot's owner.

    Args:
        listener: The door that engines knock at.
    """

    def __init__(self, control: ControlFolder, listener: socket.socket, threads: int, sandbox: Sandbox) -> None:
        listener.setblocking(False)
        self._control = control
        self._listener = listener
        self._host = WorkerHost(threads, control.path, sandbox)
        self._client: Channel | None = None
        self._held: Held | None = None
        self._running: asyncio.Task[None] | None = None
        self._failure = ""
        self._leaving = False
        self._discard = False

    async def serve(self) -> None:
        """Serve engines until there is nothing to do for any."""
        try:
            await self._host.start()
        except ComputeError as error:
            self._failure = str(error)
        while not self._leaving and (connection := await self._knock()) is not None:
            await self._attend(Channel(connection))
        await self._finish()

    def stop(self) -> None:
        """End at once, as told by a signal."""
        self._leaving = self._discard = True
        if self._client is not None:
            self._client.close()
        self._host.end("killed")

    async def _knock(self) -> socket.socket | None:
        """The next engine's connection; None when no fold runs that one could wait for.

        The engine that started us knocked before we lived.
        """
        accepting = asyncio.ensure_future(asyncio.get_running_loop().sock_accept(self._listener))
        try:
            if self._running is not None:
                await asyncio.wait({accepting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            # One that knocked at the very end is let in all the same.
            await asyncio.sleep(0)
            return accepting.result()[0] if accepting.done() else None
        finally:
            accepting.cancel()

    async def _attend(self, client: Channel) -> None:
        """Do what one engine asks until it is gone."""
        self._client = client
        self._greet(client)
        try:
            while (received := await client.receive()) is not None:
                message, descriptors = received
                await self._obey(message, descriptors)
                if self._leaving:
                    return
        finally:
            self._client = None
            client.close()

    def _greet(self, client: Channel) -> None:
        if self._failure:
            client.send({"failed": self._failure})
            return
        held = self._held
        about = {"pid": os.getpid(), "worker": self._host.pid, "libraries": dict(self._host.libraries)}
        ticket = held.ticket.to_json() if held else None
        client.send({"hello": {**about, "ticket": ticket}}, [held.result] if held else [])
        for message in held.messages if held else []:
            client.send(message)

    async def _obey(self, message: Message, descriptors: list[int]) -> None:
        order = message["do"]
        if order == "run" and self._running is None:
            if self._held is not None:
                self._held.close()
            self._held = Held(Ticket(**message["ticket"]), descriptors)
            self._running = asyncio.create_task(self._run(self._held))
            self._running.add_done_callback(self._check)
        elif order == "kill":
            self._host.end("killed")
        elif order in ("close", "leave"):
            self._leaving, self._discard = True, order == "close"
            self._host.end("killed")

    async def _run(self, held: Held) -> None:
        """See a fold through, whoever listens."""

        def tell(record: Record) -> None:
            self._tell(held, to_message(record))

        try:
            outcome: FoldOutcome = await self._host.run(held.ticket, held.given, tell)
            last = {**to_message(outcome), "worker": self._host.pid}
        except ComputeError as error:
            last = {"failed": str(error)}
        self._running, held.over = None, True
        self._tell(held, last)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A bug must not leave an engine waiting: say it in the slot's output, and end."""
        if (error := task.exception()) is not None:
            traceback.print_exception(error)
            self.stop()

    def _tell(self, held: Held, message: Message) -> None:
        held.messages.append(message)
        if self._client is not None:
            self._client.send(message)

    async def _finish(self) -> None:
        """End the worker; leave what somebody may still want, or nothing."""
        if self._running is not None:
            await asyncio.wait({self._running})
        held = self._held
        if held is not None and held.over and not self._discard:
            # With the engine dead, a full disk has nobody to tell: the fold will run again.
            with contextlib.suppress(OSError):
                self._control.leave(held.ticket, held.messages, held.result)
            await self._host.close()
            return
        await self._host.close()
        self._control.remove()


async def _serve(settings: Mapping[str, Any]) -> None:
    control = ControlFolder(Path(settings["folder"]))
    door = socket.socket(fileno=settings["door"])
    supervisor = Supervisor(control, door, settings["threads"], Sandbox.from_json(settings["sandbox"]))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, supervisor.stop)
    await supervisor.serve()


def main(arguments: list[str]) -> None:
    """Entry point; the one argument is a JSON object: folder, threads, sandbox, and the descriptors lock and door."""
    settings = json.loads(arguments[0])
    for name in ("lock", "door"):
        os.set_inheritable(settings[name], False)
    os.pwrite(settings["lock"], str(os.getpid()).encode(), 0)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main(sys.argv[1:])
