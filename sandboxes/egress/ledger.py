"""What a box may use of the network, what it has used, and what is told of each connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentlab.traces.events import NetworkAccess

Record: TypeAlias = Callable[[NetworkAccess], None]

Reason: TypeAlias = Literal[
    "not_listed",
    "port",
    "address",
    "unresolved",
    "unreachable",
    "tls",
    "name",
    "request",
    "bytes",
    "connections",
    "idle",
]
"""Why a connection was refused or ended, as a short stable word; see docs/network.md."""


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """What one box may use until it is graded, and again while it is."""

    megabytes: int = 1024
    """Bytes in both directions together."""
    connections: int = 2_000
    """Connections and requests, opened and refused together: what a trace has to hold."""
    at_once: int = 64
    head_bytes: int = 32 << 10
    """Longest head of a request or an answer."""
    head_s: float = 20.0
    """Time for the head of a request, or a ClientHello, to arrive."""
    idle_s: float = 300.0
    connect_s: float = 10.0


class EgressError(Exception):
    """A connection that goes no further: what is recorded of it, and what its client is told."""

    def __init__(self, reason: Reason, message: str, *, status: int = 403, host: str = "", port: int = 0) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.status = status
        self.host = host
        self.port = port
        self.told = False
        """Whether it has been recorded, with the connection that it ended."""


@dataclass(slots=True)
class Passage:
    """One connection to a host outside."""

    host: str
    port: int
    address: str
    started: float
    sent: int = 0
    received: int = 0


_CUT: frozenset[Reason] = frozenset({"bytes", "idle", "unreachable"})
"""What ends a connection that was open, where the other reasons are about what was asked next."""


class Ledger:
    """The account of one box. Events wait until somebody asks for them: a box may be started before its trial."""

    def __init__(self, box: str, limits: EgressLimits) -> None:
        self._box = box
        self._limits = limits
        self._record: Record | None = None
        self._waiting: list[NetworkAccess] = []
        self.renew()

    def renew(self) -> None:
        """Start to count anew."""
        self._bytes_left = self._limits.megabytes << 20
        self._connections_left = self._limits.connections
        self._told_all_used = False

    def start_over(self) -> None:
        """Make as new: nothing is left of who was told before, nor for who is told next."""
        self._record = None
        self._waiting.clear()
        self.renew()

    def report_to(self, record: Record) -> None:
        """Give every event to `record`, those that waited first."""
        self._record = record
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._tell(event)

    def _tell(self, event: NetworkAccess) -> None:
        if self._record is None:
            self._waiting.append(event)
        else:
            self._record(event)

    def admit(self, alive: int, most: int) -> bool:
        """Whether the box may have one more connection, where it has `alive` with this one and may have `most`."""
        try:
            self.take_connection()
            if alive > most:
                raise EgressError("connections", f"more than {most} connections at once")
        except EgressError as refusal:
            self.refused(refusal)
            return False
        return True

    @property
    def exhausted(self) -> bool:
        """Whether the box has used all of its connections."""
        return self._connections_left <= 0

    def take_connection(self) -> None:
        """Count a connection, or one more request on one, which gets a connection of its own outside.

        Raises EgressError where there are none left; the first of these stands for all in the trace.
        """
        if self._connections_left > 0:
            self._connections_left -= 1
            return
        all_used = f"all {self._limits.connections} connections are used; further ones are not listed"
        refusal = EgressError("connections", all_used)
        refusal.told, self._told_all_used = self._told_all_used, True
        raise refusal

    def spend(self, size: int) -> None:
        """Count bytes. Raises EgressError where there are none left."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise EgressError("bytes", f"the {self._limits.megabytes} MB that this box may move are used")

    def refused(self, refusal: EgressError) -> None:
        """Record what was refused, unless that was done with its connection."""
        if refusal.told:
            return
        refusal.told = True
        failed = refusal.reason in ("unresolved", "unreachable")
        self._tell(
            NetworkAccess(
                at=time.time(),
                box=self._box,
                host=refusal.host[:255],
                port=refusal.port,
                verdict="failed" if failed else "refused",
                reason=refusal.reason,
                message=str(refusal)[:500],
            )
        )

    def ended(self, passage: Passage, why: EgressError | None) -> None:
        """Record a connection that was opened, and what ended it where that was the proxy.

        One that carried nothing, as what was to go through was refused, is not told of beside the refusal.
        """
        if why is not None and why.reason not in _CUT:
            if not passage.sent:
                return
            why = None
        if why is not None:
            why.told = True
        self._tell(
            NetworkAccess(
                at=time.time(),
                box=self._box,
                host=passage.host,
                port=passage.port,
                verdict="opened",
                reason=why.reason if why else "",
                message=str(why)[:500] if why else "",
                address=passage.address,
                sent_bytes=passage.sent,
                received_bytes=passage.received,
                duration_ms=(time.monotonic() - passage.started) * 1e3,
            )
        )
