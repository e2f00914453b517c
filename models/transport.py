"""How bytes reach an endpoint: the one thing in which the direct client and the `openai` SDK differ."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from agentlab.models.address import SHORTEST_SECRET
from agentlab.models.protocol import ModelError

CHAT = "chat/completions"
COMPLETIONS = "completions"
MODELS = "models"

MAX_BODY = 64 << 20
"""Bytes of one answer that are read; an endpoint that sends more is lying."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Reply(NamedTuple):
    """An HTTP answer of any status."""

    status: int
    body: bytes
    retry_after: str = ""


class Transport(Protocol):
    """Sends one request and reads the whole answer. Methods raise `ModelError` where no HTTP answer came back."""

    async def post(self, path: str, body: bytes) -> Reply: ...

    async def stream(self, path: str, body: bytes, feed: Callable[[bytes], None]) -> Reply:
        """As `post`, but a body with status 200 goes to `feed` as it comes, and the reply's body is empty."""
        ...

    async def get(self, path: str) -> Reply: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go, and with what."""

    base_url: str
    """Without credentials and query: as it is shown."""
    query: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    """Secrets of the address, which no message may hold."""
    timeout_s: float = 600.0
    """Seconds for one try, from sending to the last byte."""
    connect_timeout_s: float = 10.0

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold, the longest first."""
        found = {self.api_key, *self.headers.values(), *self.hidden}
        return tuple(sorted((text for text in found if len(text) >= SHORTEST_SECRET), key=len, reverse=True))

    def url(self, path: str) -> str:
        return f"{self.base_url}/{path}" + (f"?{self.query}" if self.query else "")


def too_large(base_url: str) -> ModelError:
    """For an answer that does not end within `MAX_BODY`."""
    return ModelError("bad_response", f"{base_url}: the answer is larger than {MAX_BODY >> 20} MiB")


def proxy_for(base_url: str) -> str | None:
    """The proxy that the usual variables name for this address. This machine itself is never asked through a proxy."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    proxies = getproxies()
    if not proxies or host in _LOOPBACK or proxy_bypass(host):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def tls_context() -> ssl.SSLContext | None:
    """A context for the CA bundle that the usual variables name; None where the default one knows it already.

    OpenSSL itself honours `SSL_CERT_FILE` and `SSL_CERT_DIR`. Raises OSError where the bundle cannot be read.
    """
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return None
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle) if bundle else None
