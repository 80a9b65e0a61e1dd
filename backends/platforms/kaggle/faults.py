"""What an answer of Kaggle that is an error means to the user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.platforms.kaggle.credentials import SETTINGS, Credentials
from experiments.errors import PlatformError, PlatformFault
from experiments.text import one_line

COMPETITIONS = "https://www.kaggle.com/competitions"
_MOST_CHARS = 20_000
_RULES = re.compile(
    r"RulesAcceptanceRequired|accept(ed)? (this|the) competition.{0,5}s? rules|until you accept", re.IGNORECASE
)
_LIMIT = re.compile(r"daily submission (allowance|limit)|submission limit|maximum number of submissions", re.IGNORECASE)
_NOTEBOOKS = re.compile(r"only accepts? submissions? from notebooks|notebooks?[- ]only|code competition", re.IGNORECASE)
_CLOSED = re.compile(
    r"submissions? (is|are|have been) (closed|disabled|not (being )?accepted)|not accepting (late )?submissions"
    r"|competition (has |is )?(ended|closed|over)|deadline (has )?passed",
    re.IGNORECASE,
)
_NO_PERMISSION = re.compile(r"permission\s+\W?competitions\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer that is an error.

    Attributes:
        said: Kaggle's reason, on one line; empty when it gave none.
        body: The beginning of all that it sent.
    """

    status: int
    said: str
    body: str

    @classmethod
    def of(cls, status: int, body: str, headers: Mapping[str, str]) -> Answer:
        """Read an answer; Kaggle's newer errors lie in ``error``, older ones are flat, proxies send pages."""
        text = body[:_MOST_CHARS]
        said = _reason(text)
        if not said and "html" not in headers.get("content-type", ""):
            said = one_line(text)
        return cls(status, said, text)

    @property
    def fault(self) -> PlatformFault:
        """Which way to fail it is."""
        if self.status in (400, 403) and _RULES.search(self.body):
            return "rules"
        if self.status in (400, 403) and _NOTEBOOKS.search(self.body):
            # Kaggle may name the day's limit in the same breath, which is not what has to be changed.
            return "notebooks-only"
        if self.status in (400, 403) and _LIMIT.search(self.body):
            return "limit"
        if self.status in (400, 403) and _CLOSED.search(self.body):
            return "closed"
        if self.status == 401:
            return "credentials"
        if self.status == 404 or (self.status == 403 and _NO_PERMISSION.search(self.body)):
            return "no-competition"
        if self.status == 429:
            return "rate"
        return "server" if self.status >= 500 or self.status == 408 else "other"


def answer_error(answer: Answer, what: str, slug: str, credentials: Credentials) -> PlatformError:
    """What to tell the user of an error.

    Args:
        what: What was asked for, as in "Kaggle refused X".
        slug: The competition; empty when the call was about none.
    """
    fault = answer.fault
    page = f"{COMPETITIONS}/{slug}" if slug else COMPETITIONS
    said = f": {answer.said.rstrip('.')}." if answer.said else "."

    def error(message: str, hint: str, address: str = page) -> PlatformError:
        return PlatformError(message, hint=hint, fault=fault, address=address, maybe_sent=fault == "server")

    if fault == "rules":
        return error(
            f"The rules of {slug or 'the competition'} are not accepted yet.",
            f"Open {page}/rules in the browser, accept them, and try again; no program can do that.",
            f"{page}/rules",
        )
    if fault == "notebooks-only":
        return error(
            f"{slug or 'The competition'} takes submissions from notebooks alone: a file cannot be handed in.",
            "Choose another competition.",
        )
    if fault == "credentials":
        return error(_refused(credentials, said), _instead(credentials), SETTINGS)
    if fault == "no-competition":
        return error(
            f"Kaggle knows no competition '{slug}', or does not show it to this account{said}"
            if slug
            else f"Kaggle does not have {what}{said}",
            f"The name is the last part of its address: {COMPETITIONS}/NAME." if slug else "Check the name.",
        )
    hints = {
        "limit": "The next submission is possible after midnight UTC.",
        "closed": "Nothing can be handed in any more.",
        "rate": "Wait some minutes; other programs that use the same account count too.",
        "server": "Kaggle has a problem of its own; it usually passes. Try again later.",
    }
    words = {"rate": "is asked too often and did not answer for", "server": "could not answer for"}
    status = f" (HTTP {answer.status})" if fault in ("rate", "server", "other") else ""
    return error(f"Kaggle {words.get(fault, 'refused')} {what}{status}{said}", hints.get(fault, ""), "")


def unreachable(what: str, endpoint: str, why: str, *, maybe_sent: bool) -> PlatformError:
    """Kaggle did not answer."""
    return PlatformError(
        f"Kaggle could not be asked for {what} at {endpoint}: {why}.",
        hint="Check the connection to the network, and whether a proxy is needed (HTTPS_PROXY).",
        fault="network",
        maybe_sent=maybe_sent,
    )


def garbled(what: str, *, maybe_sent: bool) -> PlatformError:
    """What came was not Kaggle's answer."""
    return PlatformError(
        f"What came for {what} is not Kaggle's answer: it cannot be read.",
        hint="A proxy or a sign-in page of the network may be in between; or the server has a problem that passes.",
        fault="server",
        maybe_sent=maybe_sent,
    )


def _refused(credentials: Credentials, said: str) -> str:
    where = credentials.used.where if credentials.used else "nobody"
    return f"Kaggle does not accept the credentials from {where}{said}"


def _instead(credentials: Credentials) -> str:
    others = ", ".join(other.where for other in credentials.shadowed)
    also = f" Others that it hides: {others}." if others else ""
    return f"Make a new API token at {SETTINGS} and put it in its place, or remove the old one.{also}"


def _reason(text: str) -> str:
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    for part in (body.get("error"), body) if isinstance(body, dict) else ():
        message = part.get("message") if isinstance(part, dict) else part
        if isinstance(message, str) and message.strip():
            return one_line(message)
    return ""
