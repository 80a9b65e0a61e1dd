"""How a command of the command line ends: with an exit code and, if something went wrong, a message."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.exceptions import Abort, Exit

from autokaggle_tui.failures import complain, explain, record_bug
from autokaggle_tui.interrupts import INTERRUPTED
from autokaggle_tui.workspace import Workspace
from experiments.errors import AutokaggleError
from experiments.redaction import arm


class Program(click.Group):
    """Runs a command; what goes wrong becomes a message and an exit code, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The commands in the order they are written in, which is the order a person meets them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for.

        Raises:
            Exit: With the exit code; wrong options stay click's own errors.
        """
        arm(os.environ, Path.home())
        try:
            return super().invoke(ctx)
        except AutokaggleError as error:
            complain(f"{error.title}: {error}")
            raise Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit(INTERRUPTED) from None
        except (Exit, Abort, BrokenPipeError):
            raise
        except Exception as error:
            if hasattr(error, "exit_code"):
                raise
            place = ctx.obj.root if isinstance(ctx.obj, Workspace) else Path().resolve()
            said = explain(error, place)
            complain(f"Bug: {record_bug(error, place)}" if said is None else f"{said.title}: {said}")
            raise Exit(1) from None


def run_program(app: Callable[[], Any]) -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except SystemExit as end:
        # What is left in the buffers is written here, where a closed pipe or a full disk can still be told.
        try:
            print(end="", flush=True)
        except BrokenPipeError:
            _hush()
            sys.exit(end.code or 1)
        except OSError as error:
            _hush()
            if not end.code:
                complain(f"Output: {error.strerror}.")
            sys.exit(end.code or 1)
        sys.exit(end.code)


def _hush() -> None:
    """Keep the interpreter from complaining about a lost stdout once more when it exits."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
