"""What the screen remembers from one day to the next: theme, sorting, panes."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import platformdirs

from experiments.files import write_atomic
from experiments.jail import read_regular

FILE_NAME = "ui.json"
_WRITING = threading.Lock()


@dataclass
class UiState:
    """What a person chose to see. Nothing depends on it: a file that is gone or damaged means the defaults.

    Attributes:
        theme: Name of the theme; empty for the program's own.
        sort_column: Column of the rounds table; empty for its natural order.
        sort_reverse: Whether that order is turned round.
        zoomed: Pane of the cockpit that fills the screen; empty for none.
        agent: Role that small screens show.
    """

    theme: str = ""
    sort_column: str = ""
    sort_reverse: bool = False
    zoomed: str = ""
    agent: str = ""

    @classmethod
    def load(cls) -> UiState:
        """As it was saved last; whatever cannot be used has its default."""
        try:
            data = json.loads(read_regular(state_file(), links=True))
        except (OSError, ValueError, RecursionError):
            return cls()
        if not isinstance(data, dict):
            return cls()
        usable = ((item.name, _as(item.default, data.get(item.name))) for item in fields(cls))
        return cls(**{name: value for name, value in usable if value is not None})

    def remember(self, **changes: Any) -> threading.Thread | None:
        """Change fields, and save them behind the screen's back.

        Returns:
            The thread that waits for the disk, or None when nothing changed.
        """
        changed = {name: value for name, value in changes.items() if getattr(self, name) != value}
        if not changed:
            return None
        for name, value in changed.items():
            setattr(self, name, value)
        thread = threading.Thread(target=self.save, name="ui-state")
        thread.start()
        return thread

    def save(self) -> None:
        """Write it down, whole or not at all; a folder that cannot be written is no reason to complain."""
        with _WRITING, contextlib.suppress(OSError):
            write_atomic(state_file(), (json.dumps(asdict(self), indent=1) + "\n").encode())


def state_file() -> Path:
    """Where it is kept, in the user's state folder; ``AUTOKAGGLE_STATE_HOME`` names another folder."""
    given = os.environ.get("AUTOKAGGLE_STATE_HOME")
    return (Path(given).expanduser() if given else platformdirs.user_state_path("autokaggle-tui")) / FILE_NAME


def _as(default: Any, value: Any) -> Any:
    """The value when it is of the default's kind, else None."""
    return value if type(value) is type(default) else None
