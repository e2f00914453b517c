"""A trace as its readers see it: turns and tool calls in order, alike for what ran here and for what was imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import msgspec

from agentlab.traces.events import (
    ErrorRaised,
    Event,
    LimitReached,
    Message,
    ModelCall,
    Role,
    Said,
    Scored,
    StopReason,
    ToolCall,
    ToolCallEvent,
    ToolResult,
)
from agentlab.traces.rows import AttemptRow, StoredEvent


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that someone said, or one tool call with what it came to."""

    seq: int
    """The event that it comes from, which is where a label goes. What was told to a model and what it answered have
    the same one.
    """
    role: Role
    agent: str = ""
    """Who spoke, where a trace names several."""
    text: str = ""
    """What was said; for a tool what it answered."""
    reasoning: str = ""
    asks: tuple[ToolCall, ...] = ()
    """The tool calls that an assistant's turn asks for."""
    call: ToolCall | None = None
    """The tool call that this step is."""
    result: ToolResult | None = None
    stop_reason: StopReason = "unknown"
    duration_ms: float = 0.0


class Trace(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One attempt at a trial, with its events in order. `row` is None where a trace stands in no run."""

    events: tuple[StoredEvent, ...]
    row: AttemptRow | None = None
    solved: bool | None = None
    """Whether the trial was scored in full, said by who knows it better than the events do; None: see row and events.
    """

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Everything that was said and done, without set-up, grading and retries."""
        return tuple(_steps(self.events))

    @cached_property
    def prompt(self) -> str:
        """What the agent was asked, before its first turn: the users' texts (the system's where there are none)."""
        before = []
        for step in self.steps:
            if step.role in ("assistant", "tool"):
                break
            before.append(step)
        asked = [step.text for step in before if step.role == "user"] or [step.text for step in before]
        return "\n\n".join(asked)

    @property
    def turns(self) -> tuple[Step, ...]:
        """What agents said."""
        return tuple(step for step in self.steps if step.role == "assistant")

    @property
    def tool_steps(self) -> tuple[Step, ...]:
        """The tool calls that were carried out or refused."""
        return tuple(step for step in self.steps if step.call is not None)

    @property
    def answer(self) -> str:
        """The last thing that an agent said; empty where it said nothing."""
        return next((step.text for step in reversed(self.turns) if step.text.strip()), "")

    def of(self, kind: type[Event]) -> tuple[StoredEvent, ...]:
        """The events of one kind, with their places."""
        return tuple(stored for stored in self.events if isinstance(stored.event, kind))

    @property
    def score(self) -> Scored | None:
        """The last verdict, None where nothing was graded."""
        return next((s.event for s in reversed(self.events) if isinstance(s.event, Scored)), None)

    @property
    def error(self) -> ErrorRaised | None:
        return next((s.event for s in reversed(self.events) if isinstance(s.event, ErrorRaised)), None)

    @property
    def limit(self) -> LimitReached | None:
        return next((s.event for s in reversed(self.events) if isinstance(s.event, LimitReached)), None)


def trace_of(
    events: Iterable[Event | StoredEvent], row: AttemptRow | None = None, *, solved: bool | None = None
) -> Trace:
    """The trace of events in order; those without a place are numbered from 0."""
    stored = (item if isinstance(item, StoredEvent) else StoredEvent(place, item) for place, item in enumerate(events))
    return Trace(events=tuple(stored), row=row, solved=solved)


def _steps(events: Iterable[StoredEvent]) -> Iterator[Step]:
    known: tuple[Message, ...] = ()
    for stored in events:
        event = stored.event
        if isinstance(event, ModelCall) and event.purpose == "agent":
            yield from _told(stored.seq, event, known)
            if event.response is not None:
                yield _turn(stored.seq, event.response, event.stop_reason, event.latency_ms)
            known = (*event.messages, event.response) if event.response is not None else event.messages
        elif isinstance(event, Said):
            yield _turn(stored.seq, event.message)
        elif isinstance(event, ToolCallEvent):
            yield Step(
                seq=stored.seq,
                role="tool",
                text=event.result.content,
                call=event.call,
                result=event.result,
                duration_ms=event.duration_ms,
            )


def _told(seq: int, call: ModelCall, known: tuple[Message, ...]) -> Iterator[Step]:
    """What the system and users said that no step has had yet. What tools answered has steps of its own."""
    if call.prompt:
        yield Step(seq=seq, role="user", text=call.prompt)
    repeated = 0
    for old, new in zip(known, call.messages, strict=False):
        if old is not new and (old.role, old.text) != (new.role, new.text):
            break
        repeated += 1
    for message in call.messages[repeated:]:
        if message.role in ("system", "user"):
            yield _turn(seq, message)


def _turn(seq: int, message: Message, stop_reason: StopReason = "unknown", duration_ms: float = 0.0) -> Step:
    return Step(
        seq=seq,
        role=message.role,
        agent=message.name,
        text=message.text,
        reasoning=message.reasoning,
        asks=message.tool_calls,
        stop_reason=stop_reason,
        duration_ms=duration_ms,
    )
