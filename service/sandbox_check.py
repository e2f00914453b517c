"""What this machine offers to run code in: each back-end asked, looked at, and attacked from inside a real box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import anyio

from agentlab.sandboxes import Finding, SandboxError, available, open_backend
from agentlab.sandboxes.attacks import ATTACKS, FAMILIES, Verdict, carry_out
from agentlab.sandboxes.machine import describe

SERVICE_S = 5.0
"""How long a service is waited for."""

Tell: TypeAlias = Callable[[str, Verdict], None]
"""Hears what came of each attack as it comes, with the name of the sandbox."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a family of attacks: `holds` is None where it could not be tried, or boxes of this kind are not made
    to hold it.
    """

    name: str
    holds: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class Examined:
    """One back-end: whether it can be used (and in one sentence why not), what it stands on, and what attacks did."""

    sandbox: str
    usable: bool
    reason: str
    facts: dict[str, str]
    verdicts: tuple[Verdict, ...] = ()
    untried: str = ""
    """Why nothing was tried in a box of it, or no more; empty where all was."""
    not_contained: tuple[str, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """The attacks by family, in the order in which they were made."""
        return [row for family in FAMILIES for row in self._row(family)]

    def _row(self, family: str) -> Iterator[Row]:
        made = [verdict for verdict in self.verdicts if verdict.attack.family == family]
        if not made:
            return
        contained = sum(verdict.contained for verdict in made)
        failed = [verdict for verdict in made if not verdict.contained]
        said = f"{contained} of {len(made)} attacks contained: {FAMILIES[family]}"
        for verdict in failed:
            said += f"; {verdict.attack.name}: {'; '.join(verdict.breaches) or verdict.detail}"
        broken = any(verdict.breaches and verdict.limited for verdict in failed)
        yield Row(family, False if broken else None if failed else True, said)

    def as_dict(self) -> dict[str, Any]:
        return {
            "sandbox": self.sandbox,
            "usable": self.usable,
            "reason": self.reason,
            "facts": self.facts,
            "tried": [{"name": row.name, "holds": row.holds, "said": row.said} for row in self.rows],
            "attacks": [_attack(verdict) for verdict in self.verdicts],
            "untried": self.untried,
            "not_contained": list(self.not_contained),
        }


def _attack(verdict: Verdict) -> dict[str, Any]:
    return {
        "attack": verdict.attack.name,
        "family": verdict.attack.family,
        "tries": verdict.attack.tries,
        "contained": verdict.contained,
        "told": verdict.told,
        "box": verdict.box_after,
        "neighbour_ms": round(verdict.neighbour_ms, 1),
        "seconds": round(verdict.seconds, 2),
    }


async def check_sandboxes(*, attacked: bool = True, tell: Tell) -> list[Examined]:
    """Every back-end, the stronger isolation first. Those of this machine are attacked at the same time."""
    examined: dict[str, Examined] = {}

    async def examine(finding: Finding) -> None:
        examined[finding.backend] = await _examine(finding, attacked, tell)

    findings = [*await available(), await _modal()]
    async with anyio.create_task_group() as group:
        for finding in findings:
            group.start_soon(examine, finding)
    return [examined[finding.backend] for finding in findings]


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


async def _examine(finding: Finding, attacked: bool, tell: Tell) -> Examined:
    name = finding.backend
    if not finding.usable:
        return Examined(name, False, finding.reason, {})
    try:
        ground = await describe(name)
    except SandboxError as error:
        return Examined(name, False, str(error), {})
    verdicts: list[Verdict] = []
    untried = ground.untried if attacked else "only asked what is there"
    if not untried:
        try:
            await _attack_all(finding, verdicts, tell)
        except SandboxError as error:
            untried = str(error)
    return Examined(name, True, "", ground.facts, tuple(verdicts), untried, ground.not_contained)


async def _attack_all(finding: Finding, verdicts: list[Verdict], tell: Tell) -> None:
    """Add a verdict for each attack. Raises SandboxError where there is no box."""

    def hear(verdict: Verdict) -> None:
        verdicts.append(verdict)
        tell(finding.backend, verdict)

    backend = open_backend(finding.backend, run_id="sandbox-check")
    try:
        await carry_out(backend, ATTACKS, tell=hear)
    finally:
        await backend.close()
