"""The settings that docs/models.md shows are settings."""

import json
import re
from pathlib import Path

import pytest

from autokaggle_tui.config import Budget, Models
from backends.models.settings import ModelSettings

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "models.md").read_text()
SHOWN = [json.loads(f"{{{block}}}") for block in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)]


@pytest.mark.parametrize("shown", SHOWN, ids=[", ".join(shown) for shown in SHOWN])
def test_what_is_shown_can_be_written_into_a_config(shown: dict):
    if "budget" in shown:
        Budget.model_validate(shown["budget"])
    else:
        Models.model_validate(shown.get("models", shown))


def test_every_field_of_a_model_is_told_of():
    table = TEXT[TEXT.index("| field |") : TEXT.index("### Claude")]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))) == set(
        ModelSettings.model_fields
    )
