"""Files that a task wants kept, and carried into a verifier's own box: at the paths where the agent left them."""

from __future__ import annotations

import fnmatch
import io
import posixpath
import tarfile
from dataclasses import dataclass

from agentlab.sandboxes.protocol import Sandbox
from agentlab.tasks.harbor import places
from agentlab.tasks.harbor.config import Artifact, Step
from agentlab.tasks.harbor.task import HarborTask
from agentlab.tasks.types import VerifierError, Work

MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """One artifact: a file's bytes, or a folder as a tar."""

    source: str
    data: bytes
    is_folder: bool
    destination: str = ""


async def collect(task: HarborTask, step: Step | None, work: Work) -> list[Kept]:
    """What is there of the artifacts that the task names, and all of /logs/artifacts. What is not there is not kept."""
    found = []
    left = MAX_BYTES
    for entry in (Artifact(source=places.ARTIFACTS), *task.artifacts(step)):
        kept = await _take(work.sandbox, entry, left)
        if kept is not None:
            left -= len(kept.data)
            found.append(kept)
    return found


async def _take(box: Sandbox, entry: Artifact, left: int) -> Kept | None:
    source = posixpath.normpath(posixpath.join(box.workdir, entry.source))
    destination = entry.destination or source.lstrip("/")
    try:
        return Kept(source, await box.read_file(source, max_bytes=left, user="grader"), False, destination)
    except IsADirectoryError:
        pass
    except (ValueError, OSError):
        # Not there, a link or a device: nothing that could be carried on.
        return None
    try:
        archive = await box.snapshot(source, max_bytes=left)
    except (ValueError, OSError) as error:
        raise VerifierError(f"the artifact {entry.source} cannot be kept: {error}") from None
    return Kept(source, _without(archive, entry.exclude), True, destination)


def _without(archive: bytes, patterns: tuple[str, ...]) -> bytes:
    """The tar without the members that a pattern names, and without links that lead out of it: followed in another box
    they would lead into that box's own files.
    """
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as source,
        tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as kept,
    ):
        for member in source:
            if _excluded(member.name, patterns) or (member.issym() and _leaves(member)):
                continue
            kept.addfile(member, source.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def _excluded(name: str, patterns: tuple[str, ...]) -> bool:
    parts = name.split("/")
    return any(
        fnmatch.fnmatch(name, pattern) or any(fnmatch.fnmatch(part, pattern) for part in parts) for pattern in patterns
    )


def _leaves(member: tarfile.TarInfo) -> bool:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(member.name), member.linkname))
    return member.linkname.startswith("/") or target == ".." or target.startswith("../")


async def lay(held: list[Kept], box: Sandbox) -> None:
    """Put the artifacts where they were, in a box that the agent never touched."""
    for kept in held:
        if kept.is_folder:
            await box.restore(kept.data, kept.source, user="grader")
        else:
            await box.write_file(kept.source, kept.data, user="grader")


async def keep(held: list[Kept], work: Work) -> None:
    """Keep the artifacts with the trace."""
    for kept in held:
        if kept.is_folder and not _has_files(kept.data):
            continue
        media = "application/x-tar" if kept.is_folder else "application/octet-stream"
        work.recorder.artifact(kept.data, media, kept.destination + (".tar" if kept.is_folder else ""))


def _has_files(archive: bytes) -> bool:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        return any(member.isreg() for member in tar)
