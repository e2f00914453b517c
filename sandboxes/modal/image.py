"""Images on Modal: our own are built there from the Dockerfile that engines build too, others come from a registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agentlab.sandboxes import images
from agentlab.sandboxes.modal.account import library
from agentlab.sandboxes.protocol import SandboxError

if TYPE_CHECKING:
    import modal

AUTHORITY = "COPY Dockerfile host-ca"
"""The line that lets a build network have a certificate authority of its own. Modal's has none, and without the line
nothing has to be sent there."""


def describe(image: str) -> modal.Image:
    """What Modal is to build, or pull; it is asked only when the image is used. Raises SandboxError("image")."""
    repository, tag = images.split(image)
    built_in = images.BUILT_IN.get(repository)
    if built_in is None:
        found: modal.Image = library().Image.from_registry(image)
        return found
    version = images.version(built_in)
    if tag not in ("latest", version):
        raise SandboxError("image", f"{image} is an old version and cannot be built any more; use {repository}:latest")
    lines = images.files_of(built_in)["Dockerfile"].decode().splitlines()
    lines = [line for line in lines if not line.startswith(AUTHORITY)]
    lines.append(f"LABEL {images.NAME_LABEL}={built_in.name} {images.VERSION_LABEL}={version}")
    folder = images.cache_dir() / "modal" / version
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "Dockerfile"
    # Under its name at once: another run may be reading it.
    with tempfile.NamedTemporaryFile("w", dir=folder, encoding="utf-8", delete=False) as draft:
        draft.write("\n".join(lines) + "\n")
    Path(draft.name).replace(path)
    built: modal.Image = library().Image.from_dockerfile(path, context_dir=folder)
    return built
