"""The `openai` SDK as a transport, over aiohttp. Its own retries are off: ours are recorded, one event for each try.

The SDK sends our bytes and hands back the raw answer, which is read by the same code as the direct client's: both give
the same `ChatResponse`. Measured at 64 connections: about 1000 us of CPU a request, 15 times the direct client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient, Omit

from agentlab.models.broken_connections import explain
from agentlab.models.protocol import ModelError
from agentlab.models.transport import MAX_BODY, Endpoint, Reply, proxy_for, tls_context, too_large

_BROKEN = (aiohttp.ClientError, OSError, ValueError)
_CONNECTIONS = 100_000
"""As good as no bound: the limiter bounds the connections. None would mean aiohttp's own 100."""


class SdkTransport:
    """One `AsyncOpenAI` for one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        timeout = httpx2.Timeout(endpoint.timeout_s, connect=endpoint.connect_timeout_s)
        settings: dict[str, Any] = {}
        if endpoint.base_url.startswith("https") and (context := tls_context()) is not None:
            settings["verify"] = context
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            default_query=dict(parse_qsl(endpoint.query, keep_blank_values=True)),
            # The SDK refuses to start without a key; `_headers` takes the header away again.
            api_key=endpoint.api_key or "none",
            max_retries=0,
            timeout=timeout,
            http_client=DefaultAioHttpClient(
                timeout=timeout,
                limits=httpx2.Limits(max_connections=_CONNECTIONS),
                trust_env=False,
                proxy=proxy_for(endpoint.base_url),
                follow_redirects=False,
                event_hooks={"response": [self._bound]},
                **settings,
            ),
        )
        # Unpacking knows no bound, so nothing packed is asked for.
        fixed = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        self._headers: dict[str, str | Omit] = {**fixed, **endpoint.headers}
        if not endpoint.api_key and "Authorization" not in endpoint.headers:
            self._headers["Authorization"] = Omit()

    async def post(self, path: str, body: bytes) -> Reply:
        async def exchange() -> Reply:
            response = await self._client.post(
                f"/{path}", cast_to=httpx2.Response, content=body, options={"headers": self._headers}
            )
            return Reply(response.status_code, response.content)

        return await self._bounded(exchange)

    async def stream(self, path: str, body: bytes, feed: Callable[[bytes], None]) -> Reply:
        async def exchange() -> Reply:
            stream = await self._client.post(
                f"/{path}",
                cast_to=object,
                content=body,
                options={"headers": self._headers},
                stream=True,
                stream_cls=AsyncStream[object],
            )
            try:
                async for chunk in stream.response.aiter_bytes():
                    feed(chunk)
            finally:
                await stream.response.aclose()
            return Reply(200, b"")

        return await self._bounded(exchange)

    async def get(self, path: str) -> Reply:
        async def exchange() -> Reply:
            response = await self._client.get(f"/{path}", cast_to=httpx2.Response, options={"headers": self._headers})
            return Reply(response.status_code, response.content)

        return await self._bounded(exchange)

    async def close(self) -> None:
        await self._client.close()

    async def _bound(self, response: httpx2.Response) -> None:
        """Put a bound on a body before anybody reads it. Raises ModelError for one that is packed all the same."""
        packed = response.headers.get("Content-Encoding", "identity")
        if packed.lower() not in ("", "identity"):
            raise ModelError(
                "bad_response", f"{self._endpoint.base_url}: the answer is packed ({packed[:20]}), unasked for"
            )
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream, self._endpoint)

    async def _bounded(self, exchange: Callable[[], Awaitable[Reply]]) -> Reply:
        """Run one exchange. The SDK's time-out holds for each read only, so a server that drips would never end."""
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                return await exchange()
        except openai.APIStatusError as error:
            response = error.response
            return Reply(response.status_code, response.content, response.headers.get("Retry-After", ""))
        except (openai.APIConnectionError, httpx2.TransportError, *_BROKEN) as error:
            raise _our_own(error) or explain(error, self._endpoint) from error
        except httpx2.InvalidURL as error:
            raise explain(ValueError(str(error)), self._endpoint) from error


class _BoundedStream(httpx2.AsyncByteStream):
    """A body that may not be longer than `MAX_BODY`."""

    def __init__(self, stream: httpx2.AsyncByteStream, endpoint: Endpoint) -> None:
        self._stream = stream
        self._endpoint = endpoint

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY:
                raise too_large(self._endpoint.base_url)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _our_own(error: BaseException) -> ModelError | None:
    """The `ModelError` that the SDK has wrapped, where it was one of ours."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ModelError):
        cause = cause.__cause__
    return cause
