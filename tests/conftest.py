"""What every test may use: the reference data mirror, where the repository lies, and no skips where all is required."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes on a shared machine says nothing of it.
settings.register_profile("agentlab", deadline=None)
settings.load_profile("agentlab")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The data mirror: `AGENTLAB_DATA`, else `shared/data` beside the project. Absent: skipped, but never in CI."""
    for candidate in (os.environ.get("AGENTLAB_DATA"), REPOSITORY.parent / "shared" / "data"):
        if candidate and (Path(candidate) / "mirror.json").is_file():
            return Path(candidate)
    if os.environ.get("AGENTLAB_REQUIRE_ALL"):
        pytest.fail("the reference data is required here and absent: set AGENTLAB_DATA")
    pytest.skip("no reference data: set AGENTLAB_DATA to a mirror")


def _fail_where_required(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A part that is absent where AGENTLAB_REQUIRE_ALL is set is a failure: a skip would hide that nothing ran."""
    if os.environ.get("AGENTLAB_REQUIRE_ALL") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"every part is required here (AGENTLAB_REQUIRE_ALL), but this was skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("long") is None:
        _fail_where_required(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    _fail_where_required(report)
    return report
