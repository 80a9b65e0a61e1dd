"""``serve``: who gets in, over real HTTP on 127.0.0.1. Nothing here listens on an address that others reach."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, CookieJar, WSServerHandshakeError, web

from autokaggle_tui.serving import Screens, check_access, is_loopback
from autokaggle_tui.workspace import Workspace
from experiments.errors import UsageError
from experiments.registry import Registry

from .test_cli import cli

TOKEN = "0123456789abcdef0123456789abcdef"
EVIL = "evil.example"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Server:
    """Screens of a host, reached at 127.0.0.1 whatever that host is; each visit without the cookies of others."""

    screens: Screens
    port: int

    async def get(
        self, path: str, headers: Mapping[str, str] | None = None, cookies: Mapping[str, str] | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        async with (
            ClientSession(cookies=cookies, cookie_jar=CookieJar(unsafe=True)) as session,
            session.get(self.url(path), headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.text(), {**answer.headers}

    async def socket(self, path: str = "/ws", **how: Mapping[str, str]) -> int:
        """The status of a websocket's handshake: 101 when it is open."""
        async with ClientSession(cookies=how.get("cookies"), cookie_jar=CookieJar(unsafe=True)) as session:
            try:
                opened: ClientWebSocketResponse = await session.ws_connect(self.url(path), headers=how.get("headers"))
            except WSServerHandshakeError as error:
                return error.status
            await opened.close()
            return 101

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def serving(workspace: Workspace, host: str, token: str | None) -> AsyncIterator[Server]:
    """What ``serve`` would run for this host, bound to 127.0.0.1; a screen that opens ends at once."""
    port = free_port()
    screens = Screens(workspace, host, port, token)
    screens.command = f"exec {shutil.which('true')}"
    runner = web.AppRunner(await screens.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield Server(screens, port)
    finally:
        await runner.cleanup()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_s_own_addresses_need_no_token(host: str):
    assert is_loopback(host)
    check_access(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", ""])
def test_an_address_that_others_reach_needs_one(host: str):
    with pytest.raises(UsageError, match="needs a token"):
        check_access(host, None)
    check_access(host, TOKEN)


@pytest.mark.parametrize("token", ["", "short", "x" * 15, f"{TOKEN} {TOKEN}", f"{TOKEN}\n", f"{TOKEN}&a=b"])
def test_a_token_is_long_and_fits_an_address(token: str):
    with pytest.raises(UsageError, match="16 characters"):
        check_access("127.0.0.1", token)


def test_the_command_line_refuses_before_anything_listens(workspace: Workspace):
    for host in ("0.0.0.0", "example.org"):
        done = cli("serve", "--host", host, "-w", str(workspace.root), AUTOKAGGLE_SERVE_TOKEN="")
        assert (done.returncode, done.stdout) == (2, "") and "token" in done.stderr and "Traceback" not in done.stderr
    weak = cli("serve", "--host", "0.0.0.0", "-w", str(workspace.root), AUTOKAGGLE_SERVE_TOKEN="guessme")
    assert weak.returncode == 2 and "16 characters" in weak.stderr and "guessme" not in weak.stderr
    assert workspace.engine_pid() is None and not workspace.engine_out.exists()


async def test_without_the_token_nothing_is_answered(workspace: Workspace):
    async with serving(workspace, "0.0.0.0", TOKEN) as server:
        for path in (
            "/",
            "/?token=",
            f"/?token={TOKEN[:-1]}",
            f"/?token={TOKEN}x",
            "/static/js/textual.js",
            "/download/x",
        ):
            code, body, headers = await server.get(path)
            assert code == 401 and "Set-Cookie" not in headers and TOKEN not in body, path
        for cookies in ({}, {f"autokaggle-{server.port}": TOKEN}, {f"autokaggle-{server.port}": ""}):
            assert await server.socket(cookies=cookies) == 401, "the token itself is no cookie"


async def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(workspace: Workspace):
    async with serving(workspace, "0.0.0.0", TOKEN) as server:
        code, body, headers = await server.get(f"/?token={TOKEN}")
        said = headers["Set-Cookie"]
        assert code == 200 and "url=/" in body and headers["Referrer-Policy"] == "no-referrer"
        assert "HttpOnly" in said and "SameSite=Strict" in said and TOKEN not in said + body
        assert "no-store" in headers["Cache-Control"]
        name, _, value = said.partition(";")[0].partition("=")
        cookies = {name: value}
        code, page, headers = await server.get("/", cookies=cookies)
        assert code == 200 and f"ws://127.0.0.1:{server.port}/ws" in page and "0.0.0.0" not in page
        assert f"ws://127.0.0.1:{server.port}" in headers["Content-Security-Policy"]
        assert (await server.get("/static/js/textual.js", cookies=cookies))[0] == 200
        assert await server.socket(cookies=cookies) == 101
        assert await server.socket(cookies=cookies, headers={"Origin": f"http://127.0.0.1:{server.port}"}) == 101
        assert await server.socket(cookies=cookies, headers={"Origin": f"http://{EVIL}"}) == 403
        assert (await server.get("/", {"Host": "a b<c>"}, cookies))[0] == 400


async def test_a_token_guards_this_machine_s_own_address_too(workspace: Workspace):
    async with serving(workspace, "127.0.0.1", TOKEN) as server:
        assert (await server.get("/"))[0] == 401 and await server.socket() == 401
        assert (await server.get(f"/?token={TOKEN}"))[0] == 200


async def test_other_sites_do_not_reach_this_machine_s_own_server(workspace: Workspace):
    """Neither by a name that is pointed here (DNS rebinding) nor by a page that opens a websocket."""
    async with serving(workspace, "127.0.0.1", None) as server:
        here = f"127.0.0.1:{server.port}"
        assert (await server.get("/"))[0] == 200 and await server.socket() == 101
        assert await server.socket(headers={"Origin": f"http://{here}"}) == 101
        for headers in (
            {"Origin": f"http://{EVIL}"},
            {"Origin": "null"},
            {"Host": EVIL},
            {"Host": EVIL, "Origin": f"http://{EVIL}"},
            {"Host": f"{EVIL}:{server.port}", "Origin": f"http://{EVIL}:{server.port}"},
        ):
            assert await server.socket(headers=headers) == 403, headers
            assert (await server.get("/static/js/textual.js", headers))[0] == 403, headers
        code, _, headers = await server.get("/", {"Host": f"localhost:{server.port}"})
        assert (code, headers["Location"]) == (302, f"http://{here}/"), "a person's own other name for it"


@pytest.fixture
def served(workspace: Workspace) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``serve --attach`` on a port of this machine, with a token from the environment."""
    Registry(workspace.facts).close()
    arguments = ["serve", "--attach", "--port", str(free_port()), "-w", str(workspace.root)]
    process = subprocess.Popen(
        [sys.executable, "-m", "autokaggle_tui", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"AUTOKAGGLE_SERVE_TOKEN": TOKEN},
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[4].rstrip(";")
    yield process, address
    process.kill()
    process.communicate()


def test_the_browser_gets_everything_from_here_and_nobody_else_gets_in(
    workspace: Workspace, served: tuple[subprocess.Popen[str], str]
):
    process, address = served
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def get(path: str, **headers: str) -> tuple[int, str, str]:
        request = urllib.request.Request(f"{address}{path}", headers=headers)
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode("latin-1"), answer.headers["Content-Security-Policy"]
        except urllib.error.HTTPError as error:
            return error.code, "", ""

    assert get("/")[0] == 401
    assert get(f"/?token={TOKEN}")[0] == 200
    code, page, policy = get("/")
    assert code == 200 and "https://" not in page and "fonts/RobotoMono" in page and "'self'" in policy
    assert get("/static/js/textual.js")[0] == 200
    assert get("/ws", Origin=f"https://{EVIL}")[0] == 403
    assert get("/static/js/textual.js", Host=EVIL)[0] == 403
    port = address.rpartition(":")[2]
    taken = cli("serve", "--attach", "--port", port, "-w", str(workspace.root))
    assert taken.returncode == 1 and "in use" in taken.stderr and "Traceback" not in taken.stderr
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate()
    assert (process.returncode, errors) == (0, "") and TOKEN not in said
