"""Everything a round's screen shows, read in one go; call it in a thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autokaggle_tui.dossier import Dossier
from autokaggle_tui.dossiers import load_dossier
from autokaggle_tui.roundfiles import LogLine, Text, load_log, read_text
from autokaggle_tui.ui.papers import read_papers
from autokaggle_tui.workspace import Workspace
from experiments.errors import RuleError
from experiments.learnings import Rules

READING = "Reading…"
"""What is said until the first reading arrived: before it nobody knows that something is missing."""


@dataclass(frozen=True)
class Reading:
    """A round or experiment as it stands.

    Attributes:
        rules: Those in force; the shipped ones while LEARNINGS.md is broken.
        texts: Published Markdown by suffix.
        log: The published log; None while there is none or another is being written.
        printed: What the experiment printed so far, when there is no log.
    """

    dossier: Dossier
    rules: Rules
    texts: Mapping[str, Text] = field(default_factory=dict)
    log: Text | None = None
    printed: Sequence[LogLine] = ()


def read_round(workspace: Workspace, name: str) -> Reading:
    """Read a round or experiment.

    Raises:
        RegistryError: There is no registry, or one of another version.
    """
    dossier = load_dossier(workspace, name)
    file = dossier.file("run.log")
    log = None if file is None or dossier.status == "running" else read_text(file.path)
    printed = load_log(workspace, name) if log is None else ()
    return Reading(dossier, read_rules(workspace), read_papers(dossier), log, printed)


def read_rules(workspace: Workspace) -> Rules:
    """The rules in force, or the shipped ones while LEARNINGS.md is broken."""
    try:
        return Rules.load(workspace.learnings)
    except RuleError:
        return Rules.built_in()
