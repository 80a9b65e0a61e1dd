"""Where a Kaggle competition is looked up and its data comes from."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from backends.platforms.base import CompetitionInfo, Progress, RemoteFile
from backends.platforms.kaggle import answers
from backends.platforms.kaggle.client import KaggleClient
from backends.platforms.kaggle.faults import COMPETITIONS
from backends.platforms.kaggle.fetching import fetch
from backends.platforms.kaggle.unpacking import UnfitError, unpack
from experiments.errors import PlatformError
from experiments.files import make_folder, published
from experiments.text import clean, one_line, without_hidden

PLACE = ".download"
PAGE = 200
MOST_FILES = 5_000
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_ADDRESS = re.compile(r"^(?:https?://)?(?:www\.)?kaggle\.com/(?:competitions|c)/([^/?#]+).*$")


class KaggleSource:
    """Looks up competitions and fetches their data, as the user of a client may."""

    def __init__(self, client: KaggleClient) -> None:
        self._client = client

    def competition(self, slug: str) -> CompetitionInfo:
        """What Kaggle says of a competition, its pages and files included; ``slug`` may be its address.

        Raises:
            PlatformError: There is none of that name, or Kaggle could not be asked.
        """
        slug = competition_name(slug)
        request = self._request("ApiGetCompetitionRequest", slug)
        answer = self._call("the competition", slug, lambda kaggle: kaggle.competitions.get_competition(request))
        found = answers.read(answers.Competition, answer)
        pages = self._pages(slug)
        if found.description and not pages.get("description"):
            pages["description"] = _plain(found.description)
        files, _ = self._files(slug)
        return CompetitionInfo(
            slug=slug,
            title=one_line(found.title) or slug,
            url=f"{COMPETITIONS}/{slug}",
            deadline=found.deadline,
            max_daily_submissions=found.max_daily_submissions or None,
            evaluation_metric=one_line(found.evaluation_metric),
            kernels_only=found.is_kernels_submissions_only,
            rules_accepted=found.user_has_entered,
            closed=found.submissions_disabled,
            reward=one_line(found.reward),
            pages=pages,
            files=files,
            team_count=found.team_count or None,
            user_rank=found.user_rank or None,
        )

    def download(self, slug: str, folder: Path, progress: Progress | None = None) -> tuple[Path, ...]:
        """Fetch and unpack the data into a folder; what an earlier call left half done is carried on.

        Raises:
            PlatformError: As the protocol says.
        """
        slug = competition_name(slug)
        tell = progress or (lambda _name, _done, _of: None)
        place = folder / PLACE
        try:
            make_folder(place)
            with FileLock(place / "lock", timeout=0):
                made = self._download(slug, folder, place, tell)
        except Timeout:
            raise PlatformError(
                f"Another process is fetching data into {folder}.", hint="Wait for it.", maybe_sent=False
            ) from None
        except OSError as error:
            raise PlatformError(
                f"The data cannot be put into {folder}: {error.strerror or error}.",
                hint="Choose a folder that can be written, or make room on the disk.",
                maybe_sent=False,
            ) from None
        shutil.rmtree(place, ignore_errors=True)
        return made

    def _download(self, slug: str, folder: Path, place: Path, tell: Progress) -> tuple[Path, ...]:
        files, complete = self._files(slug)
        path, name = fetch(self._client, slug, place, tell)
        if not zipfile.is_zipfile(path):
            return (_alone(path, folder / _file_name(name, slug)),)
        sizes = [file.size for file in files if file.size is not None]
        announced = sum(sizes) if complete and len(sizes) == len(files) > 0 else None
        try:
            return unpack(path, folder, announced, tell)
        except UnfitError:
            # It does not get better here: the next call fetches it anew.
            path.unlink(missing_ok=True)
            raise

    def _pages(self, slug: str) -> dict[str, str]:
        """The pages by their names in lower case."""
        request = self._request("ApiListCompetitionPagesRequest", slug)
        answer = self._call("the pages of", slug, lambda kaggle: kaggle.competitions.list_competition_pages(request))
        return {
            one_line(page.name).lower(): _plain(page.content)
            for page in answers.read_all(answers.Page, answer, "pages")
        }

    def _files(self, slug: str) -> tuple[tuple[RemoteFile, ...], bool]:
        """The data files and whether these are all; none where the rules are not accepted."""

        def ask(page: str) -> Any:
            request = self._request("ApiListDataFilesRequest", slug)
            request.page_size = PAGE
            request.page_token = page
            return self._call("the list of files of", slug, lambda kaggle: kaggle.competitions.list_data_files(request))

        found: list[RemoteFile] = []
        try:
            for answer in answers.pages(ask):
                found += [
                    RemoteFile(clean(file.name), file.total_bytes or None)
                    for file in answers.read_all(answers.DataFile, answer, "files")
                ]
                if len(found) > MOST_FILES:
                    return tuple(found), False
        except PlatformError as error:
            if error.fault != "rules":
                raise
        return tuple(found), True

    def _request(self, kind: str, slug: str) -> Any:
        request = getattr(self._client.sdk.competition_types, kind)()
        request.competition_name = slug
        return request

    def _call(self, what: str, slug: str, make: Any) -> Any:
        return self._client.call(
            f"{what} of {slug}" if what != "the competition" else f"{what} {slug}", make, slug=slug
        )


def competition_name(given: str) -> str:
    """The name of a competition, out of its address where that is given.

    Raises:
        PlatformError: It is the name of none.
    """
    name = _ADDRESS.sub(r"\1", given.strip()).lower()
    if not _SLUG.fullmatch(name):
        raise PlatformError(
            f"'{given}' is not the name of a Kaggle competition.",
            hint=f"The name is the last part of its address: {COMPETITIONS}/NAME.",
            fault="no-competition",
            maybe_sent=False,
        )
    return name


def _plain(page: str) -> str:
    return clean(without_hidden(page)).strip()


def _file_name(name: str, slug: str) -> str:
    plain = re.sub(r"[^\w.()+ -]", "_", name).lstrip(".")
    return plain or slug


def _alone(path: Path, target: Path) -> Path:
    """A file that came unpacked, under its name."""
    with published(target) as temporary:
        shutil.move(path, temporary)
    return target
