"""The way out of a box: a proxy on the host that reaches the hosts of a task's list, and nothing else.

A box has no network of its own. What is allowed goes through a program of ours on the runner's side: it resolves each
name once, refuses addresses that are not public, holds TLS and HTTP against the name that was asked for, counts bytes
and connections, and tells of each connection. docs/network.md says what that comes to for a user.

A back-end puts it up in four steps (`way` is None where the box has no network):

    async with way_for(name, spec, outside) as way:
        shown = await way.listen()                   # bound read-only at SOCKET_DIR; None: the agent's line has to do
        config["egress"] = way.agent_config(shown)
        await way.follow(hello, connection)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentlab.sandboxes.egress.addresses import Endpoint, Outside, refuses
from agentlab.sandboxes.egress.hosts import EVERYWHERE, AllowList, allow_list
from agentlab.sandboxes.egress.ledger import EgressLimits
from agentlab.sandboxes.egress.sockets import PORT, SOCKET_DIR, sweep

if TYPE_CHECKING:
    from agentlab.sandboxes.egress.way import Egress
    from agentlab.sandboxes.protocol import BoxSpec

__all__ = [
    "EVERYWHERE",
    "SOCKET_DIR",
    "AllowList",
    "EgressLimits",
    "Endpoint",
    "Outside",
    "allow_list",
    "environment",
    "mounts",
    "refuses",
    "sweep",
    "way_for",
]

_URL = f"http://127.0.0.1:{PORT}"
_HERE = "localhost,127.0.0.1,::1"
PROXIES: Mapping[str, str] = {
    **{name: _URL for word in ("http", "https", "all") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")},
    "no_proxy": _HERE,
    "NO_PROXY": _HERE,
    "NODE_USE_ENV_PROXY": "1",
}


@asynccontextmanager
async def way_for(box: str, spec: BoxSpec, outside: Outside | None) -> AsyncIterator[Egress | None]:
    """The way out of a box of this kind while it is made, None where it has none; closed where making it fails.

    Raises SandboxError("unsupported").
    """
    if not spec.network:
        yield None
        return
    # Most boxes have none: the proxy and its parser are loaded for those that do.
    from agentlab.sandboxes.egress.way import Egress

    way = Egress(box, spec.network, EgressLimits(megabytes=spec.limits.network_mb), outside)
    try:
        yield way
    except BaseException:
        await way.close()
        raise


def environment(spec: BoxSpec) -> dict[str, str]:
    """What ordinary clients in a box are told of the way out."""
    return dict(PROXIES) if spec.network else {}


def mounts(shown: Path | None) -> list[dict[str, Any]]:
    """The directory of a socket as a container engine is told to show it."""
    if shown is None:
        return []
    return [{"Type": "bind", "Source": str(shown), "Target": SOCKET_DIR, "ReadOnly": True}]
