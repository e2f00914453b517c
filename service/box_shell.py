"""A person in a box: the one that a sample's agent would get, its files laid in, and lines typed into its shell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentlab.sandboxes import BackendName, BoxSpec, Sandbox, Say, open_backend
from agentlab.service.boxes import offered_by
from agentlab.service.config import RunConfig
from agentlab.service.harness import ConfigError, load_harness
from agentlab.service.launch import make_ready
from agentlab.service.planner import Refusal
from agentlab.service.prepare import prepare

if TYPE_CHECKING:
    from agentlab.sandboxes.protocol import ImageBuild


@dataclass(frozen=True, slots=True)
class Wanted:
    """The box to look into."""

    spec: BoxSpec
    files: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, ImageBuild | None] = field(default_factory=dict)
    """The images it needs, with how each is built where that is the task's own affair."""
    sample: str = ""
    network: bool = False
    """Whether building may reach the network."""


def box_of(
    task: str, sample: str | None, *, sandbox: BackendName, harness: str, settings: tuple[str, ...], network: bool
) -> Wanted:
    """The box of a task's sample (None: of its first one that has a box). Raises ConfigError."""
    config = RunConfig(
        tasks=(task,),
        model="reference",
        harness=load_harness(harness, settings),
        sandbox=sandbox,
        allow_network=network,
    )
    plan = prepare(config, lambda image: offered_by(sandbox, image))
    reason = f"{task} has no samples"
    for found in plan.surveys:
        for _, item in found.samples():
            if sample is not None and item.id != sample:
                continue
            route = plan.planner.route(found.task, item)
            if isinstance(route, Refusal):
                reason = route.reason
            elif route.spec is None:
                reason = f"{task} goes straight to the model, without a box"
            else:
                return Wanted(route.spec, item.files, route.images, item.id, network)
            if sample is not None:
                raise ConfigError(f"{task}/{sample}: {reason}")
    raise ConfigError(f"{task} has no sample {sample!r}" if sample is not None else reason)


@asynccontextmanager
async def opened(wanted: Wanted, sandbox: BackendName, say: Say) -> AsyncIterator[Sandbox]:
    """The box, started, with the sample's files in it; gone at the end. Raises SandboxError."""
    backend = open_backend(sandbox, run_id="sandbox-shell")
    try:
        await backend.check()
        for image, build in (wanted.builds or {wanted.spec.image: None}).items():
            await make_ready(backend, image, build, wanted.network, say)
        box = await backend.create(wanted.spec)
        try:
            for path, text in wanted.files.items():
                await box.write_file(path, text.encode("utf-8", "surrogateescape"))
            yield box
        finally:
            await box.close()
    finally:
        await backend.close()
