"""The guide to Kaggle that new workspaces start with, written for agents."""

from __future__ import annotations

from importlib import resources

FILE_NAME = "KAGGLE_API.md"


def kaggle_guide() -> str:
    """The text of KAGGLE_API.md."""
    return resources.files("agents").joinpath(FILE_NAME).read_text(encoding="utf-8")
