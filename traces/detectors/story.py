"""What every detector reads: a trace with its acts, its agents' turns, what the task is about, each worked out once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Literal, TypeAlias

import msgspec

from agentlab.traces.detectors.acts import EDITORS, INTERPRETERS, SHELLS, Act, acts_of
from agentlab.traces.detectors.results import TestRun, test_run
from agentlab.traces.events import ErrorRaised, LimitReached, ModelCall, Scored
from agentlab.traces.steps import Step, Trace

Applies: TypeAlias = Literal["any", "tools", "coding"]
"""Which traces a detector reads: all; those with at least one tool call; those of tasks that ask for changed files."""

MAX_QUOTE = 200
MAX_PROMPT = 6000

_PEOPLE = frozenset({"human", "user", "customer", "person"})
_TERMINAL = re.compile(r"terminal|executor|interpreter|environment|runtime", re.IGNORECASE)
_FILE = r"[\w./-]*\w\.(?:py|js|ts|tsx|go|rs|java|rb|c|cc|cpp|h|php|sh|cs|kt|swift|scala|css|html)\b"
# A question about a repository names one too: what counts is that work on files is asked for.
_ISSUE = re.compile(
    r"\b(?:solve|solving|fix|fixing|resolve|resolving|address|implement|close)\s+(?:this|the|following|a"
    r"|\W){0,6}\s?(?:\w+\s+){0,2}(?:issue|bug|defect|fault|regression|ticket)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    rf"\b(?:repositor(?:y|ies)|code ?base|source (?:code|files?)|edit (?:\w+ ){{0,2}}files|pull request|/workspace"
    rf"|/testbed|{_FILE})",
    re.IGNORECASE,
)
_WORK = re.compile(
    r"\b(?:files? to (?:edit|change|modify)|hidden (?:unit )?tests|work in the current directory"
    r"|edit (?:all )?the files|pull request that"
    r"|(?:so that|until|make|such that)\b[^.\n]{0,60}\btests?\b[^.\n]{0,20}\b(?:pass|succeed)|failing tests?\b"
    rf"|(?:fix|repair|edit|implement|modify|refactor|patch|rewrite|debug|change|update|complete|correct|extend"
    rf"|port)\b[^.?\n]{{0,80}}(?<![\w.])`?{_FILE})",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"(\s)\s{3,}")
_NO_WORK = re.compile(r"\bCTF\b|capture the flag|do not (?:change|edit|modify) any", re.IGNORECASE)


class Story:
    """A trace as detectors read it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps = trace.steps

    @cached_property
    def acts(self) -> tuple[Act, ...]:
        """Tool calls, and code that a terminal ran, in order."""
        if not any(step.role in ("tool", "user") for step in self.steps[1:]):
            return ()
        return tuple(acts_of(self.steps))

    def test_run(self, act: Act) -> TestRun | None:
        """The tests that an act ran; None where its output tells of none."""
        return self._test_runs.get(act.place)

    @cached_property
    def _test_runs(self) -> dict[int, TestRun]:
        found = ((act.place, test_run(act)) for act in self.acts if act.runs)
        return {place: run for place, run in found if run is not None}

    @cached_property
    def prompt(self) -> str:
        """What was asked for: its beginning and its end."""
        told = self.trace.prompt or (self.steps[0].text if self.steps else "")
        if len(told) > MAX_PROMPT:
            told = f"{told[: MAX_PROMPT // 2]}\n{told[-MAX_PROMPT // 2 :]}"
        # Long runs of blanks would make each search start anew at each of them.
        return _BLANKS.sub(r"\1", told)

    @cached_property
    def turns(self) -> tuple[tuple[int, Step], ...]:
        """What agents said, each with its place among the steps. In a talk of several agents most stand as users."""
        observed = {act.place for act in self.acts}
        found = []
        for place, step in enumerate(self.steps):
            named = step.role == "user" and step.agent and step.agent.lower() not in _PEOPLE
            agents = step.role == "assistant" or (named and not _TERMINAL.search(step.agent))
            if agents and place not in observed and not (place == 0 and self.trace.prompt == ""):
                found.append((place, step))
        return tuple(found)

    @cached_property
    def last_turn(self) -> Step | None:
        """The last turn with words in it; a bare "TERMINATE" has none."""
        for _, step in reversed(self.turns):
            text = step.text.strip()
            if text and text.upper().strip(".") != "TERMINATE":
                return step
        return None

    @property
    def final_act(self) -> Act | None:
        """The last act that is no submission."""
        return next((act for act in reversed(self.acts) if not act.effect.submits), None)

    @cached_property
    def submission(self) -> Act | None:
        """The submission that ended the trace."""
        last = self.acts[-1] if self.acts else None
        return last if last is not None and last.effect.submits else None

    @cached_property
    def coding(self) -> bool:
        """Whether the task asks for changed files, and the agent has tools that could change them."""
        asked = self.prompt
        if not self._can_edit or _NO_WORK.search(asked):
            return False
        return _WORK.search(asked) is not None or bool(_ISSUE.search(asked) and _PLACE.search(asked))

    @cached_property
    def _can_edit(self) -> bool:
        able = EDITORS | SHELLS | INTERPRETERS
        if any(act.tool in able or act.edits for act in self.acts):
            return True
        first = next((stored.event for stored in self.trace.events if isinstance(stored.event, ModelCall)), None)
        return first is not None and any(tool.name in able for tool in first.tools)

    @cached_property
    def passed(self) -> bool | None:
        """Whether the trial was scored in full; None where nobody graded it."""
        return passed(self.trace)

    @cached_property
    def cut_short(self) -> bool:
        """Whether something else than the agent ended the trace."""
        return any(isinstance(stored.event, (LimitReached, ErrorRaised)) for stored in self.trace.events)


def passed(trace: Trace) -> bool | None:
    """Whether a trial was scored in full (1, or more where a scorer gives more); None where nobody graded it."""
    if trace.solved is not None:
        return trace.solved
    if trace.row is not None:
        if trace.row.outcome is not None and trace.row.outcome != "scored":
            return False
        return None if trace.row.value is None else trace.row.value >= 1.0
    headline: Scored | None = None
    for stored in trace.events:
        if isinstance(stored.event, ErrorRaised):
            return False
        if isinstance(stored.event, Scored) and headline is None:
            headline = stored.event  # of several scorers the first one's is the trial's value
    return None if headline is None else headline.value >= 1.0


class Evidence(msgspec.Struct, frozen=True):
    """Where something shows, and in which words."""

    seq: int
    quote: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one detector found, once."""

    detector: str
    version: int
    seq: int
    """The event that shows it."""
    quote: str
    """A few words of it. They may be anybody's: clean them before a terminal shows them."""

    @property
    def author(self) -> str:
        """As labels name it."""
        return f"{self.detector}/{self.version}"


class Detector(msgspec.Struct, frozen=True, kw_only=True):
    """A detector and what must be known to believe it."""

    name: str
    version: int
    """Raised when verdicts change."""
    applies: Applies
    definition: str
    counter_example: str
    """What looks like it and is not."""
    find: Callable[[Story], Iterator[Evidence]]


def detector(
    applies: Applies, *, version: int = 1, unlike: str
) -> Callable[[Callable[[Story], Iterator[Evidence]]], Detector]:
    """Make a detector of a function; its docstring is the definition, `unlike` the counter-example."""

    def make(find: Callable[[Story], Iterator[Evidence]]) -> Detector:
        definition = " ".join((find.__doc__ or "").split())
        return Detector(
            name=find.__name__,
            version=version,
            applies=applies,
            definition=definition,
            counter_example=unlike,
            find=find,
        )

    return make


def quote(text: str) -> str:
    """A text in one line, its end left out where it is long."""
    line = " ".join(text[: 4 * MAX_QUOTE].split())
    return line if len(line) <= MAX_QUOTE else f"{line[: MAX_QUOTE - 3]}..."
