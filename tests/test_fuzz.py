"""Every parser of what comes from outside: an error of our own, or a result. ``make fuzz`` goes deeper."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from .fuzz.targets import TARGETS

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_in_gives_a_result_or_an_error_of_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AUTOKAGGLE_STATE_HOME", str(tmp_path))
    target = TARGETS[name]
    for seed in target.seeds:
        target.check(seed)
    examples = int(os.environ.get("AUTOKAGGLE_FUZZ_EXAMPLES", target.examples))
    quietly = settings(max_examples=examples, deadline=None, suppress_health_check=QUIET, report_multiple_bugs=False)
    quietly(given(target.inputs)(target.check))()
