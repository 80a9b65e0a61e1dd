"""The public leaderboard of a Kaggle competition, all of its pages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from backends.platforms.base import Standing
from backends.platforms.kaggle import answers
from backends.platforms.kaggle.client import KaggleClient
from experiments.text import one_line

PAGE = 200


def leaderboard(client: KaggleClient, slug: str) -> list[Standing]:
    """Teams with a score, best first, as Kaggle ranks them.

    Raises:
        PlatformError: Kaggle could not be asked.
    """
    sdk = client.sdk

    def ask(page: str) -> Any:
        request = sdk.competition_types.ApiGetLeaderboardRequest()
        request.competition_name = slug
        request.page_size = PAGE
        request.page_token = page
        return client.call("the leaderboard", lambda kaggle: kaggle.competitions.get_leaderboard(request), slug=slug)

    places = [
        place for answer in answers.pages(ask) for place in answers.read_all(answers.Place, answer, "submissions")
    ]
    return [
        Standing(rank, one_line(place.team_name), place.score, place.submission_date or datetime.fromtimestamp(0, UTC))
        for rank, place in enumerate(places, start=1)
        if place.score is not None
    ]
