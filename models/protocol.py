"""What a model is to the rest of the product: three calls, one response type, one error family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from agentlab.traces.events import Message, Recorder, StopReason, ToolSpec, Usage

ModelErrorKind: TypeAlias = Literal[
    "connection",
    "timeout",
    "rate_limit",
    "server",
    "bad_request",
    "auth",
    "not_found",
    "bad_response",
    "context_length",
    "unsupported",
    "cost_limit",
]

IMPOSSIBLE = -1e9
"""The log-likelihood of a continuation that a model rules out, as scripted ones do. Finite: JSON knows no infinity."""


class ModelError(Exception):
    """A model could not be asked, or what came back is no answer. `kind` is stable, the message is for a person.

    `status` is the HTTP status where there was one; `retryable` says whether the same request may succeed later, and
    `retry_after_s` how long the endpoint asked to wait before that.
    """

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: ModelErrorKind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an answer is drawn. None means: not sent, the endpoint's own default holds."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    tool_choice: Literal["auto", "none", "required"] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    extra: dict[str, Any] = {}
    """Sent as further fields of the request body, for example vLLM's `chat_template_kwargs`."""


DEFAULT_SAMPLING = Sampling()


class ChatResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer, the same whichever client fetched it."""

    message: Message
    stop_reason: StopReason = "unknown"
    usage: Usage = Usage()
    model: str = ""
    """The model's name as the server gives it."""
    request_id: str = ""
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    cost_usd: float | None = None
    cached: bool = False


class ScoreResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Log-likelihoods: for each continuation the sum over its tokens, whether it is the greedy one, and its token
    count.
    """

    logprobs: tuple[float, ...]
    greedy: tuple[bool, ...] = ()
    token_counts: tuple[int, ...] = ()
    usage: Usage = Usage()
    latency_ms: float = 0.0
    cost_usd: float | None = None
    cached: bool = False


class Model(Protocol):
    """A model. `recorder` receives a `ModelCall` for the answer and a `ModelRetry` for each failed try.

    All methods raise `ModelError`. `epoch` separates cached answers of the same request.
    """

    @property
    def name(self) -> str:
        """The name that results carry, for example `vllm/Qwen3-8B` or `reference`."""
        ...

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse: ...

    async def complete(
        self, prompt: str, *, sampling: Sampling = DEFAULT_SAMPLING, recorder: Recorder | None = None, epoch: int = 0
    ) -> ChatResponse:
        """Continue a raw prompt. Raises `ModelError("unsupported")` where the endpoint has no completions."""
        ...

    async def score(
        self, prompt: str, continuations: Sequence[str], *, recorder: Recorder | None = None, epoch: int = 0
    ) -> ScoreResponse:
        """Log-likelihood of each continuation after `prompt`. Raises `ModelError("unsupported")` where it has none."""
        ...

    async def close(self) -> None: ...
