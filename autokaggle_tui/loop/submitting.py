"""Handing in a file, never the same one twice: the intent before the upload, the receipt after it."""

from __future__ import annotations

import asyncio
import io
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autokaggle_tui.campaign import Campaign
from autokaggle_tui.loop import queueing
from autokaggle_tui.restoring import RESTORED_TO
from backends.platforms.base import Platform, Receipt, Sent
from experiments.errors import DataError, PlatformError
from experiments.files import sha256_file, write_atomic
from experiments.predictions import load_array
from experiments.registry import Registry
from experiments.schema import Row
from experiments.submission import submission_frame
from experiments.validation import validate_submission

SUBMISSION = "_submission.csv"
Told = Callable[[Receipt], None]
"""Called with the receipt in the transaction that makes it a fact."""


def nobody(_receipt: Receipt) -> None:
    """For when nobody waits for the receipt."""


async def submit(campaign: Campaign, platform: Platform, experiment: Row, *, told: Told = nobody) -> Receipt:
    """Write the submission file of an experiment and hand it in, once.

    The intent and its token are facts before anything is sent. A file that was accepted, or of which nobody
    can tell, is not sent again.

    Raises:
        DataError: The prediction does not make a valid submission file.
        PlatformError: The platform failed. ``maybe_sent``: the intent stays open, ``settling`` looks for it; else it
            was not taken, and may be sent again.
    """
    registry = campaign.registry
    name = experiment["id"]
    file = campaign.workspace.rounds / f"{name}{SUBMISSION}"
    stored = registry.value("SELECT test FROM predictions WHERE experiment = ?", [name])
    if stored is None:
        raise DataError(f"{name} has no test prediction.", hint="Only complete experiments can be submitted.")
    await asyncio.to_thread(write_submission, campaign, campaign.workspace.rounds / stored, file)
    sha = await asyncio.to_thread(sha256_file, file)
    for sent in forgotten(registry, await asyncio.to_thread(platform.submissions)):
        if same_file(registry, sent, file.name, sha):
            adopt(campaign, sent, experiment, sha, told)
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
            tell(registry, number)
            queueing.leave(registry, name, "sent", "handed in")
    except sqlite3.IntegrityError:
        receipt = Receipt(ref="", state="refused", public_score=None, message="this very file was submitted before")
        told(receipt)
        return receipt
    try:
        receipt = await asyncio.to_thread(platform.submit, file, token=token, sha256=sha, now=registry.now())
    except PlatformError as error:
        if error.maybe_sent:
            lose(registry, number, f"nobody knows whether it arrived: {error.message}")
        else:
            record(registry, number, Receipt("", "refused", None, f"not taken: {error.message}", fault=error.fault))
        raise
    record(registry, number, receipt, told)
    return receipt


def write_submission(campaign: Campaign, stored: Path, file: Path) -> None:
    """Publish a submission file from a stored test prediction.

    Raises:
        DataError: The file would not be valid; none is written.
    """
    prediction = load_array(stored)
    frame = submission_frame(campaign.competition, campaign.metric, prediction)
    validate_submission(frame, campaign.competition, campaign.metric)
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    write_atomic(file, buffer.getvalue().encode())


def lose(registry: Registry, number: int, note: str = "") -> None:
    """An intent cannot be on its way any more, and nobody knows whether it arrived."""
    with registry.transaction():
        changes: dict[str, Any] = {"note": note} if note else {}
        registry.update("submissions", number, lost_at=registry.clock(), **changes)
        if note:
            tell(registry, number)


def record(registry: Registry, number: int, receipt: Receipt, told: Told = nobody) -> None:
    """Make a receipt a fact; told when it says something new."""
    row = registry.row("SELECT * FROM submissions WHERE id = ?", [number]) or {}
    news = {
        "state": receipt.state,
        "ref": receipt.ref,
        "public_score": receipt.public_score,
        "scoring": receipt.scoring,
        "note": receipt.message,
    }
    with registry.transaction():
        if any(row.get(key) != value for key, value in news.items()):
            registry.update("submissions", number, **news, settled_at=registry.clock())
            tell(registry, number)
        told(receipt)


def tell(registry: Registry, number: int) -> None:
    """The event that a submission is on its way, how it ended, or how it was scored."""
    row = registry.row(
        "SELECT s.id, s.experiment, s.file, s.state, s.scoring, s.ref, s.public_score, s.private_score, s.note, "
        "e.round FROM submissions s JOIN experiments e ON e.id = s.experiment WHERE s.id = ?",
        [number],
    )
    registry.event("submission", **(row or {}))


def submitted(registry: Registry, experiment: str) -> bool:
    """Whether an experiment was submitted, or may have been."""
    return bool(
        registry.value("SELECT count(*) FROM submissions WHERE experiment = ? AND state != 'refused'", [experiment])
    )


# What only the platform knows.


def forgotten(registry: Registry, listed: Sequence[Sent]) -> list[Sent]:
    """What this program submitted and the registry does not know: it was restored from a backup."""
    known = {row["token"] for row in registry.rows("SELECT token FROM submissions")}
    return [sent for sent in listed if sent.token and sent.token not in known]


def take_over(campaign: Campaign, listed: Sequence[Sent]) -> None:
    """Make facts of submissions that a restored registry forgot.

    What belongs to an experiment that is not known yet waits until that is submitted again, which it then is not.
    """
    registry = campaign.registry
    for sent in forgotten(registry, listed):
        experiment = registry.experiment(sent.file.removesuffix(SUBMISSION))
        file = campaign.workspace.rounds / Path(sent.file).name
        sha = sha256_file(file) if file.is_file() else ""
        if experiment is not None and experiment["status"] != "running" and same_file(registry, sent, file.name, sha):
            adopt(campaign, sent, experiment, sha)
        elif registry.fact(RESTORED_TO) is not None:
            registry.event("note", text=f"{sent.file} was submitted before; the same file is not sent again.")


def same_file(registry: Registry, sent: Sent, name: str, sha: str) -> bool:
    """Whether a file was submitted: by its content; by its name where the platform keeps no more.

    Another workspace of the same competition uses the same names: they count only in a restored registry.
    """
    if sent.sha256:
        return sent.sha256 == sha
    return sent.file == name and registry.fact(RESTORED_TO) is not None


def adopt(campaign: Campaign, sent: Sent, experiment: Row, sha: str, told: Told = nobody) -> None:
    """Make a fact of a submission that only the platform knows."""
    registry = campaign.registry
    receipt = sent.receipt
    with registry.transaction():
        number = registry.insert(
            "submissions",
            competition=campaign.competition.spec.name,
            experiment=experiment["id"],
            file=sent.file,
            sha256=sha,
            token=sent.token,
            state=receipt.state,
            ref=receipt.ref,
            scoring=receipt.scoring,
            public_score=receipt.public_score,
            private_score=sent.private_score,
            note=f"{receipt.message} (as the platform lists it)",
            at=sent.submitted_at.timestamp(),
            settled_at=registry.clock(),
        )
        tell(registry, number)
        queueing.leave(registry, experiment["id"], "sent", "it was submitted before")
        told(receipt)
