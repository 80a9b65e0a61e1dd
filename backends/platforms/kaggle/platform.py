"""Submissions to a Kaggle competition: handed in once, found again by their token, and the leaderboard."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backends.platforms.base import Quota, Receipt, ScoringState, Sent, Standing
from backends.platforms.kaggle import answers
from backends.platforms.kaggle.board import leaderboard
from backends.platforms.kaggle.client import KaggleClient
from experiments.errors import PlatformError
from experiments.jail import read_regular
from experiments.text import one_line

PAGE = 100
LONGEST_DESCRIPTION = 250
MOST_BYTES = 4 << 30
_MARK = re.compile(r"\bak:([\w.-]+)(?: sha256:([0-9a-f]{64})\b)?")
_NAME = re.compile(r"[\w.-]+")
_SCORED: dict[str, ScoringState] = {"COMPLETE": "complete", "ERROR": "error"}


class KagglePlatform:
    """Takes the submissions of one competition.

    Attributes:
        slug: The competition.
    """

    name = "kaggle"
    listing_lag = timedelta(minutes=5)

    def __init__(self, slug: str, client: KaggleClient) -> None:
        self.slug = slug
        self._client = client

    def quota(self, now: datetime) -> Quota:
        """Today's submissions as Kaggle counts them; days are UTC days.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        sdk = self._client.sdk
        request = sdk.competition_types.ApiGetSubmissionLimitsRequest()
        request.competition_name = self.slug
        limits = answers.read(
            answers.Limits,
            self._call("the limit of submissions", lambda kaggle: kaggle.competitions.get_submission_limits(request)),
        )
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        allowed = limits.num_today + limits.num_allowed_now
        if not allowed and not limits.num_total:
            # A user who is in no team yet is told zeros.
            return Quota(0, self._daily(), day + timedelta(days=1))
        return Quota(limits.num_today, allowed, day + timedelta(days=1), limits.limited_by_total)

    def submit(self, file: Path, token: str, sha256: str, now: datetime) -> Receipt:
        """Hand in a file, its token and sha256 in the description.

        What was handed in with the token before is not handed in again. The call that makes the submission is made
        once; when it breaks off, Kaggle's list says whether it arrived.

        Raises:
            PlatformError: ``maybe_sent`` where nobody knows whether it arrived.
        """
        if not _NAME.fullmatch(token):
            raise PlatformError(f"'{token}' can be no token of a submission.", maybe_sent=False)
        try:
            content = read_regular(file, most=MOST_BYTES, links=True)
        except OSError as error:
            return _refused(f"{file} cannot be read: {error.strerror}.")
        if hashlib.sha256(content).hexdigest() != sha256:
            return _refused(f"{file.name} changed after it was checked.")
        try:
            known = self._listed(token)
            if known is not None:
                return self._known(known, sha256)
            blob = self._upload(file.name, content, now)
        except PlatformError as error:
            error.maybe_sent = False
            raise
        return self._create(blob, describe(token, sha256, file.name), token)

    def find(self, token: str) -> Receipt | None:
        """The receipt of a submission that Kaggle lists, or None; the list may lag by ``listing_lag``.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        sent = self._listed(token)
        return None if sent is None else sent.receipt

    def submissions(self) -> list[Sent]:
        """Every submission of this user's team, whoever made it, oldest first.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        return list(self._list())[::-1]

    def leaderboard(self) -> list[Standing]:
        """The public leaderboard, best first.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        return leaderboard(self._client, self.slug)

    def _call(self, what: str, make: Any, *, again: bool = True) -> Any:
        return self._client.call(what, make, slug=self.slug, again=again)

    def _list(self) -> Iterator[Sent]:
        """Submissions, newest first."""
        sdk = self._client.sdk

        def ask(page: str) -> Any:
            request = sdk.competition_types.ApiListSubmissionsRequest()
            request.competition_name = self.slug
            request.group = sdk.SubmissionGroup.SUBMISSION_GROUP_ALL
            request.sort_by = sdk.SubmissionSortBy.SUBMISSION_SORT_BY_DATE
            request.page_size = PAGE
            request.page_token = page
            return self._call("the list of submissions", lambda kaggle: kaggle.competitions.list_submissions(request))

        seen = set()
        for answer in answers.pages(ask):
            for row in answers.read_all(answers.Submission, answer, "submissions"):
                # What is handed in meanwhile moves others to the next page.
                if row.ref not in seen:
                    seen.add(row.ref)
                    yield _sent(row)

    def _listed(self, token: str) -> Sent | None:
        return next((sent for sent in self._list() if sent.token == token), None)

    def _known(self, sent: Sent, sha256: str) -> Receipt:
        if sent.sha256 and sent.sha256 != sha256:
            return _refused(f"The token of submission {sent.receipt.ref} was used for another file.")
        return sent.receipt

    def _upload(self, name: str, content: bytes, now: datetime) -> str:
        """Put the file where Kaggle says; the token that stands for it."""
        sdk = self._client.sdk
        request = sdk.competition_types.ApiStartSubmissionUploadRequest()
        request.competition_name = self.slug
        request.file_name = name
        request.content_length = len(content)
        request.last_modified_epoch_seconds = int(now.timestamp())

        def put(kaggle: Any) -> str:
            upload = answers.read(answers.Upload, kaggle.competitions.start_submission_upload(request))
            self._client.put(upload.create_url, content)
            return upload.token

        # A new place each time: nothing comes of a file that no submission names.
        return str(self._call("the upload of the submission", put))

    def _create(self, blob: str, description: str, token: str) -> Receipt:
        sdk = self._client.sdk
        request = sdk.competition_types.ApiCreateSubmissionRequest()
        request.competition_name = self.slug
        request.blob_file_tokens = blob
        request.submission_description = description
        try:
            answer = self._call(
                "the submission", lambda kaggle: kaggle.competitions.create_submission(request), again=False
            )
        except PlatformError as error:
            return self._broken(error, token)
        created = answers.read(answers.Created, answer)
        if created.ref:
            message = one_line(created.message) or "Handed in; Kaggle is scoring it."
            return Receipt(str(created.ref), "accepted", None, message, "pending")
        said = one_line(self._client.hide(created.message)) or "nothing"
        return self._broken(PlatformError(f"Kaggle gave the submission no number; it said: {said}"), token)

    def _broken(self, error: PlatformError, token: str) -> Receipt:
        """What became of a submission whose call failed.

        Raises:
            PlatformError: Nobody knows, or it was not taken for a reason that is not the file's.
        """
        if error.fault in ("limit", "notebooks-only", "closed") or (error.fault == "other" and not error.maybe_sent):
            return _refused(error.message, error)
        if not error.maybe_sent:
            raise error
        try:
            found = self.find(token)
        except PlatformError:
            raise error from None
        if found is None:
            raise error
        return found

    def _daily(self) -> int | None:
        request = self._client.sdk.competition_types.ApiGetCompetitionRequest()
        request.competition_name = self.slug
        answer = self._call("the competition", lambda kaggle: kaggle.competitions.get_competition(request))
        return answers.read(answers.Competition, answer).max_daily_submissions or None


def describe(token: str, sha256: str, name: str) -> str:
    """The description of a submission: it holds all that finds it again, even where Kaggle cuts it short."""
    return f"ak:{token} sha256:{sha256} {one_line(name, 100)}"[:LONGEST_DESCRIPTION]


def _sent(row: answers.Submission) -> Sent:
    mark = _MARK.search(row.description)
    # A state that is new is not final.
    scoring = _SCORED.get(row.status.upper().rpartition(".")[2], "pending")
    message = {
        "pending": "Kaggle is scoring it.",
        "complete": "Kaggle scored it.",
        "error": one_line(row.error_description) or "Kaggle could not score it and gave no reason.",
    }[scoring]
    final = row.public_score if scoring == "complete" else None
    return Sent(
        Receipt(str(row.ref), "accepted", final, message, scoring),
        mark[1] if mark else "",
        (mark[2] or "") if mark else "",
        row.file_name,
        row.date or datetime.fromtimestamp(0, UTC),
        row.private_score,
        one_line(row.team_name),
        one_line(row.description),
    )


def _refused(reason: str, error: PlatformError | None = None) -> Receipt:
    return Receipt("", "refused", None, reason, fault=None if error is None else error.fault)
