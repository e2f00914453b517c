"""The `openai` SDK as a transport, over aiohttp. Its own retries are off: ours are recorded, one event for each try.

The SDK sends our bytes and hands back the raw answer, which is read by the same code as the direct client's: both give
the same `ChatResponse`. Measured at 64 connections: about 1000 us of CPU a request, 15 times the direct client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAioHttpClient, Omit

from agentlab.models.broken_connections import explain
from agentlab.models.transport import Endpoint, Reply, proxy_for, tls_context

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
                **settings,
            ),
        )
        self._headers: dict[str, str | Omit] = {"Content-Type": "application/json", **endpoint.headers}
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

    async def _bounded(self, exchange: Callable[[], Awaitable[Reply]]) -> Reply:
        """Run one exchange. The SDK's time-out holds for each read only, so a server that drips would never end."""
        try:
            async with asyncio.timeout(self._endpoint.timeout_s):
                return await exchange()
        except openai.APIStatusError as error:
            response = error.response
            return Reply(response.status_code, response.content, response.headers.get("Retry-After", ""))
        except (openai.APIConnectionError, httpx2.TransportError, *_BROKEN) as error:
            raise explain(error, self._endpoint) from error
        except httpx2.InvalidURL as error:
            raise explain(ValueError(str(error)), self._endpoint) from error
