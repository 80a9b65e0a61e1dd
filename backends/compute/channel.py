"""JSON lines with file descriptors over a stream socket: how an engine and the supervisor of a slot talk."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
CHUNK = 1 << 18
MOST_DESCRIPTORS = 16


class Channel:
    """One end of a connection; made inside a running event loop.

    Nothing blocks: what the other end does not take yet is kept and sent later.

    Args:
        connection: A connected stream socket, which the channel closes.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._received: asyncio.Queue[tuple[Message, list[int]] | None] = asyncio.Queue()
        self._rest = b""
        self._descriptors: deque[int] = deque()
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self.ended = False
        self._loop.add_reader(connection, self._read)

    async def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with the descriptors it carries, which are the caller's to close; None at the end."""
        if self.ended and self._received.empty():
            return None
        return await self._received.get()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send a message; the caller may close the descriptors at once.

        Returns:
            False when the other end is known to be gone.
        """
        if self.ended:
            return False
        line = json.dumps({**message, "descriptors": len(descriptors)}).encode() + b"\n"
        self._waiting.append((line, [os.dup(descriptor) for descriptor in descriptors]))
        if len(self._waiting) == 1:
            self._write()
        return not self.ended

    async def drain(self) -> None:
        """Wait until everything is sent, or the other end is gone."""
        while self._waiting and not self.ended:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        """Close the connection, and the descriptors that nobody took."""
        if self._socket.fileno() < 0:
            return
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._end()
        while not self._received.empty():
            item = self._received.get_nowait()
            self._descriptors.extend(item[1] if item else [])
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        self._received.put_nowait(None)

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, CHUNK, MOST_DESCRIPTORS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        if not data:
            self._loop.remove_reader(self._socket)
            self._end()
            self._received.put_nowait(None)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            carried = [self._descriptors.popleft() for _ in range(message.pop("descriptors"))]
            self._received.put_nowait((message, carried))

    def _write(self) -> None:
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._socket, self._write)
                return
            except OSError:
                self._end()
                return
            # Descriptors travel with the first byte.
            _close(descriptors)
            if sent < len(data):
                self._waiting[0] = (data[sent:], [])
            else:
                self._waiting.popleft()
        self._loop.remove_writer(self._socket)

    def _end(self) -> None:
        """Nothing can be sent any more."""
        self.ended = True
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
