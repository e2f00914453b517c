"""Making sure that an image is there: built-in images are built when missing or outdated, foreign ones pulled."""

from __future__ import annotations

import asyncio
import io
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from agentlab.sandboxes import images
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.protocol import SandboxError, Say

PULL_QUIET_S = 10.0
"""A pull that says nothing for so long is given up: many networks drop what they do not allow."""
BUILD_QUIET_S = 600.0


async def ensure(engine: Engine, image: str, say: Say) -> str:
    """The content id of `image`, built or pulled if need be. Nothing but the engine is touched when it is there and
    current.
    """
    repository, tag = images.split(image)
    built_in = images.BUILT_IN.get(repository)
    if built_in is None:
        return await _ensure_foreign(engine, image, say)
    version = images.version(built_in)
    if tag not in ("latest", version):
        found = await inspect(engine, image)
        if found is None:
            raise SandboxError("image", f"{image} is an old version and is not there; use {repository}:latest")
        return str(found["Id"])
    if (current := await _current(engine, image, version)) is not None:
        return current
    async with images.building_alone():
        if (current := await _current(engine, image, version)) is not None:
            return current
        return await _build(engine, built_in, version, say)


async def inspect(engine: Engine, image: str) -> dict[str, Any] | None:
    """What the engine knows of an image, None when it is not there."""
    try:
        found: dict[str, Any] = await engine.call("GET", f"/images/{image}/json")
    except EngineError as refused:
        if refused.status == 404:
            return None
        raise SandboxError("image", f"the Docker engine cannot look at {image}: {refused}") from refused
    return found


async def _current(engine: Engine, image: str, version: str) -> str | None:
    found = await inspect(engine, image)
    labels = ((found or {}).get("Config") or {}).get("Labels") or {}
    return str(found["Id"]) if found and labels.get(images.VERSION_LABEL) == version else None


async def _ensure_foreign(engine: Engine, image: str, say: Say) -> str:
    found = await inspect(engine, image)
    if found is None:
        say(f"Pulling the image {image}.")
        try:
            await pull(engine, image)
        except EngineError as refused:
            raise SandboxError(
                "image",
                f"the image {image} is not there and cannot be pulled ({refused}): load it with `docker load`, "
                "or correct its name",
            ) from refused
        found = await inspect(engine, image)
    if found is None:
        raise SandboxError("image", f"the image {image} was pulled but is not there")
    return str(found["Id"])


async def pull(engine: Engine, image: str) -> None:
    """Pull an image with the user's registry login. Raises EngineError."""
    repository, tag = images.split(image)
    query = {"fromImage": image} if "@" in image else {"fromImage": repository, "tag": tag}
    headers = await asyncio.to_thread(_registry_login, repository)
    async with engine.progress("/images/create", query, quiet_s=PULL_QUIET_S, headers=headers) as lines:
        async for line in lines:
            if "error" in line:
                raise EngineError(500, str(line["error"]))


def _registry_login(repository: str) -> dict[str, str]:
    """The header with the credentials of the user's docker client, which only the SDK knows how to find."""
    from docker.auth import encode_header, load_config, resolve_repository_name

    registry, _ = resolve_repository_name(repository)
    found = load_config().resolve_authconfig(registry)
    if not found:
        return {}
    header = encode_header(found)
    return {"X-Registry-Auth": header.decode() if isinstance(header, bytes) else str(header)}


async def _build(engine: Engine, built_in: images.BuiltIn, version: str, say: Say) -> str:
    started = time.perf_counter()
    base = await _base(engine, built_in, say)
    say(f"Building the image {built_in.name} on {base}.")
    query = {
        "t": f"{built_in.name}:{version}",
        "buildargs": f'{{"BASE_IMAGE": "{base}"}}',
        "labels": f'{{"{images.VERSION_LABEL}": "{version}"}}',
        "rm": "1",
        "forcerm": "1",
    }
    said: list[str] = []
    context = _context(images.files_of(built_in))
    headers = {"Content-Type": "application/x-tar"}
    try:
        async with engine.progress("/build", query, quiet_s=BUILD_QUIET_S, data=context, headers=headers) as lines:
            async for line in lines:
                said.append(str(line.get("stream", "")))
                if "error" in line:
                    raise EngineError(500, str(line["error"]))
        await engine.call("POST", f"/images/{built_in.name}:{version}/tag", repo=built_in.name, tag="latest")
    except EngineError as refused:
        kind = "disk" if "no space left" in str(refused) else "image"
        end = "".join(said)[-600:].strip()
        raise SandboxError(
            kind, f"the image {built_in.name} could not be built: {refused}. The end of the build: {end}"
        ) from refused
    found = await inspect(engine, f"{built_in.name}:{version}")
    if found is None:
        raise SandboxError("image", f"the image {built_in.name} was built but is not there")
    say(f"Built {built_in.name} in {time.perf_counter() - started:.0f} s.")
    return str(found["Id"])


async def _base(engine: Engine, built_in: images.BuiltIn, say: Say) -> str:
    """The base image: there, pulled, or made from Debian packages."""
    made = images.base_tag()
    for candidate in (built_in.base, made):
        if await inspect(engine, candidate) is not None:
            return candidate
    say(f"Pulling the base image {built_in.base}.")
    try:
        await pull(engine, built_in.base)
    except EngineError as refused:
        say(
            f"No registry can be reached ({refused}), so the base image is made from Debian packages: "
            "about a minute, 200 MB."
        )
    else:
        return built_in.base
    with tempfile.TemporaryDirectory(prefix="agentlab-base-") as work:
        tar = Path(work) / "root.tar"
        await images.bootstrap(tar)
        await import_root(engine, tar, made)
    return made


async def import_root(engine: Engine, tar: Path, image: str) -> None:
    """Make an image of a root file system."""
    repository, tag = images.split(image)
    query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": "ENV LANG=C.UTF-8"}
    with tar.open("rb") as source:
        async with engine.progress("/images/create", query, quiet_s=BUILD_QUIET_S, data=source) as lines:
            async for line in lines:
                if "error" in line:
                    raise SandboxError("disk", f"the base image could not be stored: {line['error']}")


async def export(engine: Engine, image: str, tar: Path) -> None:
    """Write the files of an image that is there to `tar`. Raises SandboxError."""
    try:
        made = await engine.call("POST", "/containers/create", {"Image": image, "Cmd": ["true"]})
        try:
            await engine.save(f"/containers/{made['Id']}/export", tar)
        finally:
            await engine.call("DELETE", f"/containers/{made['Id']}")
    except EngineError as refused:
        raise SandboxError("image", f"the Docker engine cannot export {image}: {refused}") from refused


def _context(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o644
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()
