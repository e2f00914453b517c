"""Which engine is meant: DOCKER_HOST, else the docker client's current context, else the usual sockets."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agentlab.sandboxes.protocol import SandboxError

DEFAULT_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an engine listens: a socket's path, or a host and port with or without TLS."""

    socket: str = ""
    host: str = ""
    port: int = 0
    tls_dir: str = ""

    @property
    def base_url(self) -> str:
        """For HTTP clients."""
        if self.socket:
            return "http://docker"
        return f"{'https' if self.tls_dir else 'http'}://{self.host}:{self.port}"

    def __str__(self) -> str:
        return self.socket or f"{self.host}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext | None:
        if not self.tls_dir:
            return None
        folder = Path(self.tls_dir)
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
        return context


def parse(url: str, tls_dir: str = "") -> Endpoint:
    """An endpoint from the form that DOCKER_HOST has. Raises SandboxError for what cannot be spoken to."""
    parts = urlsplit(url)
    # The SDK writes the second form into contexts that it makes.
    if parts.scheme in ("unix", "http+unix"):
        return Endpoint(socket=parts.path)
    if parts.scheme in ("tcp", "http", "https") and parts.hostname:
        secure = tls_dir or (parts.scheme == "https" and str(Path.home() / ".docker")) or ""
        return Endpoint(host=parts.hostname, port=parts.port or (2376 if secure else 2375), tls_dir=secure)
    raise SandboxError(
        "unavailable",
        f"the Docker host {url!r} is neither unix:// nor tcp://; for ssh, forward its socket: "
        f"ssh -L ./docker.sock:{DEFAULT_SOCKET}",
    )


def _from_context() -> tuple[str, str]:
    """The host of the client's current context and the directory of its certificates, empty for the default one. The
    SDK is imported only where a context is set.
    """
    name = os.environ.get("DOCKER_CONTEXT", "")
    folder = Path(os.environ.get("DOCKER_CONFIG", "") or Path.home() / ".docker")
    if not name:
        try:
            name = str(json.loads((folder / "config.json").read_text()).get("currentContext", ""))
        except (OSError, ValueError):
            return "", ""
    if name in ("", "default"):
        return "", ""
    from docker.context import ContextAPI

    context = ContextAPI.get_context(name)
    if context is None:
        raise SandboxError("unavailable", f"the docker context {name!r} does not exist (see `docker context ls`)")
    authority = getattr(context.TLSConfig, "ca_cert", None)
    return str(context.Host or ""), str(Path(authority).parent) if authority else ""


def current() -> Endpoint:
    """The engine that this user's docker client would speak to."""
    tls_dir = ""
    if os.environ.get("DOCKER_TLS_VERIFY"):
        tls_dir = os.environ.get("DOCKER_CERT_PATH") or str(Path.home() / ".docker")
    url = os.environ.get("DOCKER_HOST", "")
    if not url:
        url, context_tls = _from_context()
        tls_dir = tls_dir or context_tls
    if url:
        return parse(url, tls_dir)
    rootless = Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "docker.sock"
    if not Path(DEFAULT_SOCKET).exists() and rootless.exists():
        return Endpoint(socket=str(rootless))
    return Endpoint(socket=DEFAULT_SOCKET)
