"""One user's line to Kaggle: signs in, waits within limits, tries again what may be tried again, explains the rest."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from backends.backoff import Backoff, retry_after
from backends.platforms.kaggle.credentials import Credentials, find_credentials
from backends.platforms.kaggle.faults import Answer, answer_error, garbled, unreachable
from backends.platforms.kaggle.signin import SignIn
from experiments.errors import PlatformError
from experiments.redaction import Redactor, learn

KAGGLE = "https://api.kaggle.com"
ELSEWHERE = "AUTOKAGGLE_KAGGLE_URL"
AGENT = "autokaggle-tui"
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes:
        connect: Longest wait for a connection, in seconds.
        read: Longest silence on it.
        backoff: Pauses between tries of calls that may be made twice.
        sleep: Waits that many seconds.
    """

    connect: float = 10.0
    read: float = 60.0
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=5))
    sleep: Callable[[float], None] = time.sleep


class AnswerError(Exception):
    """Kaggle answered with an error; inside this package alone."""

    def __init__(self, answer: Answer, wait: float | None) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.wait = wait


class KaggleClient:
    """Makes calls to Kaggle, from any thread.

    Attributes:
        credentials: What it signs in with, and what that hides.
        endpoint: Kaggle's address.
    """

    def __init__(self, credentials: Credentials, endpoint: str = KAGGLE, patience: Patience | None = None) -> None:
        """Prepare a line; nothing is imported and nobody asked before the first call.

        Raises:
            PlatformError: There are no credentials.
        """
        self.credentials = credentials
        self.endpoint = endpoint.rstrip("/")
        self.patience = patience or Patience()
        self._hidden = Redactor([(one.kind, one.secret) for one in credentials.found])
        for one in credentials.found:
            learn("Kaggle credential", one.secret)
        self._threads = threading.local()
        self._sign_in = SignIn(credentials.demand(), lambda make: make(self._connected(self.sdk, None)))

    @classmethod
    def open(
        cls,
        environment: Mapping[str, str] | None = None,
        home: Path | None = None,
        patience: Patience | None = None,
    ) -> KaggleClient:
        """The line of whoever the environment and the user's files name.

        ``AUTOKAGGLE_KAGGLE_URL`` leads to another server, for tests: one on this machine, or one by https.

        Raises:
            PlatformError: There are no credentials, or that address is none.
        """
        given = os.environ if environment is None else environment
        return cls(find_credentials(given, home), _endpoint(given.get(ELSEWHERE, "")), patience)

    @property
    def sdk(self) -> Any:
        """Kaggle's library (``sdk.py``).

        Raises:
            PlatformError: It is not installed as it should be.
        """
        try:
            return import_module("backends.platforms.kaggle.sdk")
        except (ImportError, AttributeError) as error:
            raise PlatformError(
                f"Kaggle's client cannot be loaded: {self.hide(str(error))}.",
                hint="Install it again: pip install kaggle==2.2.4 kagglesdk==0.1.37.",
                maybe_sent=False,
            ) from None

    def call(self, what: str, make: Callable[[Any], Any], *, slug: str = "", again: bool = True) -> Any:
        """Make a call and return its answer: JSON, or an open response where a file is asked for.

        Args:
            what: What is asked for, for messages.
            make: Makes the call with ``sdk.Services``.
            slug: The competition, for messages.
            again: The call may be made twice: after 429, 5xx and broken connections it is.

        Raises:
            PlatformError: It failed; the message holds no credential, nor does any error behind it.
        """
        tried = 0
        if not again:
            # On a connection that was closed meanwhile nobody could tell whether the call arrived.
            self._threads.services = None
        while True:
            tried += 1
            error, wait = self._try(what, make, slug)
            if not isinstance(error, PlatformError):
                return error
            pause = self.patience.backoff.pause(tried, wait)
            if not again or not error.passing or error.fault == "limit" or pause is None:
                raise error
            self.patience.sleep(pause)

    def put(self, address: str, content: bytes) -> None:
        """Hand bytes to the address that Kaggle named for them; unsigned, for the address is the right to do it.

        To be made within ``call``.

        Raises:
            AnswerError: They were not taken.
        """
        with self._plain() as session:
            response = session.put(address, data=content)
            # A sign-in page of the network says 200 to everything.
            if response.status_code not in (200, 201) or "html" in str(response.headers.get("Content-Type")):
                # Whatever its storage has against an address, another one may be better.
                said = f"its storage did not take the file, HTTP {response.status_code}"
                raise AnswerError(Answer(503, said, ""), retry_after(response.headers))

    def get(self, address: str, headers: Mapping[str, str]) -> Any:
        """An open response with the file behind an address that Kaggle named; unsigned.

        To be made within ``call``.
        """
        return self._plain().get(address, headers=dict(headers), stream=True)

    def explain(self, error: AnswerError, what: str, slug: str) -> PlatformError:
        """What to tell the user of an answer."""
        answer = error.answer
        hidden = replace(answer, said=self.hide(answer.said), body=self.hide(answer.body))
        return answer_error(hidden, what, slug, self.credentials)

    def hide(self, text: str) -> str:
        """A text without credentials."""
        return self._hidden.hide(text)

    def check(self, response: Any) -> None:
        """Raise what an answer that is an error means.

        Raises:
            AnswerError: It is one.
        """
        headers = {name.lower(): value for name, value in response.headers.items()}
        status = response.status_code
        if status < 400 and "json" in headers.get("content-type", ""):
            status = _code_inside(response)
        if status >= 400:
            body = response.content.decode("utf-8", "replace")
            raise AnswerError(Answer.of(status, body, headers), retry_after(headers))

    def _try(self, what: str, make: Callable[[Any], Any], slug: str) -> tuple[Any, float | None]:
        """The answer; or the error and how long Kaggle asks to wait."""
        sdk = self.sdk
        signed = False
        try:
            services = self._services(sdk)
            signed = True
            return make(services), None
        except PlatformError as error:
            return error, None
        except AnswerError as error:
            explained = self.explain(error, what, slug)
            explained.maybe_sent = explained.maybe_sent and signed
            return explained, error.wait
        except sdk.requests.exceptions.JSONDecodeError:
            return garbled(what, maybe_sent=signed), None
        except (sdk.requests.RequestException, OSError) as error:
            why, arrived = plainly(error, sdk)
            return unreachable(what, self.endpoint, why, maybe_sent=signed and arrived), None

    def _services(self, sdk: Any) -> Any:
        """This thread's services, signed in."""
        token = self._sign_in.token(sdk)
        known = getattr(self._threads, "services", None)
        if known is None or known[0] != token:
            known = (token, self._connected(sdk, self._sign_in.pair or sdk.BearerAuth(token)))
            self._threads.services = known
        return known[1]

    def _plain(self) -> Any:
        return self.sdk.timed_session(self.patience.connect, self.patience.read)

    def _connected(self, sdk: Any, auth: Any) -> Any:
        limits = (self.patience.connect, self.patience.read)
        return sdk.Services(self.endpoint, auth, limits, self.check, AGENT)


def plainly(error: BaseException, sdk: Any) -> tuple[str, bool]:
    """What broke a connection, in a person's words, and whether the request may have arrived."""
    faults = sdk.requests.exceptions
    if isinstance(error, faults.ProxyError):
        return "the proxy does not let it through", False
    if isinstance(error, faults.ConnectTimeout):
        return "no connection within the time limit", False
    if isinstance(error, faults.SSLError):
        return "its certificate is not accepted", False
    if isinstance(error, faults.Timeout) or "timed out" in str(error).lower():
        return "no answer within the time limit", True
    chain = repr(error)
    if "NameResolution" in chain or "getaddrinfo" in chain:
        return "its name cannot be looked up", False
    if "NewConnectionError" in chain:
        return "no connection", False
    return "the connection broke off", True


def _endpoint(elsewhere: str) -> str:
    if not elsewhere:
        return KAGGLE
    parts = urlsplit(elsewhere)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return elsewhere
    raise PlatformError(
        f"{ELSEWHERE} is {elsewhere!r}: the credentials are sent to https addresses and to this machine alone.",
        hint=f"Unset {ELSEWHERE} to use Kaggle.",
        maybe_sent=False,
    )


def _code_inside(response: Any) -> int:
    """The status of an answer, which may be an error that came as HTTP 200."""
    try:
        body = response.json()
    except ValueError:
        return int(response.status_code)
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else int(response.status_code)
