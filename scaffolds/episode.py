"""What a scaffold is given and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from agentlab.models.protocol import Model, Sampling
from agentlab.tasks.types import Sample, Submission
from agentlab.traces.events import Message, Recorder, Usage

if TYPE_CHECKING:
    from agentlab.models.tools import Tool
    from agentlab.sandboxes.protocol import Sandbox


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What one attempt of an agent may use. Reaching one ends the attempt; what there is is still scored. None: no
    limit.
    """

    turns: int | None = None
    """Model calls."""
    tokens: int | None = None
    """Input and output tokens of all calls together."""
    time_s: float | None = None
    cost_usd: float | None = None
    tool_timeout_s: float = 60.0
    """Time one tool call may take; of a tool with an argument `timeout`, where the call names none."""
    tool_output: int = 16_384
    """Characters of a tool's output that go back to the model."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt at one sample, everything in hand: the scaffold turns it into a `Submission`."""

    sample: Sample
    model: Model
    recorder: Recorder
    messages: tuple[Message, ...] = ()
    """The rendered prompt of a chat task, system message and examples included."""
    prompt: str | None = None
    """The rendered prompt of a raw task; `messages` is empty then."""
    continuations: tuple[str, ...] = ()
    """Where the task compares log-likelihoods: what may follow the prompt."""
    sampling: Sampling = field(default_factory=Sampling)
    tools: Mapping[str, Tool] = field(default_factory=dict)
    box: Callable[[], Awaitable[Sandbox]] | None = None
    """Waits for this trial's box, files laid in; started ahead while the model thinks."""
    limits: AgentLimits = field(default_factory=AgentLimits)
    epoch: int = 0
    send_reasoning: bool = False
    """Whether thinking of earlier turns goes back to the model."""
    turns: int = 0
    """Turns of the messages that were taken before, and count."""
    usage: Usage = field(default_factory=Usage)
    """Tokens that they took."""
    leave_running: bool = False
    """What the agent started outlives the episode: whoever grades it ends it."""


class Scaffold(Protocol):
    """The loop between model and world. Raises `ModelError` and `SandboxError`; a limit is a flag, not an error."""

    async def __call__(self, episode: Episode) -> Submission: ...
