"""What a back-end stands on here: its engine, control groups and image, and what it cannot contain even so."""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import dataclass
from typing import Any

from agentlab.sandboxes import images
from agentlab.sandboxes.opening import BackendName
from agentlab.sandboxes.protocol import BoxSpec, Limits, SandboxError

SHARED_KERNEL = (
    "a flaw of the Linux kernel, which a box shares with this machine",
    "what timing and caches tell of others on the same processor",
    "a slower disk and memory for others while a box works hard",
)


@dataclass(frozen=True, slots=True)
class Ground:
    """Facts by their name, each a few words; and in words what a box of this kind does not contain."""

    facts: dict[str, str]
    not_contained: tuple[str, ...] = ()
    untried: str = ""
    """Why no box is started of it only to try what it holds; empty: one may be."""


async def describe(name: BackendName) -> Ground:
    """What `name`, a back-end that can be used here, stands on. Raises SandboxError where its engine went away."""
    if name == "docker":
        return await _docker()
    if name == "bubblewrap":
        return await _bubblewrap()
    return _modal()


async def _docker() -> Ground:
    from agentlab.sandboxes.docker.backend import RUNTIME
    from agentlab.sandboxes.docker.build import inspect
    from agentlab.sandboxes.docker.endpoint import current
    from agentlab.sandboxes.docker.engine import Engine, EngineError

    engine = Engine(current())
    image = BoxSpec().image
    try:
        version: dict[str, Any] = await engine.call("GET", "/version") or {}
        info: dict[str, Any] = await engine.call("GET", "/info") or {}
        found = await inspect(engine, image)
    except EngineError as refused:
        raise SandboxError("unavailable", f"the Docker engine at {engine.endpoint} is ill: {refused}") from refused
    finally:
        await engine.close()
    said = f"Docker {version.get('Version', '?')} at {engine.endpoint}, API {version.get('ApiVersion', '?')}"
    facts = {
        "engine": f"{said}, runtime {os.environ.get(RUNTIME) or info.get('DefaultRuntime', '?')}",
        "kernel": str(info.get("KernelVersion") or version.get("KernelVersion") or "?"),
        "control groups": f"version {info.get('CgroupVersion') or '?'}",
        "image": _image_state(image, found),
    }
    if options := ", ".join(_security(info)):
        facts["also on"] = options
    return Ground(facts, SHARED_KERNEL)


def _security(info: dict[str, Any]) -> list[str]:
    """What the engine adds to what every box of ours has: user namespaces, AppArmor, SELinux, no root."""
    names = [str(option).partition(",")[0].removeprefix("name=") for option in info.get("SecurityOptions") or []]
    return [name for name in names if name not in ("seccomp", "cgroupns")]


def _image_state(image: str, found: dict[str, Any] | None) -> str:
    if found is None:
        return f"{image} is not there yet: `agentlab sandbox build` makes it, and so does the first run that needs it"
    version = images.version(images.BUILT_IN[images.split(image)[0]])
    labels = (found.get("Config") or {}).get("Labels") or {}
    if labels.get(images.VERSION_LABEL) == version:
        return f"{image}, current ({version})"
    return f"{image} is outdated: `agentlab sandbox build` makes it anew, and so does the next run that needs it"


async def _bubblewrap() -> Ground:
    from agentlab.sandboxes.bubblewrap import cgroup

    root = images.exported_root(images.BUILT_IN[images.split(BoxSpec().image)[0]])
    group = cgroup.create(f"agentlab-check-{uuid.uuid4().hex[:8]}", Limits())
    if group is not None:
        await group.remove()
    version = 2 if (cgroup.ROOT / "cgroup.controllers").exists() else 1
    facts = {
        "engine": await _bubblewrap_version(),
        "kernel": os.uname().release,
        "control groups": f"version {version}, {'used for limits' if group else 'but only root may make them'}",
        "system in a box": f"the unpacked image {root}" if root else "this machine's /usr and /lib, read-only",
    }
    not_contained = []
    if root is None:
        not_contained.append(
            "sight of what is installed here: a box reads this machine's /usr and /lib "
            "(not once `agentlab sandbox build --sandbox bubblewrap` was run)"
        )
    if group is None:
        not_contained.append(
            "memory of a box as a whole (each of its processes has its own limit), and CPU, which has none"
        )
        not_contained.append("a process that hides from its command's time-out, until the box is closed")
    return Ground(facts, (*not_contained, *SHARED_KERNEL))


async def _bubblewrap_version() -> str:
    process = await asyncio.create_subprocess_exec("bwrap", "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return said.decode("utf-8", "replace").strip() or "bubblewrap"


def _modal() -> Ground:
    from importlib.metadata import version

    from agentlab.sandboxes.modal.backend import CAVEATS

    facts = {
        "engine": f"Modal, through its client {version('modal')}",
        "kernel": "gVisor's, on machines of the service",
    }
    return Ground(facts, CAVEATS, untried="starting a box there costs money")
