"""An emulated provider: plays a script on 127.0.0.1 and keeps what it was asked."""

from __future__ import annotations

import asyncio
import inspect
import json
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from aiohttp import web

from .answers import Answer, Break, Fail, Say, Script

PAGE = "<!doctype html><html><body><h1>Please sign in to the network</h1></body></html>"


@dataclass(frozen=True)
class Received:
    """A request as it came in; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


S = TypeVar("S", bound="Emulator")


class Emulator(ABC):
    """A provider that answers from a script.

    Use it as ``async with OpenAIServer(script) as server``, or, beside code that runs a loop of its own, as
    ``with hosted(OpenAIServer(script)) as server``.

    Args:
        script: Answers one after the other, or one function of the request's body for all of them. A list may hold
            functions too. A function may be asynchronous, to hold its answer back. A request after the last answer is
            refused (400).
        models: What ``GET /models`` lists.

    Attributes:
        received: Every request for an answer, oldest first.
        abandoned: Set once a client went away before its answer was complete.
    """

    prefix = ""

    def __init__(self, script: Script, models: tuple[str, ...] = ("emulated",)) -> None:
        self.script = script if callable(script) else list(script)
        self.models = models
        self.received: list[Received] = []
        self.listed: list[Received] = []
        self.port = 0

    @property
    def url(self) -> str:
        """What goes into ``api_base``."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    async def __aenter__(self) -> Self:
        self.abandoned = asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/{path:.*}", self._answer)
        app.router.add_get("/{path:.*}", self._list)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        self.listed.append(Received(request.path, _headers(request), {}))
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text())
        self.received.append(Received(request.path, _headers(request), body))
        answer = self._next(body)
        if inspect.isawaitable(answer):
            answer = await answer
        try:
            return await self._play(request, body, answer)
        except (asyncio.CancelledError, ConnectionError):
            self.abandoned.set()
            raise

    def _next(self, body: dict[str, Any]) -> Answer:
        if callable(self.script):
            return self.script(body)
        if not self.script:
            return Fail(400, "the script is over")
        answer = self.script.pop(0)
        return answer(body) if callable(answer) else answer

    async def _play(self, request: web.Request, body: dict[str, Any], answer: Answer) -> web.StreamResponse:
        if isinstance(answer, Fail):
            text = answer.body if answer.body is not None else json.dumps(self.error(answer))
            return web.Response(
                status=answer.status, text=text, headers=answer.headers, content_type="application/json"
            )
        if isinstance(answer, Break) and not answer.how.startswith("mid"):
            return await self._break_before(request, answer)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if isinstance(answer, Say):
            for event in self.events(body, answer):
                await response.write(event)
            return response
        for event in self.opening(body, answer.text):
            await response.write(event)
        if answer.how == "mid drop":
            await _abort(request)
        elif answer.how == "mid hang":
            await asyncio.Event().wait()
        elif answer.how == "mid flood":
            opening = list(self.opening(body, answer.text))
            while True:
                await response.write(opening[-1])
                await asyncio.sleep(0.02)
        elif answer.how == "mid garbage":
            await response.write(b"data: {this is no JSON\n\n")
        return response

    async def _break_before(self, request: web.Request, answer: Break) -> web.Response:
        if answer.how == "drop":
            await _abort(request)
        elif answer.how == "hang":
            await asyncio.Event().wait()
        return web.Response(text=PAGE, content_type="text/html")

    @abstractmethod
    def events(self, body: dict[str, Any], say: Say) -> Iterator[bytes]:
        """A whole answer as server-sent events."""

    @abstractmethod
    def opening(self, body: dict[str, Any], text: str) -> Iterator[bytes]:
        """The events of an answer that breaks off after a text."""

    @abstractmethod
    def error(self, fail: Fail) -> dict[str, Any]:
        """The body of an error in the provider's own form."""


@contextmanager
def hosted(server: S) -> Iterator[S]:
    """Run an emulator in a thread, for code that runs a loop of its own."""
    started = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def serve() -> None:
        async with server:
            started.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(10), "the emulator did not start"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _headers(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
    await asyncio.sleep(0)
    raise ConnectionResetError
