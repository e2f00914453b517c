"""What every test may use: the reference data mirror, where the repository lies, the machine for itself where a test
is marked `alone`, and no skips where all is required.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from endpoints import Endpoint

# How long an example takes on a shared machine says nothing of it.
settings.register_profile("agentlab", deadline=None)
settings.load_profile("agentlab")

# How wide the window is: what starts the workers says it in their environment, and it would steer what is printed.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# A shell that starts the tests in the background has them, and the commands that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """A real server in this process that answers as a test tells it to."""
    from endpoints import serve

    async with serve() as running:
        yield running


@contextmanager
def _turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Holds until the end what a test needs of the machine: a share of it, or all. They are served as they come: who
    waits for all of it holds the door, and so nobody overtakes.
    """
    with (folder / "machine").open("w") as machine:
        with (folder / "door").open("w") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where there are several workers, a test marked `alone` waits for the others, and they for it. That is outside
    its time-out.
    """
    if not hasattr(item.config, "workerinput") or item.config.cache is None:
        return (yield)
    with _turn(item.config.cache.mkdir("turns"), alone=item.get_closest_marker("alone") is not None):
        return (yield)


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
