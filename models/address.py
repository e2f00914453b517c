"""Where an endpoint is, apart from what opens it: credentials and queries are sent, and never shown or stored."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from agentlab.models.protocol import ModelError

SHORTEST_SECRET = 3
"""Shorter ones would be found inside every other word."""

_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint's address, taken apart. `base_url` has neither credentials nor query."""

    base_url: str
    authorization: str = field(default="", repr=False)
    """The header that the address's user and password make, empty where it has none."""
    query: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no message may hold."""


def parse_address(text: str, source: str, name: str = "") -> Address:
    """Take `text` apart; `source` names where it was written, `name` is what stood behind a `#`. Raises
    `ModelError("bad_request")`, which tells nothing of user, password and query.
    """
    malformed = ModelError(
        "bad_request",
        f"malformed address in {source}: give http://HOST:PORT/v1"
        + ("; in a user or a password write # as %23, / as %2F, ? as %3F and @ as %40" if "@" in text + name else ""),
    )
    if _UNUSABLE.search(text):
        raise malformed
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise malformed from None
    if not host:
        raise ModelError("bad_request", f"the address in {source} names no host: give http://HOST:PORT/v1")
    login, _, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    base_url = f"{parts.scheme}://{name}" + ("" if port is None else f":{port}") + parts.path.rstrip("/")
    authorization, secrets = _basic(login)
    raw = [pair.partition("=")[2] for pair in parts.query.split("&")]
    given = [parts.query, *raw, *(value for _, value in parse_qsl(parts.query))]
    hidden = sorted({text for text in (*secrets, *given) if len(text) >= SHORTEST_SECRET}, key=len, reverse=True)
    return Address(base_url, authorization, parts.query, tuple(hidden))


def _basic(login: str) -> tuple[str, tuple[str, ...]]:
    """The header of `USER:PASSWORD` (RFC 7617), and its secrets in every form in which a server may repeat them."""
    if not login:
        return "", ()
    user, _, password = login.partition(":")
    token = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return f"Basic {token}", (token, password, unquote(password))


def without_credentials(text: str) -> str:
    """What was typed for a model, as it may be repeated in a message: `***@` for user and password."""
    scheme, mark, rest = text.partition("://") if "://" in text else ("", "", text)
    login, at, place = rest.rpartition("@")
    return f"{scheme}{mark}***@{place}" if at and (mark or ":" in login) else text


def hide(text: str, secrets: Iterable[str]) -> str:
    """`text` with `***` for each of `secrets`."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text
