"""The contract of a competition platform: who takes submissions and keeps the leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

ReceiptState = Literal["accepted", "refused"]


@dataclass(frozen=True)
class Quota:
    """How many submissions today has taken.

    Attributes:
        used: Accepted since the last reset.
        limit: Accepted at most until the next one; None without a limit.
        resets_at: When the count starts again (midnight UTC).
    """

    used: int
    limit: int | None
    resets_at: datetime

    @property
    def left(self) -> int | None:
        """Submissions still possible today, or None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


@dataclass(frozen=True)
class Receipt:
    """What the platform said to a submission.

    Attributes:
        ref: The platform's own number of it; empty when refused.
        public_score: On the public part of the hidden labels, or None when the platform knows none.
        message: One sentence for a person; when refused, the reason.
    """

    ref: str
    state: ReceiptState
    public_score: float | None
    message: str


@dataclass(frozen=True)
class Sent:
    """A submission as the platform lists it.

    Attributes:
        token: What ``submit`` was given; empty for one that this program did not send.
        sha256: Of the file; empty when the platform does not keep it.
        file: Its name.
    """

    receipt: Receipt
    token: str
    sha256: str
    file: str
    submitted_at: datetime


@dataclass(frozen=True)
class Standing:
    """A row of the public leaderboard."""

    rank: int
    name: str
    score: float
    submitted_at: datetime


class Platform(Protocol):
    """A competition that takes submission files."""

    @property
    def name(self) -> str:
        """``local`` or ``kaggle``."""

    def quota(self, now: datetime) -> Quota:
        """Today's submissions; days are UTC days."""

    def submit(self, file: Path, token: str, sha256: str, now: datetime) -> Receipt:
        """Hand in a file.

        The same token again gives the first receipt again and submits nothing.

        Args:
            token: Unique per intended submission; the platform keeps it, so ``find`` can answer after a crash.
            sha256: Of the file as it was checked; a file that changed since is refused.

        Raises:
            PlatformError: The platform could not be asked; nothing is known about the submission.
        """

    def find(self, token: str) -> Receipt | None:
        """The receipt of an accepted submission, or None when the platform never took it."""

    def submissions(self) -> Sequence[Sent]:
        """All that the platform ever took from this user in this competition, oldest first.

        It is the witness of a registry that was restored from a backup and forgot what was sent since.

        Raises:
            PlatformError: The platform could not be asked.
        """

    def leaderboard(self) -> Sequence[Standing]:
        """The public leaderboard, best first."""
