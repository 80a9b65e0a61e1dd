"""Tests that need a browser run when they are asked for: ``make test-browser``."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("AUTOKAGGLE_BROWSER") != "1":
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="`make test-browser` runs it"))
