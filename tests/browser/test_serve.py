"""``serve`` in a real browser: the demo is played by a real engine, and its rounds arrive on the page."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autokaggle_tui.workspace import Workspace

from .chromium import browsing, find, until

pytestmark = pytest.mark.browser


@dataclass
class Served:
    """A server that runs, and its address."""

    process: subprocess.Popen[str]
    address: str


@pytest.fixture
def served(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The demo, served; the engine that ``serve`` started is ended too."""
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    settings = json.loads(workspace.config.read_text())
    workspace.config.write_text(json.dumps(settings | {"compute": {"slots": 1}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "autokaggle_tui", "serve", "-w", str(workspace.root), "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        assert address in server.stdout.readline()
        yield Served(server, address)
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()
        if pid := workspace.engine_pid():
            os.kill(pid, signal.SIGKILL)


async def test_rounds_arrive_on_the_page(served: Served, workspace: Workspace, tmp_path: Path):
    program = find()
    assert program is not None, "no Chromium or Chrome is installed; on Debian: apt-get install chromium"
    pid = workspace.engine_pid()
    async with browsing(program, tmp_path / "profile") as browser:
        tab = await browser.tab(served.address)
        await tab.sees("autokaggle", "● running", "R01", "1 Researcher")
        await tab.sees("R02")
        assert await tab.evaluate("document.body.classList.contains('-first-byte')")

        await tab.click(20, 10)
        await tab.sees("␣ Pause")
        await tab.type("?")
        await tab.sees("What the keys do here")
        await tab.type("?")
        await tab.sees("4 Rounds", "5 CV score")
        assert len(await tab.picture(tmp_path / "serve.png")) > 20_000

        other = await browser.tab(served.address)
        await other.sees("● running", "R02")
        assert len(viewers(workspace)) == 2 and workspace.engine_pid() == pid
        await other.call("Page.close")
        await until(lambda: len(viewers(workspace)) == 1)

        assert tab.problems == [] and other.problems == []
        inside = (served.address, served.address.replace("http", "ws"), "data:", "blob:")
        assert [url for url in tab.requested if not url.startswith(inside)] == []

        served.process.send_signal(signal.SIGINT)
        said = (await asyncio.to_thread(served.process.communicate))[1]
        assert served.process.returncode == 0 and "Traceback" not in said
    await until(lambda: viewers(workspace) == [])
    assert workspace.engine_pid() == pid


def viewers(workspace: Workspace) -> list[int]:
    """Processes of tabs: each tab attaches with one of its own."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"attach" in words and str(workspace.root).encode() in words:
            found.append(int(entry.name))
    return found
