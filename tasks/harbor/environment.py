"""What a task's `[environment]` asks of a box, and what cannot be given: named with its field, never left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentlab.sandboxes.protocol import ImageBuild, Limits
from agentlab.tasks.harbor import compose
from agentlab.tasks.harbor.config import Config, Environment, Policy, Step
from agentlab.tasks.harbor.directory import checksum, has_file
from agentlab.tasks.types import BoxNeeds, TaskError

OPEN: Policy = ("public", ())
"""Where a task says nothing, Harbor gives it the whole network."""
MEMORY_MB = 2048
PROCESSES = 1024
STORAGE_MB = 10_240
IMAGE_MB = 20_480
"""What a built image may come to, unless the task may store more."""


def box_of(root: Path, environment: Environment, network: Policy, users: tuple[str, str], folder: Path) -> BoxNeeds:
    """The box for `environment`, whose image is built in `folder` where none is named. Raises TaskError for what cannot
    be given.
    """
    for problem in unsupported(environment):
        raise TaskError(problem, where=str(root / "task.toml"))
    image, build, env, workdir = _image(root, environment, folder)
    limits = Limits(
        memory_mb=environment.memory_mb or MEMORY_MB,
        cpus=float(environment.cpus or 1),
        pids=PROCESSES,
        shm_mb=64,
        storage_mb=environment.storage_mb or STORAGE_MB,
    )
    mode, hosts = network
    return BoxNeeds(
        image=image,
        limits=limits,
        network=("*",) if mode == "public" else hosts if mode == "allowlist" else (),
        profile="writable",
        users=users,
        workdir=environment.workdir or workdir,
        env=tuple({**env, **environment.env}.items()),
        build=build,
        foreign=True,
    )


def unsupported(environment: Environment) -> Iterator[str]:
    """Sentences about fields that no box of ours can honour."""
    if environment.os != "linux":
        yield f"environment.os = {environment.os!r}: boxes run Linux"
    if environment.gpus:
        yield f"environment.gpus = {environment.gpus}: boxes have no GPU"
    if environment.tpu:
        yield "environment.tpu: boxes have no TPU"
    if environment.mcp_servers:
        yield "environment.mcp_servers: agents here speak to no MCP servers"
    if environment.skills_dir:
        yield "environment.skills_dir: agents here are given no skills"
    if environment.workdir is not None and not environment.workdir.startswith("/"):
        yield f"environment.workdir = {environment.workdir!r} is not an absolute path"


def _image(root: Path, environment: Environment, folder: Path) -> tuple[str, ImageBuild | None, dict[str, str], str]:
    """Image, how to build it, variables and working directory. A prebuilt image wins."""
    composed = compose.load(folder)
    if composed is not None and composed.image and not environment.docker_image:
        return composed.image, None, composed.env, composed.workdir
    env, workdir = (composed.env, composed.workdir) if composed is not None else ({}, "")
    if environment.docker_image:
        return environment.docker_image, None, env, workdir
    context = composed.context if composed is not None and composed.context is not None else folder
    dockerfile = composed.dockerfile if composed is not None else "Dockerfile"
    if not has_file(context / Path(dockerfile).parent, Path(dockerfile).name):
        wanted = f"environment.docker_image, {folder.name}/Dockerfile or {folder.name}/docker-compose.yaml"
        raise TaskError(f"there is no image: give {wanted}", where=str(root))
    slug = "".join(letter if letter.isalnum() else "-" for letter in root.name.lower()).strip("-")[:60] or "task"
    return (
        f"agentlab-task/{slug}:{checksum(context)[:16]}",
        ImageBuild(str(context), dockerfile, environment.build_timeout_sec, max(environment.storage_mb or 0, IMAGE_MB)),
        env,
        workdir,
    )


def agent_network(config: Config, step: Step | None) -> Policy:
    """What the agent may reach: the box is made with it, as no box changes its network later."""
    above = config.agent.policy(config.environment.policy(OPEN))
    return step.agent.policy(above) if step is not None else above


def verifier_network(config: Config, step: Step | None, own: Environment | None) -> Policy:
    """What the verifier may reach, in a box of its own (`own`) or the agent's."""
    base = own.policy(OPEN) if own is not None else config.environment.policy(OPEN)
    above = config.verifier.policy(base)
    return step.verifier.policy(above) if step is not None else above
