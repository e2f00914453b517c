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
_FAILED = re.compile(r"(?<!\d)(\d+) (?:[Ff]ail(?:ed|ing|ures?)|[Ee]rrors?)\b|\b(?:failures|errors)=(\d+)")
_PASSED = re.compile(r"(?<!\d)\d+ pass(?:ed|ing)\b|^(?:OK\b|Ran \d+ tests? in|ok\s)", re.MULTILINE)
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


def _end(output: str) -> int:
    """Where the last lines begin, in which a framework sums up."""
    return max(0, len(output) - 600)


def test_run(act: Act) -> TestRun | None:
    """The tests that an act ran; None where its output tells of none."""
    passing: set[str] = set()
    failing: set[str] = set()
    first = ""
    named = any(word in act.output for word in ("FAIL", "PASS", "ERROR", "... ok"))
    for found in _TEST.finditer(act.output) if named else ():
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
    counts = _counts(act.output) if act.effect.tests or failing else []
    failed = max((count for count, _ in counts), default=0)
    if not (passing or failing or counts or (act.effect.tests and _PASSED.search(act.output, _end(act.output)))):
        return None
    told = first or next((line for count, line in counts if count), "")
    return TestRun(frozenset(passing - failing), frozenset(failing), max(len(failing), failed), told)


def _counts(output: str) -> list[tuple[int, str]]:
    """How many failed, as the last lines say it, with the words."""
    lines = output[_end(output) :].split("\n")
    told = (line for line in lines if "ail" in line or "rror" in line)  # most say nothing of it
    return [(int(found[1] or found[2]), found[0]) for line in told for found in _FAILED.finditer(line)]
