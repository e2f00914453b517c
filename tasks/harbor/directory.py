"""A folder of somebody else's, read as data: nothing outside it, nothing larger than allowed, no links."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from agentlab.tasks.types import TaskError

MAX_BYTES = 512 << 20
MAX_FILES = 20_000
MAX_TEXT = 1 << 20


def has_file(folder: Path, name: str) -> bool:
    """Whether there is a regular file of that name, itself and not by a link."""
    try:
        return stat.S_ISREG((folder / name).stat(follow_symlinks=False).st_mode)
    except OSError:
        return False


def has_folder(folder: Path, name: str) -> bool:
    try:
        return stat.S_ISDIR((folder / name).stat(follow_symlinks=False).st_mode)
    except OSError:
        return False


def read_text(path: Path) -> str:
    """A text file of at most a megabyte. Raises TaskError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise TaskError(f"holds more than {MAX_TEXT} bytes", where=str(path))
        return data.decode("utf-8")
    except OSError as error:
        raise TaskError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise TaskError(f"is not UTF-8 text: {error.reason} at byte {error.start}", where=str(path)) from None


def entries(folder: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """(path below `folder`, path, status) of every folder and file, sorted. Raises TaskError for links and devices, and
    beyond the bounds.
    """
    left, count = MAX_BYTES, 0
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            found = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise TaskError(f"cannot be read: {error.strerror}", where=str(here)) from None
        for entry in found:
            status = entry.stat(follow_symlinks=False)
            path = Path(entry.path)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                what = "a link" if stat.S_ISLNK(status.st_mode) else "neither a file nor a folder"
                raise TaskError(f"is {what}: a task is made of plain files and folders", where=str(path))
            count += 1
            left -= status.st_size if stat.S_ISREG(status.st_mode) else 0
            if left < 0 or count > MAX_FILES:
                raise TaskError(f"holds more than {MAX_BYTES >> 20} MB or {MAX_FILES} files", where=str(folder))
            if stat.S_ISDIR(status.st_mode):
                waiting.append(path)
            yield path.relative_to(folder).as_posix(), path, status


def checksum(folder: Path) -> str:
    """SHA-256 over names, contents and who may execute, of everything in the folder. Raises TaskError."""
    digest = hashlib.sha256()
    for name, path, status in sorted(entries(folder)):
        if stat.S_ISREG(status.st_mode):
            inner = hashlib.sha256(path.read_bytes()).digest()
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + inner + bytes([status.st_mode >> 6 & 1]))
    return digest.hexdigest()


def as_tar(*folders: Path, scripts: bool = False) -> bytes:
    """The contents of the folders as one uncompressed tar, those of a later one over those of an earlier. Everything in
    it may be read by all, and belongs to nobody in particular. `scripts`: every `.sh` may be executed. Raises
    TaskError.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in folders:
            for name, path, status in sorted(entries(folder)):
                info = tarfile.TarInfo(name)
                executable = status.st_mode & 0o111 or (scripts and name.endswith(".sh"))
                info.mode = 0o755 if executable or stat.S_ISDIR(status.st_mode) else 0o644
                if stat.S_ISDIR(status.st_mode):
                    info.type = tarfile.DIRTYPE
                    archive.addfile(info)
                    continue
                data = path.read_bytes()
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
