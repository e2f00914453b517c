"""Why a trial failed: a two-level scheme, and what its labels are called in the schemes of others.

The first level is the boundary at which it failed: four of the agent's own (`plan`, `perception`, `action`,
`verification`), four around it (`environment`, `task`, `grader`, `budget`), and `result`, the verdict on what it ended
with. The second level says what happened there. A label is written `BOUNDARY.NAME`, and `unknown` is a label.
`docs/failures.md` holds the tables.

Sources: AgentRx (microsoft/AgentRx, ten categories), MAST (Cemri et al. 2025, fourteen modes; matched by name, for
their numbers differ between its own files), TRAIL (Deshpande et al. 2025), Who&When (Zhang et al. 2025).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from agentlab.traces.categories import ALL, BOUNDARIES, CATEGORIES, Boundary, Category
from agentlab.traces.detectors.story import Finding, passed
from agentlab.traces.events import ErrorRaised, LimitReached, Scored
from agentlab.traces.steps import Trace

UNKNOWN = "unknown"
AUTHOR = "taxonomy/2"
"""Who gives a label that no detector's finding stands behind."""
FAILURE = "failure"
"""The name of a trial's primary label."""
GUIDE = "failures/2"
"""What automatic labels follow: raised when definitions or the order of precedence change."""
FINDING = "finding"
"""The name of a step's label by a detector: its value is the detector's name."""

CAUSE = "cause"
"""The name of the label of the step that decided a trial: its value is one of AgentRx's categories, or unknown."""
FAULT = "fault"
"""The name of the label of any further step in which something went wrong, named likewise."""

OF_DETECTOR: dict[str, str] = {
    "test_or_grader_tampering": "action.tampering",
    "wrong_file": "action.wrong_place",
    "no_edit": "plan.nothing_done",
    "regression_introduced": "action.regression",
    "premature_submit": "verification.ended_too_early",
    "wrong_format": "verification.wrong_form",
    "tool_error_misread_or_ignored": "perception.misread_output",
    "gave_up": "plan.gave_up",
    "repeated_action": "plan.looped",
    "error_never_recovered": "action.error_not_recovered",
    "unknown_tool": "action.wrong_tool",
    "malformed_call": "action.invalid_call",
    "no_test_run": "verification.not_checked",
    "edit_without_retest": "verification.not_checked",
    "infrastructure": "environment.service",
    "context_overflow": "budget.context",
    "budget_ran_out": "budget.turns",
    "truncated_answer": "budget.answer_length",
}
"""The label that a detector's finding stands for; of some, the event that it points to says more (`label_of`)."""

PRECEDENCE: tuple[str, ...] = (
    "test_or_grader_tampering",
    "context_overflow",
    "truncated_answer",
    "repeated_action",
    "infrastructure",
    "budget_ran_out",
    "wrong_format",
    "no_edit",
    "wrong_file",
    "regression_introduced",
    "tool_error_misread_or_ignored",
    "premature_submit",
    "error_never_recovered",
    "gave_up",
    "no_test_run",
    "edit_without_retest",
    "unknown_tool",
    "malformed_call",
)
"""Which finding is taken for the cause where there are several: the first of these, at its first step.

What makes the verdict worthless goes first; then what cut the trial off (a loop before the limit that it ran into);
then what alone decides the score; then what the agent did with what it saw; last what was mended or may be harmless.
"""

_LIMITS = {
    "turn_limit": "turns",
    "token_limit": "tokens",
    "time_limit": "time",
    "cost_limit": "cost",
    "memory_limit": "memory",
    "truncated": "answer_length",
}
_PLACES = {
    "model": "environment.model",
    "sandbox": "environment.sandbox",
    "task": "task.broken",
    "verifier": "grader.failed",
}


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's primary label."""

    value: str
    seq: int | None = None
    """The step that shows it; None where nothing is known, or the trial as a whole failed."""
    quote: str = ""
    author: str = AUTHOR

    @property
    def category(self) -> Category:
        return CATEGORIES[self.value]


def primary(trace: Trace, findings: Sequence[Finding]) -> Cause | None:
    """The cause of a failed trial; None for one that passed, and for one that nobody graded.

    An outcome at a boundary (an error of model, sandbox, task or verifier) is the cause by itself. Else the finding
    that comes first in `PRECEDENCE`, and of its kind the first in the trace; else what the verdict says of a trial that
    ended by itself; else `unknown`.
    """
    if passed(trace) is not False:
        return None
    error = trace.error
    if error is not None or (trace.row is not None and trace.row.outcome not in (None, "scored")):
        return _at_boundary(trace, error, findings)
    for name in PRECEDENCE:
        for finding in findings:
            if finding.detector == name:
                return Cause(
                    value=label_of(trace, finding), seq=finding.seq, quote=finding.quote, author=finding.author
                )
    return Cause(value=_by_verdict(trace))


def explains(value: str) -> bool:
    """Whether a label says more than that the trial failed."""
    return value != UNKNOWN and not value.startswith("result.")


def _by_verdict(trace: Trace) -> str:
    """What is left to say where nothing was found: how right the result is of a trial that nothing cut off."""
    verdict = next((stored.event for stored in trace.of(Scored) if isinstance(stored.event, Scored)), None)
    value = trace.row.value if trace.row is not None else verdict.value if verdict is not None else None
    if value is None or trace.limit is not None or not trace.steps:
        return UNKNOWN
    return "result.partial" if value > 0 else "result.wrong"


def label_of(trace: Trace, finding: Finding) -> str:
    """The label that a finding stands for; a limit and an outage are told by their events."""
    if finding.detector in ("budget_ran_out", "infrastructure"):
        event = next((stored.event for stored in trace.events if stored.seq == finding.seq), None)
        if isinstance(event, LimitReached) and event.limit in _LIMITS:
            return f"budget.{_LIMITS[event.limit]}"
        if isinstance(event, ErrorRaised) and event.boundary in _PLACES:
            return _PLACES[event.boundary]
    return OF_DETECTOR[finding.detector]


def _at_boundary(trace: Trace, error: ErrorRaised | None, findings: Sequence[Finding]) -> Cause:
    overflow = next((finding for finding in findings if finding.detector == "context_overflow"), None)
    if overflow is not None:
        return Cause(value="budget.context", seq=overflow.seq, quote=overflow.quote, author=overflow.author)
    boundary = error.boundary if error is not None else (trace.row.outcome if trace.row is not None else None)
    seq = next((stored.seq for stored in reversed(trace.events) if stored.event is error), None) if error else None
    message = f"{error.kind}: {error.message}"[:200] if error is not None else ""
    if boundary == "cancelled":
        spent = error is not None and error.kind == "cost_limit"
        return Cause(value="budget.cost" if spent else "budget.cancelled", seq=seq, quote=message)
    return Cause(value=_PLACES.get(boundary or "", UNKNOWN), seq=seq, quote=message)


class Crosswalk(msgspec.Struct, frozen=True):
    """What a label is called by others; empty where a scheme has no name for it."""

    agentrx: str
    mast: str
    trail: str


def crosswalk(value: str) -> Crosswalk:
    """The nearest labels of AgentRx, MAST and TRAIL. Raises KeyError for what is no label of ours."""
    category = CATEGORIES[value]
    return Crosswalk(category.agentrx, category.mast, category.trail)


def from_agentrx(name: str) -> tuple[Category, ...]:
    """Our labels for a category of AgentRx, whose spelling varies: case, blanks and the shorter names that its labels
    use do not matter. Empty for what is none of the ten.
    """
    wanted = _folded(name)
    return tuple(category for category in ALL if _folded(category.agentrx) == wanted)


def agentrx_name(text: str) -> str:
    """A category as AgentRx lists it, whatever its labels' spelling; else the text itself."""
    known = from_agentrx(text)
    return known[0].agentrx if known else " ".join(text.split())


def from_mast(name: str) -> tuple[Category, ...]:
    """Our labels for a mode of MAST, by its name. Empty for a mode that none of ours stands for."""
    return _matching(name, lambda category: category.mast)


def from_trail(name: str) -> tuple[Category, ...]:
    """Our labels for a leaf of TRAIL. Empty for a leaf that none of ours stands for."""
    return _matching(name, lambda category: category.trail)


def who_and_when(trace: Trace, seq: int | None) -> tuple[str, int | None]:
    """A step in Who&When's terms: the agent who made the mistake, and its turn counted from 0. Who&When has no
    categories. The step of a tool's answer is the turn that asked for it.
    """
    if seq is None:
        return "", None
    agent, turn = "", -1
    for step in trace.steps:
        if step.seq > seq:
            break
        if step.role != "tool":
            turn += 1
        if step.role == "assistant" or step.agent:
            agent = step.agent or "assistant"
    return agent, max(turn, 0)


def _matching(name: str, other: Callable[[Category], str]) -> tuple[Category, ...]:
    wanted = _folded(name)
    return tuple(category for category in ALL if wanted and _folded(other(category)) == wanted)


_SPELLINGS = {
    "instruction adherence failure": "instruction plan adherence failure",
    "misinterpretation of tool output": "misinterpretation of tool output handoff failure",
}
"""What AgentRx's labels say where its list of categories says more."""


def _folded(name: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    text = " ".join(words).removesuffix(" use sparingly")
    return _SPELLINGS.get(text, text)


def boundaries_of(values: Iterable[str]) -> dict[Boundary, int]:
    """How often each boundary is met, in the scheme's order; those that are not met are left out."""
    counts = dict.fromkeys(BOUNDARIES, 0)
    for value in values:
        counts[CATEGORIES[value].boundary] += 1
    return {boundary: count for boundary, count in counts.items() if count}
