"""Submitting: whether, what, and never the same file twice."""

from __future__ import annotations

import asyncio
import io
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.restoring import RESTORED_TO
from backends.platforms.base import Platform, Receipt, Sent
from experiments.errors import DataError, PlatformError
from experiments.files import sha256_file, write_atomic
from experiments.predictions import load_array
from experiments.registry import Registry
from experiments.rules import Ruling, blocking
from experiments.schema import Row
from experiments.submission import submission_frame, validate_submission

SUBMISSION = "_submission.csv"


@dataclass(frozen=True)
class Decision:
    """What the policy says of one experiment."""

    submit: bool
    reason: str


def decide(
    campaign: Campaign, platform: Platform, experiment: Row, *, cleared: Sequence[Ruling], vetoed: str, last: bool
) -> Decision:
    """Whether to submit an experiment now.

    A gain is needed, and the Reviewer's consent; one submission of the day is kept for the end of the run.

    Args:
        cleared: What the rules say of it (``clearance.clear``).
        vetoed: The Reviewer's reason against it, or an empty string.
        last: The end of a run, which may take the last submission of the day.
    """
    blocked = blocking(cleared)
    if blocked:
        return Decision(False, f"rule {blocked[0].rule} forbids it")
    if experiment["status"] != "keep" and not last:
        return Decision(False, f"no gain ({experiment['status']})")
    if vetoed:
        return Decision(False, f"the Reviewer's veto: {vetoed}")
    now = campaign.registry.now()
    deadline = campaign.config.deadline
    if deadline is not None and now > deadline:
        return Decision(False, f"the deadline ({deadline:%Y-%m-%d %H:%M} UTC) has passed")
    quota = platform.quota(now)
    if quota.limit is None:
        return Decision(True, "no daily limit")
    free = quota.limit - quota.used
    if free <= 0:
        return Decision(False, f"the daily limit of {quota.limit} is used up")
    if free == 1 and not last and quota.limit > 1:
        return Decision(False, "the last submission of the day is kept for the end of the run")
    return Decision(True, f"{quota.used} of {quota.limit} used today")


async def submit(
    campaign: Campaign,
    platform: Platform,
    experiment: Row,
    *,
    told: Callable[[Receipt], None] = lambda _receipt: None,
) -> Receipt:
    """Write the submission file of an experiment and hand it in, once.

    The intent and its token are facts before anything is sent. A file that was accepted, or of which nobody
    can tell, is not sent again.

    Args:
        told: Called with the receipt in the transaction that makes it a fact.

    Raises:
        DataError: The prediction does not make a valid submission file.
        PlatformError: The platform cannot be reached; the intent, with a note, is settled by ``reconcile``.
    """
    registry = campaign.registry
    name = experiment["id"]
    file = campaign.workspace.rounds / f"{name}{SUBMISSION}"
    stored = registry.value("SELECT test FROM predictions WHERE experiment = ?", [name])
    if stored is None:
        raise DataError(f"{name} has no test prediction.", hint="Only complete experiments can be submitted.")
    await asyncio.to_thread(write_submission, campaign, campaign.workspace.rounds / stored, file)
    sha = await asyncio.to_thread(sha256_file, file)
    for sent in _forgotten(registry, await asyncio.to_thread(platform.submissions)):
        if _same(registry, sent, file.name, sha):
            _adopt(campaign, sent, experiment, sha, told)
            return sent.receipt
    token = secrets.token_hex(8)
    try:
        with registry.transaction():
            number = registry.insert(
                "submissions",
                competition=campaign.competition.spec.name,
                experiment=name,
                file=file.name,
                sha256=sha,
                token=token,
                state="intent",
                at=registry.clock(),
            )
            _tell(registry, number, experiment["round"])
    except sqlite3.IntegrityError:
        receipt = Receipt(ref="", state="refused", public_score=None, message="this very file was submitted before")
        told(receipt)
        return receipt
    try:
        receipt = await asyncio.to_thread(platform.submit, file, token=token, sha256=sha, now=registry.now())
    except PlatformError as error:
        with registry.transaction():
            registry.update("submissions", number, note=f"nobody knows whether it arrived: {error.message}")
            _tell(registry, number, experiment["round"])
        raise
    _record(campaign, number, experiment["round"], receipt, told)
    return receipt


def write_submission(campaign: Campaign, stored: Path, file: Path) -> None:
    """Publish a submission file from a stored test prediction."""
    prediction = load_array(stored)
    frame = submission_frame(campaign.competition, campaign.metric, prediction)
    validate_submission(frame, campaign.competition)
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    write_atomic(file, buffer.getvalue().encode())


def reconcile(campaign: Campaign, platform: Platform, *, noted: bool = False) -> None:
    """Settle intents that a crash or a failing platform left open; take over what only the platform knows.

    What belongs to an experiment that is not known yet waits until that is submitted again, which it then is not.

    Args:
        noted: Of the intents only those of which ``submit`` noted that they failed: others may be on their way.
    """
    registry = campaign.registry
    for row in registry.rows("SELECT * FROM submissions WHERE state = 'intent' AND (note != '' OR NOT ?)", [noted]):
        try:
            receipt = platform.find(row["token"])
        except PlatformError as error:
            registry.event("warning", text=f"submission of {row['experiment']} is still open: {error}")
            continue
        if receipt is None:
            receipt = Receipt(ref="", state="refused", public_score=None, message="never arrived; may be sent again")
        round = registry.value("SELECT round FROM experiments WHERE id = ?", [row["experiment"]])
        _record(campaign, row["id"], round, receipt)
    try:
        listed = platform.submissions()
    except PlatformError as error:
        registry.event("warning", text=f"what was submitted before cannot be looked up: {error}")
        return
    for sent in _forgotten(registry, listed):
        experiment = registry.experiment(sent.file.removesuffix(SUBMISSION))
        file = campaign.workspace.rounds / Path(sent.file).name
        sha = sha256_file(file) if file.is_file() else ""
        if experiment is not None and experiment["status"] != "running" and _same(registry, sent, file.name, sha):
            _adopt(campaign, sent, experiment, sha)
        elif registry.fact(RESTORED_TO) is not None:
            registry.event("note", text=f"{sent.file} was submitted before; the same file is not sent again.")


def _forgotten(registry: Registry, listed: Sequence[Sent]) -> list[Sent]:
    """What this program submitted and the registry does not know: it was restored from a backup."""
    known = {row["token"] for row in registry.rows("SELECT token FROM submissions")}
    return [sent for sent in listed if sent.token and sent.token not in known]


def _same(registry: Registry, sent: Sent, name: str, sha: str) -> bool:
    """Whether a file was submitted: by its content; by its name where the platform keeps no more.

    Another workspace of the same competition uses the same names: they count only in a restored registry.
    """
    if sent.sha256:
        return sent.sha256 == sha
    return sent.file == name and registry.fact(RESTORED_TO) is not None


def _adopt(
    campaign: Campaign,
    sent: Sent,
    experiment: Row,
    sha: str,
    told: Callable[[Receipt], None] = lambda _receipt: None,
) -> None:
    """Make a fact of a submission that only the platform knows."""
    registry = campaign.registry
    with registry.transaction():
        number = registry.insert(
            "submissions",
            competition=campaign.competition.spec.name,
            experiment=experiment["id"],
            file=sent.file,
            sha256=sha,
            token=sent.token,
            state=sent.receipt.state,
            public_score=sent.receipt.public_score,
            note=f"{sent.receipt.message} (as the platform lists it)",
            at=sent.submitted_at.timestamp(),
            settled_at=registry.clock(),
        )
        _tell(registry, number, experiment["round"])
        told(sent.receipt)


def _record(
    campaign: Campaign,
    number: int,
    round: int | None,
    receipt: Receipt,
    told: Callable[[Receipt], None] = lambda _receipt: None,
) -> None:
    registry = campaign.registry
    with registry.transaction():
        registry.update(
            "submissions",
            number,
            state=receipt.state,
            public_score=receipt.public_score,
            note=receipt.message,
            settled_at=registry.clock(),
        )
        _tell(registry, number, round)
        told(receipt)


def _tell(registry: Registry, number: int, round: int | None) -> None:
    """The event that a submission is on its way, or how it ended."""
    row = registry.row("SELECT id, experiment, file, state, public_score, note FROM submissions WHERE id = ?", [number])
    registry.event("submission", round=round, **(row or {}))


def submitted(campaign: Campaign, experiment: str) -> bool:
    """Whether an experiment was submitted, or may have been."""
    return bool(
        campaign.registry.value(
            "SELECT count(*) FROM submissions WHERE experiment = ? AND state != 'refused'", [experiment]
        )
    )
