"""Directories as tars, out of a box and into one. Python 3.8, agent side.

Like the functions of `files`, these run in a forked child and use descriptors 0 and 1.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from typing import IO, Any

from agentlab.sandboxes.agent.files import CHUNK, ENTRY, open_directory, open_parent, parts_of, write_all

MAX_MEMBERS = 100_000
MAX_DEPTH = 200


class _Exactly:
    """Reads exactly `size` bytes of a file that may change meanwhile: the rest is zeros, so that the archive stays
    whole.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._left = size

    def read(self, count: int) -> bytes:
        count = min(count, self._left)
        data = os.read(self._fd, count) or bytes(count)
        self._left -= len(data)
        return data


class _Out:
    """Descriptor 1 as a file object; tarfile writes a little at a time, so writes are gathered."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        if len(self._held) >= CHUNK:
            self.flush()
        return len(data)

    def flush(self) -> None:
        write_all(1, bytes(self._held))
        self._held.clear()


def snapshot(path: str, max_bytes: int, open_as_user: Callable[[str], int], owner: int) -> None:
    """Write a tar of the directory to descriptor 1. Pipes, sockets and devices are left out; other file systems are not
    entered.

    The directory is opened as the user. Below it the agent's own rights serve, as hostile code may have made its files
    unreadable; every step down is by descriptor and without links, so it leads nowhere else.
    """
    import tarfile

    top = open_as_user(path)
    out: Any = _Out()
    left = max_bytes
    count = 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for info, fd in _walk(tarfile, top, owner):
            count += 1
            left -= 512 + info.size
            if left < 0 or count > MAX_MEMBERS:
                raise ValueError(f"{path} holds more than {max_bytes} bytes or {MAX_MEMBERS} files")
            content: Any = _Exactly(fd, info.size) if info.isreg() else None
            archive.addfile(info, content)
    out.flush()


def _walk(tarfile: Any, top: int, owner: int) -> Iterator[tuple[Any, int]]:
    """Every member below an open directory with its descriptor, which is closed when the next one is asked for."""
    device = os.fstat(top).st_dev
    top_mode = os.fstat(top).st_mode & 0o777
    stack: list[tuple[int, int, str, list[str]]] = [(top, top_mode, "", sorted(os.listdir(top), reverse=True))]
    while stack:
        folder, mode, prefix, names = stack[-1]
        if not names:
            _close(folder, mode)
            stack.pop()
            continue
        name = names.pop()
        info, fd = _member(tarfile, folder, name, prefix + name, device, owner)
        if info is None:
            continue
        yield info, fd
        if info.isreg():
            _close(fd, info.mode)
        elif info.isdir():
            if len(stack) >= MAX_DEPTH:
                raise ValueError(f"{info.name[:80]}... is more than {MAX_DEPTH} directories deep")
            stack.append((fd, info.mode, info.name + "/", sorted(os.listdir(fd), reverse=True)))


def _member(tarfile: Any, folder: int, name: str, full: str, device: int, owner: int) -> tuple[Any, int]:
    """The tar header of one entry and, for files and directories, its open descriptor; (None, -1) for what is left
    out.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        info = tarfile.TarInfo(full)
        info.mode, info.mtime, info.uid, info.gid = status.st_mode & 0o777, int(status.st_mtime), owner, owner
        if stat.S_ISLNK(status.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
            return info, -1
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
        elif not stat.S_ISREG(status.st_mode):
            return None, -1
        fd = _open_anyway(name, folder, status.st_mode)
    except FileNotFoundError:
        return None, -1
    opened = os.fstat(fd)
    # In layered systems files may be of another device than their directory, and only directories matter.
    elsewhere = info.isdir() and opened.st_dev != device
    if elsewhere or stat.S_IFMT(opened.st_mode) != stat.S_IFMT(status.st_mode):
        os.close(fd)
        return None, -1
    if info.isreg():
        info.size = opened.st_size
    return info, fd


def _open_anyway(name: str, folder: int, mode: int) -> int:
    """Open for reading what its owner closed to itself, where the agent has no more rights than the owner. The mode is
    put back by whoever closes the descriptor.
    """
    try:
        return os.open(name, ENTRY, dir_fd=folder)
    except PermissionError:
        os.chmod(name, stat.S_IMODE(mode) | 0o500, dir_fd=folder)
        return os.open(name, ENTRY, dir_fd=folder)


def _close(fd: int, mode: int) -> None:
    if os.fstat(fd).st_mode & 0o777 != mode:
        os.fchmod(fd, mode)
    os.close(fd)


def restore(path: str, links_may_leave: bool, max_bytes: int) -> None:
    """Unpack a tar from descriptor 0 under `path`. Nothing is ever written through a link, whether from the archive
    or there before.
    """
    import tarfile

    top_parts = parts_of(path)
    if ".." in top_parts:
        raise ValueError(f"{path} is not a plain path")
    left = max_bytes
    count = 0
    modes: dict[str, int] = {}
    with open(0, "rb", closefd=False) as source:
        try:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    count += 1
                    left -= 512 + max(member.size, 0)
                    if left < 0 or count > MAX_MEMBERS:
                        raise ValueError(f"the archive holds more than {max_bytes} bytes or {MAX_MEMBERS} members")
                    _unpack(archive, member, path, links_may_leave, modes)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"the archive cannot be read: {error}") from error
    for folder, mode in sorted(modes.items(), reverse=True):
        with open_parent(folder, make=False, follow=False) as (parent, name):
            fd = open_directory(name, dir_fd=parent)
            os.fchmod(fd, mode)
            os.close(fd)


def refuse_hostile(name: str, kind: str, target: str, links_may_leave: bool) -> None:
    """Raise ValueError for a member that must not be unpacked. Also used by the runner, before anything is sent."""
    if name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise ValueError(f"the archive member {name!r} would leave the directory")
    if kind not in ("file", "directory", "symlink", "hardlink"):
        raise ValueError(f"the archive member {name!r} is a device, a pipe or of an unknown kind")
    if kind == "hardlink" and (target.startswith("/") or ".." in target.split("/")):
        raise ValueError(f"the archive member {name!r} links to {target!r}, outside the directory")
    if kind == "symlink" and not links_may_leave:
        depth = len(parts_of(name)) - 1
        for part in target.split("/"):
            depth += -1 if part == ".." else (0 if part in ("", ".") else 1)
            if depth < 0 or target.startswith("/"):
                raise ValueError(f"the archive member {name!r} links to {target!r}, outside the directory")
    if len(parts_of(name)) > MAX_DEPTH:
        raise ValueError(f"the archive member {name[:80]!r} is more than {MAX_DEPTH} directories deep")


def kind_of(member: Any) -> str:
    """What a tar member is, in the words of `refuse_hostile`."""
    if member.isreg():
        return "file"
    if member.isdir():
        return "directory"
    if member.issym():
        return "symlink"
    return "hardlink" if member.islnk() else "other"


def _unpack(archive: Any, member: Any, top: str, links_may_leave: bool, modes: dict[str, int]) -> None:
    kind = kind_of(member)
    refuse_hostile(member.name, kind, member.linkname, links_may_leave)
    parts = parts_of(member.name)
    if not parts:
        return
    place = "/".join([top.rstrip("/"), *parts])
    with open_parent(place, make=True, follow=False) as (folder, name):
        if kind == "directory":
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=folder)
            modes[place] = member.mode & 0o777
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        if kind == "symlink":
            os.symlink(member.linkname, name, dir_fd=folder)
        elif kind == "hardlink":
            with open_parent("/".join([top, *parts_of(member.linkname)]), make=False, follow=False) as (other, target):
                os.link(target, name, src_dir_fd=other, dst_dir_fd=folder, follow_symlinks=False)
        else:
            fd = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            _copy(archive.extractfile(member), fd)
            os.fchmod(fd, member.mode & 0o777)
            os.close(fd)


def _copy(source: IO[bytes], fd: int) -> None:
    while True:
        chunk = source.read(CHUNK)
        if not chunk:
            return
        write_all(fd, chunk)
