"""How a call is signed: a token, a user name with its key, or a token that a sign-in by the browser is good for."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from backends.platforms.kaggle.credentials import Credential
from experiments.files import write_atomic
from experiments.jail import read_regular
from experiments.redaction import learn

_EARLY = timedelta(minutes=5)
_LIFE = timedelta(hours=12)


def _now() -> datetime:
    return datetime.now(UTC)


class SignIn:
    """Signs calls with a credential, from any thread.

    Args:
        used: The credential.
        ask: Makes a call that nobody signs.
        clock: The time, with its zone.
    """

    def __init__(
        self, used: Credential, ask: Callable[[Callable[[Any], Any]], Any], clock: Callable[[], datetime] = _now
    ) -> None:
        self._used = used
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._until: datetime | None = None
        self._token = used.secret if used.kind == "token" else ""

    @property
    def pair(self) -> tuple[str, str] | None:
        """User name and key, where they sign."""
        return (self._used.user, self._used.secret) if self._used.kind == "key" else None

    def token(self, sdk: Any) -> str:
        """The token that signs; one from the browser is renewed when it is about to end, and kept in its file.

        Raises:
            AnswerError: Kaggle does not renew it.
            RequestException: It could not be asked.
        """
        if self._used.kind != "oauth":
            return self._token
        with self._lock:
            if not self._good():
                self._read()
            if not self._good():
                self._renew(sdk)
            return self._token

    def _good(self) -> bool:
        return bool(self._token) and self._until is not None and self._until - self._clock() > _EARLY

    def _kept(self) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            data = json.loads(read_regular(self._used.path, links=True)) if self._used.path else None
            if isinstance(data, dict):
                return data
        return {}

    def _read(self) -> None:
        kept = self._kept()
        token, until = kept.get("access_token"), kept.get("access_token_expiration")
        if not isinstance(token, str) or not isinstance(until, str):
            return
        with suppress(ValueError):
            when = datetime.fromisoformat(until)
            self._set(token, when if when.tzinfo else when.replace(tzinfo=UTC))

    def _renew(self, sdk: Any) -> None:
        types = sdk.account_types
        request = types.GenerateAccessTokenRequest()
        request.refresh_token = self._used.secret
        request.api_version = types.ApiVersion.API_VERSION_V1
        request.expiration_duration = _LIFE
        answer = self._ask(lambda services: services.account.generate_access_token(request))
        token, seconds = str(answer.get("token") or ""), int(answer.get("expiresIn") or 0)
        self._set(token, self._clock() + timedelta(seconds=seconds))
        if self._used.path is None or not token or self._until is None:
            return
        kept = self._kept() | {"access_token": token, "access_token_expiration": self._until.isoformat()}
        with suppress(OSError):
            # What cannot be kept is renewed again next time.
            write_atomic(self._used.path, (json.dumps(kept, indent=2) + "\n").encode())

    def _set(self, token: str, until: datetime) -> None:
        learn("Kaggle credential", token)
        self._token, self._until = token, until
