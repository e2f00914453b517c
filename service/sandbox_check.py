"""What this machine offers to run code in: each back-end asked, looked at, and tried from inside a real box."""

from __future__ import annotations

import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from agentlab.sandboxes import BoxSpec, Finding, SandboxError, available, open_backend
from agentlab.sandboxes.machine import describe
from agentlab.service.sandbox_probes import LIMITS, PROBES, Row, given_in, try_in

SERVICE_S = 5.0
"""How long a service is waited for."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One back-end: whether it can be used (and in one sentence why not), what it stands on, and what was tried."""

    sandbox: str
    usable: bool
    reason: str
    facts: dict[str, str]
    rows: tuple[Row, ...] = ()
    untried: str = ""
    """Why nothing was tried in a box of it; empty where it was."""
    not_contained: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "sandbox": self.sandbox,
            "usable": self.usable,
            "reason": self.reason,
            "facts": self.facts,
            "tried": [{"name": row.name, "holds": row.holds, "said": row.said} for row in self.rows],
            "untried": self.untried,
            "not_contained": list(self.not_contained),
        }


async def check_sandboxes() -> list[Examined]:
    """Each back-end in turn, the stronger isolation first; one at a time, for they are timed."""
    return [await _examine(finding) for finding in [*await available(), await _modal()]]


async def _modal() -> Finding:
    """Whether the service takes this machine's credentials."""
    try:
        backend = open_backend("modal")
        try:
            with anyio.fail_after(SERVICE_S):
                await backend.check()
        finally:
            await backend.close()
    except SandboxError as error:
        return Finding("modal", False, str(error))
    except TimeoutError:
        return Finding("modal", False, f"Modal has not answered for {SERVICE_S:.0f} s; check the network and try again")
    return Finding("modal", True)


async def _examine(finding: Finding) -> Examined:
    name = finding.backend
    if not finding.usable:
        return Examined(name, False, finding.reason, {})
    try:
        ground = await describe(name)
    except SandboxError as error:
        return Examined(name, False, str(error), {})
    rows: list[Row] = []
    untried = ground.untried
    if not untried:
        try:
            await _try_all(finding, rows)
        except SandboxError as error:
            untried = str(error)
    return Examined(name, True, "", ground.facts, tuple(rows), untried, ground.not_contained)


async def _try_all(finding: Finding, rows: list[Row]) -> None:
    """Add a row for each probe. Raises SandboxError where there is no box, or it is lost."""
    backend = open_backend(finding.backend, run_id="sandbox-check")
    try:
        async with _listening() as (port, abstract):
            given = given_in(LIMITS, port=port, abstract=abstract)
            box = await backend.create(BoxSpec(limits=LIMITS))
            for probe in PROBES:
                rows.append(await try_in(box, probe, given))
                await box.quiesce()
    finally:
        await backend.close()


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[int, str]]:
    """A port of loopback and an abstract socket of this machine, open so that reaching one of them would be seen."""
    name = f"agentlab-check-{secrets.token_hex(8)}"
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as abstract:
        port.bind(("127.0.0.1", 0))
        abstract.bind(f"\0{name}")
        for listener in (port, abstract):
            listener.listen(1)
        yield port.getsockname()[1], name
