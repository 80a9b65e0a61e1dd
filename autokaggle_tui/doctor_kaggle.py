"""What ``doctor`` finds out about Kaggle: credentials, and whether it answers them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from autokaggle_tui.config import Config
from autokaggle_tui.doctor_machine import Check
from backends.backoff import Backoff
from backends.platforms.kaggle.client import KaggleClient, Patience
from backends.platforms.kaggle.credentials import SETTINGS, Credentials, find_credentials
from backends.platforms.kaggle.platform import KagglePlatform
from experiments.errors import AutokaggleError
from experiments.text import one_line

IMPATIENCE = Patience(connect=5.0, read=10.0, backoff=Backoff(attempts=1))
"""One try, soon given up: the doctor only looks."""


def check_kaggle(config: Config | None) -> Iterator[Check]:
    """Which credentials there are; of a workspace on Kaggle also whether Kaggle takes them, in a few seconds."""
    found = find_credentials()
    needed = config is not None and config.platform == "kaggle"
    yield check_credentials(found, needed=needed)
    if config is not None and needed and found.used is not None:
        yield check_competition(config.competition)


def check_credentials(found: Credentials, *, needed: bool) -> Check:
    """The line about credentials: the used ones, those that they hide, and what is wrong with others."""
    cure = f"Make an API token at {SETTINGS}; put it into KAGGLE_API_TOKEN or ~/.kaggle/access_token."
    problems = " ".join(found.problems)
    if found.used is None:
        said = f"no credentials ({problems})" if problems else "no credentials"
        if needed:
            return Check("kaggle", "fail", said, cure)
        return Check("kaggle", "ok", f"{said}: only competitions on Kaggle need them", cure)
    user = f"{found.used.user}, by " if found.used.user else ""
    hidden = ", ".join(other.where for other in found.shadowed)
    text = f"{user}{found.used.where}" + (f"; hides {hidden}" if hidden else "")
    return Check("kaggle", "warn" if problems else "ok", text, problems)


def check_competition(slug: str) -> Check:
    """Ask Kaggle how many submissions are left: that shows whether it is reached, and knows user and competition."""
    try:
        quota = KagglePlatform(slug, KaggleClient.open(patience=IMPATIENCE)).quota(datetime.now(UTC))
    except AutokaggleError as error:
        return Check("competition", "fail", one_line(error.message, 600), one_line(error.hint, 300))
    limit = "without a limit" if quota.limit is None else f"of {quota.limit}"
    return Check("competition", "ok", f"{slug}: {quota.used} {limit} submissions of today are used")
