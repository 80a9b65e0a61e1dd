"""Kaggle's client library, shaped for a program: imported only when Kaggle is first asked.

``kagglesdk`` is the half of the official client that speaks to Kaggle. The other half, ``kaggle``, is its command
line: importing that signs in over the network, prints, and leaves the process without credentials. Private names are
leaned on here and nowhere else; tests/test_kaggle_client.py pins them for the pinned version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests
from kagglesdk.common.types.file_download import FileDownload
from kagglesdk.common.types.http_redirect import HttpRedirect
from kagglesdk.competitions.services.competition_api_service import CompetitionApiClient
from kagglesdk.competitions.types import competition_api_service as competition_types
from kagglesdk.competitions.types.competition_enums import SubmissionGroup, SubmissionSortBy
from kagglesdk.discussions.types.discussions_enums import CommentListSortBy, TopicListSortBy
from kagglesdk.kaggle_env import KaggleEnv
from kagglesdk.kaggle_http_client import KaggleHttpClient
from kagglesdk.kernels.services.kernels_api_service import KernelsApiClient
from kagglesdk.kernels.types import kernels_api_service as kernel_types
from kagglesdk.kernels.types.kernels_enums import KernelsListSortType, KernelsListViewType
from kagglesdk.users.services.account_service import AccountClient
from kagglesdk.users.types import account_service as account_types
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

__all__ = [
    "BearerAuth",
    "CommentListSortBy",
    "KernelsListSortType",
    "KernelsListViewType",
    "Services",
    "SubmissionGroup",
    "SubmissionSortBy",
    "TopicListSortBy",
    "account_types",
    "chunks",
    "competition_types",
    "kernel_types",
    "requests",
    "timed_session",
]

Check = Callable[[Any], None]
BearerAuth = KaggleHttpClient.BearerAuth


class _TimedAdapter(HTTPAdapter):  # type: ignore[misc]
    """Waits no longer than it was told, whoever makes the call; tries nothing again by itself."""

    def __init__(self, connect: float, read: float) -> None:
        self._limits = (connect, read)
        super().__init__(max_retries=0)

    def send(self, request: Any, **settings: Any) -> Any:
        if settings.get("timeout") is None:
            settings["timeout"] = self._limits
        return super().send(request, **settings)


def timed_session(connect: float, read: float) -> Any:
    """A session of ``requests`` with a limit on every wait, in seconds."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _TimedAdapter(connect, read))
    return session


def chunks(response: Any, most: int) -> Iterator[bytes]:
    """What arrives, as it arrives: nothing that came before a line breaks is lost.

    Raises:
        RequestException: It breaks.
    """
    try:
        while data := response.raw.read1(most, decode_content=True):
            yield data
    except HTTPError as error:
        raise requests.ConnectionError(str(error)) from None


class _Http(KaggleHttpClient):  # type: ignore[misc]
    """Signs in as it is told, waits no longer than it may, and gives answers as the JSON they are.

    The library's own objects lose a whole list to one enum value that they do not know.
    """

    def __init__(self, endpoint: str, auth: Any, limits: tuple[float, float], check: Check, agent: str) -> None:
        # An environment is named, so that KAGGLE_API_ENVIRONMENT cannot lead elsewhere.
        super().__init__(env=KaggleEnv.PROD, user_agent=agent)
        self._session: Any = None
        self._endpoint = endpoint
        self._auth = auth
        self._limits = limits
        self._check = check

    def _init_session(self) -> Any:
        if self._session is None:
            self._session = timed_session(*self._limits)
            self._session.headers.update({"User-Agent": self._user_agent, "Content-Type": "application/json"})
            self._session.auth = self._auth
        return self._session

    def _prepare_response(self, response_type: Any, http_response: Any) -> Any:
        self._check(http_response)
        if response_type in (FileDownload, HttpRedirect):
            return http_response
        return http_response.json()


class Services:
    """The services that are used, over one connection; for one thread at a time.

    Args:
        endpoint: Kaggle's address.
        auth: What ``requests`` takes: a bearer token or a pair of user name and key; None for nobody.
        limits: Longest waits in seconds, for a connection and for a word on it.
        check: Called with each response; raises what is to be raised for one that is an error.
        agent: How the program names itself.
    """

    def __init__(self, endpoint: str, auth: Any, limits: tuple[float, float], check: Check, agent: str) -> None:
        http = _Http(endpoint, auth, limits, check, agent)
        self.competitions = CompetitionApiClient(http)
        self.kernels = KernelsApiClient(http)
        self.account = AccountClient(http)
