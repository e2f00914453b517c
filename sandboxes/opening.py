"""Choosing a back-end by name, and finding out which ones this machine has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from agentlab.sandboxes.protocol import Backend, SandboxError

if TYPE_CHECKING:
    from agentlab.sandboxes.egress import Outside

BackendName: TypeAlias = Literal["docker", "bubblewrap", "modal"]


def open_backend(name: BackendName, *, run_id: str = "", outside: Outside | None = None) -> Backend:
    """The back-end of that name; nothing is contacted yet. `outside` is how boxes with a network reach the world,
    None the strict way. Raises SandboxError("unsupported").
    """
    if name == "docker":
        from agentlab.sandboxes.docker import DockerBackend

        return DockerBackend(run_id, outside)
    if name == "bubblewrap":
        from agentlab.sandboxes.bubblewrap import BubblewrapBackend

        return BubblewrapBackend(run_id, outside)
    if name == "modal":
        from agentlab.sandboxes.modal import ModalBackend

        return ModalBackend(run_id, outside)
    raise SandboxError("unsupported", f"there is no sandbox {name!r}; choose docker, bubblewrap or modal")


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a back-end can be used here, and in one sentence why not."""

    backend: BackendName
    usable: bool
    reason: str = ""


async def available() -> list[Finding]:
    """Ask each local back-end, the stronger isolation first."""
    findings = []
    names: tuple[BackendName, ...] = ("docker", "bubblewrap")
    for name in names:
        try:
            backend = open_backend(name)
            try:
                await backend.check()
            finally:
                await backend.close()
        except SandboxError as error:
            findings.append(Finding(name, False, str(error)))
        else:
            findings.append(Finding(name, True))
    return findings
