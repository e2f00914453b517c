"""A model behind an OpenAI-compatible endpoint: requests, retries, limits, cache and cost around one transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from agentlab.models import replies
from agentlab.models.address import hide
from agentlab.models.cache import ResponseCache
from agentlab.models.limits import EndpointLimiter
from agentlab.models.options import ClientOptions
from agentlab.models.presence import Presence
from agentlab.models.prices import Price
from agentlab.models.protocol import DEFAULT_SAMPLING, ChatResponse, ModelError, Sampling, ScoreResponse
from agentlab.models.requests import RequestEncoder
from agentlab.models.retry import RetryPolicy, status_error, with_retries
from agentlab.models.scoring import read_scores
from agentlab.models.streams import ChatStream, CompletionStream, StreamedAnswer
from agentlab.models.transport import CHAT, COMPLETIONS, MODELS, Endpoint, Transport
from agentlab.traces.events import Message, ModelCall, Recorder, ToolSpec, Usage

Answer = TypeVar("Answer", ChatResponse, ScoreResponse)

_BYTES_PER_TOKEN = 4
"""For the reservation at a tokens-a-minute limit; settled with the real count afterwards."""


@dataclass(slots=True)
class _Plan(Generic[Answer]):
    """A request, and how its answer is read."""

    kind: type[Answer]
    path: str
    body: bytes
    read: Callable[[bytes], Answer]
    max_tokens: int
    stream: Callable[[float], StreamedAnswer] | None = None
    """Makes the reader of a streamed answer; gets the time of sending."""


class EndpointModel:
    """The `Model` of one endpoint. One instance owns the limiter: two instances of one endpoint do not know of each
    other.
    """

    def __init__(
        self,
        label: str,
        *,
        endpoint: Endpoint,
        transport: Transport,
        encoder: RequestEncoder,
        options: ClientOptions,
        price: Price | None = None,
    ) -> None:
        self._label = label
        self._transport = transport
        self._encoder = encoder
        self._options = options
        self._price = price
        self._secrets = endpoint.secrets
        self._shown = endpoint.base_url
        self._where = f"{endpoint.base_url}, model {encoder.model}" if encoder.model else endpoint.base_url
        self._policy = RetryPolicy(options.max_retries, options.backoff_s, max_retry_after_s=options.max_retry_after_s)
        identity = options.cache_identity or f"{endpoint.base_url} {encoder.model}"
        self._cache = ResponseCache(options.cache, identity) if options.cache else None
        self._patience_s = 2 * endpoint.connect_timeout_s
        self._presence = Presence(endpoint.base_url, self._look, options.departures)
        self.limiter = EndpointLimiter(
            options.max_connections,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
        )

    @property
    def name(self) -> str:
        return self._label

    @property
    def model(self) -> str:
        """The model's name as the endpoint knows it."""
        return self._encoder.model

    @property
    def where(self) -> str:
        """Endpoint and model, for messages."""
        return self._where

    @property
    def priced(self) -> bool:
        """Whether it is known what its calls cost."""
        return self._price is not None

    @property
    def lacks_path(self) -> bool:
        """Whether the address is a bare host: then what is not found there is most likely under /v1."""
        return not urlsplit(self._shown).path

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[ToolSpec] = (),
        sampling: Sampling = DEFAULT_SAMPLING,
        recorder: Recorder | None = None,
        epoch: int = 0,
    ) -> ChatResponse:
        head = self._encoder.head(tools, sampling)
        body = self._encoder.chat(head, messages)
        stream = self._chat_stream if self._options.stream else None
        plan = _Plan(ChatResponse, CHAT, body, self._read_chat, head.max_tokens, stream)
        response = await self._answer(plan, recorder, epoch)
        if recorder is not None:
            recorder.record(self._call(response, head.sampling, messages=tuple(messages), tools=head.tools))
        return response

    async def complete(
        self, prompt: str, *, sampling: Sampling = DEFAULT_SAMPLING, recorder: Recorder | None = None, epoch: int = 0
    ) -> ChatResponse:
        body = self._encoder.completion(prompt, sampling)
        stream = self._completion_stream if self._options.stream else None
        plan = _Plan(ChatResponse, COMPLETIONS, body, self._read_completion, sampling.max_tokens or 0, stream)
        response = await self._answer(plan, recorder, epoch)
        if recorder is not None:
            recorder.record(self._call(response, msgspec.to_builtins(sampling), prompt=prompt))
        return response

    async def score(
        self, prompt: str, continuations: Sequence[str], *, recorder: Recorder | None = None, epoch: int = 0
    ) -> ScoreResponse:
        wanted = tuple(continuations)
        if not wanted or not all(wanted):
            raise ModelError("bad_request", "score needs continuations that are not empty")
        body = self._encoder.scoring([prompt + continuation for continuation in wanted])

        def read(answer: bytes) -> ScoreResponse:
            return read_scores(answer, prompt, wanted)

        plan = _Plan(ScoreResponse, COMPLETIONS, body, read, len(wanted))
        response = await self._answer(plan, recorder, epoch)
        if recorder is not None:
            call = ModelCall(
                at=time.time(),
                model=self._label,
                prompt=prompt,
                continuations=wanted,
                logprobs=response.logprobs,
                usage=response.usage,
                cost_usd=response.cost_usd,
                latency_ms=response.latency_ms,
                cached=response.cached,
                purpose=self._options.purpose,
            )
            recorder.record(call)
        return response

    async def served_models(self) -> tuple[str, ...]:
        """Names of the models that the endpoint lists, asked once without retries. Raises `ModelError`."""
        body, status = b"", None
        try:
            status, body, _ = await self._transport.get(MODELS)
            if status != 200:
                raise self._status_error(status, body)
            return tuple(model.id for model in replies.decode(replies.MODELS, body).data)
        except ModelError as error:
            located = self._located(error, body)
            located.status = located.status or status
            raise located from error

    async def _look(self) -> None:
        """Knock once. Raises `ModelError("connection")` where nobody opens; being slow to answer is no absence."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._transport.get(MODELS)

    async def close(self) -> None:
        if self._cache is not None:
            self._cache.close()
        await self._transport.close()

    async def _answer(self, plan: _Plan[Answer], recorder: Recorder | None, epoch: int) -> Answer:
        """The answer to a request: from the cache where there is one, else from the endpoint, with retries."""
        cache = self._cache
        if cache is not None and (kept := cache.get(plan.path, plan.body, epoch, plan.kind)) is not None:
            return msgspec.structs.replace(kept, cached=True, cost_usd=0.0, latency_ms=0.0)
        estimate = 0
        if self._options.tokens_per_minute is not None:
            estimate = len(plan.body) // _BYTES_PER_TOKEN + plan.max_tokens

        async def attempt() -> Answer:
            ticket = await self.limiter.acquire(estimate)
            overloaded = False
            beyond = 0
            try:
                if self._options.cost is not None:
                    self._options.cost.check()
                answer = await self._exchange(plan)
                beyond = answer.usage.input_tokens + answer.usage.output_tokens - estimate
                return answer
            except ModelError as error:
                overloaded = error.kind in ("rate_limit", "timeout") or error.status == 503
                raise
            finally:
                self.limiter.release(ticket, overloaded=overloaded, tokens=beyond)

        try:
            answer = await with_retries(attempt, self._policy, recorder, self._presence.gone)
        except ModelError as error:
            if error.kind == "connection":
                await self._presence.lost()
            else:
                self._presence.refused(error)
            raise
        self._presence.succeeded()
        if cache is not None:
            cache.put(plan.path, plan.body, epoch, answer)
        return answer

    async def _exchange(self, plan: _Plan[Answer]) -> Answer:
        """One try: send, read, and put time and cost on the answer."""
        started = time.perf_counter()
        stream = plan.stream(started) if plan.stream is not None else None
        body = b""
        try:
            if stream is None:
                status, body, retry_after = await self._transport.post(plan.path, plan.body)
            else:
                status, body, retry_after = await self._transport.stream(plan.path, plan.body, stream.feed)
            self._presence.answered()
            if status != 200:
                raise self._status_error(status, body, retry_after, plan.path)
            answer = plan.read(body) if stream is None else stream.finish()
        except ModelError as error:
            raise self._located(error, body) from error
        latency_ms = (time.perf_counter() - started) * 1e3
        return msgspec.structs.replace(answer, latency_ms=latency_ms, cost_usd=self._charge(answer.usage))

    def _charge(self, usage: Usage) -> float | None:
        """What a call cost, added to the run's meter; None where no price is known or the endpoint counts no tokens."""
        if self._price is None:
            return None
        meter = self._options.cost
        if not usage.input_tokens and not usage.output_tokens:
            if meter is not None and meter.max_cost is not None:
                told = "the endpoint reports no token usage, so the cost ceiling cannot hold"
                raise ModelError("unsupported", f"{self._where}: {told}")
            return None
        cost = self._price.cost(usage)
        if meter is not None:
            meter.add(cost)
        return cost

    def _read_chat(self, body: bytes) -> ChatResponse:
        return replies.read_chat(body, split_thinking=self._options.split_thinking)

    def _read_completion(self, body: bytes) -> ChatResponse:
        return replies.read_completion(body, split_thinking=self._options.split_thinking)

    def _chat_stream(self, started: float) -> StreamedAnswer:
        return ChatStream(started, split_thinking=self._options.split_thinking)

    def _completion_stream(self, started: float) -> StreamedAnswer:
        return CompletionStream(started, split_thinking=self._options.split_thinking)

    def _call(
        self,
        response: ChatResponse,
        sampling: dict[str, Any],
        *,
        messages: tuple[Message, ...] = (),
        tools: tuple[ToolSpec, ...] = (),
        prompt: str = "",
    ) -> ModelCall:
        return ModelCall(
            at=time.time(),
            model=self._label,
            messages=messages,
            prompt=prompt,
            tools=tools,
            sampling=sampling,
            response=response.message,
            stop_reason=response.stop_reason,
            usage=response.usage,
            cost_usd=response.cost_usd,
            latency_ms=response.latency_ms,
            ttft_ms=response.ttft_ms,
            request_id=hide(response.request_id, self._secrets),
            served_model=response.model if response.model == self.model else hide(response.model, self._secrets),
            cached=response.cached,
            purpose=self._options.purpose,
        )

    def _status_error(self, status: int, body: bytes, retry_after: str = "", path: str = "") -> ModelError:
        error = status_error(status, body, where=self._where, retry_after=retry_after, secrets=self._secrets)
        if path == COMPLETIONS and status in (404, 405, 501) and "does not exist" not in str(error):
            return ModelError("unsupported", f"{error} (the endpoint has no completions)", status=status)
        return error

    def _located(self, error: ModelError, body: bytes) -> ModelError:
        """The same error with endpoint and model in its message."""
        if error.kind == "bad_response" and (status := replies.error_status(body)) is not None:
            # Gateways report an error of the model behind them under status 200.
            return self._status_error(status, body)
        rest = str(error).removeprefix(self._where).removeprefix(self._shown).lstrip(": ")
        return ModelError(
            error.kind,
            f"{self._where}: {hide(rest, self._secrets)}",
            status=error.status,
            retryable=error.retryable,
            retry_after_s=error.retry_after_s,
        )
