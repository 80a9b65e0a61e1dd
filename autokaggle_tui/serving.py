"""``serve``: the screen in a browser, through textual-serve; each tab attaches to the one engine."""

from __future__ import annotations

import asyncio
import copy
import errno
import hashlib
import hmac
import ipaddress
import logging
import re
import shlex
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web
from textual_serve.server import Server

from autokaggle_tui.failures import explain
from autokaggle_tui.launching import MODULE
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError, UsageError

CLOSING_SECONDS = 2.0
HTTP = 80
"""The port that browsers leave out of an address."""

TOKEN_VARIABLE = "AUTOKAGGLE_SERVE_TOKEN"
LEAST_TOKEN = 16

_TOKEN = re.compile(rf"[A-Za-z0-9._~-]{{{LEAST_TOKEN},}}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_COME_IN = '<!doctype html><meta http-equiv="refresh" content="0; url=/"><title>autokaggle</title>'
_OUTSIDE = re.compile(r'<link[^>]*href="https?://[^>]*>')
_FONTS = """<style>
      @font-face { font-family: "Roboto Mono"; font-weight: 100 700;
        src: url("{{ config.static.url }}fonts/RobotoMono-VariableFont_wght.ttf"); }
      @font-face { font-family: "Roboto Mono"; font-weight: 100 700; font-style: italic;
        src: url("{{ config.static.url }}fonts/RobotoMono-Italic-VariableFont_wght.ttf"); }
    </style>"""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; connect-src 'self' {websocket}; frame-ancestors 'none'"
)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which no other machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, token: str | None) -> None:
    """Refuse an address that other machines reach without a token: the screen steers the loop.

    Raises:
        UsageError: The address needs a token, or the token is none.
    """
    if token is None and not is_loopback(host):
        raise UsageError(
            f"--host {host!r} would let other machines steer the loop: that needs a token.",
            hint=f"Set {TOKEN_VARIABLE} (or --token), e.g. to what `openssl rand -hex 16` prints. Or serve on 127.0.0.1"
            " and bring the port over with `ssh -L 8000:127.0.0.1:8000 HOST`.",
        )
    if token is not None and _TOKEN.fullmatch(token) is None:
        raise UsageError(
            f"the token of serve must have {LEAST_TOKEN} characters or more: letters, digits, '.', '_', '~' and '-'.",
            hint="Make one with `openssl rand -hex 16`.",
        )


def serve(workspace: Workspace, host: str, port: int, token: str | None = None) -> None:
    """Serve the screen until Ctrl-C.

    Args:
        token: What a browser has to show; needed where other machines reach the address.

    Raises:
        UsageError: The address needs a token, or the token is none.
        AutokaggleError: The port is taken or forbidden, or the address is none of this machine.
    """
    check_access(host, token)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    screens = Screens(workspace, host, port, token)

    def greet(*_: object) -> None:
        print(f"The screen is at {screens.public_url}; Ctrl-C ends the server, not the engine.", flush=True)
        if token is not None:
            print("Open it once with /?token=... and your token in the place of the dots.", flush=True)
        if not is_loopback(host):
            print("It is not encrypted: whoever reads along on the network sees the token.", flush=True)

    try:
        # No access log: an address holds the token.
        web.run_app(
            screens.application(), host=host, port=port, print=greet, shutdown_timeout=CLOSING_SECONDS, access_log=None
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AutokaggleError(
                f"port {port} of {host} is in use.", hint=f"Choose another: --port {port + 1}."
            ) from None
        if error.errno == errno.EACCES:
            raise AutokaggleError(f"port {port} may not be used.", hint="Choose one from 1024 on.") from None
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            raise AutokaggleError(f"--host {host!r} is no address of this machine.", hint="Try 127.0.0.1.") from None
        raise explain(error, workspace.root) or error from None


class Screens(Server):
    """textual-serve for one workspace: nothing from outside, and nobody from outside without the token.

    A page of another site can reach addresses of this machine through its reader's browser, by a WebSocket or by a
    name that it points here; so the address has to be ours, and so has the page that asks. Where other machines reach
    the server it goes by names that it cannot know, and the token, which a browser shows to the name it got it from
    alone, takes the place of that.
    """

    def __init__(self, workspace: Workspace, host: str, port: int, token: str | None = None) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._address = shown if port == HTTP else f"{shown}:{port}"
        self._own = is_loopback(host)
        self._token = token
        # Cookies do not know ports.
        self._cookie = f"autokaggle-{port}"
        super().__init__(
            # A shell runs it: with exec, a signal reaches the screen itself.
            f"exec {shlex.join([*MODULE, 'attach', '-w', str(workspace.root)])}",
            host=host,
            port=port,
            title=f"autokaggle · {workspace.root.name}",
            public_url=f"http://{self._address}",
        )

    async def application(self) -> web.Application:
        """What aiohttp runs."""
        application = await self._make_app()
        aiohttp_jinja2.get_env(application).loader = Inside(self.templates_path)
        application.middlewares.append(self._guard())
        return application

    async def on_startup(self, app: web.Application) -> None:  # noqa: ARG002 - the library calls it
        """Let a lost terminal end the server as Ctrl-C does, with the screens of all tabs."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.request_exit)

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        """The page, with addresses under the name by which the browser reached it."""
        here = copy.copy(self)
        here.public_url = f"http://{request.host}"
        response: web.StreamResponse = await Server.handle_index(here, request)
        return response

    def _guard(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def guard(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            self._check_names(request)
            response = self._admission(request)
            if response is None:
                response = await handler(request)
            if not response.prepared:
                response.headers["Content-Security-Policy"] = _POLICY.format(websocket=f"ws://{request.host}")
                response.headers["Referrer-Policy"] = "no-referrer"
            return response

        return guard

    def _check_names(self, request: web.Request) -> None:
        """The server has to be called by its name, by a page of its own.

        Raises:
            web.HTTPException: It is not.
        """
        if self._own and request.host != self._address:
            # The reader's own words in the address bar, unlike another site's page, may lead to where it is.
            if request.path == "/" and "Origin" not in request.headers:
                raise web.HTTPFound(f"{self.public_url}{request.path_qs}")
            raise web.HTTPForbidden(text=f"The screen is at {self.public_url}.")
        if _NAME.fullmatch(request.host) is None:
            raise web.HTTPBadRequest(text="The server has another name.")
        if request.headers.get("Origin", f"http://{request.host}") != f"http://{request.host}":
            raise web.HTTPForbidden(text="This page may not use the screen.")

    def _admission(self, request: web.Request) -> web.StreamResponse | None:
        """None for whoever may come in; a page that hands over a cookie for whoever shows the token.

        Raises:
            web.HTTPUnauthorized: Neither token nor cookie is right.
        """
        if self._token is None or _same(request.cookies.get(self._cookie, ""), _pass(self._token)):
            return None
        if not _same(request.query.get("token", ""), self._token):
            raise web.HTTPUnauthorized(text="Open the address with /?token=... and the token in the place of the dots.")
        # A redirect would belong to whoever linked here, and a strict cookie is not shown then.
        response = web.Response(text=_COME_IN, content_type="text/html", headers={"Cache-Control": "no-store"})
        response.set_cookie(self._cookie, _pass(self._token), httponly=True, samesite="Strict", path="/")
        return response


def _same(shown: str, wanted: str) -> bool:
    """Compare in a time that tells nothing of how far they agree."""
    ours, theirs = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (wanted, shown))
    return hmac.compare_digest(ours, theirs)


def _pass(token: str) -> str:
    """What the cookie holds: not the token itself, and the same after a restart."""
    return hmac.new(token.encode(), b"autokaggle-tui serve", "sha256").hexdigest()


class Inside(jinja2.FileSystemLoader):
    """The library's page, with the fonts it ships in the place of those it would fetch from the network."""

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """The text of a template, its file, and whether that is unchanged."""
        source, file, unchanged = super().get_source(environment, template)
        return _OUTSIDE.sub(_FONTS, source), file, unchanged
