"""The coverage-guided fuzzer: ``python -m tests.fuzz [SECONDS] [TARGET ...]``; needs the extra ``fuzz`` (atheris).

Each target runs in a process of its own, for so many seconds. What breaks the invariant is printed with its input,
which ``python -m tests.fuzz FILE TARGET`` runs again. Ends with 1 when anything did.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

DEFAULT_SECONDS = 30
LONGEST_INPUT = 8_192
SLOWEST_INPUT = 20
MOST_MEMORY_MB = 3_000
INSTRUMENTED = ["experiments", "agents", "autokaggle_tui", "backends", "yaml", "tomllib", "zipfile"]


def main(arguments: list[str]) -> int:
    """Fuzz every target that is asked for, one after the other; print a line for each."""
    if arguments[:1] == ["--one"]:
        return _one(arguments[1], arguments[2:])
    from .targets import TARGETS

    first, names = (arguments[0], arguments[1:]) if arguments else (str(DEFAULT_SECONDS), [])
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        print(f"no target {', '.join(unknown)}; there are: {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or list(TARGETS):
        failed += _watched(name, first)
    return min(failed, 1)


def _watched(name: str, seconds: str) -> bool:
    """Run a target in a process of its own and say in a line how it went; True when a defect was found."""
    from .targets import TARGETS

    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="autokaggle-fuzz-corpus-") as folder:
        corpus, words, kept = Path(folder) / "corpus", Path(folder) / "words", Path(tempfile.gettempdir())
        corpus.mkdir()
        for number, seed in enumerate(target.seeds or _noise()):
            (corpus / f"seed-{number}").write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        # A file in the place of the seconds is an input to run once more.
        how = (
            [seconds]
            if Path(seconds).is_file()
            else [f"-max_total_time={seconds}", *([f"-dict={words}"] if target.words else []), str(corpus)]
        )
        limits = [
            f"-max_len={LONGEST_INPUT}",
            f"-timeout={SLOWEST_INPUT}",
            f"-rss_limit_mb={MOST_MEMORY_MB}",
            "-len_control=0",
        ]
        command = [sys.executable, "-m", "tests.fuzz", "--one", name]
        command += [*limits, f"-artifact_prefix={kept}/fuzz-{name}-", "-print_final_stats=1", *how]
        environment = {**os.environ, "AUTOKAGGLE_STATE_HOME": folder}
        began = time.monotonic()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    said = done.stderr + done.stdout
    runs = re.search(r"number_of_executed_units: (\d+)", said) or re.search(r"Done (\d+) ", said)
    cover = re.findall(r"cov: (\d+)", said)
    print(
        f"{name:<12} {int(runs[1]) if runs else 0:>9,} executions  {time.monotonic() - began:6.0f} s  "
        f"coverage {cover[-1] if cover else '?':>5}  {'DEFECT' if done.returncode else 'no defect'}",
        flush=True,
    )
    if done.returncode:
        print("\n".join(said.splitlines()[-40:]), flush=True)
    return bool(done.returncode)


def _one(name: str, options: list[str]) -> int:
    """Be the fuzzer of one target; never returns."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from .targets import TARGETS

    target = TARGETS[name]
    feed: Callable[[bytes], object] = target.check
    if not target.seeds:
        from hypothesis import HealthCheck, given, settings

        free = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
        feed = free(given(target.inputs)(target.check)).hypothesis.fuzz_one_input  # type: ignore[attr-defined]

    def run(data: bytes) -> None:
        feed(data)

    atheris.Setup([f"fuzz-{name}", *options], run)
    atheris.Fuzz()
    return 0


def _noise() -> list[bytes]:
    """What structured values are drawn from: long enough that the drawing does not run out of it."""
    return [random.Random(number).randbytes(LONGEST_INPUT // 2) for number in range(24)]


def _escaped(word: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
