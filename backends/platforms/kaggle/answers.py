"""Kaggle's answers, read leniently: a field that is new, missing or spelled otherwise never loses a list."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

_MOST_PAGES = 400


def _score(value: object) -> float | None:
    """Scores come as text, which may be empty."""
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: object) -> datetime | None:
    """Times come in UTC, with more digits of the second than Python reads."""
    if not isinstance(value, str) or not value:
        return None
    whole, dot, rest = value.rstrip("Z").partition(".")
    try:
        moment = datetime.fromisoformat(f"{whole}{dot}{rest[:6].ljust(6, '0') if dot else ''}")
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _words(value: object) -> str:
    return "" if value is None else str(value)


def _number(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0


def _flag(value: object) -> bool:
    return value is True or str(value).lower() == "true"


def _perhaps(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


Score = Annotated[float | None, BeforeValidator(_score)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Words = Annotated[str, BeforeValidator(_words)]
Number = Annotated[int, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Perhaps = Annotated[bool | None, BeforeValidator(_perhaps)]
Items = Annotated[list[Any], BeforeValidator(_list)]


class Record(BaseModel):
    """Any answer; fields are spelled in camel case on the wire."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Competition(Record):
    """Of GetCompetition."""

    title: Words = ""
    url: Words = ""
    description: Words = ""
    reward: Words = ""
    deadline: Moment = None
    team_count: Number = 0
    user_has_entered: Perhaps = None
    user_rank: Number = 0
    max_daily_submissions: Number = 0
    evaluation_metric: Words = ""
    is_kernels_submissions_only: Flag = False
    submissions_disabled: Flag = False


class Page(Record):
    """Of ListCompetitionPages."""

    name: Words = ""
    content: Words = ""


class DataFile(Record):
    """Of ListDataFiles."""

    name: Words = ""
    total_bytes: Number = 0


class Upload(Record):
    """Of StartSubmissionUpload."""

    token: Words = ""
    create_url: Words = ""


class Created(Record):
    """Of CreateSubmission."""

    message: Words = ""
    ref: Number = 0


class Submission(Record):
    """Of ListSubmissions."""

    ref: Number = 0
    date: Moment = None
    description: Words = ""
    error_description: Words = ""
    file_name: Words = ""
    public_score: Score = None
    private_score: Score = None
    status: Words = ""
    team_name: Words = ""


class Limits(Record):
    """Of GetSubmissionLimits."""

    num_today: Number = 0
    num_total: Number = 0
    num_allowed_now: Number = 0
    limited_by_total: Flag = False


class Place(Record):
    """Of GetLeaderboard."""

    team_name: Words = ""
    submission_date: Moment = None
    score: Score = None


class Kernel(Record):
    """Of ListKernels, and ``metadata`` of GetKernel."""

    ref: Words = ""
    title: Words = ""
    author: Words = ""
    total_votes: Number = 0
    last_run_time: Moment = None
    language: Words = ""


class Blob(Record):
    """Of GetKernel."""

    source: Words = ""
    kernel_type: Words = ""


class Topic(Record):
    """Of ListCompetitionTopics."""

    id: Number = 0
    title: Words = ""
    topic_url: Words = ""
    author_name: Words = ""
    comment_count: Number = 0
    votes: Number = 0
    post_date: Moment = None


class Post(Record):
    """Of ListTopicMessages."""

    content: Words = ""
    raw_markdown: Words = ""
    author_name: Words = ""
    votes: Number = 0
    post_date: Moment = None
    is_deleted: Flag = False
    replies: Items = []


R = TypeVar("R", bound=Record)


def read(kind: type[R], value: object) -> R:
    """One record; of what is none, one with nothing in it."""
    try:
        return kind.model_validate(_object(value))
    except ValidationError:
        return kind()


def read_all(kind: type[R], answer: object, field: str) -> list[R]:
    """The records of a list in an answer."""
    return [read(kind, item) for item in _list(_object(answer).get(field)) if isinstance(item, dict)]


def pages(ask: Callable[[str], Any]) -> Iterator[Any]:
    """Answers page after page; ``ask`` is given the page's token, empty for the first."""
    token, seen = "", {""}
    for _ in range(_MOST_PAGES):
        answer = ask(token)
        yield answer
        token = str(_object(answer).get("nextPageToken") or "")
        if token in seen:
            return
        seen.add(token)
