"""The contract of a competition platform: who takes submissions and keeps the leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from experiments.errors import PlatformFault

ReceiptState = Literal["accepted", "refused"]
ScoringState = Literal["pending", "complete", "error"]
KernelSort = Literal["votes", "date", "score"]
CellKind = Literal["code", "markdown"]
Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes that are there, and all its bytes (None when the server does not say)."""


@dataclass(frozen=True)
class Quota:
    """How many submissions today has taken.

    Attributes:
        used: Accepted since the last reset.
        limit: Accepted at most until the next one; None without a limit.
        resets_at: When the count starts again (midnight UTC).
        by_total: The whole competition's allowance is what limits, not the day's: midnight frees nothing.
    """

    used: int
    limit: int | None
    resets_at: datetime
    by_total: bool = False

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
        message: One sentence for a person; when refused, or scored with an error, the platform's reason.
        scoring: Of an accepted one: still being scored, scored, or failed (``message`` says why). A score is final
            only when it is ``complete``.
        fault: Of a refused one, where it is known: ``limit`` may be sent after midnight UTC.
    """

    ref: str
    state: ReceiptState
    public_score: float | None
    message: str
    scoring: ScoringState = "complete"
    fault: PlatformFault | None = None


@dataclass(frozen=True)
class Sent:
    """A submission as the platform lists it.

    Attributes:
        token: What ``submit`` was given; empty for one that this program did not send.
        sha256: Of the file; empty when the platform does not keep it.
        file: Its name.
        private_score: Once the platform shows it (after the deadline): for reports alone, never for a decision.
        team: Whose it is, as the leaderboard spells it; empty when the platform knows no teams.
        text: Its whole description.
    """

    receipt: Receipt
    token: str
    sha256: str
    file: str
    submitted_at: datetime
    private_score: float | None = None
    team: str = ""
    text: str = ""

    @property
    def status(self) -> ScoringState:
        """Whether it is scored yet."""
        return self.receipt.scoring


@dataclass(frozen=True)
class Standing:
    """A row of the public leaderboard."""

    rank: int
    name: str
    score: float
    submitted_at: datetime


@dataclass(frozen=True)
class RemoteFile:
    """A data file as the platform lists it; ``size`` in bytes, packed or not, or None."""

    name: str
    size: int | None


@dataclass(frozen=True)
class CompetitionInfo:
    """A competition as its platform describes it.

    Attributes:
        url: Its page, for a browser.
        deadline: UTC; None when there is none.
        max_daily_submissions: Per team and UTC day.
        evaluation_metric: In the platform's words.
        kernels_only: Takes submissions from notebooks alone.
        rules_accepted: Whether this user entered; None when the platform does not say.
        closed: Takes no submissions at all; after the deadline it may still take late ones, see ``ended``.
        reward: In the platform's words.
        pages: Markdown or HTML by name: ``description``, ``evaluation``, ``rules`` and what else there is.
        files: The data; empty when the platform does not list them to this user.
        team_count: Teams on the leaderboard.
        user_rank: This user's team on the leaderboard; None before its first score.
    """

    slug: str
    title: str
    url: str
    deadline: datetime | None
    max_daily_submissions: int | None
    evaluation_metric: str
    kernels_only: bool
    rules_accepted: bool | None
    closed: bool
    reward: str
    pages: Mapping[str, str] = field(default_factory=dict)
    files: tuple[RemoteFile, ...] = ()
    team_count: int | None = None
    user_rank: int | None = None

    @property
    def rules_url(self) -> str:
        """Where the rules are accepted, in a browser."""
        return f"{self.url}/rules"

    def ended(self, now: datetime) -> bool:
        """Whether the deadline has passed; ``now`` in UTC."""
        return self.deadline is not None and now > self.deadline


@dataclass(frozen=True)
class KernelInfo:
    """A public notebook or script; ``score`` on the leaderboard where the platform tells it."""

    ref: str
    title: str
    author: str
    votes: int
    score: float | None
    last_run: datetime | None
    language: str
    url: str


@dataclass(frozen=True)
class KernelSource:
    """What a notebook or script says, without its outputs; all of it is text from strangers.

    Attributes:
        cells: (kind, text) in order; a script is one code cell.
        truncated: More was there than is kept.
    """

    ref: str
    title: str
    cells: tuple[tuple[CellKind, str], ...]
    truncated: bool = False


@dataclass(frozen=True)
class TopicInfo:
    """A thread of the competition's forum."""

    id: int
    title: str
    author: str
    votes: int
    comments: int
    at: datetime | None
    url: str


@dataclass(frozen=True)
class Message:
    """A post in a thread; text from a stranger. ``depth`` 0 for a post, 1 for a reply to one, and so on."""

    author: str
    text: str
    votes: int
    at: datetime | None
    depth: int = 0


class Source(Protocol):
    """Where competitions are looked up and their data comes from."""

    def competition(self, slug: str) -> CompetitionInfo:
        """What the platform says of a competition, its pages and files included.

        Raises:
            PlatformError: There is none of that name, or the platform could not be asked. That the rules are not
                accepted is no error here: ``rules_accepted`` says it.
        """

    def download(self, slug: str, folder: Path, progress: Progress | None = None) -> tuple[Path, ...]:
        """Fetch and unpack the data into a folder; what an earlier call left half done is carried on.

        A file appears under its name only when it is complete. What ``progress`` raises stops the download.

        Returns:
            The data files, sorted by name.

        Raises:
            PlatformError: The rules are not accepted (with the address), the platform could not be asked, or what
                came is not what was announced.
        """


class Research(Protocol):
    """What others made public about one competition: untrusted text, shown to agents as data."""

    def kernels(self, sort: KernelSort, count: int) -> Sequence[KernelInfo]:
        """Notebooks and scripts, best first by votes, date of the last run, or score."""

    def kernel(self, ref: str) -> KernelSource:
        """The source of one, by ``owner/name``."""

    def topics(self, count: int) -> Sequence[TopicInfo]:
        """Threads of the forum, the liveliest first."""

    def topic(self, id: int) -> Sequence[Message]:
        """The posts of a thread, in order, replies behind what they answer."""

    def leaderboard(self) -> Sequence[Standing]:
        """The public leaderboard, best first."""


class Platform(Protocol):
    """A competition that takes submission files. Every call may block: make it from a worker thread."""

    @property
    def name(self) -> str:
        """``local`` or ``kaggle``."""

    @property
    def listing_lag(self) -> timedelta:
        """How long an accepted submission may be missing from what the platform lists."""

    def quota(self, now: datetime) -> Quota:
        """Today's submissions; days are UTC days.

        Raises:
            PlatformError: The platform could not be asked.
        """

    def submit(self, file: Path, token: str, sha256: str, now: datetime) -> Receipt:
        """Hand in a file.

        The same token again gives the first receipt again and submits nothing, unless the platform's list lags
        (``listing_lag``): a caller never repeats a call that may have arrived.

        Args:
            token: Unique per intended submission; the platform keeps it, so ``find`` can answer after a crash.
            sha256: Of the file as it was checked; a file that changed since is refused.

        Raises:
            PlatformError: The platform could not be asked. ``maybe_sent``: nothing is known about the submission;
                else it was not taken.
        """

    def find(self, token: str) -> Receipt | None:
        """The receipt of an accepted submission, or None when the platform does not list it.

        None proves that it never arrived only ``listing_lag`` after it was sent.

        Raises:
            PlatformError: The platform could not be asked.
        """

    def submissions(self) -> Sequence[Sent]:
        """All that the platform ever took from this user in this competition, oldest first.

        It is the witness of a registry that was restored from a backup and forgot what was sent since.

        Raises:
            PlatformError: The platform could not be asked.
        """

    def leaderboard(self) -> Sequence[Standing]:
        """The public leaderboard, best first."""
