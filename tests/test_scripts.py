"""Scripts in the sandbox: what a model computes about the data, and a person's own scraper."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backends.compute.limits import Limits
from backends.compute.sandbox import Sandbox
from backends.compute.scripts import run_script
from backends.compute.tiers import find_sandbox
from experiments.errors import ComputeError
from experiments.files import remove_tree

LIMITS = Limits(memory=600 << 20, processes=64, scratch=32 << 20, shm=16 << 20, open_files=256)
CANARY = "AUTOKAGGLE_TEST_CANARY"


@pytest.fixture(params=["bubblewrap", "landlock", "off"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    try:
        return find_sandbox(request.param, LIMITS)
    except ComputeError as error:
        pytest.skip(error.message)


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="autokaggle-files-"))
    found.chmod(0o755)
    yield found
    remove_tree(found)


def below() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def test_a_script_reads_its_files_and_prints(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CANARY, "secret")
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    (folder / "hidden.csv").write_text("labels")
    code = f"""
import os, sys
from pathlib import Path
print(Path("train.csv").read_text().split(), sys.argv, {CANARY!r} in os.environ, __name__)
try:
    print(Path("train.csv").resolve().with_name("hidden.csv").read_text())
except OSError as error:
    print("no more")
"""
    result = await run_script(sandbox, code, {"train.csv": folder / "rows.csv"}, place=folder, seconds=60)
    first, second = result.output.splitlines()
    assert result.status == "ok" and first.startswith("['a,b', '1,2'] ['") and first.endswith(" False __main__")
    assert second == ("labels" if sandbox.tier == "off" else "no more")
    assert below() == []


async def test_files_that_only_their_owner_may_read_are_read(sandbox: Sandbox, folder: Path) -> None:
    for name, text in (("train.csv", "a\n1\n"), ("scraper", f"#!{sys.executable}\nprint('scraped')\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o700)
    code = "print(open('train.csv').read().split())"
    result = await run_script(sandbox, code, {"train.csv": folder / "train.csv"}, place=folder, seconds=60)
    assert result.output == "['a', '1']", result
    assert (await run_script(sandbox, folder / "scraper", place=folder, seconds=60)).output == "scraped"
    assert sorted(path.name for path in folder.iterdir()) == ["scraper", "train.csv"]


async def test_scripts_are_marked_each_by_itself(sandbox: Sandbox, folder: Path) -> None:
    code = "import os; print(os.environ['AUTOKAGGLE_SLOT'])"
    first, second = [await run_script(sandbox, code, place=folder, seconds=60) for _ in range(2)]
    assert first.output and first.output != second.output


async def test_a_script_that_fails_says_why(sandbox: Sandbox, folder: Path) -> None:
    result = await run_script(sandbox, "def f():\n    return 1 / 0\nf()\n", place=folder, seconds=60)
    assert (result.status, result.error) == ("failed", "the script ended with code 1")
    assert result.output.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "runpy" not in result.output and "experiments" not in result.output
    result = await run_script(sandbox, "import sys; sys.exit('bad luck')", place=folder, seconds=60)
    assert result.status == "failed" and result.output == "bad luck"


async def test_output_is_capped(sandbox: Sandbox, folder: Path) -> None:
    result = await run_script(
        sandbox, "for i in range(1_000_000): print(i)", place=folder, seconds=60, output_chars=1000
    )
    assert result.status == "ok" and result.output.startswith("0\n1\n") and len(result.output) < 1_200
    assert "characters left out]" in result.output and "more were dropped]" in result.output
    noisy = await run_script(
        sandbox, "print('x' * 900)\nraise ValueError('why')", place=folder, seconds=60, output_chars=300
    )
    assert noisy.output.endswith("ValueError: why") and len(noisy.output) < 400


DAEMON = """
import os, signal
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.environ.clear()
        while True:
            signal.pause()
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("end", ["print('up')", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"])
async def test_nothing_outlives_a_script(sandbox: Sandbox, folder: Path, end: str) -> None:
    result = await run_script(sandbox, DAEMON + end, place=folder, seconds=3)
    assert result.status == ("ok" if "up" in end else "timeout"), result
    marks = {process.pid for process in below() if process.status() != psutil.STATUS_ZOMBIE}
    assert marks == set()


async def test_cancelling_ends_a_script(sandbox: Sandbox, folder: Path) -> None:
    running = asyncio.create_task(run_script(sandbox, DAEMON + "signal.pause()", place=folder, seconds=60))
    while not below():
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert below() == []


async def test_memory_is_capped(sandbox: Sandbox, folder: Path) -> None:
    code = """
import os, signal
for _ in range(4):
    if os.fork() == 0:
        x = os.urandom(1 << 20) * 250
        signal.pause()
signal.pause()
"""
    result = await run_script(sandbox, code, place=folder, seconds=60)
    assert result.status == "limit" and "memory" in result.error


@pytest.mark.parametrize("network", [False, True])
async def test_the_network_is_for_those_who_are_given_it(sandbox: Sandbox, folder: Path, network: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    program = folder / "scraper"
    program.write_text(
        f"#!{sys.executable}\nimport socket\n"
        f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}))\nprint('connected')\n"
    )
    program.chmod(0o755)
    result = await run_script(sandbox, program, place=folder, seconds=60, network=network)
    listener.close()
    assert (result.output == "connected") == (network or sandbox.tier == "off"), result
    (folder / "plain.py").write_text("print('plain')")
    assert (await run_script(sandbox, folder / "plain.py", place=folder, seconds=60)).output == "plain"


HOST = """
import asyncio, json, sys
from pathlib import Path
from backends.compute.sandbox import Sandbox
from backends.compute.scripts import run_script
sandbox, code, fifo, place = sys.argv[1:]
sandbox, files = Sandbox.from_json(json.loads(sandbox)), {"fifo": Path(fifo)}
asyncio.run(run_script(sandbox, code, files, place=Path(place), seconds=60))
"""


def test_a_script_ends_with_whoever_started_it(sandbox: Sandbox, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo, 0o644)
    code = f"file = open('fifo')\n{DAEMON}\nsignal.pause()"
    host = subprocess.Popen([sys.executable, "-c", HOST, json.dumps(sandbox.to_json()), code, str(fifo), str(folder)])
    # Opens once the script reads; from then on writing tells whether anybody still does.
    end = os.open(fifo, os.O_WRONLY)
    os.write(end, b"x")
    host.kill()
    host.wait()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with pytest.raises(BrokenPipeError):
        while True:
            os.set_blocking(end, False)
            try:
                os.write(end, b"x" * 4096)
            except BlockingIOError:
                select.select([], [], [], 0.02)
    os.close(end)
