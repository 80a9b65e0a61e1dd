"""``serve``: the screen in a browser of this machine, through textual-serve; each tab attaches to the one engine."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import re
import shlex
import signal
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


def check_host(host: str) -> None:
    """Refuse an address that other machines reach: there is no password, and the screen steers the loop.

    Raises:
        UsageError: It is not one of this machine's own addresses.
    """
    try:
        own = ipaddress.ip_address(host).is_loopback
    except ValueError:
        own = host == "localhost"
    if not own:
        raise UsageError(
            f"--host {host!r} would let other machines steer the loop: there is no password.",
            hint="Serve on 127.0.0.1; from another machine, `ssh -L 8000:127.0.0.1:8000 HOST` brings the port over.",
        )


def serve(workspace: Workspace, host: str, port: int) -> None:
    """Serve the screen until Ctrl-C.

    Raises:
        UsageError: The address is not this machine's own.
        AutokaggleError: The port is taken or forbidden.
    """
    check_host(host)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    screens = Screens(workspace, host, port)

    def greet(*_: object) -> None:
        print(f"The screen is at {screens.public_url}; Ctrl-C ends the server, not the engine.", flush=True)

    try:
        web.run_app(screens.application(), host=host, port=port, print=greet, shutdown_timeout=CLOSING_SECONDS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AutokaggleError(
                f"port {port} of {host} is in use.", hint=f"Choose another: --port {port + 1}."
            ) from None
        if error.errno == errno.EACCES:
            raise AutokaggleError(f"port {port} may not be used.", hint="Choose one from 1024 on.") from None
        raise explain(error, workspace.root) or error from None


class Screens(Server):
    """textual-serve for one workspace: nothing from outside, and nobody from outside.

    A page of another site can reach addresses of this machine through its reader's browser, by a WebSocket or by a
    name that it points here; so the address has to be ours, and so has the page that asks.
    """

    def __init__(self, workspace: Workspace, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        self._address = shown if port == HTTP else f"{shown}:{port}"
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

    def _guard(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        policy = _POLICY.format(websocket=f"ws://{self._address}")

        @web.middleware
        async def guard(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            if request.headers.get("Origin", self.public_url) != self.public_url:
                raise web.HTTPForbidden(text="This page may not use the screen.")
            if request.host != self._address:
                if request.path == "/":
                    raise web.HTTPFound(self.public_url)
                raise web.HTTPForbidden(text=f"The screen is at {self.public_url}.")
            response: web.StreamResponse = await handler(request)
            if not response.prepared:
                response.headers["Content-Security-Policy"] = policy
            return response

        return guard


class Inside(jinja2.FileSystemLoader):
    """The library's page, with the fonts it ships in the place of those it would fetch from the network."""

    def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        """The text of a template, its file, and whether that is unchanged."""
        source, file, unchanged = super().get_source(environment, template)
        return _OUTSIDE.sub(_FONTS, source), file, unchanged
