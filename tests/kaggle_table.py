"""The table of docs/kaggle.md: each fault, played by the emulator, and what the user is told of it.

``python -m tests.kaggle_table`` writes it anew.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from backends.platforms.kaggle.client import KaggleClient
from backends.platforms.kaggle.source import KaggleSource
from experiments.errors import PlatformError
from tests.emulators.kaggle import DROP, DROP_AFTER, KEY, RATE, USER, Fault, KaggleServer
from tests.kaggles import HASTY, client_of, platform_of, submission

DOCS = Path(__file__).resolve().parent.parent / "docs" / "kaggle.md"
HEAD = ["| what happens | what the user sees | what to do |", "| --- | --- | --- |"]


@dataclass(frozen=True)
class Case:
    """A fault: how it is made, and what is tried then; told is an error, or text."""

    title: str
    make: Callable[[KaggleServer], object]
    attempt: Callable[[KaggleServer, Path], object]


def look_up(server: KaggleServer, folder: Path) -> object:
    return KaggleSource(client_of(server)).competition(server.task.slug)


def look_up_hastily(server: KaggleServer, folder: Path) -> object:
    return KaggleSource(client_of(server, HASTY)).competition(server.task.slug)


def download(server: KaggleServer, folder: Path) -> object:
    return KaggleSource(client_of(server)).download(server.task.slug, folder / "data")


def submit(server: KaggleServer, folder: Path) -> str:
    file, sha = submission(server, folder)
    receipt = platform_of(server).submit(file, "token", sha, server.clock())
    return f"{receipt.state}: {receipt.message}"


def score(server: KaggleServer, folder: Path) -> str:
    submit(server, folder)
    (sent,) = platform_of(server).submissions()
    return f"{sent.status}: {sent.receipt.message}"


def stale(server: KaggleServer, folder: Path) -> object:
    client = client_of(server, KAGGLE_API_TOKEN="KGAT_stale000stale111", KAGGLE_USERNAME=USER, KAGGLE_KEY=KEY)
    return KaggleSource(client).competition(server.task.slug)


def nobody(server: KaggleServer, folder: Path) -> object:
    return KaggleClient.open({}, Path("/nonexistent"))


def nothing(server: KaggleServer) -> None:
    """All is well."""


def unlike(**changes: object) -> Callable[[KaggleServer], None]:
    def make(server: KaggleServer) -> None:
        for name, value in changes.items():
            setattr(server, name, value)

    return make


def at(name: str, fault: Fault) -> Callable[[KaggleServer], None]:
    return lambda server: server.fail_always(name, fault)


CASES = [
    Case("no credentials", nothing, nobody),
    Case("credentials refused (401)", nothing, stale),
    Case(
        "no such competition (404, or 403 on the permission)",
        at("GetCompetition", Fault("status", 404, "Not found")),
        look_up,
    ),
    Case("rules not accepted (403 RulesAcceptanceRequired)", unlike(rules_accepted=False), download),
    Case("too many calls (429), after five tries", at("GetCompetition", RATE), look_up),
    Case("a server's problem (5xx), after five tries", at("GetCompetition", Fault("status", 503)), look_up),
    Case("no connection, after five tries", at("GetCompetition", DROP), look_up),
    Case("silence", at("GetCompetition", Fault("slow", seconds=9)), look_up_hastily),
    Case("a sign-in page of the network in between", at("GetCompetition", Fault("page")), look_up),
    Case("a download that never gets on", at("Blob", Fault("cut", bytes=0)), download),
    Case("an archive that is none of the data", unlike(archive=b"PK\5\6" + bytes(18)), download),
    Case("the day's limit is used up (400)", unlike(daily_limit=0), submit),
    Case("notebooks only (400)", unlike(kernels_only=True), submit),
    Case("submissions are disabled (400)", unlike(closed=True), submit),
    Case("the line breaks before Kaggle takes the submission", at("CreateSubmission", DROP), submit),
    Case("the line breaks after Kaggle took it, and it is listed", at("CreateSubmission", DROP_AFTER), submit),
    Case("a submission that Kaggle cannot score", unlike(scoring_error="Evaluation Exception: ..."), score),
]


def rows() -> Iterator[str]:
    """The lines of the table."""
    yield from HEAD
    for case in CASES:
        with KaggleServer() as server, tempfile.TemporaryDirectory() as folder:
            case.make(server)
            try:
                said, hint = str(case.attempt(server, Path(folder))), ""
            except PlatformError as error:
                said, hint = error.message, error.hint
            said = said.replace(server.url, "https://api.kaggle.com")
        yield f"| {case.title} | {said} | {hint} |".replace("  |", " |")


if __name__ == "__main__":
    text = DOCS.read_text()
    before, _, after = text.partition(HEAD[0])
    rest = after.split("\n\n", 1)
    DOCS.write_text(before + "\n".join(rows()) + ("\n\n" + rest[1] if len(rest) > 1 else "\n"))
