"""Which addresses lie outside, and how they are reached: a name is resolved once, and what was checked is connected to.

Everything that might be the machine itself, its network or its cloud is refused, whatever name leads there. The list
is our own, as Python's `is_global` has changed with its versions.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

READ_BUFFER = 1 << 17
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="resolve")
"""Threads of their own: names that a box makes slow to resolve must not hold up the runner's other work."""

Endpoint: TypeAlias = tuple[str, int]
"""An address in figures, and a port."""

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Endpoint]]]
"""Host and port to where they are found. Raises OSError."""

Refuses: TypeAlias = Callable[[str], str]
"""Why an address must not be connected to; empty where it may be."""

_INSIDE = {
    "0.0.0.0/8": "this machine",
    "10.0.0.0/8": "a private network",
    "100.64.0.0/10": "a provider's own network",
    "127.0.0.0/8": "this machine",
    "168.63.129.16/32": "a cloud's own service",
    "169.254.0.0/16": "this link, or a cloud's metadata",
    "172.16.0.0/12": "a private network",
    "192.0.0.0/24": "a reserved network",
    "192.0.2.0/24": "a reserved network",
    "192.31.196.0/24": "a reserved network",
    "192.52.193.0/24": "a reserved network",
    "192.88.99.0/24": "a relay to another address",
    "192.168.0.0/16": "a private network",
    "192.175.48.0/24": "a reserved network",
    "198.18.0.0/15": "a reserved network",
    "198.51.100.0/24": "a reserved network",
    "203.0.113.0/24": "a reserved network",
    "224.0.0.0/4": "many machines",
    "240.0.0.0/4": "a reserved network",
    # Of version 6 only 2000::/3 is given to the public at all; these are parts of it.
    "2001::/23": "a reserved network, or a relay to another address",
    "2001:db8::/32": "a reserved network",
    "2002::/16": "a relay to another address",
    "2620:4f:8000::/48": "a reserved network",
    "3fff::/20": "a reserved network",
}
_NETWORKS = tuple((ipaddress.ip_network(text), why) for text, why in _INSIDE.items())
_PUBLIC_6 = ipaddress.ip_network("2000::/3")


def refuses(address: str) -> str:
    """The default policy: only addresses of the public internet that are not this machine's own."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if found.version == 6 and (found.scope_id or found not in _PUBLIC_6):
        # Also ::1, fe80::, fd00::, ff00::, ::ffff:10.0.0.1 and 64:ff9b::10.0.0.1: the rest of the space is inside,
        # reserved, or another way to write an address of version 4.
        return "not a public address"
    for network, why in _NETWORKS:
        if found in network:
            return why
    return "this machine" if _is_own(address, found.version) else ""


def _is_own(address: str, version: int) -> bool:
    """Whether an interface of this machine has the address: nothing else can be bound to."""
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


async def resolve(host: str, port: int) -> Sequence[Endpoint]:
    """What the system's resolver says."""
    # The dot keeps search domains out: the name is whole.
    ask = partial(socket.getaddrinfo, f"{host}.", port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_THREADS, ask)
    return [(str(entry[4][0]), int(entry[4][1])) for entry in found]


@dataclass(frozen=True, slots=True)
class Outside:
    """How a proxy reaches the world. The defaults are the strict ones; a test gives its own."""

    resolve: Resolve = resolve
    refuses: Refuses = refuses
    by_socket: bool = True
    """Offer the box a socket; else, and where none can be mounted, its connections share the agent's line."""


async def open_endpoint(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to an address in figures: nothing is resolved here. Raises OSError."""
    address, port = endpoint
    return await asyncio.open_connection(address, port, limit=READ_BUFFER)
