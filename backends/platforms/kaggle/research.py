"""What others made public about a Kaggle competition: notebooks, their source, and the forum."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from backends.platforms.base import CellKind, KernelInfo, KernelSort, KernelSource, Message, Standing, TopicInfo
from backends.platforms.kaggle import answers
from backends.platforms.kaggle.board import leaderboard
from backends.platforms.kaggle.client import KaggleClient
from experiments.errors import PlatformError
from experiments.text import clean, one_line, without_hidden

SITE = "https://www.kaggle.com"
SOURCE_CHARS = 200_000
MESSAGE_CHARS = 20_000
MOST_MESSAGES = 500
PAGE = 100
_REF = re.compile(r"([\w-]+)/([\w-]+)")
_DEEPEST = 20


class KaggleResearch:
    """Reads what is public about one competition.

    Attributes:
        slug: The competition.
    """

    def __init__(self, slug: str, client: KaggleClient, *, maximize: bool = True) -> None:
        """Prepare to read.

        Args:
            maximize: Whether higher scores are better: which notebooks are best by score.
        """
        self.slug = slug
        self._client = client
        self._maximize = maximize

    def kernels(self, sort: KernelSort, count: int) -> list[KernelInfo]:
        """Notebooks and scripts, best first; Kaggle tells no scores with them.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        sdk = self._client.sdk
        orders = sdk.KernelsListSortType
        by_score = orders.SCORE_DESCENDING if self._maximize else orders.SCORE_ASCENDING
        order = {"votes": orders.VOTE_COUNT, "date": orders.DATE_RUN, "score": by_score}[sort]

        def ask(page: str) -> Any:
            request = sdk.kernel_types.ApiListKernelsRequest()
            request.competition = self.slug
            request.group = sdk.KernelsListViewType.EVERYONE
            request.sort_by = order
            request.language = request.kernel_type = request.output_type = "all"
            request.page_size = min(PAGE, count)
            request.page_token = page
            return self._call("the notebooks", lambda kaggle: kaggle.kernels.list_kernels(request))

        found: list[KernelInfo] = []
        for answer in answers.pages(ask):
            found += [_kernel(row) for row in answers.read_all(answers.Kernel, answer, "kernels")]
            if len(found) >= count:
                break
        return found[:count]

    def kernel(self, ref: str) -> KernelSource:
        """The source of a notebook or script.

        Raises:
            PlatformError: There is none of that name, or Kaggle could not be asked.
        """
        named = _REF.fullmatch(ref)
        if named is None:
            raise PlatformError(f"'{ref}' is not the name of a notebook: OWNER/NAME.", maybe_sent=False)
        request = self._client.sdk.kernel_types.ApiGetKernelRequest()
        request.user_name, request.kernel_slug = named[1], named[2]
        answer = self._client.call(f"the notebook {ref}", lambda kaggle: kaggle.kernels.get_kernel(request))
        parts = answer if isinstance(answer, dict) else {}
        about = answers.read(answers.Kernel, parts.get("metadata"))
        blob = answers.read(answers.Blob, parts.get("blob"))
        cells, truncated = _capped(_cells(blob))
        return KernelSource(ref, _line(about.title), cells, truncated)

    def topics(self, count: int) -> list[TopicInfo]:
        """Threads of the competition's forum, the liveliest first.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        sdk = self._client.sdk
        found: dict[int, TopicInfo] = {}
        for page in range(1, count + 1):
            request = sdk.competition_types.ApiListCompetitionTopicsRequest()
            request.competition_name = self.slug
            request.sort_by = sdk.TopicListSortBy.TOPIC_LIST_SORT_BY_HOT
            request.page = page
            answer = self._call(
                "the topics", lambda kaggle, this=request: kaggle.competitions.list_competition_topics(this)
            )
            rows = [_topic(row) for row in answers.read_all(answers.Topic, answer, "topics")]
            fresh = [row for row in rows if row.id not in found]
            found |= {row.id: row for row in fresh}
            if not fresh or len(found) >= count:
                break
        return list(found.values())[:count]

    def topic(self, id: int) -> list[Message]:
        """The posts of a thread, in order, replies behind what they answer.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        sdk = self._client.sdk
        request = sdk.competition_types.ApiListTopicMessagesRequest()
        request.competition_name = self.slug
        request.topic_id = id
        request.sort_by = sdk.CommentListSortBy.COMMENT_LIST_SORT_BY_OLD
        request.page_size = -1
        answer = self._call("the messages", lambda kaggle: kaggle.competitions.list_topic_messages(request))
        return list(_messages(answers.read_all(answers.Post, answer, "messages"), 0))[:MOST_MESSAGES]

    def leaderboard(self) -> list[Standing]:
        """The public leaderboard, best first.

        Raises:
            PlatformError: Kaggle could not be asked.
        """
        return leaderboard(self._client, self.slug)

    def _call(self, what: str, make: Any) -> Any:
        return self._client.call(f"{what} of {self.slug}", make, slug=self.slug)


def _line(text: str) -> str:
    return one_line(without_hidden(text))


def _text(text: str) -> str:
    return clean(without_hidden(text)).strip("\n")


def _kernel(row: answers.Kernel) -> KernelInfo:
    ref = one_line(row.ref)
    return KernelInfo(
        ref=ref,
        title=_line(row.title),
        author=_line(row.author),
        votes=row.total_votes,
        score=None,
        last_run=row.last_run_time,
        language=one_line(row.language).lower(),
        url=f"{SITE}/code/{quote(ref)}",
    )


def _topic(row: answers.Topic) -> TopicInfo:
    path = one_line(row.topic_url)
    url = path if path.startswith("https://") else f"{SITE}/{path.lstrip('/')}"
    author = _line(row.author_name)
    return TopicInfo(row.id, _line(row.title), author, row.votes, row.comment_count, row.post_date, url)


def _messages(posts: list[answers.Post], depth: int) -> Iterator[Message]:
    for post in posts:
        text = "" if post.is_deleted else _text(post.raw_markdown or post.content)
        if text:
            yield Message(_line(post.author_name), text[:MESSAGE_CHARS], post.votes, post.post_date, depth)
        if depth < _DEEPEST:
            yield from _messages(answers.read_all(answers.Post, {"replies": post.replies}, "replies"), depth + 1)


def _cells(blob: answers.Blob) -> Iterator[tuple[CellKind, str]]:
    """Code and Markdown of a notebook, without what it put out; a script is one cell."""
    if blob.kernel_type.lower() != "notebook" and not blob.source.lstrip().startswith("{"):
        yield "code", blob.source
        return
    try:
        notebook = json.loads(blob.source)
    except (ValueError, RecursionError):
        yield "code", blob.source
        return
    if not isinstance(notebook, dict):
        return
    sheets = notebook.get("worksheets")
    cells = sheets[0].get("cells") if isinstance(sheets, list) and sheets and isinstance(sheets[0], dict) else None
    for cell in cells or notebook.get("cells") or ():
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input", ""))
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if cell.get("cell_type") == "code":
            yield "code", text
        elif cell.get("cell_type") in ("markdown", "heading"):
            yield "markdown", text


def _capped(cells: Iterator[tuple[CellKind, str]]) -> tuple[tuple[tuple[CellKind, str], ...], bool]:
    """Cells of at most ``SOURCE_CHARS`` in all, without what nobody would see, and whether any was left out."""
    kept: list[tuple[CellKind, str]] = []
    left = SOURCE_CHARS
    for kind, raw in cells:
        text = _text(raw)
        if not text.strip():
            continue
        kept.append((kind, text[:left]))
        left -= len(text)
        if left < 0:
            return tuple(kept), True
    return tuple(kept), False
