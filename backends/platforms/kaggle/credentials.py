"""Which of its ways to know a user Kaggle's client takes here, and which others that one hides.

The order is that of kaggle 2.2.4: a notebook's own token, KAGGLE_API_TOKEN, ``~/.kaggle/access_token``, user name and
key (each from the environment, else from kaggle.json), and what ``kaggle auth login`` left. Nothing here asks the
network or imports the client.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.errors import PlatformError
from experiments.jail import read_regular

Kind = Literal["token", "key", "oauth"]
SETTINGS = "https://www.kaggle.com/settings/api"
_LONGEST_FILE = 100_000


@dataclass(frozen=True)
class Credential:
    """One way to sign in.

    Attributes:
        kind: A token, a user name with its key, or a sign-in by the browser.
        where: Where it was found, in a person's words.
        user: The user name where it is known; empty otherwise.
        secret: The token, key or refresh token.
        path: The file of a sign-in by the browser, which is written when its token is renewed.
    """

    kind: Kind
    where: str
    user: str = ""
    secret: str = field(default="", repr=False)
    path: Path | None = None


@dataclass(frozen=True)
class Credentials:
    """What there is to sign in with.

    Attributes:
        used: The one that is sent; None without any.
        shadowed: Others that would work, were the ones before them not there.
        problems: What is there and cannot be used, or should be mended: a sentence each.
    """

    used: Credential | None
    shadowed: tuple[Credential, ...]
    problems: tuple[str, ...]

    @property
    def found(self) -> tuple[Credential, ...]:
        """All of them, the used one first."""
        return (self.used, *self.shadowed) if self.used else ()

    def demand(self) -> Credential:
        """The one to use.

        Raises:
            PlatformError: There is none.
        """
        if self.used is not None:
            return self.used
        about = f" ({' '.join(self.problems)})" if self.problems else ""
        raise PlatformError(
            f"No Kaggle credentials were found{about}.",
            hint=f"Make an API token at {SETTINGS} and put it into the environment variable KAGGLE_API_TOKEN or the "
            "file ~/.kaggle/access_token.",
            fault="no-credentials",
            address=SETTINGS,
            maybe_sent=False,
        )


def find_credentials(environment: Mapping[str, str] | None = None, home: Path | None = None) -> Credentials:
    """Look for credentials where Kaggle's client does, in its order.

    Args:
        environment: None for this process's own.
        home: The user's home folder; None for what HOME says.
    """
    look = _Look(os.environ if environment is None else environment, home or Path.home())
    found = list(look.all())
    return Credentials(found[0] if found else None, tuple(found[1:]), tuple(look.problems))


def config_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Where the client looks for kaggle.json."""
    if environment.get("KAGGLE_CONFIG_DIR"):
        return Path(environment["KAGGLE_CONFIG_DIR"])
    if sys.platform.startswith("linux") and not (home / ".kaggle").exists():
        return Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    return home / ".kaggle"


class _Look:
    """One search; collects what is wrong on the way."""

    def __init__(self, environment: Mapping[str, str], home: Path) -> None:
        self.environment = environment
        self.home = home
        self.problems: list[str] = []

    def all(self) -> Iterator[Credential]:
        yield from self._tokens()
        yield from self._key()
        yield from self._oauth()

    def _tokens(self) -> Iterator[Credential]:
        given = self.environment
        if given.get("KAGGLE_KERNEL_RUN_TYPE") is not None and given.get("KAGGLE_DATA_PROXY_URL") is not None:
            named = given.get("KAGGLE_API_V1_TOKEN")
            if named and (token := self._token_file(Path(named))):
                yield Credential("token", "this Kaggle notebook's own token (KAGGLE_API_V1_TOKEN)", secret=token)
        value = given.get("KAGGLE_API_TOKEN", "").strip()
        if value and _exists(Path(value)):
            token = self._token_file(Path(value))
            if token:
                yield Credential("token", f"the file {value} that KAGGLE_API_TOKEN names", secret=token)
        elif value and not _one_word(value):
            self.problems.append("KAGGLE_API_TOKEN does not hold a token.")
        elif value:
            yield Credential("token", "the environment variable KAGGLE_API_TOKEN", secret=value)
        for name in ("access_token", "access_token.txt"):
            path = self.home / ".kaggle" / name
            if _exists(path) and (token := self._token_file(path)):
                yield Credential("token", str(path), secret=token)

    def _key(self) -> Iterator[Credential]:
        path = config_folder(self.environment, self.home) / "kaggle.json"
        kept = self._json(path)
        if kept and not _private(path):
            self.problems.append(f"Other users of this machine can read {path}: run `chmod 600 {path}`.")
        user, key = (self.environment.get(name, "") for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"))
        from_file = {name: _text(kept.get(name)) for name in ("username", "key")}
        if kept and not all(from_file.values()):
            self.problems.append(f"{path} does not hold a username and a key.")
        if user and key:
            yield Credential("key", "the environment variables KAGGLE_USERNAME and KAGGLE_KEY", user, key)
            if all(from_file.values()):
                yield Credential("key", str(path), from_file["username"], from_file["key"])
        elif (user or key) and (user or from_file["username"]) and (key or from_file["key"]):
            name = "KAGGLE_USERNAME" if user else "KAGGLE_KEY"
            where = f"the environment variable {name} together with {path}"
            yield Credential("key", where, user or from_file["username"], key or from_file["key"])
        elif user or key:
            there, missing = ("KAGGLE_USERNAME", "KAGGLE_KEY") if user else ("KAGGLE_KEY", "KAGGLE_USERNAME")
            self.problems.append(f"{there} is set and {missing} is not.")
        elif all(from_file.values()):
            yield Credential("key", str(path), from_file["username"], from_file["key"])

    def _oauth(self) -> Iterator[Credential]:
        path = self.home / ".kaggle" / "credentials.json"
        kept = self._json(path)
        refresh = _text(kept.get("refresh_token"))
        if refresh:
            yield Credential("oauth", f"{path} (kaggle auth login)", _text(kept.get("username")), refresh, path)
        elif kept:
            self.problems.append(f"{path} holds no refresh token: run `kaggle auth login` again.")

    def _token_file(self, path: Path) -> str:
        try:
            token = read_regular(path, most=_LONGEST_FILE, links=True).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{path} cannot be read: {_why(error)}.")
            return ""
        if not token:
            self.problems.append(f"{path} is empty.")
        elif not _one_word(token):
            self.problems.append(f"{path} does not hold a token.")
            return ""
        return token

    def _json(self, path: Path) -> dict[str, Any]:
        if not _exists(path):
            return {}
        try:
            data = json.loads(read_regular(path, most=_LONGEST_FILE, links=True))
        except (OSError, ValueError, RecursionError) as error:
            why = _why(error) if isinstance(error, OSError) else "it is not JSON"
            self.problems.append(f"{path} cannot be read: {why}.")
            return {}
        if not isinstance(data, dict):
            self.problems.append(f"{path} cannot be read: it is not a JSON object.")
            return {}
        return data


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # A token is too long, or spelled so, that it can be no path.
        return False


def _one_word(token: str) -> bool:
    return token.isascii() and len(token.split()) == 1


def _private(path: Path) -> bool:
    try:
        return not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    except OSError:
        return True


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "it is not a file") if isinstance(error, OSError) else "it is not text"
