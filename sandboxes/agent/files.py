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


def described(error: BaseException) -> bytes:
    """What went wrong, in a form that the runner can raise again."""
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
    return json.dumps(line).encode()[:8192]


def write_all(fd: int, data: bytes | memoryview) -> None:
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


class Source:
    """A regular file that is open to be read, up to a number of bytes. Raises as it is opened: ValueError where it is
    no regular file or larger, OSError.
    """

    def __init__(self, path: str, max_bytes: int, follow: bool) -> None:
        with open_parent(path, make=False, follow=follow) as (folder, name):
            try:
                self.fd = os.open(name, ENTRY, dir_fd=folder)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):
                    raise ValueError(f"{path} is not a regular file") from error
                error.filename = path
                raise
        self._path = path
        self._left = self._most = max_bytes
        try:
            self._look()
        except BaseException:
            self.close()
            raise

    def _look(self) -> None:
        status = os.fstat(self.fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory", self._path)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{self._path} is not a regular file")
        if status.st_size > self._most:
            raise ValueError(f"{self._path} has {status.st_size} bytes, more than the {self._most} allowed")

    def take(self, room: memoryview) -> int:
        """Read the next bytes into `room`; how many, which is less than there is room for at the end of the file."""
        size = os.readv(self.fd, [room[: self._left + 1]])
        self._left -= size
        if self._left < 0:
            raise ValueError(f"{self._path} grew beyond the {self._most} bytes allowed while it was read")
        return size

    @property
    def of_the_kernel(self) -> bool:
        """Whether it lies in /proc, where what is read depends on who reads it."""
        return os.fstat(self.fd).st_dev == os.stat("/proc").st_dev

    def close(self) -> None:
        os.close(self.fd)


class Draft:
    """A new file that takes its name only once it is whole: a link of that name is replaced, never written through.

    Making, finishing and discarding it are for whoever acts as its user; all raise OSError. Its directory is not kept
    open meanwhile: by /proc/self/fd it could be entered without going through those above it.
    """

    def __init__(self, path: str, follow: bool, most: int = -1) -> None:
        self._path = path
        self._follow = follow
        self._draft = f".agentlab-{os.getpid()}-{os.urandom(6).hex()}"
        self._left = most
        with open_parent(path, make=True, follow=follow) as (folder, _), self._named():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._draft, flags, 0o600, dir_fd=folder)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Errors tell of the file, not of its draft."""
        try:
            yield
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self._path) from error

    def add(self, data: bytes) -> None:
        with self._named():
            if self._left >= 0:
                self._left -= len(data)
                if self._left < 0:
                    raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            write_all(self._fd, data)

    def finish(self, mode: int) -> None:
        """Give it its name."""
        with open_parent(self._path, make=False, follow=self._follow) as (folder, name), self._named():
            os.fchmod(self._fd, mode & 0o777)
            os.rename(self._draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.close(self._fd)

    def discard(self) -> None:
        """Remove it, where it still is."""
        os.close(self._fd)
        with contextlib.suppress(OSError), open_parent(self._path, make=False, follow=self._follow) as (folder, _):
            os.unlink(self._draft, dir_fd=folder)


def read(path: str, max_bytes: int, follow: bool) -> None:
    """Copy a regular file to descriptor 1."""
    source = Source(path, max_bytes, follow)
    room = memoryview(bytearray(CHUNK))
    while True:
        size = source.take(room)
        write_all(1, room[:size])
        if size == 0:
            return


def write(path: str, mode: int, follow: bool) -> None:
    """Copy descriptor 0 into a file of that name."""
    draft = Draft(path, follow)
    try:
        while True:
            chunk = os.read(0, CHUNK)
            if not chunk:
                break
            draft.add(chunk)
        draft.finish(mode)
    except OSError:
        draft.discard()
        raise


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


def empty(path: str) -> bool:
    """Remove everything under a directory, however deep, with a fixed number of descriptors: directories found on
    the way are first moved up to the top. What cannot be removed with the present rights is left for another try;
    True where nothing is.
    """
    top = open_directory(path)
    try:
        return empty_open(top)
    finally:
        os.close(top)


def empty_open(top: int) -> bool:
    """The same for a directory that is open."""
    stuck: set[str] = set()
    while True:
        names = [name for name in os.listdir(top) if name not in stuck]
        if not names:
            return not stuck
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
