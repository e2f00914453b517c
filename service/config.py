"""A run's configuration: resolved once at the edge into one frozen object, and the part of it that is its identity."""

from __future__ import annotations

import os
from typing import Any, Literal, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentlab.models.protocol import Sampling
from agentlab.service.harness import Harness
from agentlab.tasks.types import Task

SandboxName: TypeAlias = Literal["docker", "bubblewrap", "modal"]
IDENTITY_VERSION = 1
MAX_EPOCHS = 10**9
"""Trials are numbered in 64 bits, all tasks of a run together."""
MAX_AT_ONCE = 10_000
"""Connections or boxes: beyond this the workers themselves would fill the memory."""


class RunConfig(BaseModel):
    """Everything that one invocation asks for. What `volatile` names may differ when a run is resumed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...]
    model: str
    harness: Harness
    limit: int | None = Field(default=None, gt=0)
    epochs: int = Field(default=1, gt=0, le=MAX_EPOCHS)
    seed: int = 0
    sandbox: SandboxName = "docker"
    max_connections: int = Field(default=64, gt=0, le=MAX_AT_ONCE)
    max_sandboxes: int | None = Field(default=None, gt=0, le=MAX_AT_ONCE)
    max_cost: float | None = Field(default=None, gt=0)
    allow_network: bool = False
    """Whether boxes get the network that tasks of others ask for, and the whole of it where a task says `*`."""
    runs_dir: str = Field(default="runs", min_length=1)
    name: str = ""
    tags: tuple[str, ...] = ()

    @property
    def volatile(self) -> frozenset[str]:
        """Fields that change nothing in what is measured."""
        return frozenset({"max_connections", "max_sandboxes", "max_cost", "runs_dir", "name", "tags"})


def told_in_a_line(error: ValidationError) -> str:
    """The first thing that is wrong in a configuration: field and reason."""
    first, *others = error.errors(include_url=False, include_context=False)
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg'].replace('valid tuple', 'list')}" + (f" (and {len(others)} more)" if others else "")


def default_sandbox() -> SandboxName:
    """Docker, unless the configuration (`AGENTLAB_SANDBOX`) says otherwise. Never by what happens to be there."""
    chosen = os.environ.get("AGENTLAB_SANDBOX", "docker")
    if chosen not in ("docker", "bubblewrap", "modal"):
        from agentlab.service.harness import ConfigError

        raise ConfigError(f"AGENTLAB_SANDBOX={chosen}: there are docker, bubblewrap and modal")
    return chosen  # type: ignore[return-value]  # checked above


def effective_sampling(task: Task, harness: Harness) -> Sampling:
    """What is sent. A preset's defaults do not override what a benchmark's protocol fixes; what the user set does."""
    return harness.sampling.beside(task.sampling, harness.explicit)


def config_identity(
    harness: Harness,
    *,
    provider: str,
    model: str,
    scaffold: str,
    sampling: Sampling,
    tools: list[dict[str, Any]],
    in_box: bool = False,
    foreign: bool = False,
) -> dict[str, Any]:
    """What makes two configurations the same measurement: explicit, versioned, defaults left out.

    Base URLs, paths and concurrency are not in it. A field added later with its default changes no old hash.
    """
    payload: dict[str, Any] = {
        "v": IDENTITY_VERSION,
        "provider": provider,
        "model": model,
        "scaffold": scaffold,
        "sampling": msgspec.to_builtins(sampling),
        **harness.identity.model_dump(exclude_defaults=True),
    }
    if scaffold == harness.scaffold and harness.system:
        payload["system"] = harness.system
    if scaffold not in ("direct", "external"):
        payload["tools"] = tools
        payload["contract"] = harness.contract
        payload["limits"] = harness.limits.model_dump(exclude_defaults=True, exclude={"attempts"})
    if in_box:
        payload["box"] = harness.box.identity()
    if foreign:
        payload["foreign"] = harness.foreign.model_dump(exclude_defaults=True)
    if harness.judge:
        payload["judge"] = harness.judge.partition("#")[2] or harness.judge
    return {key: value for key, value in payload.items() if value not in ("", None, {}, [])}


def config_hash(identity: dict[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of the canonical JSON of `identity`."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(identity, order="sorted")).hexdigest()[:16]
