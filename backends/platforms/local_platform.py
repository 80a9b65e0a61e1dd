"""The local platform: any CSV becomes a competition with hidden labels, a daily limit and a deadline."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from backends.platforms.base import Quota, Receipt, Sent, Standing
from backends.platforms.local_store import LocalCompetition
from experiments.errors import DataError, MetricError, PlatformError, PlatformFault
from experiments.files import sha256_file
from experiments.metrics import Metric
from experiments.submission import decode_submission
from experiments.tables import read_text

LEDGER = "ledger.db"
BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS submissions (
    ref           INTEGER PRIMARY KEY AUTOINCREMENT,
    token         TEXT NOT NULL UNIQUE,
    sha256        TEXT NOT NULL UNIQUE,
    file          TEXT NOT NULL,
    submitted_at  TEXT NOT NULL,
    metric        TEXT NOT NULL,
    public_score  REAL,
    private_score REAL,
    message       TEXT NOT NULL
)
"""


class LocalPlatform:
    """Takes submissions of one local competition; its ledger lies beside the hidden labels.

    Attributes:
        competition: What is predicted, and how.
    """

    name = "local"
    listing_lag = timedelta(0)

    def __init__(
        self,
        competition: str,
        *,
        metric: Metric,
        data_home: Path | None = None,
        daily_limit: int | None = None,
        deadline: datetime | None = None,
    ) -> None:
        """Open a local competition.

        Args:
            competition: Its id, as ``init`` wrote it into config.json.
            data_home: Folder of all local competitions; None for the user's own.
            daily_limit: Submissions per UTC day; None without a limit.
            deadline: After it nothing is accepted; taken as UTC when it names no zone.

        Raises:
            PlatformError: There is no such competition.
        """
        self.competition = LocalCompetition.open(competition, home=data_home)
        self._metric = metric
        self._limit = daily_limit
        self._deadline = None if deadline is None else _utc(deadline)

    def quota(self, now: datetime) -> Quota:
        """Today's submissions; days are UTC days."""
        with self._ledger() as ledger:
            return self._quota(ledger, now)

    def submit(self, file: Path, token: str, sha256: str, now: datetime) -> Receipt:
        """Check, score and record a file, in one transaction; the same token again changes nothing.

        Refused with the reason: a late, a surplus, a repeated, a changed or an invalid file.

        Raises:
            PlatformError: The ledger or the hidden labels cannot be read.
        """
        known = self._receipt_of(token, sha256)
        if known is not None:
            return known
        with self._ledger() as ledger:
            barred = self._barred(ledger, sha256, now)
        if barred is not None:
            return barred
        try:
            if sha256_file(file) != sha256:
                return _refused(f"{file.name} changed after it was checked.")
            public, private, message = self._score(file)
        except (DataError, OSError) as error:
            return _refused(error.message if isinstance(error, DataError) else f"{file} cannot be read: {error}.")
        with self._ledger() as ledger, _immediate(ledger):
            known = self._look_up(ledger, token, sha256)
            if known is not None:
                return known
            barred = self._barred(ledger, sha256, now)
            if barred is not None:
                return barred
            ledger.execute(
                "INSERT INTO submissions (token, sha256, file, submitted_at, metric, public_score, private_score,"
                " message) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (token, sha256, file.name, _stamp(now), self._metric.name, public, private, message),
            )
        receipt = self.find(token)
        if receipt is None:
            raise PlatformError(f"The ledger {self.competition.folder / LEDGER} lost a submission.")
        return receipt

    def find(self, token: str) -> Receipt | None:
        """The receipt of an accepted submission, or None."""
        with self._ledger() as ledger:
            row = ledger.execute(
                "SELECT ref, public_score, message FROM submissions WHERE token = ?", (token,)
            ).fetchone()
        return None if row is None else Receipt(str(row[0]), "accepted", row[1], row[2])

    def submissions(self) -> list[Sent]:
        """Every accepted submission, oldest first."""
        with self._ledger() as ledger:
            rows = ledger.execute(
                "SELECT ref, public_score, message, token, sha256, file, submitted_at FROM submissions ORDER BY ref"
            ).fetchall()
        return [
            Sent(Receipt(str(ref), "accepted", score, message), token, sha, file, datetime.fromisoformat(at))
            for ref, score, message, token, sha, file, at in rows
        ]

    def leaderboard(self) -> list[Standing]:
        """All scored submissions, best first, equal scores by time."""
        with self._ledger() as ledger:
            rows = ledger.execute(
                "SELECT file, public_score, submitted_at FROM submissions"
                " WHERE public_score IS NOT NULL AND metric = ? ORDER BY ref",
                (self._metric.name,),
            ).fetchall()
        rows.sort(key=lambda row: row[1], reverse=self._metric.direction == "maximize")
        return [
            Standing(rank, file, score, datetime.fromisoformat(at))
            for rank, (file, score, at) in enumerate(rows, start=1)
        ]

    def private_scores(self) -> dict[str, float | None]:
        """Scores on the private half by ref: for the final report alone, never for a decision."""
        with self._ledger() as ledger:
            rows = ledger.execute("SELECT ref, private_score FROM submissions ORDER BY ref").fetchall()
        return {str(ref): score for ref, score in rows}

    def _score(self, file: Path) -> tuple[float | None, float | None, str]:
        """Public and private score of a valid file, and what to say.

        Raises:
            DataError: The file is not a valid submission.
        """
        hidden = self.competition
        pred = decode_submission(read_text(file), hidden.ids, hidden.form, hidden.classes)
        if hidden.task_type == "multiclass" and pred.ndim == 1:
            pred = np.column_stack([1.0 - pred, pred])
        if hidden.labels is None:
            return None, None, "accepted without a score: the labels of test are not known"
        y, public = hidden.labels
        try:
            scores = [float(self._metric.score(y, pred, mask=mask)) for mask in (public, ~public)]
        except MetricError as error:
            raise DataError(f"{self._metric.name} cannot score {file.name}: {error.message}") from None
        return scores[0], scores[1], f"{self._metric.name} {scores[0]:.6g} on the public half"

    def _barred(self, ledger: sqlite3.Connection, sha256: str, now: datetime) -> Receipt | None:
        """Why nothing, or not this file, is accepted now; None when it is."""
        if self._deadline is not None and _utc(now) > self._deadline:
            return _refused(f"the deadline passed on {self._deadline:%Y-%m-%d %H:%M} UTC.", "closed")
        row = ledger.execute("SELECT ref, file FROM submissions WHERE sha256 = ?", (sha256,)).fetchone()
        if row is not None:
            return _refused(f"the same file was accepted before, as submission {row[0]} ({row[1]}).")
        quota = self._quota(ledger, now)
        if quota.left == 0:
            return _refused(
                f"all {quota.limit} submissions of today are used; "
                f"the next is possible from {quota.resets_at:%Y-%m-%d %H:%M} UTC.",
                "limit",
            )
        return None

    def _quota(self, ledger: sqlite3.Connection, now: datetime) -> Quota:
        day = _utc(now).replace(hour=0, minute=0, second=0, microsecond=0)
        after = day + timedelta(days=1)
        used = ledger.execute(
            "SELECT count(*) FROM submissions WHERE submitted_at >= ? AND submitted_at < ?",
            (_stamp(day), _stamp(after)),
        ).fetchone()[0]
        return Quota(int(used), self._limit, after)

    def _receipt_of(self, token: str, sha256: str) -> Receipt | None:
        with self._ledger() as ledger:
            return self._look_up(ledger, token, sha256)

    def _look_up(self, ledger: sqlite3.Connection, token: str, sha256: str) -> Receipt | None:
        row = ledger.execute(
            "SELECT ref, public_score, message, sha256 FROM submissions WHERE token = ?", (token,)
        ).fetchone()
        if row is None:
            return None
        if row[3] != sha256:
            return _refused(f"the token of submission {row[0]} was used for another file.")
        return Receipt(str(row[0]), "accepted", row[1], row[2])

    @contextmanager
    def _ledger(self) -> Iterator[sqlite3.Connection]:
        path = self.competition.folder / LEDGER
        try:
            with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as ledger:
                # A rollback journal: WAL before SQLite 3.51.3 can corrupt, and speed is no concern here.
                ledger.execute("PRAGMA synchronous = FULL")
                ledger.execute(_SCHEMA)
                yield ledger
        except sqlite3.Error as error:
            raise PlatformError(
                f"The ledger {path} cannot be used: {error}.", hint="Check the disk and the file's permissions."
            ) from None


@contextmanager
def _immediate(ledger: sqlite3.Connection) -> Iterator[None]:
    ledger.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        ledger.execute("ROLLBACK")
        raise
    ledger.execute("COMMIT")


def _refused(reason: str, fault: PlatformFault | None = None) -> Receipt:
    return Receipt("", "refused", None, reason[:1].upper() + reason[1:], fault=fault)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _stamp(moment: datetime) -> str:
    return _utc(moment).isoformat(timespec="microseconds")
