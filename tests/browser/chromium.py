"""A real browser without a window, steered through its DevTools."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pyte

PATIENCE = 90.0
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
COLUMNS, LINES = 400, 120
"""More than any page's terminal has; what it has not stays blank."""


def find() -> str | None:
    """The browser that is installed, if any."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


async def until(holds: Callable[[], object], said: Callable[[], str] = str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s\n{said()}"
        await asyncio.sleep(0.02)


class Tab:
    """A page of the browser.

    Attributes:
        problems: What scripts threw and what was refused or not found.
        requested: Addresses that the page asked for.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._socket = socket
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._reader = asyncio.create_task(self._read())

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Ask the browser for something."""
        number = len(self._answers) + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": given})
        return await asyncio.wait_for(self._answers[number], PATIENCE)

    async def open(self, address: str) -> None:
        """Go to a page."""
        for domain in ("Network", "Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=address)

    async def evaluate(self, expression: str) -> Any:
        """What a line of script says."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def click(self, x: int, y: int) -> None:
        """Click where the page is: keys go to what was clicked."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def type(self, text: str) -> None:
        """Press keys."""
        for character in text:
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=character, key=character)
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=character)

    async def sees(self, *texts: str) -> None:
        """Wait until the terminal in the page shows each of these texts."""
        await until(lambda: all(text in self.text for text in texts), lambda: self.text)

    @property
    def text(self) -> str:
        """What the page's terminal shows, as an emulator reads the very bytes that it was sent."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    async def picture(self, file: Path) -> bytes:
        """The page as it is painted, as a PNG."""
        data = base64.b64decode((await self.call("Page.captureScreenshot"))["data"])
        file.write_bytes(data)
        return data

    async def close(self) -> None:
        """Close the page."""
        self._reader.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._answers[told["id"]].set_result(told.get("result", {}))
            else:
                self._note(told["method"], told["params"])

    def _note(self, kind: str, told: dict[str, Any]) -> None:
        if kind == "Network.webSocketFrameReceived" and told["response"]["opcode"] == 2:
            self._stream.feed(base64.b64decode(told["response"]["payloadData"]))
        elif kind == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif kind == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(told["exceptionDetails"].get("exception", {}).get("description")))
        elif kind == "Log.entryAdded" and told["entry"]["level"] == "error":
            address = told["entry"].get("url", "")
            # Browsers ask for one on their own.
            if not address.endswith("/favicon.ico"):
                self.problems.append(f"{told['entry']['text']} {address}")


class Browser:
    """A browser that runs."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._address = f"http://127.0.0.1:{port}"

    async def tab(self, address: str) -> Tab:
        """Open a page in a tab of its own."""
        async with self._session.put(f"{self._address}/json/new?about:blank") as answer:
            found = await answer.json()
        tab = Tab(await self._session.ws_connect(found["webSocketDebuggerUrl"], max_msg_size=0))
        await tab.open(address)
        return tab


@asynccontextmanager
async def browsing(program: str, folder: Path, size: tuple[int, int] = (1280, 800)) -> AsyncIterator[Browser]:
    """Start a browser with nothing remembered, which reaches this machine only."""
    command = [
        program,
        "--headless=new",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        f"--window-size={size[0]},{size[1]}",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        # Chromium refuses to run its sandbox for root, which is who runs tests in a container.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        "about:blank",
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    told = folder / "DevToolsActivePort"
    try:
        await until(lambda: (told.is_file() and told.read_text().count("\n")) or process.poll() is not None)
        assert process.poll() is None, "the browser did not start"
        async with aiohttp.ClientSession() as session:
            yield Browser(session, int(told.read_text().splitlines()[0]))
    finally:
        process.terminate()
        process.wait()
