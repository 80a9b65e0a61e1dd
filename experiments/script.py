"""Runs one Python script, or another program, in a process of its own below this one, which outlasts all it starts.

Started by ``backends.compute.scripts`` as ``python -s -P -m experiments.script CONFINEMENT JOB LIFELINE``. The
job is JSON: ``code`` or ``program``, and ``files``, paths by the name that they get in the working folder. The
end of the lifeline ends everything.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from experiments.confine import Confinement, ConfinementError, confine, reveal
from experiments.landlock import keep_signals_inside
from experiments.processes import MARKER, Reaped, adopt_orphans, die_with_parent, end_descendants


def main(arguments: list[str]) -> int:
    """Entry point; returns the exit code of the script, 128 and the signal's number where one ended it."""
    confinement = Confinement.from_json(arguments[0])
    confine(confinement)
    # It does not die with its parent: the lifeline tells of that, and all below it has to end first.
    adopt_orphans()
    job_file, lifeline = int(arguments[1]), int(arguments[2])
    with os.fdopen(job_file, "rb") as file:
        file.seek(0)
        job: dict[str, Any] = json.load(file)
    wake, wake_end = socket.socketpair()
    wake_end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
    owner = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(lifeline)
            wake.close()
            wake_end.close()
            _child(job, confinement, owner)
        except OSError as error:
            os.write(2, f"the script cannot be started: {error}\n".encode())
        finally:
            os._exit(70)
    reaped = Reaped()
    while pid not in reaped:
        readable, _, _ = select.select([lifeline, wake.fileno()], [], [])
        if lifeline in readable:
            break
        wake.recv(4096)
        reaped.collect()
    end_descendants(reaped, os.environ.get(MARKER, ""))
    status = reaped.get(pid, (signal.SIGKILL, 0.0, 0))[0]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _child(job: dict[str, Any], confinement: Confinement, owner: int) -> NoReturn:
    os.setpgid(0, 0)
    die_with_parent(signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(1)
    if confinement.enforced:
        reveal()
        keep_signals_inside()
    work = Path(confinement.folder, "work")
    work.mkdir(mode=0o700, parents=True)
    os.chdir(work)
    for name, path in job["files"].items():
        Path(name).symlink_to(path)
    program = job["program"]
    if program and os.access(program, os.X_OK):
        os.execv(program, [program])
    script = program or str(work / "script.py")
    if not program:
        Path(script).write_text(job["code"], encoding="utf-8")
    sys.argv = [script]
    sys.path.insert(0, str(work))
    try:
        runpy.run_path(script, run_name="__main__")
        code: object = 0
    except SystemExit as error:
        code = error.code
    except BaseException as error:  # noqa: BLE001 - whatever the script raises is its outcome
        sys.stdout.flush()
        # Without the frames of this module and of runpy.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != script:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfinementError as problem:
        sys.exit(f"{problem}")
