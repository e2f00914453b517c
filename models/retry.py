"""When a failed call is tried again, and how long is waited before that."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from agentlab.models.protocol import ModelError, ModelErrorKind
from agentlab.models.replies import error_text
from agentlab.traces.events import ModelRetry, Recorder

T = TypeVar("T")

_CONTEXT_LENGTH = (
    "context length",
    "context_length",
    "context window",
    "maximum context",
    "max_model_len",
    "maximum model length",
    "too many tokens",
    "prompt is too long",
    "input is too long",
    "exceeds the available context size",
)
_KINDS: dict[int, ModelErrorKind] = {
    401: "auth",
    403: "auth",
    404: "not_found",
    408: "timeout",
    413: "context_length",
    429: "rate_limit",
    504: "timeout",
    524: "timeout",
}
_RETRYABLE = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: before try n+1 a random time up to `base_s * 2**n`, at most `max_wait_s`.

    A `Retry-After` of the endpoint holds instead, capped at `max_retry_after_s`. A time-out has already cost the whole
    time allowed to a call, so it is tried again only `max_timeout_retries` times: a hanging endpoint ends in bounded
    time.
    """

    max_retries: int = 5
    base_s: float = 0.5
    max_wait_s: float = 30.0
    max_retry_after_s: float = 60.0
    max_timeout_retries: int = 1

    def wait_s(self, failures: int, retry_after_s: float | None) -> float:
        """Seconds to wait after the `failures`-th failed try."""
        jitter = random.uniform(0.0, min(self.max_wait_s, self.base_s * 2.0 ** (failures - 1)))
        if retry_after_s is None:
            return jitter
        # A little jitter on top, or every waiting call comes back in the same instant.
        return min(retry_after_s, self.max_retry_after_s) + min(jitter, self.base_s)


async def with_retries(
    attempt: Callable[[], Awaitable[T]], policy: RetryPolicy, recorder: Recorder | None, gone: asyncio.Event
) -> T:
    """The result of `attempt`, tried again as `policy` says. Every failed try becomes a `ModelRetry`.

    Once `gone` is set nothing is tried again. Raises the last `ModelError`, whose message then says how often was
    tried.
    """
    failures = 0
    timeouts = 0
    while True:
        try:
            return await attempt()
        except ModelError as error:
            failures += 1
            timeouts += error.kind == "timeout"
            wait: float | None = None
            again = failures <= policy.max_retries and timeouts <= policy.max_timeout_retries
            if error.retryable and again and not gone.is_set():
                wait = policy.wait_s(failures, error.retry_after_s)
            if recorder is not None:
                event = ModelRetry(
                    at=time.time(), kind=error.kind, message=str(error), status=error.status, wait_s=wait
                )
                recorder.record(event)
            if wait is None or await _set_within(gone, wait):
                if failures > 1:
                    raise _after(error, failures) from error
                raise


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `seconds`, or until `event` is set: which of the two."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _after(error: ModelError, tries: int) -> ModelError:
    return ModelError(
        error.kind,
        f"{error} (after {tries} tries)",
        status=error.status,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def status_error(
    status: int, body: bytes, *, where: str, retry_after: str = "", secrets: tuple[str, ...] = ()
) -> ModelError:
    """The error that an HTTP status stands for. `where` names endpoint and model for the message."""
    told = error_text(body, secrets=secrets)
    kind = _KINDS.get(status) or ("server" if status >= 500 else "bad_request")
    lowered = told.lower()
    if kind in ("bad_request", "not_found") and any(phrase in lowered for phrase in _CONTEXT_LENGTH):
        kind = "context_length"
    hint = ""
    if kind == "not_found" and "/v1" not in where:
        hint = " (the address needs the path of the API, usually /v1)"
    elif 300 <= status < 400:
        hint = " (redirects are not followed: give the address that it leads to)"
    return ModelError(
        kind,
        f"{where}: HTTP {status}{hint}" + (f": {told}" if told else ""),
        status=status,
        retryable=status in _RETRYABLE or status >= 500,
        retry_after_s=parse_retry_after(retry_after),
    )


def parse_retry_after(value: str, now: float | None = None) -> float | None:
    """Seconds to wait from a `Retry-After` header: seconds or an HTTP date; None where absent or senseless."""
    value = value.strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return None
        seconds = at - (time.time() if now is None else now)
    if seconds != seconds:  # NaN
        return None
    return max(0.0, seconds)
