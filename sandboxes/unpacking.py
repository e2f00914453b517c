"""The system that a box without an engine shows instead of this machine's own: an image of ours, unpacked once."""

from __future__ import annotations

import asyncio
import tarfile
import tempfile
from pathlib import Path

from agentlab.sandboxes import images
from agentlab.sandboxes.bubblewrap.command import ETC
from agentlab.sandboxes.docker import build
from agentlab.sandboxes.docker.endpoint import current
from agentlab.sandboxes.docker.engine import Engine
from agentlab.sandboxes.protocol import SandboxError, Say


async def fill(image: str, say: Say) -> Path:
    """The folder with the unpacked image, made where it is not there: from the Docker engine's image where an engine
    answers, else from Debian packages. Raises SandboxError.
    """
    built_in = images.BUILT_IN.get(images.split(image)[0])
    if built_in is None:
        raise SandboxError("image", f"bubblewrap cannot take the image {image} apart; choose --sandbox docker for it")
    if (found := images.exported_root(built_in)) is not None:
        return found
    place = images.root_place(built_in)
    with tempfile.TemporaryDirectory(prefix="agentlab-root-") as work:
        tar = Path(work) / "root.tar"
        bare = not await _exported(image, tar, say)
        if bare:
            say("No Docker engine answers, so the system is made from Debian packages: about a minute, 200 MB.")
            await images.bootstrap(tar)
        async with images.building_alone():
            if (found := images.exported_root(built_in)) is not None:
                return found
            say(f"Unpacking {image} to {place}.")
            try:
                await asyncio.to_thread(_unpack, tar, place, bare)
            except (OSError, tarfile.TarError) as error:
                raise SandboxError("disk", f"{image} could not be unpacked to {place}: {error}") from error
    return place


async def _exported(image: str, tar: Path, say: Say) -> bool:
    """Have the engine write the image's files to `tar`; False where there is no engine."""
    engine = Engine(current())
    try:
        await engine.call("GET", "/_ping")
    except SandboxError:
        await engine.close()
        return False
    try:
        await build.ensure(engine, image, say)
        await build.export(engine, image, tar)
    finally:
        await engine.close()
    return True


def _unpack(tar: Path, place: Path, bare: bool) -> None:
    """Unpack beside the place, and move there what is whole. `bare`: packages only, without the users of a box."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.parent.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=place.parent) as draft:
        root = Path(draft) / "root"
        with tarfile.open(tar) as archive:
            archive.extractall(root, filter=_plain)  # noqa: S202 - the filter refuses what would leave the folder
        # An engine lays its own list of hosts into a box, so an image has none.
        for path, text in ETC.items() if bare else [("/etc/hosts", ETC["/etc/hosts"])]:
            (root / path.lstrip("/")).write_text(text, encoding="utf-8")
        if bare:
            (root / "usr/bin/python").symlink_to("python3")
        # A box is of a user whom nobody is, and must be able to look in.
        root.chmod(0o755)
        root.rename(place)


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Files, folders and links; no devices, and nothing that lends rights."""
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        return None
    return tarfile.tar_filter(member, folder)
