"""One family of errors that a person can act on: what happened, where, what to do."""

from typing import Literal

from experiments.text import clean

PlatformFault = Literal[
    "other",
    "no-credentials",
    "credentials",
    "rules",
    "no-competition",
    "limit",
    "notebooks-only",
    "closed",
    "rate",
    "server",
    "network",
]
"""What a platform refused, or why it could not be asked; each wants something else of the user."""

LONGEST = 10_000
"""Characters of a message: what is quoted in it may be any file's content."""


class AutokaggleError(Exception):
    """Anything the program can explain. Shown as title, message and hint, never as a traceback.

    Attributes:
        title: Two or three words naming the area, e.g. ``Config``.
        hint: What to do about it; empty when the message already says so.
        exit_code: What the command line exits with (1 failed, 2 wrong usage).
    """

    title = "Error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(_fit(message))
        self.message = _fit(message)
        self.hint = _fit(hint)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


def _fit(text: str) -> str:
    """Text that can be shown: names of files and columns are quoted in messages as they are."""
    plain = clean(text)
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…"


class UsageError(AutokaggleError):
    """The command line was used wrongly."""

    title = "Usage"
    exit_code = 2


class ConfigError(AutokaggleError):
    """config.json is missing, unreadable or contradicts itself."""

    title = "Config"


class DataError(AutokaggleError):
    """A data file cannot be used as it is."""

    title = "Data"


class MetricError(AutokaggleError):
    """A metric is unknown, or cannot score what it was given."""

    title = "Metric"


class PredictionError(AutokaggleError):
    """A prediction has the wrong shape, order, range or type."""

    title = "Prediction"


class RuleError(AutokaggleError):
    """LEARNINGS.md holds a rule block that cannot be read."""

    title = "Rules"


class RegistryError(AutokaggleError):
    """The registry (autokaggle.db) cannot be used."""

    title = "Registry"


class WorkspaceError(AutokaggleError):
    """The workspace is missing, busy, or changed under a running campaign."""

    title = "Workspace"


class PlatformError(AutokaggleError):
    """The competition platform refused or could not be reached.

    Attributes:
        fault: Which of the ways to fail it was.
        address: A page that the user has to open, e.g. to accept the rules; empty without one.
        maybe_sent: The platform may have taken the submission that it was handed: nobody may send it again before
            the platform was asked for its token. False where it cannot have taken it.
    """

    title = "Platform"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        fault: PlatformFault = "other",
        address: str = "",
        maybe_sent: bool = True,
    ) -> None:
        super().__init__(message, hint=hint)
        self.fault: PlatformFault = fault
        self.address = address
        self.maybe_sent = maybe_sent

    @property
    def passing(self) -> bool:
        """Whether the same call may work later, with nothing changed by the user."""
        return self.fault in ("limit", "rate", "server", "network")


class ModelError(AutokaggleError):
    """A model backend is unknown or cannot be used."""

    title = "Model"


class ComputeError(AutokaggleError):
    """A worker slot cannot be started or used."""

    title = "Compute"
