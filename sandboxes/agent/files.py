"""What the agent does to files, each in a forked child with the user's rights. Python 3.8, agent side.

Every function here reads file descriptor 0 and writes file descriptor 1, like a program; an error leaves as one line
of JSON on descriptor 2 and exit code `FAILED`. No path component that hostile code could have made a link is ever
followed by surprise: the last one never, and the ones before it only as the user, who could go there anyway.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator

FAILED = 3
CHUNK = 1 << 16
ENTRY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How whatever lies there is opened: never a link, and without waiting, as for a pipe that nobody writes."""


def report(error: BaseException) -> None:
    """Tell the runner what went wrong, in a form that it can raise again."""
    if isinstance(error, OSError):
        number = error.errno or 0
        text = error.strerror or str(error)
    else:
        number, text = 0, str(error)
    line = {
        "kind": type(error).__name__,
        "errno": number,
        "message": text,
        "path": str(getattr(error, "filename", "") or ""),
    }
    os.write(2, json.dumps(line).encode()[:8192])


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def parts_of(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def open_directory(name: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """Open a directory, and a link to one only with `follow`.

    Looked at once it is open: gVisor follows links where a directory is asked for, whatever O_NOFOLLOW says.
    """
    if follow:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    fd = os.open(name, ENTRY, dir_fd=dir_fd)
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", name)
    return fd


@contextlib.contextmanager
def open_parent(path: str, *, make: bool, follow: bool) -> Iterator[tuple[int, str]]:
    """The open directory that holds `path`, and the last name. `follow` allows links on the way."""
    parts = parts_of(path)
    if not parts or parts[-1] == "..":
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    here = open_directory("/")
    try:
        for part in parts[:-1]:
            if part == ".." and not follow:
                raise PermissionError(errno.EPERM, "'..' is not allowed here", path)
            try:
                inside = open_directory(part, dir_fd=here, follow=follow)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
                inside = open_directory(part, dir_fd=here, follow=follow)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    raise PermissionError(errno.EPERM, "a link is on the way", path) from error
                raise
            os.close(here)
            here = inside
        yield here, parts[-1]
    finally:
        os.close(here)


def read(path: str, max_bytes: int, follow: bool) -> None:
    """Copy a regular file to descriptor 1."""
    with open_parent(path, make=False, follow=follow) as (folder, name):
        try:
            fd = os.open(name, ENTRY, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise ValueError(f"{path} is not a regular file") from error
            error.filename = path
            raise
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if status.st_size > max_bytes:
        raise ValueError(f"{path} has {status.st_size} bytes, more than the {max_bytes} allowed")
    left = max_bytes
    while left >= 0:
        chunk = os.read(fd, min(CHUNK, left + 1))
        if not chunk:
            return
        left -= len(chunk)
        write_all(1, chunk)
    raise ValueError(f"{path} grew beyond the {max_bytes} bytes allowed while it was read")


def write(path: str, mode: int, follow: bool) -> None:
    """Copy descriptor 0 into a new file that then takes the name: a link of that name is replaced, never written
    through.
    """
    with open_parent(path, make=True, follow=follow) as (folder, name):
        draft = f".agentlab-{os.getpid()}-{os.urandom(6).hex()}"
        try:
            fd = os.open(
                draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
        except OSError as error:
            error.filename = path
            raise
        try:
            while True:
                chunk = os.read(0, CHUNK)
                if not chunk:
                    break
                write_all(fd, chunk)
            os.fchmod(fd, mode & 0o777)
            os.close(fd)
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            os.unlink(draft, dir_fd=folder)
            raise type(error)(error.errno, error.strerror, path) from error


def changed_since(moment_ns: int, places: list[str], most: int) -> None:
    """Write to descriptor 1, one on a line, up to `most` paths at or below `places` whose last change of any kind was
    after `moment_ns`: contents, owner, mode, name; for a directory also what it holds. Nobody can set that time.

    On an overlay nothing can change below a directory without a new copy of it, so old ones need not be entered.
    """
    layered = _is_overlay()
    found: list[str] = []
    waiting = list(places)
    while waiting and len(found) < most:
        path = waiting.pop()
        try:
            status = os.stat(path, follow_symlinks=False)
            if status.st_ctime_ns > moment_ns:
                found.append(path)
            if stat.S_ISDIR(status.st_mode) and not (layered and status.st_ctime_ns <= moment_ns):
                waiting += [path.rstrip("/") + "/" + name for name in os.listdir(path)]
        except OSError:
            continue
    write_all(1, "\n".join(found).encode("utf-8", "surrogateescape"))


def _is_overlay() -> bool:
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
        kinds = [line.split()[2] for line in mounts if line.split()[1:2] == ["/"]]
    return kinds[-1:] == ["overlay"]


def make_way(path: str) -> None:
    """Remove what lies at `path`, and whatever on the way to it is no directory: links and files."""
    parts = parts_of(path)
    for end in range(1, len(parts)):
        above = "/" + "/".join(parts[:end])
        try:
            if stat.S_ISDIR(os.stat(above, follow_symlinks=False).st_mode):
                continue
        except FileNotFoundError:
            return
        os.unlink(above)
        return
    remove(path, follow=False)


def remove(path: str, follow: bool) -> None:
    """Remove a file, a link itself, or a directory with all that is in it; nothing where there is nothing."""
    with contextlib.suppress(FileNotFoundError), open_parent(path, make=False, follow=follow) as (folder, name):
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=folder)
            return
        here = open_directory(name, dir_fd=folder)
        try:
            empty_open(here)
        finally:
            os.close(here)
        os.rmdir(name, dir_fd=folder)


def empty(path: str) -> None:
    """Remove everything under a directory, however deep, with a fixed number of descriptors: directories found on
    the way are first moved up to the top. What cannot be removed with the present rights is left for another try.
    """
    top = open_directory(path)
    try:
        empty_open(top)
    finally:
        os.close(top)


def empty_open(top: int) -> None:
    """The same for a directory that is open."""
    stuck: set[str] = set()
    while True:
        names = [name for name in os.listdir(top) if name not in stuck]
        if not names:
            return
        for name in names:
            try:
                _remove(top, name)
            except OSError:
                stuck.add(name)


def _remove(top: int, name: str) -> None:
    if not _is_directory(top, name):
        os.unlink(name, dir_fd=top)
        return
    fd = open_directory(name, dir_fd=top)
    try:
        for inner in os.listdir(fd):
            if _is_directory(fd, inner):
                os.rename(inner, os.urandom(12).hex(), src_dir_fd=fd, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=top)


def _is_directory(folder: int, name: str) -> bool:
    """Whether it is one; where it is ours, it is also opened to ourselves, to be emptied and moved."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    with contextlib.suppress(OSError):
        os.chmod(name, 0o700, dir_fd=folder)
    return True
