"""Ground floor: messages, tool calls and events as plain data, and the protocols that carry them.

Everything that happens in an attempt becomes one `Event`. Events are msgspec structs in a tagged union, so that a
stored trace can be decoded without guessing; `SCHEMA_VERSION` is stored beside them. Nothing here does I/O, and every
room may import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

SCHEMA_VERSION = 1

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Outcome: TypeAlias = Literal["scored", "model", "sandbox", "task", "verifier", "cancelled"]
Flag: TypeAlias = Literal[
    "empty", "truncated", "unparsable", "turn_limit", "token_limit", "time_limit", "cost_limit", "memory_limit"
]
StopReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]

OUTCOMES: tuple[Outcome, ...] = ("scored", "model", "sandbox", "task", "verifier", "cancelled")
FLAGS: tuple[Flag, ...] = (
    "empty",
    "truncated",
    "unparsable",
    "turn_limit",
    "token_limit",
    "time_limit",
    "cost_limit",
    "memory_limit",
)


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Text inside a message of several parts."""

    text: str


class ImagePart(msgspec.Struct, frozen=True, omit_defaults=True, tag="image", tag_field="type"):
    """An image inside a message.

    In memory `data` holds the bytes. In the store `data` is empty and `sha256` names the artifact that holds them.
    """

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: bytes = b""
    sha256: str = ""


ContentPart: TypeAlias = TextPart | ImagePart


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model's request to call a tool.

    `arguments` is the parsed object. Where the model sent something that is no JSON object, `arguments` is empty,
    `raw` holds what it sent and `error` says what is wrong with it.
    """

    id: str
    name: str
    arguments: dict[str, Any] = {}
    raw: str = ""
    error: str = ""


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One chat message. Treat it as immutable: the store keeps it once, by the hash of its encoding."""

    role: Role
    content: str | tuple[ContentPart, ...] = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    reasoning: str = ""
    """Thinking of the model: kept in the trace, never scored, sent back only where the harness says so."""

    @property
    def text(self) -> str:
        """The text of the message, image parts left out."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model is told of a tool. `parameters` is a JSON Schema of type object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool call came to: the text that goes back to the model, and whether the call failed."""

    content: str
    error: Literal["", "unknown_tool", "bad_arguments", "timeout", "failed"] = ""
    dropped_bytes: int = 0
    """Bytes that were cut from `content` because the output was too long."""
    images: tuple[ImagePart, ...] = ()


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one model call as the endpoint reports them (`input_tokens` includes cached ones)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag=True, tag_field="type"):
    at: float
    """When the step ended, seconds since the epoch."""


class ModelCall(_Event, frozen=True, tag="model_call"):
    """One answered request to a model. Failed tries before it are `ModelRetry` events."""

    model: str
    messages: tuple[Message, ...] = ()
    """The messages as sent. The store keeps each message once, by hash."""
    prompt: str = ""
    """The raw prompt, where `complete` or `score` was called instead of `chat`."""
    continuations: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Summed log-likelihood of each continuation, where `score` was called."""
    tools: tuple[ToolSpec, ...] = ()
    sampling: dict[str, Any] = {}
    response: Message | None = None
    stop_reason: StopReason = "unknown"
    usage: Usage = Usage()
    cost_usd: float | None = None
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    """Time to the first token; None where the answer was not streamed."""
    request_id: str = ""
    served_model: str = ""
    cached: bool = False
    purpose: Literal["agent", "judge"] = "agent"


class ModelRetry(_Event, frozen=True, tag="model_retry"):
    """One failed try at a model call, and how long was waited before the next (None: no further try)."""

    kind: str
    message: str
    status: int | None = None
    wait_s: float | None = None


class Said(_Event, frozen=True, tag="said"):
    """What someone said where no model call of ours stands behind it: a turn of an imported trace.

    `message.name` is the agent or person who spoke, where there are several; an assistant's message carries the tool
    calls that it asked for, and a `ToolCallEvent` follows for each that was carried out.
    """

    message: Message


class ToolCallEvent(_Event, frozen=True, tag="tool_call"):
    """A tool call that was carried out (or refused) and what went back to the model."""

    call: ToolCall
    result: ToolResult
    duration_ms: float = 0.0


class SandboxStart(_Event, frozen=True, tag="sandbox_start"):
    """A trial was given a box. `wait_ms` is what the trial waited for it, `start_ms` what starting it took."""

    box: str
    sandbox: str
    isolation: str
    image: str = ""
    wait_ms: float = 0.0
    start_ms: float = 0.0
    purpose: Literal["agent", "scorer"] = "agent"


class SandboxExec(_Event, frozen=True, tag="sandbox_exec"):
    """A command in a box that no tool call stands for: set-up, files, grading."""

    box: str
    argv: tuple[str, ...]
    exit_code: int
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    oom: bool = False
    dropped_bytes: int = 0
    duration_ms: float = 0.0
    user: str = "task"


class SandboxEnd(_Event, frozen=True, tag="sandbox_end"):
    """A box was given back after `seconds` of use by this trial."""

    box: str
    seconds: float
    waited_ms: float = 0.0
    """What its user waited for it after `SandboxStart`, the model having answered: for the sample's files."""


class NetworkAccess(_Event, frozen=True, tag="network"):
    """A connection that something in a box asked for: `opened` and by now ended, `refused`, or `failed` outside."""

    box: str
    verdict: Literal["opened", "refused", "failed"]
    host: str = ""
    """As it was asked for; empty where nothing that can be read was asked for."""
    port: int = 0
    """0 where `host` is no name of a host."""
    reason: str = ""
    """Why it was refused or cut, as a short stable word; empty where both sides were done."""
    message: str = ""
    address: str = ""
    """What the host's name was resolved to, where a connection was opened."""
    sent_bytes: int = 0
    received_bytes: int = 0
    duration_ms: float = 0.0


class Artifact(_Event, frozen=True, tag="artifact"):
    """A file that was kept: a screenshot, a workspace snapshot, a log."""

    sha256: str
    media_type: str
    name: str = ""
    size: int = 0


class LimitReached(_Event, frozen=True, tag="limit"):
    """A limit of the harness ended the agent's turn-taking; what there was is still scored."""

    limit: Flag
    value: float


class Scored(_Event, frozen=True, tag="score"):
    """A scorer's verdict. `value` lies in 0..1 unless the scorer declares another range."""

    scorer: str
    version: int
    value: float
    scores: dict[str, float] = {}
    answer: str = ""
    """What the scorer took to be the answer."""
    target: str = ""
    """What the sample asks for, several right answers joined by ` | `; empty where it names none."""
    explanation: str = ""
    flags: tuple[Flag, ...] = ()


class ErrorRaised(_Event, frozen=True, tag="error"):
    """The attempt ended at a boundary: `boundary` is its outcome, `kind` a short stable word."""

    boundary: Outcome
    kind: str
    message: str
    detail: str = ""


class Note(_Event, frozen=True, tag="note"):
    """Anything else worth keeping, with data for programs."""

    text: str
    data: dict[str, Any] = {}


Event: TypeAlias = (
    ModelCall
    | ModelRetry
    | Said
    | ToolCallEvent
    | SandboxStart
    | SandboxExec
    | SandboxEnd
    | NetworkAccess
    | Artifact
    | LimitReached
    | Scored
    | ErrorRaised
    | Note
)


@runtime_checkable
class Recorder(Protocol):
    """Where an attempt's events go. One recorder belongs to one attempt; events keep the order of `record` calls."""

    def record(self, event: Event) -> None:
        """Queue `event`. Cheap, never blocks; not durable before `durable` returns."""
        ...

    async def durable(self) -> None:
        """Return once everything recorded so far would survive a power cut. Raises `StoreError` if it cannot be
        stored.
        """
        ...

    def artifact(self, data: bytes, media_type: str, name: str = "") -> str:
        """Keep `data` under its content hash, record an `Artifact` event, and return the sha256 in hex."""
        ...


class Judge(Protocol):
    """A judge or guard model: messages in, text out. Wired to a model by the service; calls are recorded as events."""

    async def __call__(self, messages: Sequence[Message]) -> str: ...


class ListRecorder:
    """A recorder that keeps events in memory: for tests, `tasks check`, and tools that run without a store."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.artifacts: dict[str, bytes] = {}

    def record(self, event: Event) -> None:
        self.events.append(event)

    async def durable(self) -> None:
        return None

    def artifact(self, data: bytes, media_type: str, name: str = "") -> str:
        import hashlib
        import time

        digest = hashlib.sha256(data).hexdigest()
        self.artifacts[digest] = data
        self.record(Artifact(at=time.time(), sha256=digest, media_type=media_type, name=name, size=len(data)))
        return digest
