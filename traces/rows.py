"""What a stored run is made of, as plain data: one struct a row."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from agentlab.traces.events import Event, Flag, Outcome, Usage

LabelSource: TypeAlias = Literal["detector", "classifier", "judge", "person"]


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a trial, with what identifies the trial. `outcome` is None while it runs, or where the run was
    killed.
    """

    trial: int
    task: str
    sample: str
    epoch: int
    cluster: str
    group: str
    attempt: int
    outcome: Outcome | None
    value: float | None
    scores: dict[str, float]
    flags: tuple[Flag, ...]
    route: dict[str, Any]
    usage: Usage
    cost_usd: float | None
    latencies_ms: tuple[float, ...]
    """One for each of the agent's model calls that was not answered from the cache."""
    ttfts_ms: tuple[float, ...]
    sandbox_seconds: float
    started_at: float
    ended_at: float | None
    error_kind: str
    error_message: str
    final: bool
    """Whether it is the trial's last attempt, the one that counts."""

    def fields(self) -> dict[str, Any]:
        """Which trial it is and how the attempt ended, by the names that every `--json` and export has for it."""
        return {
            "trial": self.trial,
            "task": self.task,
            "sample": self.sample,
            "epoch": self.epoch,
            "attempt": self.attempt,
            "outcome": self.outcome or "cancelled",
            "value": self.value,
            "scores": self.scores,
            "flags": list(self.flags),
            "route": self.route,
        }


class StoredEvent(msgspec.Struct, frozen=True):
    """An event with its place in the attempt, counted from 0."""

    seq: int
    event: Event


class LastAttempt(msgspec.Struct, frozen=True):
    """What resuming needs to know of a trial."""

    trial: int
    task: str
    sample: str
    epoch: int
    attempt: int
    outcome: Outcome | None


class LabelledTrial(msgspec.Struct, frozen=True):
    """Which trial labels belong to, with its last attempt."""

    trial: int
    task: str
    sample: str
    epoch: int
    cluster: str
    attempt: int


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A judgement on a trial, or on one step of it. Never overwritten: a later one stands beside it."""

    trial: int
    attempt: int
    name: str
    """What is judged, for example `failure` or `prompt_injection`."""
    value: str
    source: LabelSource
    author: str
    """Which detector (with its version), model or person."""
    seq: int | None = None
    """The step it is about; None: the whole trial."""
    confidence: float | None = None
    guide: str = ""
    """Version of the guide or rubric that was followed."""
    note: str = ""
    at: float = 0.0
    """When it was given, seconds since the epoch; 0: set when it is stored."""
