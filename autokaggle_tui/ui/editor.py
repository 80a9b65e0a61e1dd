"""A person's own editor, for a while in the place of the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

FALLBACKS = ("nano", "vim", "vi")


def edit(app: App[Any], path: Path) -> str:
    """Open a file in $VISUAL or $EDITOR and wait until the person is done.

    Returns:
        Why that cannot be, or an empty string.
    """
    try:
        command = editor()
    except ValueError as error:
        return f"$EDITOR cannot be read as a command ({error}). The file is {path}"
    if not command:
        return f"No editor was found: set $EDITOR. The file is {path}"
    try:
        with app.suspend():
            subprocess.run([*command, str(path)], check=False)
    except SuspendNotSupported:
        return f"This terminal cannot be handed to an editor. The file is {path}"
    except OSError as error:
        return f"{command[0]}: {error.strerror}. Set $EDITOR, or open {path} yourself."
    finally:
        app.refresh(layout=True)
    return ""


def editor() -> list[str]:
    """The words of the command, empty when there is none.

    Raises:
        ValueError: A quotation in $VISUAL or $EDITOR is not closed.
    """
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if given and (words := shlex.split(given)):
        return words
    return next(([name] for name in FALLBACKS if shutil.which(name)), [])
