"""The allow-list proxy of one box: what it may reach it reaches through here, and each connection is told of."""

from __future__ import annotations

import asyncio
import resource
import weakref
from collections.abc import Sequence

from agentlab.sandboxes.egress.addresses import Endpoint, Outside, open_endpoint
from agentlab.sandboxes.egress.hosts import PORTS, AllowList
from agentlab.sandboxes.egress.ledger import EgressError, EgressLimits, Ledger, Reason
from agentlab.sandboxes.egress.streams import SocketStream, Stream
from agentlab.sandboxes.egress.visit import Visit

TRIES = 3
"""Addresses of one host that are tried."""

DESCRIPTORS = 2
"""Of one connection: its box's side and the outside."""

PAUSE_S = 0.05

SPARE = 256
"""Descriptors of this process that are for everything else."""

_open: weakref.WeakSet[Proxy] = weakref.WeakSet()
"""The proxies of this process that serve: their boxes share its descriptors."""


class Proxy:
    """Serves the connections of one box."""

    def __init__(self, allowed: AllowList, ledger: Ledger, limits: EgressLimits, outside: Outside) -> None:
        self._allowed = allowed
        self._ledger = ledger
        self._limits = limits
        self._outside = outside
        self._serving: set[asyncio.Task[None]] = set()
        self._found: dict[tuple[str, int], tuple[Endpoint, ...]] = {}
        self._asking = asyncio.Semaphore(1)
        self._shut = False
        _open.add(self)

    async def serve(self, stream: Stream) -> None:
        """Serve one connection of the box to its end. Raises nothing but cancellation."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        self._serving.add(task)
        try:
            if not self._shut and self._ledger.admit(len(self._serving), self._share()):
                await Visit(stream, self.connect, self._ledger, self._limits).carry_out()
                await stream.close()
        finally:
            stream.abort()
            self._serving.discard(task)

    def _share(self) -> int:
        """How many connections this box may have at once. Where descriptors are few it is its part of them, so that one
        box can neither take those of others nor the runner's own.
        """
        total = max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE) // DESCRIPTORS
        others = sum(len(proxy._serving) for proxy in _open if proxy is not self)
        return min(self._limits.at_once, max(total // 2 - others, total // 2 // len(_open)))

    async def pause(self) -> None:
        """Wait before the next connection is taken, where the box has used all of its own: to refuse costs time too."""
        if self._ledger.exhausted:
            await asyncio.sleep(PAUSE_S)

    async def shut(self) -> None:
        """End every connection, each of which is recorded, and serve no more."""
        self._shut = True
        _open.discard(self)
        ending = list(self._serving)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def open_anew(self) -> None:
        """Serve again, and resolve anew what was resolved before."""
        self._found.clear()
        self._shut = False
        _open.add(self)

    async def connect(self, host: str, port: int) -> tuple[str, Stream]:
        """A connection to a host of the list, with its address. Raises EgressError."""

        def refused(reason: Reason, message: str, status: int = 403) -> EgressError:
            return EgressError(reason, message, status=status, host=host, port=port)

        if port not in PORTS:
            raise refused("port", f"port {port} is closed; 80 and 443 can be reached")
        if not self._allowed.allows(host, port):
            raise refused("not_listed", f"{host}:{port} is not on the list of hosts that this task opens")
        try:
            async with asyncio.timeout(self._limits.connect_s):
                endpoints = await self._resolved(host, port)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise refused("unresolved", f"the name {host} could not be resolved", 502) from error
        permitted = [found for found in endpoints if not self._outside.refuses(found[0])]
        if not permitted:
            raise refused("address", f"{host} leads to no public address")
        for endpoint in permitted[:TRIES]:
            try:
                async with asyncio.timeout(self._limits.connect_s):
                    return endpoint[0], SocketStream(*await open_endpoint(endpoint))
            except (OSError, TimeoutError):
                continue
        raise refused("unreachable", f"{host}:{port} does not answer", 502)

    async def _resolved(self, host: str, port: int) -> tuple[Endpoint, ...]:
        """Where a host is. Asked once for each box, so that a name cannot lead elsewhere the second time.

        One question of a box is under way at a time, also where nobody waits for it any more: a resolver cannot be
        interrupted, and its threads are everybody's.
        """
        await self._asking.acquire()
        if (host, port) in self._found:
            self._asking.release()
            return self._found[host, port]
        asking = asyncio.ensure_future(self._outside.resolve(host, port))
        asking.add_done_callback(self._answered)
        found = tuple(dict.fromkeys(await asyncio.shield(asking)))
        self._found[host, port] = found
        return found

    def _answered(self, asking: asyncio.Future[Sequence[Endpoint]]) -> None:
        self._asking.release()
        if not asking.cancelled():
            # Looked at, so that a failure which nobody waited for is not reported as lost.
            asking.exception()
