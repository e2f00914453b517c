"""Failure detectors: small deterministic functions over a trace, each with its evidence.

from agentlab.traces.detectors import detect
for finding in detect(trace):
    print(finding.detector, finding.seq, finding.quote)

`docs/failures.md` lists them with their definitions and counter-examples.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentlab.traces.detectors.calls import (
    error_never_recovered,
    malformed_call,
    repeated_action,
    tool_error_misread_or_ignored,
    unknown_tool,
)
from agentlab.traces.detectors.coding import (
    edit_without_retest,
    no_edit,
    no_test_run,
    premature_submit,
    regression_introduced,
    test_or_grader_tampering,
    wrong_file,
)
from agentlab.traces.detectors.endings import (
    budget_ran_out,
    context_overflow,
    gave_up,
    infrastructure,
    truncated_answer,
    wrong_format,
)
from agentlab.traces.detectors.story import Detector, Finding, Story
from agentlab.traces.events import Event, ModelCall, Note, Scored
from agentlab.traces.steps import Trace

__all__ = ["DETECTORS", "Detector", "Finding", "Story", "answered_plainly", "detect"]

DETECTORS: tuple[Detector, ...] = (
    no_edit,
    no_test_run,
    edit_without_retest,
    repeated_action,
    malformed_call,
    unknown_tool,
    tool_error_misread_or_ignored,
    error_never_recovered,
    wrong_file,
    premature_submit,
    regression_introduced,
    test_or_grader_tampering,
    gave_up,
    budget_ran_out,
    context_overflow,
    truncated_answer,
    wrong_format,
    infrastructure,
)
_ANY = tuple(detector for detector in DETECTORS if detector.applies == "any")
_TOOLS = tuple(detector for detector in DETECTORS if detector.applies != "coding")
MAX_FINDINGS = 5
"""Findings of one detector in one trace: a loop of a hundred turns is told once, and shown a few times."""


def answered_plainly(events: Sequence[Event]) -> bool:
    """Whether there is nothing in the events that a detector could find in a trial that passed: one model call that
    ended by itself and asked for no tool, and beside it verdicts and notes.
    """
    calls = 0
    for event in events:
        if isinstance(event, ModelCall):
            answer = event.response
            if event.stop_reason == "length" or answer is None or answer.tool_calls:
                return False
            calls += 1
        elif not isinstance(event, (Scored, Note)):
            return False
    return calls == 1


def detect(trace: Trace) -> tuple[Finding, ...]:
    """What all detectors find in a trace, by detector in the order of `DETECTORS`, then in the trace's order."""
    story = Story(trace)
    chosen = DETECTORS if story.coding else _TOOLS if story.acts else _ANY
    found: list[Finding] = []
    for detector in chosen:
        for count, evidence in enumerate(detector.find(story)):
            if count == MAX_FINDINGS:
                break
            found.append(
                Finding(detector=detector.name, version=detector.version, seq=evidence.seq, quote=evidence.quote)
            )
    return tuple(found)
