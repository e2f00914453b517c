"""Files that a task wants kept, and carried into a verifier's own box: at the paths where the agent left them."""

from __future__ import annotations

import fnmatch
import io
import posixpath
import tarfile
import time
from dataclasses import dataclass

from agentlab.sandboxes.protocol import Sandbox
from agentlab.tasks.harbor import places
from agentlab.tasks.harbor.config import Artifact, Step
from agentlab.tasks.harbor.task import HarborTask
from agentlab.tasks.types import Work
from agentlab.traces.events import Note

MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """One artifact: a file's bytes, or a folder as a tar."""

    source: str
    data: bytes
    is_folder: bool
    destination: str = ""


async def collect(task: HarborTask, step: Step | None, work: Work, *, published: bool = True) -> list[Kept]:
    """What is there of the artifacts that the task names, and of /logs/artifacts unless nothing was `published` there.

    What is a link, a device, or too much is left out and noted: an agent must not be able to stop its own verdict.
    """
    found = []
    left = MAX_BYTES
    usual = (Artifact(source=places.ARTIFACTS),) if published else ()
    for entry in (*usual, *task.artifacts(step)):
        source = posixpath.normpath(posixpath.join(work.sandbox.workdir, entry.source))
        try:
            kept = await _take(work.sandbox, source, entry, left)
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            work.recorder.record(Note(at=time.time(), text=f"the artifact {source} was not kept: {error}"))
            continue
        left -= len(kept.data)
        found.append(kept)
    return found


async def _take(box: Sandbox, source: str, entry: Artifact, left: int) -> Kept:
    destination = entry.destination or source.lstrip("/")
    try:
        archive = await box.snapshot(source, max_bytes=left, user="grader")
    except NotADirectoryError:
        return Kept(source, await box.read_file(source, max_bytes=left, user="grader"), False, destination)
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
            # Nobody knows any more whether it could be executed.
            await box.write_file(kept.source, kept.data, mode=0o755, user="grader")


def keep(held: list[Kept], work: Work) -> None:
    """Keep the artifacts with the trace."""
    for kept in held:
        if kept.is_folder and not _has_files(kept.data):
            continue
        media = "application/x-tar" if kept.is_folder else "application/octet-stream"
        work.recorder.artifact(kept.data, media, kept.destination + (".tar" if kept.is_folder else ""))


def _has_files(archive: bytes) -> bool:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        return any(member.isreg() for member in tar)
