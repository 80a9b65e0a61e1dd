"""A competition's data over a line that may break: what arrived is kept, and carried on from."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from backends.platforms.base import Progress
from backends.platforms.kaggle.client import KaggleClient
from backends.platforms.kaggle.faults import garbled
from experiments.errors import PlatformError
from experiments.files import make_folder, write_atomic
from experiments.jail import read_regular

PART, MARK = "part", "part.json"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Remote:
    """The file at the other end.

    Attributes:
        etag: Its version; empty where the server names none that proves it is the same file.
        size: In bytes; None where it is not told.
    """

    name: str
    etag: str
    size: int | None

    @classmethod
    def of(cls, response: Any) -> Remote:
        """What a response says of it."""
        given = response.headers
        etag = str(given.get("ETag") or "")
        length = str(given.get("Content-Length") or "")
        packed = given.get("Content-Encoding") not in (None, "", "identity")
        return cls(
            name=PurePosixPath(unquote(urlsplit(response.url).path)).name,
            etag="" if packed or etag.startswith("W/") else etag,
            size=int(length) if length.isdecimal() and not packed else None,
        )


def fetch(client: KaggleClient, slug: str, place: Path, progress: Progress) -> tuple[Path, str]:
    """Bring all data of a competition here, as Kaggle packs them.

    Args:
        place: A folder of the download's own; what an earlier call left there is carried on.

    Returns:
        The complete file, and its name at Kaggle.

    Raises:
        PlatformError: It cannot be had, or written.
    """
    sdk = client.sdk
    request = sdk.competition_types.ApiDownloadDataFilesRequest()
    request.competition_name = slug
    make_folder(place)
    part = _Part(place, client, progress)
    while True:
        before = part.size
        try:
            return part.path, client.call(
                f"the data of {slug}",
                lambda kaggle: part.take(kaggle.competitions.download_data_files(request)),
                slug=slug,
            )
        except PlatformError as error:
            # A line that breaks again and again is good enough as long as something comes over it.
            if not error.passing or part.size <= before:
                raise


class _Part:
    """A file that is partly here."""

    def __init__(self, place: Path, client: KaggleClient, progress: Progress) -> None:
        self.path = place / PART
        self._mark = place / MARK
        self._client = client
        self._progress = progress

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def take(self, response: Any) -> str:
        """Take what is still missing; the file's name."""
        with closing(response):
            if "html" in str(response.headers.get("Content-Type")):
                raise garbled("the data", maybe_sent=False)
            remote = Remote.of(response)
            have = self.size if remote.etag and self._kept() == remote else 0
            if have and have == remote.size:
                return remote.name
            rest = self._rest(response, remote, have)
            if rest is None:
                self._start(remote)
                self._fill(response, remote, 0)
            else:
                with closing(rest):
                    self._fill(rest, remote, have)
            return remote.name

    def _rest(self, response: Any, remote: Remote, have: int) -> Any:
        """A response that goes on where the part ends; None when all has to come again."""
        if not have or response.headers.get("Accept-Ranges") != "bytes":
            return None
        rest = self._client.get(response.url, {"Range": f"bytes={have}-", "If-Range": remote.etag})
        if rest.status_code == 206 and str(rest.headers.get("Content-Range")).startswith(f"bytes {have}-"):
            return rest
        rest.close()
        return None

    def _fill(self, response: Any, remote: Remote, have: int) -> None:
        with self._open("ab" if have else "wb") as file:
            self._progress(remote.name, have, remote.size)
            for chunk in self._client.sdk.chunks(response, _CHUNK):
                self._write(file, chunk)
                have += len(chunk)
                self._progress(remote.name, have, remote.size)
        if remote.size is not None and have != remote.size:
            if have > remote.size:
                self.path.unlink()
            raise PlatformError(
                f"{remote.name} came cut short: {have:,} of {remote.size:,} bytes.",
                hint="Run the same command again: it goes on from there.",
                fault="network",
                maybe_sent=False,
            )

    def _start(self, remote: Remote) -> None:
        self.path.unlink(missing_ok=True)
        try:
            write_atomic(self._mark, json.dumps(asdict(remote)).encode())
        except OSError as error:
            raise _unwritten(self._mark, error) from None

    def _kept(self) -> Remote | None:
        with suppress(OSError, ValueError, TypeError, RecursionError):
            return Remote(**json.loads(read_regular(self._mark)))
        return None

    def _open(self, mode: str) -> BinaryIO:
        try:
            return self.path.open(mode)  # type: ignore[return-value]
        except OSError as error:
            raise _unwritten(self.path, error) from None

    def _write(self, file: BinaryIO, chunk: bytes) -> None:
        try:
            file.write(chunk)
        except OSError as error:
            raise _unwritten(self.path, error) from None


def _unwritten(path: Path, error: OSError) -> PlatformError:
    return PlatformError(
        f"{path} cannot be written: {error.strerror}.",
        hint="Make room on the disk, then run the same command again: it goes on from there.",
        maybe_sent=False,
    )
