"""Where AGENTLAB_REQUIRE_ALL is set, a skipped test is a failed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest

def test_absent_part():
    pytest.skip("no engine")

@pytest.mark.xfail(strict=True)
def test_expected_failure():
    assert False

@pytest.mark.long
def test_soak():
    pytest.skip("too long")
"""


@pytest.fixture
def suite(tmp_path: Path, repository: Path) -> Path:
    shutil.copy(repository / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long: soak\n")
    (tmp_path / "test_parts.py").write_text(SUITE)
    return tmp_path


def last_line(suite: Path, **environment: str) -> tuple[int, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AGENTLAB_", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    ran = subprocess.run(command, cwd=suite, env=clean | environment, capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout.strip().splitlines()[-1]


def test_a_skip_is_a_skip_on_a_machine_of_ones_own(suite: Path) -> None:
    code, line = last_line(suite)
    assert code == 0
    assert "2 skipped, 1 xfailed" in line


def test_a_skip_fails_where_every_part_is_required(suite: Path) -> None:
    code, line = last_line(suite, AGENTLAB_REQUIRE_ALL="1")
    assert code == 1
    assert "1 failed, 1 skipped, 1 xfailed" in line


def test_a_module_that_skips_itself_fails_too(suite: Path) -> None:
    (suite / "test_parts.py").write_text("import pytest\npytest.importorskip('no_such_module_here')\n")
    assert last_line(suite)[0] == 5, "nothing collected"
    code, line = last_line(suite, AGENTLAB_REQUIRE_ALL="1")
    assert code != 0
    assert "error" in line
