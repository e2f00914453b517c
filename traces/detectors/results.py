"""What a test run came to, read from what the framework prints."""

from __future__ import annotations

import re

import msgspec

from agentlab.traces.detectors.acts import Act

_TEST = re.compile(
    r"^(?:(?P<verdict>FAILED|ERROR|PASSED)\s+(?P<name>\S+::\S+|\S+\.py)"  # pytest -ra, -rA
    r"|(?P<name2>\S+::\S+)\s+(?P<verdict2>PASSED|FAILED|ERROR)"  # pytest -v
    r"|(?P<verdict3>FAIL|ERROR): (?P<name3>\w+ \([\w.]+\))"  # unittest
    r"|(?P<name4>\w+ \([\w.]+\)) \.\.\. (?P<verdict4>ok|FAIL|ERROR)"  # unittest -v
    r"|--- (?P<verdict5>FAIL|PASS): (?P<name5>\S+)"  # go test
    r"|test (?P<name6>\S+) \.\.\. (?P<verdict6>ok|FAILED))",  # cargo test
    re.MULTILINE,
)
_FAILED = re.compile(r"\b(\d+) (?:failed|failing|failures?|errors?)\b|\b(?:failures|errors)=(\d+)", re.IGNORECASE)
_PASSED = re.compile(r"\b(\d+) (?:passed|passing)\b|^OK\b|^Ran \d+ tests? in|^ok\s", re.MULTILINE)
_GOOD = frozenset({"PASSED", "ok", "PASS"})


class TestRun(msgspec.Struct, frozen=True):
    """The tests of one run by name where they are named, and how many failed."""

    passing: frozenset[str]
    failing: frozenset[str]
    failed: int
    told: str

    def broken_in(self, later: TestRun) -> str:
        """What failed in `later` and did not here; empty where nothing did."""
        news = later.failing & self.passing
        if news:
            return f"FAILED {min(news)}"
        if later.failed and not self.failed:
            return later.told
        if self.failing and later.failing - self.failing and later.failed > self.failed:
            return f"FAILED {min(later.failing - self.failing)}"
        return ""


def test_run(act: Act) -> TestRun | None:
    """The tests that an act ran; None where its output tells of none."""
    passing: set[str] = set()
    failing: set[str] = set()
    first = ""
    for found in _TEST.finditer(act.output):
        groups = [value for value in found.groups() if value]
        verdict = next(
            value for value in groups if value.upper() in ("FAILED", "ERROR", "PASSED", "FAIL", "OK", "PASS")
        )
        name = next(value for value in groups if value is not verdict)
        if verdict in _GOOD:
            passing.add(name)
        else:
            failing.add(name)
            first = first or found[0]
    counts = (
        [int(found[1] or found[2]) for found in _FAILED.finditer(act.output)] if act.effect.tests or failing else []
    )
    failed = max(len(failing), *counts, 0) if counts else len(failing)
    if not (passing or failing or counts or (act.effect.tests and _PASSED.search(act.output))):
        return None
    line = first or next((found[0] for found in _FAILED.finditer(act.output) if int(found[1] or found[2])), "")
    return TestRun(frozenset(passing - failing), frozenset(failing), failed, line)
