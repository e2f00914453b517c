"""The images that belong to agentlab: their files, their version, and the root file system they are made from."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from agentlab.sandboxes.protocol import SandboxError

NAME_LABEL = "agentlab.image"
VERSION_LABEL = "agentlab.image-version"
BOOTSTRAP = "bootstrap-base.sh"
BOOTSTRAP_S = 1800.0


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """An image of ours: the folder under images/ that makes it, and the base that is pulled for it where a registry
    answers.
    """

    name: str
    folder: str
    base: str


BUILT_IN = {"agentlab/python": BuiltIn("agentlab/python", "python", "python:3.11-slim-bookworm")}


def split(image: str) -> tuple[str, str]:
    """Repository and tag. A colon before a slash belongs to a registry's port."""
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:
        return image, "latest"
    return repository, tag


def is_built_in(image: str) -> bool:
    return split(image)[0] in BUILT_IN


def folder(name: str = "") -> Traversable:
    """A folder of the images that ship with the package."""
    root = resources.files("agentlab").joinpath("images")
    return root.joinpath(name) if name else root


def files_of(built_in: BuiltIn) -> dict[str, bytes]:
    """The build context, by file name."""
    return {
        item.name: item.read_bytes()
        for item in sorted(folder(built_in.folder).iterdir(), key=lambda i: i.name)
        if item.is_file()
    }


def version(built_in: BuiltIn) -> str:
    """A short hash of all that decides what is in the image. The agent is not: it is sent into each box as it
    starts.
    """
    digest = hashlib.sha256()
    for name, data in {**files_of(built_in), BOOTSTRAP: folder().joinpath(BOOTSTRAP).read_bytes()}.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def base_tag() -> str:
    """The name of the base image made from Debian packages, by the script that makes it."""
    script = folder().joinpath(BOOTSTRAP).read_bytes()
    return f"agentlab/base:{hashlib.sha256(script).hexdigest()[:12]}"


def cache_dir() -> Path:
    """Where locks and unpacked root file systems lie: AGENTLAB_CACHE, else the user's cache.

    As root it is /var/cache: a bubblewrap box runs as an unprivileged uid, to which root's own cache is closed.
    """
    usual = Path("/var/cache") if os.geteuid() == 0 else Path.home() / ".cache"
    path = Path(os.environ.get("AGENTLAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or usual) / "agentlab")
    path.mkdir(parents=True, exist_ok=True)
    return path


def exported_root(built_in: BuiltIn) -> Path | None:
    """The image unpacked as a directory, for a back-end without an engine; None when nobody has unpacked the present
    version.
    """
    root = root_place(built_in)
    return root if (root / "usr").is_dir() else None


def root_place(built_in: BuiltIn) -> Path:
    """Where the present version of the image is unpacked to."""
    return cache_dir() / "roots" / version(built_in)


@asynccontextmanager
async def building_alone() -> AsyncIterator[None]:
    """One build at a time on this machine: a second run waits for the first and then finds the image there."""
    path = cache_dir() / "image-build.lock"
    handle = await asyncio.to_thread(path.open, "w")
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.5)
        yield
    finally:
        handle.close()


async def bootstrap(tar: Path) -> None:
    """Make a Debian root file system as a tar, from packages. Raises SandboxError("image") with the end of what it
    said.
    """
    with resources.as_file(folder().joinpath(BOOTSTRAP)) as script:
        process = await asyncio.create_subprocess_exec(
            "sh", str(script), "-", str(tar), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(BOOTSTRAP_S):
                _, said = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.terminate()
                await asyncio.shield(process.wait())
            raise
    if process.returncode:
        words = said.decode("utf-8", "replace").strip()[-600:]
        raise SandboxError(
            "image",
            "the base image could neither be pulled nor made from Debian packages: check the network, or load one with "
            f"`docker load` and tag it {base_tag()}. The end of what was said: {words}",
        )
