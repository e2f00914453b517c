"""Fetching what is not local: files over HTTP(S) and from buckets into a cache by content, rows from a dataset hub."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import socket
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from agentlab.tasks.data import mirror
from agentlab.tasks.data.formats import Row
from agentlab.tasks.types import TaskError

MAX_BYTES = 4 << 30
TIMEOUT_S = 60.0
HUB_PATIENCE_S = 5.0
_CHUNK = 1 << 20

_fetched: dict[tuple[str, str], str] = {}
"""What this process fetched, (url, revision) to sha256: the two passes of a run must read the same bytes."""


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/agentlab/data`, by default under `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(base) if base else Path.home() / ".cache") / "agentlab" / "data"


def fetch(uri: str, url: str, *, revision: str = "", sha256: str = "", max_bytes: int = MAX_BYTES) -> Path:
    """The file at `url` in the cache. Pinned bytes are fetched once and for all, others once a process.

    Raises TaskError where it cannot be had, is too large, or is not what `sha256` pins.
    """
    known = sha256 or _fetched.get((url, revision), "")
    if known and (kept := _blob(url, known)).is_file():
        return kept
    target = url.replace("{revision}", revision)
    try:
        digest, path = _download(uri, target, max_bytes)
    except _UnreachableError as error:
        raise TaskError(f"{error}; {mirror.how_to_mirror(uri)}", where=uri) from error
    if sha256 and digest != sha256:
        path.unlink()
        raise TaskError(f"{target} has sha256 {digest}, pinned is {sha256}", where=uri)
    kept = _blob(url, digest)
    path.replace(kept)
    _fetched[(url, revision)] = digest
    return kept


class _UnreachableError(Exception):
    """Why a fetch failed; `fetch` adds how to mirror."""


def _blob(url: str, digest: str) -> Path:
    suffix = Path(url.split("?")[0]).suffix
    return cache_folder() / f"{digest}{suffix if len(suffix) <= 8 else ''}"


def _download(uri: str, url: str, max_bytes: int) -> tuple[str, Path]:
    """Digest and path of a temporary file in the cache folder: renamed into place only when whole."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=".partial-")
    path = Path(name)
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as out, _open(url) as stream:
            expected = _content_length(stream)
            size = 0
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > max_bytes:
                    raise TaskError(f"{url} is larger than {max_bytes} bytes", where=uri)
                digest.update(chunk)
                out.write(chunk)
        if expected is not None and size != expected:
            raise _UnreachableError(f"{url} broke off after {size} of {expected} bytes")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return digest.hexdigest(), path


def _content_length(stream: Any) -> int | None:
    headers = getattr(stream, "headers", None)
    value = headers.get("Content-Length") if headers is not None else None
    return int(value) if value and value.isdigit() else None


@contextlib.contextmanager
def _open(url: str) -> Iterator[IO[bytes]]:
    try:
        if url.startswith("s3://"):
            with _open_bucket(url) as stream:
                yield stream
        else:
            request = urllib.request.Request(url, headers={"User-Agent": "agentlab"})  # noqa: S310  http(s) only, checked by DataSource
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as stream:  # noqa: S310
                yield stream
    except urllib.error.HTTPError as error:
        raise _UnreachableError(f"{url} answers {error.code} {error.reason}") from error
    except OSError as error:  # urllib.error.URLError, time-outs and resets among them
        raise _UnreachableError(f"{url} cannot be reached: {getattr(error, 'reason', None) or error}") from error


def _open_bucket(url: str) -> Any:
    try:
        import fsspec  # pyright: ignore[reportMissingImports]  an extra
    except ImportError as error:
        raise _UnreachableError(_needs_extra("s3:// addresses", "fsspec")) from error
    try:
        opened: Any = fsspec.open(url, "rb")
        return opened.open()
    except Exception as error:  # every file system raises errors of its own; this boundary names them
        raise _UnreachableError(f"{url} cannot be opened: {error}") from error


def _needs_extra(what: str, library: str) -> str:
    how = "in a clone .venv/bin/pip install -e '.[data]', else pip install 'agentlab-eval[data]'"
    return f"{what} need the `{library}` library, which is not installed ({how})"


def _hub_answers() -> bool:
    """Whether the hub can be reached at all. Through a proxy that is for the library to find out."""
    if urllib.request.getproxies():
        return True
    address = urllib.parse.urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), timeout=HUB_PATIENCE_S):
            return True
    except OSError:
        return False


def hub_rows(uri: str, address: str, revision: str) -> Iterator[tuple[Row, bytes]]:
    """Rows of `hf://ORG/NAME[/CONFIG]/SPLIT`, each with its JSON encoding. Raises TaskError."""
    parts = address.removeprefix("hf://").split("/")
    if len(parts) not in (3, 4) or not all(parts):
        raise TaskError("a dataset's address is hf://ORG/NAME/SPLIT or hf://ORG/NAME/CONFIG/SPLIT", where=uri)
    name, split = "/".join(parts[:2]), parts[-1]
    config = parts[2] if len(parts) == 4 else None
    # The library counts its users unless told not to; agentlab sends nothing that was not asked for.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import datasets  # pyright: ignore[reportMissingImports]  an extra
    except ImportError as error:
        raise TaskError(
            f"{_needs_extra('hf:// addresses', 'datasets')}; {mirror.how_to_mirror(uri)}", where=uri
        ) from error
    if not _hub_answers():
        # Only what the library has stored before can be had; asking a network that is not there takes it half a minute.
        settings: Any = importlib.import_module("datasets.config")
        settings.HF_HUB_OFFLINE = True
    try:
        rows = datasets.load_dataset(name, config, split=split, revision=revision or None)
    except Exception as error:  # the library raises whatever its file systems raise; this boundary names it
        reason = " ".join(str(error).split())[:300]
        raise TaskError(
            f"the dataset hub gave no {name}: {type(error).__name__}: {reason}; {mirror.how_to_mirror(uri)}", where=uri
        ) from error
    encode = msgspec.json.Encoder(order="deterministic", enc_hook=str).encode
    for row in rows:
        yield dict(row), encode(row) + b"\n"
