"""The table of docs/kaggle.md says what the program says."""

import pytest

from tests.kaggle_table import DOCS, rows
from tests.kaggles import server

__all__ = ["server"]


@pytest.mark.usefixtures("server")
def test_the_table_of_faults_is_what_the_user_sees() -> None:
    missing = [row for row in rows() if row not in DOCS.read_text().splitlines()]
    assert missing == [], "write it anew: python -m tests.kaggle_table"
