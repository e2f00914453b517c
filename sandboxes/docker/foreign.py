"""Images of other people's tasks, built from a folder that is read as data and within limits."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import tarfile
import time
from pathlib import Path
from typing import Any

from agentlab.sandboxes import images
from agentlab.sandboxes.docker.build import inspect
from agentlab.sandboxes.docker.engine import Engine, EngineError
from agentlab.sandboxes.protocol import ImageBuild, SandboxError, Say

MAX_CONTEXT = 512 << 20
MAX_FILES = 20_000
MEMORY_MB = 4096
CPUS = 2.0
PERIOD_US = 100_000
LABEL = "agentlab.task-image"


async def ensure_built(engine: Engine, image: str, build: ImageBuild, say: Say) -> str:
    """The content id of `image`, built where it is not there. Raises SandboxError("image")."""
    found = await inspect(engine, image)
    if found is None:
        async with images.building_alone():
            found = await inspect(engine, image) or await _build(engine, image, build, say)
    size = int(found.get("Size") or 0)
    if size > build.max_mb << 20:
        raise SandboxError(
            "image", f"the image {image} has {size >> 20} MB, more than the {build.max_mb} MB that its task may store"
        )
    return str(found["Id"])


async def _build(engine: Engine, image: str, build: ImageBuild, say: Say) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        context = await asyncio.to_thread(_context, Path(build.context))
    except (OSError, ValueError) as error:
        raise SandboxError("image", f"the image {image} cannot be built: {error}") from error
    say(f"Building the image {image} of {Path(build.context).parent.name}.")
    said: list[str] = []
    try:
        async with asyncio.timeout(build.timeout_s):
            await _ask(engine, image, build, context, said)
    except TimeoutError:
        raise SandboxError("image", f"{image}: the build was stopped after {build.timeout_s:g} s") from None
    except EngineError as refused:
        kind = "disk" if "no space left" in str(refused) else "image"
        hint = "" if build.network else " (its commands have no network; --allow-network gives them one)"
        end = "".join(said)[-600:].strip()
        raise SandboxError(kind, f"the image {image} could not be built{hint}: {refused}. The end: {end}") from refused
    found = await inspect(engine, image)
    if found is None:
        raise SandboxError("image", f"the image {image} was built but is not there")
    say(f"Built {image} in {time.perf_counter() - started:.0f} s.")
    return found


async def _ask(engine: Engine, image: str, build: ImageBuild, context: bytes, said: list[str]) -> None:
    query = {
        "t": image,
        "dockerfile": build.dockerfile,
        "rm": "1",
        "forcerm": "1",
        "networkmode": "default" if build.network else "none",
        "memory": str(MEMORY_MB << 20),
        "memswap": str(MEMORY_MB << 20),
        "cpuperiod": str(PERIOD_US),
        "cpuquota": str(int(CPUS * PERIOD_US)),
        "labels": f'{{"{LABEL}": "1"}}',
    }
    headers = {"Content-Type": "application/x-tar"}
    async with engine.progress("/build", query, quiet_s=build.timeout_s, data=context, headers=headers) as lines:
        async for line in lines:
            said.append(str(line.get("stream", ""))[:4096])
            del said[:-200]
            if "error" in line:
                raise EngineError(500, str(line["error"])[:2000])


def _context(folder: Path) -> bytes:
    """The folder as a tar; nothing outside is ever sent. Raises ValueError for links, devices, beyond the bounds."""
    out = io.BytesIO()
    left, count = MAX_CONTEXT, 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for here, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted([*folders, *files]):
                path = Path(here) / name
                status = path.stat(follow_symlinks=False)
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise ValueError(f"{path} is a link or no plain file")
                count += 1
                left -= status.st_size if stat.S_ISREG(status.st_mode) else 0
                if left < 0 or count > MAX_FILES:
                    raise ValueError(f"{folder} holds more than {MAX_CONTEXT >> 20} MB or {MAX_FILES} files")
                _add(archive, path, path.relative_to(folder).as_posix(), status)
    return out.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str, status: os.stat_result) -> None:
    info = tarfile.TarInfo(name)
    info.mode = stat.S_IMODE(status.st_mode) & 0o777
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        return
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        data = file.read(status.st_size + 1)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
