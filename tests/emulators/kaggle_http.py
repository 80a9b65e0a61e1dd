"""HTTP as Kaggle's API speaks it, with what can go wrong on the way."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, RLock
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        how: ``status``: refused with that status. ``drop``: the connection ends before anything is done;
            ``drop after``: when all is done, without a word. ``slow``: the answer waits. ``cut``: a file ends after so
            many bytes. ``page``: a sign-in page comes instead.
    """

    how: Literal["status", "drop", "drop after", "slow", "cut", "page"]
    status: int = 500
    message: str = "Internal error"
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True)
class Received:
    """A request as it came in: an RPC by its name, ``Put`` or ``Blob``; header names in lower case."""

    name: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, reason: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.reason, self.headers = status, message, reason, headers or {}


_STATUS = {
    400: "FAILED_PRECONDITION",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
}


class Kaggle(Protocol):
    """Who answers."""

    etag: str
    received: list[Received]
    lock: RLock
    over: Event

    def fault(self, name: str) -> Fault | None: ...

    def answer(self, name: str, body: dict[str, Any], authorization: str) -> dict[str, Any] | str: ...

    def put(self, place: str, content: bytes) -> None: ...

    def blob(self, place: str) -> bytes: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    kaggle: Kaggle

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        # Through a proxy the whole address comes; beside Kaggle's own host the calls lie below /api.
        parts = urlsplit(self.path).path.removeprefix("/api").split("/")
        content = self._content()
        body = json.loads(content or b"{}")
        name = parts[-1] if len(parts) == 4 and parts[1] == "v1" else ""
        if not self._spared(name, body):
            return
        try:
            answer = self.server.kaggle.answer(name, body, self.headers.get("Authorization", ""))
        except RefusedError as refusal:
            self._refuse(refusal)
            return
        if self._fault is not None and self._fault.how == "drop after":
            self._drop()
        elif isinstance(answer, str):
            self._send(302, b"", {"Location": answer})
        else:
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json; charset=utf-8"})

    def do_PUT(self) -> None:
        content = self._content()
        if not self._spared("Put", {}):
            return
        try:
            self.server.kaggle.put(urlsplit(self.path).path.removeprefix("/uploads/"), content)
        except RefusedError as refusal:
            self._refuse(refusal)
            return
        self._send(200, b"", {})

    def do_GET(self) -> None:
        if not self._spared("Blob", {}):
            return
        kaggle = self.server.kaggle
        try:
            content = kaggle.blob(urlsplit(self.path).path.removeprefix("/blobs/"))
        except RefusedError as refusal:
            self._refuse(refusal)
            return
        headers = {
            "Content-Type": "application/octet-stream",
            "ETag": kaggle.etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
        }
        status, start = 200, 0
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes=") and self.headers.get("If-Range", kaggle.etag) == kaggle.etag:
            status, start = 206, int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, content[start:], headers)

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _spared(self, name: str, body: dict[str, Any]) -> bool:
        """Write the request down and let go wrong what is to; whether it is still to be answered."""
        kaggle = self.server.kaggle
        headers = {key.lower(): value for key, value in self.headers.items()}
        with kaggle.lock:
            kaggle.received.append(Received(name, headers, body))
        self._fault = kaggle.fault(name)
        if self._fault is None:
            return True
        if self._fault.how == "status":
            fault = self._fault
            self._refuse(RefusedError(fault.status, fault.message, fault.reason, fault.headers))
            return False
        if self._fault.how == "page":
            self._send(200, b"<!doctype html><h1>Please sign in to the network</h1>", {"Content-Type": "text/html"})
            return False
        if self._fault.how == "drop":
            self._drop()
            return False
        if self._fault.how == "slow":
            kaggle.over.wait(self._fault.seconds)
        return True

    def _refuse(self, refusal: RefusedError) -> None:
        status = _STATUS.get(refusal.status, "INTERNAL")
        error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "status": status}
        if refusal.reason:
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": refusal.reason}]
        headers = {"Content-Type": "application/json; charset=utf-8", **refusal.headers}
        self._send(refusal.status, json.dumps({"error": error}).encode(), headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self._fault is not None and self._fault.how == "cut" and self._fault.bytes < len(content):
                self.wfile.write(content[: self._fault.bytes])
                self._drop()
            else:
                self.wfile.write(content)

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
