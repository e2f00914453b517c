"""Folders of a box that Harbor promises, and those that belong to its verifier."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

TESTS = "/tests"
SOLUTION = "/solution"
VERIFIER_LOGS = "/logs/verifier"
AGENT_LOGS = "/logs/agent"
ARTIFACTS = "/logs/artifacts"


def folders(modes: Mapping[str, int], contents: Mapping[str, bytes] | None = None) -> bytes:
    """A tar, to be unpacked at `/`, of folders with those modes, and with the members of other tars in them."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, mode in modes.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.type, info.mode = tarfile.DIRTYPE, mode
            archive.addfile(info)
        for path, inner in (contents or {}).items():
            with tarfile.open(fileobj=io.BytesIO(inner), mode="r:") as source:
                for member in source:
                    data = source.extractfile(member) if member.isreg() else None
                    member.name = f"{path.lstrip('/')}/{member.name}"
                    archive.addfile(member, data)
    return out.getvalue()
