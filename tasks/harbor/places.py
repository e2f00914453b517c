"""Folders of a box that belong to the verifier: made when nothing of the agent runs any more, whatever it left."""

from __future__ import annotations

import io
import tarfile

from agentlab.sandboxes.protocol import Sandbox, User

TESTS = "/tests"
SOLUTION = "/solution"
VERIFIER_LOGS = "/logs/verifier"
AGENT_LOGS = "/logs/agent"
ARTIFACTS = "/logs/artifacts"


async def clear(box: Sandbox, path: str) -> None:
    """Make sure that nothing lies at `path`, and that no part of the way to it is a link or a file."""
    parts = [part for part in path.split("/") if part]
    for end in range(1, len(parts)):
        above = "/" + "/".join(parts[:end])
        if not await _is_folder(box, above):
            await box.remove(above, user="grader")
    await box.remove(path, user="grader")


async def _is_folder(box: Sandbox, path: str) -> bool:
    """Whether `path` is a folder or nothing, no link followed. The box's keeper tells, not its programs."""
    try:
        await box.read_file(path, max_bytes=0, user="grader")
    except (IsADirectoryError, FileNotFoundError):
        return True
    except (ValueError, OSError):
        return False
    return False


async def make_folder(box: Sandbox, path: str, mode: int, user: User = "grader") -> None:
    """A folder with that mode, whoever made it; the folders above it are made where they are missing."""
    parent, _, name = path.rpartition("/")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, mode
        archive.addfile(info)
    await box.restore(out.getvalue(), parent or "/", user=user)
